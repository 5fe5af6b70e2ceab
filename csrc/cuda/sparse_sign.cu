#include "cuda/arithmetic.cuh"
#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_sparse_sign {

// Rows of x that a thread takes with one reading of the table.
constexpr int kRows = 4;

template <class T>
__global__ void __launch_bounds__(kThreads)
    sum_entries(const SparseSigns table, const MatrixView<const T> x, const MatrixView<T> out) {
  const index_t groups = (out.rows + kRows - 1) / kRows;
  for (index_t e = global_index(); e < groups * out.cols; e += global_step()) {
    const index_t i = e % out.cols, first = e / out.cols * kRows;
    const int count = static_cast<int>(min_of<index_t>(kRows, out.rows - first));
    T sums[kRows] = {};
    for (index_t at = table.offsets[i]; at < table.offsets[i + 1]; ++at) {
      const std::uint32_t entry = table.entries[at];
      const T* const from = x.data + first * x.row_stride + (entry >> 1);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        if (r < count) {
          const T value = from[r * x.row_stride];
          sums[r] += (entry & 1) ? -value : value;
        }
      }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (r < count) out.data[(first + r) * out.row_stride + i] = sums[r];
    }
  }
}

}  // namespace in_sparse_sign

template <class T>
void sparse_sign(const SparseSigns& table, MatrixView<const T> x, MatrixView<T> out, Stream stream) {
  const index_t size = ceil_div<index_t>(out.rows, kRows) * out.cols;
  launch("sparse_sign", sum_entries<T>, blocks_for(size), kThreads, 0, stream, table, x, out);
}

template void sparse_sign<float>(const SparseSigns&, MatrixView<const float>, MatrixView<float>, Stream);
template void sparse_sign<double>(const SparseSigns&, MatrixView<const double>, MatrixView<double>,
                                  Stream);

}  // namespace homfast::cuda
