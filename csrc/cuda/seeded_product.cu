// Products with a seeded matrix that is made in shared memory, a depth at a time, and never stored: the
// product kernel with another source of B. An element is the chain of the stored matrix, to the bit.
//
// B(k, j) is the matrix's (j, k), or its (k, j) if adjoint: `Adjoint` sources have columns of the
// matrix as lines.
#include "cuda/entries.cuh"
#include "cuda/fma_product.cuh"
#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_seeded_product {

// A counter a thread: `width` neighbours of a row of the matrix.
template <class T, bool Adjoint, int Lines, int Depth, int Threads>
struct NormalLines {
  static constexpr int width = Normals<T>::width;
  static constexpr int counters = Lines * Depth / width, count = (counters + Threads - 1) / Threads;

  struct Array {
    SeededBlock from;
  };
  struct Shared {};
  Normals<T> values[count];

  // The row and the first column, in units of width, of counter c within the tile.
  static __device__ __forceinline__ int row_of(int c) {
    return Adjoint ? c / (Lines / width) : c % Lines;
  }
  static __device__ __forceinline__ int block_of(int c) {
    return Adjoint ? c % (Lines / width) : c / Lines;
  }

  __device__ __forceinline__ void fetch(const Array& a, index_t first, index_t k, index_t, Shared&) {
#pragma unroll
    for (int e = 0; e < count; ++e) {
      const int c = e * Threads + static_cast<int>(threadIdx.x);
      if (c >= counters) break;
      const index_t row = (Adjoint ? k : first) + row_of(c);
      const index_t block = (Adjoint ? first : k) / width + block_of(c);
      values[e] = normals(philox(a.from, a.from.row + static_cast<std::uint64_t>(row),
                                 static_cast<std::uint64_t>(block)),
                          T());
    }
  }

  __device__ __forceinline__ void put(T (*to)[Lines + kPad], Shared&) const {
#pragma unroll
    for (int e = 0; e < count; ++e) {
      const int c = e * Threads + static_cast<int>(threadIdx.x);
      if (c >= counters) break;
#pragma unroll
      for (int l = 0; l < width; ++l) {
        const int column = block_of(c) * width + l;
        if (Adjoint) {
          to[row_of(c)][column] = values[e].v[l];
        } else {
          to[column][row_of(c)] = values[e].v[l];
        }
      }
    }
  }
};

// The signs of a tile, 128 columns of the matrix at a time, wait in shared memory as bits: one counter
// serves 128 / Depth depths.
template <class T, bool Adjoint, int Lines, int Depth, int Threads>
struct SignLines {
  static constexpr int width = kSignsPerCounter;
  static_assert(width % Depth == 0 && width % Lines == 0, "tiles must not cut a counter");
  static constexpr int rows = Adjoint ? Depth : Lines;  // of the matrix, in a tile
  static constexpr int count = Lines * Depth / Threads;

  struct Array {
    SeededBlock from;
  };
  struct Shared {
    std::uint32_t words[rows][4];
  };
  int offset;  // of the tile within the counter's columns

  __device__ __forceinline__ void fetch(const Array& a, index_t first, index_t k, index_t,
                                        Shared& shared) {
    const index_t column = Adjoint ? first : k;
    offset = static_cast<int>(column % width);
    if (!Adjoint && offset != 0) return;
    for (int r = static_cast<int>(threadIdx.x); r < rows; r += Threads) {
      const index_t row = (Adjoint ? k : first) + r;
      const Words words = philox(a.from, a.from.row + static_cast<std::uint64_t>(row),
                                 static_cast<std::uint64_t>(column / width));
#pragma unroll
      for (int w = 0; w < 4; ++w) shared.words[r][w] = words.w[w];
    }
    __syncthreads();  // the last put() was before the barrier of its depth: nobody reads these
  }

  __device__ __forceinline__ void put(T (*to)[Lines + kPad], Shared& shared) const {
#pragma unroll
    for (int e = 0; e < count; ++e) {
      const int element = e * Threads + static_cast<int>(threadIdx.x);
      const int line = element % Lines, depth = element / Lines;
      const int row = Adjoint ? depth : line, column = offset + (Adjoint ? line : depth);
      const std::uint32_t word = shared.words[row][column / 32];
      to[depth][line] = (word >> (column % 32)) & 1 ? T(-1) : T(1);
    }
  }
};

template <class Shape, class Right, class T>
void run_tiles(const SeededBlock& from, const Product<T>& p, Stream stream) {
  using Left = ArrayLines<T, true, Shape::rows, Shape::depth, Shape::threads>;
  const typename Left::Array a{p.a, p.a_stride, p.m, nullptr, 0, T(0)};
  const typename Right::Array b{from};
  const index_t tiles = ceil_div<index_t>(p.m, Shape::rows) * ceil_div<index_t>(p.n, Shape::cols);
  launch("seeded_product", fma_product<Shape, T, Left, Right>, tiles, Shape::threads,
         sizeof(ProductShared<Shape, T, Left, Right>), stream, p, a, b, Chunks<T>{p.k, nullptr});
}

template <template <class, bool, int, int, int> class Lines, class Shape, class T>
void choose_side(const SeededBlock& from, const Product<T>& p, bool adjoint, Stream stream) {
  if (adjoint) {
    run_tiles<Shape, Lines<T, true, Shape::cols, Shape::depth, Shape::threads>>(from, p, stream);
  } else {
    run_tiles<Shape, Lines<T, false, Shape::cols, Shape::depth, Shape::threads>>(from, p, stream);
  }
}

template <template <class, bool, int, int, int> class Lines, class T>
void seeded_product(const SeededBlock& from, MatrixView<const T> x, bool adjoint, MatrixView<T> out,
                    Stream stream) {
  using Large = typename Tiles<T>::Large;
  using Small = typename Tiles<T>::Small;
  if (out.rows == 0 || out.cols == 0) return;
  Product<T> p{};
  p.m = out.rows;
  p.n = out.cols;
  p.k = x.cols;
  p.a = x.data;
  p.a_stride = x.row_stride;
  p.c = out.data;
  p.c_stride = out.row_stride;
  const index_t tiles = ceil_div<index_t>(p.m, Large::rows) * ceil_div<index_t>(p.n, Large::cols);
  if (tiles < kManyTiles) {
    choose_side<Lines, Small>(from, p, adjoint, stream);
  } else {
    choose_side<Lines, Large>(from, p, adjoint, stream);
  }
}

}  // namespace in_seeded_product

template <class T>
void gaussian_product(const SeededBlock& from, MatrixView<const T> x, bool adjoint,
                      MatrixView<T> out, Stream stream) {
  seeded_product<NormalLines, T>(from, x, adjoint, out, stream);
}

template <class T>
void rademacher_product(const SeededBlock& from, MatrixView<const T> x, bool adjoint,
                        MatrixView<T> out, Stream stream) {
  seeded_product<SignLines, T>(from, x, adjoint, out, stream);
}

#define HF_INSTANTIATE(T)                                                                       \
  template void gaussian_product<T>(const SeededBlock&, MatrixView<const T>, bool,              \
                                    MatrixView<T>, Stream);                                     \
  template void rademacher_product<T>(const SeededBlock&, MatrixView<const T>, bool,            \
                                      MatrixView<T>, Stream);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast::cuda
