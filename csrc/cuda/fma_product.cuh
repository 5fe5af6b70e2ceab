// C = A B by multiply-adds: each element is one chain over k, in order, from +0, whatever the tile. It has
// the bits of the CPU's product kernel, and the tile may be chosen from the batch.
//
// Operands are read by sources: fetch() takes a thread's share of a depth of k into registers, while the
// depth before is multiplied; put() stores it into shared memory as [k][line].
#pragma once

#include "cuda/arithmetic.cuh"

namespace homfast::cuda {

// Each thread has row_groups x col_groups times 4 x 4 elements, 4 thread_rows (thread_cols) apart.
template <int ThreadRows, int ThreadCols, int RowGroups, int ColGroups>
struct Tile {
  static constexpr int thread_cols = ThreadCols, thread_rows = ThreadRows;
  static constexpr int row_groups = RowGroups, col_groups = ColGroups;
  static constexpr int threads = ThreadRows * ThreadCols;
  static constexpr int rows = 4 * ThreadRows * RowGroups, cols = 4 * ThreadCols * ColGroups;
  static constexpr int depth = 16;
};

// What parts of k are summed apart, and where their sums go; one part over all of k otherwise.
template <class T>
struct Chunks {
  index_t depth;
  T* sums;  // (chunks, m, n), or null: to p.c through the epilogue
};

constexpr int kPad = 4;  // elements between rows of shared memory: fewer conflicts, and still aligned

// Lines of an array: rows of A or columns of B. Along: element k of a line is its k-th neighbour.
template <class T, bool Along, int Lines, int Depth, int Threads>
struct ArrayLines {
  static constexpr int count = Lines * Depth / Threads;
  static_assert(count * Threads == Lines * Depth, "uneven shares");

  struct Array {
    const T* data;
    index_t stride, lines;
    const std::uint8_t* mask;  // bits laid out as the array is
    index_t mask_stride;
    T slope;
  };
  struct Shared {};
  T values[count];

  static __device__ __forceinline__ int line_of(int element) {
    return Along ? element / Depth : element % Lines;
  }
  static __device__ __forceinline__ int depth_of(int element) {
    return Along ? element % Depth : element / Lines;
  }

  __device__ __forceinline__ void fetch(const Array& from, index_t first, index_t k, index_t end,
                                        Shared&) {
#pragma unroll
    for (int e = 0; e < count; ++e) {
      const int element = e * Threads + static_cast<int>(threadIdx.x);
      const index_t line = first + line_of(element), at = k + depth_of(element);
      values[e] = T(0);
      if (line < from.lines && at < end) {
        values[e] = masked_element(from.data, from.stride, from.mask, from.mask_stride, from.slope,
                                   Along ? line : at, Along ? at : line);
      }
    }
  }

  __device__ __forceinline__ void put(T (*to)[Lines + kPad], Shared&) const {
#pragma unroll
    for (int e = 0; e < count; ++e) {
      const int element = e * Threads + static_cast<int>(threadIdx.x);
      to[depth_of(element)][line_of(element)] = values[e];
    }
  }
};

template <class Shape, class T, class Left, class Right>
struct ProductShared {
  alignas(16) T a[2][Shape::depth][Shape::rows + kPad];
  alignas(16) T b[2][Shape::depth][Shape::cols + kPad];
  typename Left::Shared left;
  typename Right::Shared right;
};

// Sums += a b over one depth in shared memory, or the first `count` of it.
template <class Shape, class T>
__device__ __forceinline__ void multiply_depth(const T (*a)[Shape::rows + kPad],
                                               const T (*b)[Shape::cols + kPad], int k, int row,
                                               int col,
                                               T (&sums)[4 * Shape::row_groups][4 * Shape::col_groups]) {
  Four<T> left[Shape::row_groups], right[Shape::col_groups];
#pragma unroll
  for (int g = 0; g < Shape::row_groups; ++g) {
    left[g] = *reinterpret_cast<const Four<T>*>(&a[k][row + g * 4 * Shape::thread_rows]);
  }
#pragma unroll
  for (int g = 0; g < Shape::col_groups; ++g) {
    right[g] = *reinterpret_cast<const Four<T>*>(&b[k][col + g * 4 * Shape::thread_cols]);
  }
#pragma unroll
  for (int i = 0; i < 4 * Shape::row_groups; ++i) {
#pragma unroll
    for (int j = 0; j < 4 * Shape::col_groups; ++j) {
      sums[i][j] = multiply_add(left[i / 4].v[i % 4], right[j / 4].v[j % 4], sums[i][j]);
    }
  }
}

// Four neighbours of a row of sums through the epilogue. Two threads side by side have the bits of
// one byte of the mask; every thread of the warp comes here.
template <class T>
__device__ __forceinline__ void store_four(const Product<T>& p, index_t i, index_t j, const T (&z)[4]) {
  unsigned bits = 0;
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    if (i >= p.m || j + c >= p.n) continue;
    bool keep;
    p.c[i * p.c_stride + j + c] = finish(p, i, j + c, z[c], keep);
    bits |= static_cast<unsigned>(keep) << c;
  }
  if (p.epilogue != Epilogue::relu || !p.mask) return;
  const unsigned above = __shfl_down_sync(0xffffffffu, bits, 1);
  if (i < p.m && j < p.n && (j & 7) == 0) {
    p.mask[i * p.mask_stride + (j >> 3)] = static_cast<std::uint8_t>(bits | above << 4);
  }
}

