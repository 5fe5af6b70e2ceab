// Blocks of seeded entries, a counter a thread.
#include "cuda/entries.cuh"
#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_seeded_blocks {

// Counter e of those that a block of `cols` columns needs, `width` columns each: its row, its first
// column within the block (which may lie before it), and its number.
struct Counters {
  index_t per_row, skip;
  std::uint64_t first;
};

__host__ __device__ Counters counters_of(std::uint64_t column, index_t cols, index_t width) {
  const auto skip = static_cast<index_t>(column % static_cast<std::uint64_t>(width));
  return {(skip + cols + width - 1) / width, skip, column / static_cast<std::uint64_t>(width)};
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    normal_entries(const SeededBlock from, const MatrixView<T> out) {
  constexpr int width = Normals<T>::width;
  const Counters c = counters_of(from.column, out.cols, width);
  for (index_t e = global_index(); e < out.rows * c.per_row; e += global_step()) {
    const index_t i = e / c.per_row, b = e % c.per_row;
    const Words words = philox(from, from.row + static_cast<std::uint64_t>(i),
                               c.first + static_cast<std::uint64_t>(b));
    const Normals<T> z = normals(words, T());
#pragma unroll
    for (int l = 0; l < width; ++l) {
      const index_t j = b * width - c.skip + l;
      if (j >= 0 && j < out.cols) out.data[i * out.row_stride + j] = z.v[l];
    }
  }
}

// A word of a counter a thread: 32 signs.
template <class T>
__global__ void __launch_bounds__(kThreads)
    sign_entries(const SeededBlock from, const MatrixView<T> out) {
  const Counters c = counters_of(from.column, out.cols, 32);
  for (index_t e = global_index(); e < out.rows * c.per_row; e += global_step()) {
    const index_t i = e / c.per_row, b = e % c.per_row;
    const std::uint64_t word = c.first + static_cast<std::uint64_t>(b);
    const Words words = philox(from, from.row + static_cast<std::uint64_t>(i), word / 4);
    const auto which = static_cast<int>(word % 4);
    const std::uint32_t bits = which == 0   ? words.w[0]
                               : which == 1 ? words.w[1]
                               : which == 2 ? words.w[2]
                                            : words.w[3];
    for (int l = 0; l < 32; ++l) {
      const index_t j = b * 32 - c.skip + l;
      if (j >= 0 && j < out.cols) {
        out.data[i * out.row_stride + j] = (bits >> l) & 1 ? T(-1) : T(1);
      }
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    sign_words(const SeededBlock from, const MatrixView<std::uint32_t> out) {
  const Counters c = counters_of(from.column, out.cols, 4);
  for (index_t e = global_index(); e < out.rows * c.per_row; e += global_step()) {
    const index_t i = e / c.per_row, b = e % c.per_row;
    const Words words = philox(from, from.row + static_cast<std::uint64_t>(i),
                               c.first + static_cast<std::uint64_t>(b));
#pragma unroll
    for (int l = 0; l < 4; ++l) {
      const index_t j = b * 4 - c.skip + l;
      if (j >= 0 && j < out.cols) out.data[i * out.row_stride + j] = words.w[l];
    }
  }
}

}  // namespace in_seeded_blocks

template <class T>
void gaussian_block(const SeededBlock& from, MatrixView<T> out, Stream stream) {
  const index_t size = out.rows * counters_of(from.column, out.cols, Normals<T>::width).per_row;
  if (out.cols == 0) return;
  launch("gaussian_block", normal_entries<T>, blocks_for(size), kThreads, 0, stream, from, out);
}

template <class T>
void rademacher_block(const SeededBlock& from, MatrixView<T> out, Stream stream) {
  const index_t size = out.rows * counters_of(from.column, out.cols, 32).per_row;
  if (out.cols == 0) return;
  launch("rademacher_block", sign_entries<T>, blocks_for(size), kThreads, 0, stream, from, out);
}

void rademacher_words(const SeededBlock& from, MatrixView<std::uint32_t> out, Stream stream) {
  const index_t size = out.rows * counters_of(from.column, out.cols, 4).per_row;
  if (out.cols == 0) return;
  launch("rademacher_words", sign_words, blocks_for(size), kThreads, 0, stream, from, out);
}

#define HF_INSTANTIATE(T)                                                    \
  template void gaussian_block<T>(const SeededBlock&, MatrixView<T>, Stream); \
  template void rademacher_block<T>(const SeededBlock&, MatrixView<T>, Stream);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast::cuda