template <class Shape, class T, class Left, class Right>
__global__ void __launch_bounds__(Shape::threads)
    fma_product(const Product<T> p, const typename Left::Array a, const typename Right::Array b,
                const Chunks<T> chunks) {
  auto& shared = shared_as<ProductShared<Shape, T, Left, Right>>();

  const index_t tile_rows = (p.m + Shape::rows - 1) / Shape::rows;
  const index_t tile_cols = (p.n + Shape::cols - 1) / Shape::cols;
  const index_t chunk = blockIdx.x / (tile_rows * tile_cols);
  index_t tile_row, tile_col;
  tile_at(blockIdx.x - chunk * (tile_rows * tile_cols), tile_rows, tile_cols, tile_row, tile_col);
  const index_t first_row = tile_row * Shape::rows, first_col = tile_col * Shape::cols;
  const index_t begin = chunk * chunks.depth, end = min_of(begin + chunks.depth, p.k);
  const int row = static_cast<int>(threadIdx.x) / Shape::thread_cols * 4;
  const int col = static_cast<int>(threadIdx.x) % Shape::thread_cols * 4;

  Left left;
  Right right;
  T sums[4 * Shape::row_groups][4 * Shape::col_groups] = {};
  if (begin < end) {
    left.fetch(a, first_row, begin, end, shared.left);
    right.fetch(b, first_col, begin, end, shared.right);
    left.put(shared.a[0], shared.left);
    right.put(shared.b[0], shared.right);
  }
  __syncthreads();
  int buffer = 0;
  for (index_t k = begin; k < end; k += Shape::depth, buffer ^= 1) {
    const index_t next = k + Shape::depth;
    if (next < end) {
      left.fetch(a, first_row, next, end, shared.left);
      right.fetch(b, first_col, next, end, shared.right);
    }
    if (next <= end) {
#pragma unroll
      for (int d = 0; d < Shape::depth; ++d) {
        multiply_depth<Shape, T>(shared.a[buffer], shared.b[buffer], d, row, col, sums);
      }
    } else {  // no products with padding, which would lose the sign of a zero
#pragma unroll 1
      for (int d = 0; d < static_cast<int>(end - k); ++d) {
        multiply_depth<Shape, T>(shared.a[buffer], shared.b[buffer], d, row, col, sums);
      }
    }
    if (next < end) {
      left.put(shared.a[buffer ^ 1], shared.left);
      right.put(shared.b[buffer ^ 1], shared.right);
    }
    __syncthreads();
  }

#pragma unroll
  for (int r = 0; r < 4 * Shape::row_groups; ++r) {
    const index_t i = first_row + row + r / 4 * 4 * Shape::thread_rows + r % 4;
#pragma unroll
    for (int g = 0; g < Shape::col_groups; ++g) {
      const index_t j = first_col + col + g * 4 * Shape::thread_cols;
      const T z[4] = {sums[r][4 * g], sums[r][4 * g + 1], sums[r][4 * g + 2], sums[r][4 * g + 3]};
      if (chunks.sums) {
        T* const to = chunks.sums + (chunk * p.m + i) * p.n + j;
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          if (i < p.m && j + c < p.n) to[c] = z[c];
        }
      } else {
        store_four(p, i, j, z);
      }
    }
  }
}

// Large tiles for results that fill a device with them, small ones for the others.
template <class T>
struct Tiles;
template <>
struct Tiles<float> {
  using Large = Tile<16, 16, 2, 2>;  // 128 x 128
  using Small = Tile<8, 8, 1, 1>;    // 32 x 32
};
template <>
struct Tiles<double> {
  using Large = Tile<16, 16, 1, 1>;  // 64 x 64
  using Small = Tile<8, 8, 1, 1>;
};

}  // namespace homfast::cuda
