// C = A B of float32 on the bf16 matrix unit: operands split into one to three bf16 planes, one to six
// products of planes a step of 16, whose sum is then added to the element's float32 sum. Order and
// roundings depend on k alone: the tile may be chosen from the batch.
//
// A line is a row of A or a column of B: what sums run along. Each is scaled by its own power of two, to a
// greatest magnitude in [2, 4), so that nothing overflows and what is flushed is 2^-126 of the greatest;
// finished sums are scaled back with one rounding. Lines that hold an infinity or a NaN have zero
// planes, and their elements are recomputed by multiply-adds, in a kernel of its own. (csrc/kernels/bf16_pack.inc does the same.)
#pragma once

#include "cuda/arithmetic.cuh"
#include "cuda/ptx.cuh"

namespace homfast::cuda {

constexpr int kUnitDepth = 32;           // of a tile: two steps of the unit
constexpr int kPairs = kUnitDepth / 2;   // words a line, in shared memory

// Warps of a block, and 16 x 8 tiles of a warp.
template <int WarpRows, int WarpCols, int RowTiles, int ColTiles>
struct UnitTile {
  static constexpr int warp_cols = WarpCols, row_tiles = RowTiles, col_tiles = ColTiles;
  static constexpr int threads = 32 * WarpRows * WarpCols;
  static constexpr int rows = WarpRows * RowTiles * 16, cols = WarpCols * ColTiles * 8;
};

// An array whose lines go along its rows, or across them.
struct UnitLines {
  bool along;
  const float* data;
  index_t stride, lines;
  const std::uint8_t* mask;
  index_t mask_stride;
  float slope;
  const std::uint32_t* greatest;  // bits of each line's greatest magnitude
};

// What a line is multiplied by, 0 where it has no scale; and the exponent that undoes it. Denormals and
// zeros are scaled as the least normal number.
__device__ __forceinline__ std::uint32_t biased_exponent(std::uint32_t greatest) {
  const std::uint32_t biased = greatest >> 23;
  return biased == 0 ? 1 : biased;
}
__device__ __forceinline__ float scale_factor(std::uint32_t greatest) {
  const std::uint32_t biased = biased_exponent(greatest);
  return biased < 255 ? bits_as<float>((255 - biased) << 23) : 0.0f;
}
__device__ __forceinline__ int scale_exponent(std::uint32_t greatest) {
  return static_cast<int>(biased_exponent(greatest)) - 128;
}
__device__ __forceinline__ bool has_scale(std::uint32_t greatest) { return greatest >> 23 < 255; }

// An element of a line, scaled; 0 where the line has no scale.
__device__ __forceinline__ float scaled_element(float value, float factor) {
  return factor != 0.0f ? value * factor : 0.0f;
}

// Two neighbours of a line as words of planes: each rounds what the ones before have left.
template <int Planes>
__device__ __forceinline__ void split_pair(float low, float high, std::uint32_t (&planes)[Planes]) {
#pragma unroll
  for (int q = 0; q < Planes; ++q) {
    planes[q] = pack_bf16(low, high);
    low -= bits_as<float>(planes[q] << 16);
    high -= bits_as<float>(planes[q] & 0xffff0000u);
  }
}

// sum 2^exponent, rounded once: exact as a double before.
__device__ __forceinline__ float scaled_back(float sum, int exponent) {
  const auto power = static_cast<std::uint64_t>(exponent + 1023) << 52;
  return static_cast<float>(static_cast<double>(sum) * bits_as<double>(power));
}

__device__ __forceinline__ float line_element(const UnitLines& from, index_t line, index_t k) {
  return masked_element(from.data, from.stride, from.mask, from.mask_stride, from.slope,
                        from.along ? line : k, from.along ? k : line);
}

// The word of pair w of a line in shared memory: fragments and rows meet no bank twice.
__device__ __forceinline__ int word_of(int line, int w) {
  return line * kPairs + (w ^ (((line >> 1) & 3) << 2));
}

// A thread's share of a tile's lines: fetched while the tile before is multiplied, then split and stored.
//
// Neighbours in a warp are neighbours in memory: pairs of one line, or one pair of neighbouring lines. The
// lines of a thread are evenly apart, so that addresses go on by one addition.
template <int Planes, int Lines, int Threads>
struct PlaneSource {
  static constexpr int count = Lines * kPairs / Threads;
  static_assert(count * Threads == Lines * kPairs && Threads % Lines == 0, "uneven shares");
  using Words = std::uint32_t[Planes][Lines * kPairs];
  float values[count][2];

  template <bool Along>
  static __device__ __forceinline__ int line_of(int e) {
    const int t = static_cast<int>(threadIdx.x);
    return Along ? e * (Threads / kPairs) + t / kPairs : t % Lines;
  }
  template <bool Along>
  static __device__ __forceinline__ int word_in(int e) {
    const int t = static_cast<int>(threadIdx.x);
    return Along ? t % kPairs : e * (Threads / Lines) + t / Lines;
  }

  __device__ __forceinline__ void fetch(const UnitLines& from, index_t first, index_t k, index_t end) {
    const int lines = static_cast<int>(min_of<index_t>(from.lines - first, Lines));
    const int depth = static_cast<int>(min_of<index_t>(end - k, kUnitDepth));
    if (from.along) {
      fetch_from<true>(from, from.data + first * from.stride + k, lines, depth);
      if (from.mask) mask_from<true>(from, first, k, lines, depth);
    } else {
      fetch_from<false>(from, from.data + k * from.stride + first, lines, depth);
      if (from.mask) mask_from<false>(from, first, k, lines, depth);
    }
  }

  template <bool Along>
  __device__ __forceinline__ void fetch_from(const UnitLines& from, const float* tile, int lines, int depth) {
    const float* at = Along ? tile + line_of<Along>(0) * from.stride + 2 * word_in<Along>(0)
                            : tile + 2 * word_in<Along>(0) * from.stride + line_of<Along>(0);
    const index_t step = (Along ? Threads / kPairs : 2 * (Threads / Lines)) * from.stride;
    const index_t next = Along ? 1 : from.stride;
#pragma unroll
    for (int e = 0; e < count; ++e, at += step) {
      const bool in = line_of<Along>(e) < lines;
      const int k = 2 * word_in<Along>(e);
      values[e][0] = in && k < depth ? at[0] : 0.0f;
      values[e][1] = in && k + 1 < depth ? at[next] : 0.0f;
    }
  }

  template <bool Along>
  __device__ __forceinline__ void mask_from(const UnitLines& from, index_t first, index_t k, int lines,
                                            int depth) {
#pragma unroll
    for (int e = 0; e < count; ++e) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int line = line_of<Along>(e), within = 2 * word_in<Along>(e) + h;
        if (line >= lines || within >= depth) continue;
        const index_t row = Along ? first + line : k + within, col = Along ? k + within : first + line;
        const unsigned byte = from.mask[row * from.mask_stride + (col >> 3)];
        if ((byte >> (col & 7)) & 1) continue;
        values[e][h] = from.slope == 0.0f ? 0.0f : from.slope * values[e][h];
      }
    }
  }

  __device__ __forceinline__ void put(bool along, const float* factors, Words& to) const {
    if (along) {
      put_into<true>(factors, to);
    } else {
      put_into<false>(factors, to);
    }
  }

  template <bool Along>
  __device__ __forceinline__ void put_into(const float* factors, Words& to) const {
#pragma unroll
    for (int e = 0; e < count; ++e) {
      const float factor = factors[line_of<Along>(e)];
      const float low = scaled_element(values[e][0], factor), high = scaled_element(values[e][1], factor);
      const int word = word_of(line_of<Along>(e), word_in<Along>(e));
      std::uint32_t planes[Planes];
      split_pair(low, high, planes);
#pragma unroll
      for (int q = 0; q < Planes; ++q) to[q][word] = planes[q];
    }
  }
};

template <class Shape, int Planes>
struct UnitShared {
  alignas(16) std::uint32_t a[2][Planes][Shape::rows * kPairs];
  alignas(16) std::uint32_t b[2][Planes][Shape::cols * kPairs];
  float row_factors[Shape::rows], col_factors[Shape::cols];
};

// Sums += a step of 16: products of planes (p of A, q of B) with p + q < Planes, the smallest first and the
// leading one last, summed by the unit from zero.
template <int Planes, int ColTiles>
__device__ __forceinline__ void multiply_planes(const std::uint32_t (&left)[Planes][4],
                                                const std::uint32_t (&right)[Planes][ColTiles][2],
                                                float (&sums)[ColTiles][4]) {
  float step_sums[ColTiles][4] = {};
#pragma unroll
  for (int order = Planes - 1; order >= 0; --order) {
#pragma unroll
    for (int p = order; p >= 0; --p) {
#pragma unroll
      for (int j = 0; j < ColTiles; ++j) multiply_bf16(step_sums[j], left[p], right[order - p][j]);
    }
  }
#pragma unroll
  for (int j = 0; j < ColTiles; ++j) {
#pragma unroll
    for (int c = 0; c < 4; ++c) sums[j][c] += step_sums[j][c];
  }
}

template <class Shape, int Planes>
__device__ __forceinline__ void multiply_step(const std::uint32_t (&a)[Planes][Shape::rows * kPairs],
                                              const std::uint32_t (&b)[Planes][Shape::cols * kPairs],
                                              int step, int row, int col,
                                              float (&sums)[Shape::row_tiles][Shape::col_tiles][4]) {
  // Lines of tiles are 8 and 16 apart, which word_of's exclusive or does not see.
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, w = step * 8 + lane % 4;
  const int near = word_of(g, w), far = word_of(g, w + 4);
  std::uint32_t right[Planes][Shape::col_tiles][2];
#pragma unroll
  for (int q = 0; q < Planes; ++q) {
#pragma unroll
    for (int j = 0; j < Shape::col_tiles; ++j) {
      const std::uint32_t* const tile = &b[q][(col + 8 * j) * kPairs];
      right[q][j][0] = tile[near];
      right[q][j][1] = tile[far];
    }
  }
#pragma unroll
  for (int i = 0; i < Shape::row_tiles; ++i) {
    std::uint32_t left[Planes][4];
#pragma unroll
    for (int p = 0; p < Planes; ++p) {
      const std::uint32_t* const tile = &a[p][(row + 16 * i) * kPairs];
      left[p][0] = tile[near];
      left[p][1] = tile[near + 8 * kPairs];
      left[p][2] = tile[far];
      left[p][3] = tile[far + 8 * kPairs];
    }
    multiply_planes(left, right, sums[i]);
  }
}

// A scaled sum, finished; that of a line without a scale waits for recompute_unscaled.
__device__ __forceinline__ float finished_sum(const UnitLines& a, const UnitLines& b, index_t i,
                                              index_t j, float sum) {
  return scaled_back(sum, scale_exponent(a.greatest[i]) + scale_exponent(b.greatest[j]));
}

// Two neighbours of a row through the epilogue, and to where put(i, j, value) puts them. Four lanes side by side
// have the bits of one byte of the mask; every lane of the warp comes here.
template <class Put>
__device__ __forceinline__ void finish_two(const Product<float>& p, index_t i, index_t j, const float (&z)[2],
                                           Put put) {
  unsigned bits = 0;
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    if (i >= p.m || j + c >= p.n) continue;
    bool keep;
    put(i, j + c, finish(p, i, j + c, z[c], keep));
    bits |= static_cast<unsigned>(keep) << ((j + c) & 7);
  }
  if (p.epilogue != Epilogue::relu || !p.mask) return;
  bits |= __shfl_xor_sync(0xffffffffu, bits, 1);
  bits |= __shfl_xor_sync(0xffffffffu, bits, 2);
  if (i < p.m && j < p.n && (j & 7) == 0) {
    p.mask[i * p.mask_stride + (j >> 3)] = static_cast<std::uint8_t>(bits);
  }
}
__device__ __forceinline__ void store_two(const Product<float>& p, index_t i, index_t j, const float (&z)[2]) {
  finish_two(p, i, j, z, [&](index_t row, index_t col, float value) { p.c[row * p.c_stride + col] = value; });
}

// Sums of a chunk of k each go to `sums` (chunks, m, n), scaled; to p.c through the epilogue if that is null.
template <class Shape, int Planes>
__global__ void __launch_bounds__(Shape::threads, 1)
    bf16_product(const Product<float> p, const UnitLines a, const UnitLines b, index_t chunk_depth,
                 float* chunk_sums) {
  auto& shared = shared_as<UnitShared<Shape, Planes>>();
  const index_t tile_rows = (p.m + Shape::rows - 1) / Shape::rows;
  const index_t tile_cols = (p.n + Shape::cols - 1) / Shape::cols;
  const index_t chunk = blockIdx.x / (tile_rows * tile_cols);
  index_t tile_row, tile_col;
  tile_at(blockIdx.x - chunk * (tile_rows * tile_cols), tile_rows, tile_cols, tile_row, tile_col);
  const index_t first_row = tile_row * Shape::rows, first_col = tile_col * Shape::cols;
  const index_t begin = chunk * chunk_depth, end = min_of(begin + chunk_depth, p.k);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int row = warp / Shape::warp_cols * Shape::row_tiles * 16;
  const int col = warp % Shape::warp_cols * Shape::col_tiles * 8;

  for (int l = static_cast<int>(threadIdx.x); l < Shape::rows; l += Shape::threads) {
    shared.row_factors[l] = first_row + l < p.m ? scale_factor(a.greatest[first_row + l]) : 0.0f;
  }
  for (int l = static_cast<int>(threadIdx.x); l < Shape::cols; l += Shape::threads) {
    shared.col_factors[l] = first_col + l < p.n ? scale_factor(b.greatest[first_col + l]) : 0.0f;
  }
  PlaneSource<Planes, Shape::rows, Shape::threads> left;
  PlaneSource<Planes, Shape::cols, Shape::threads> right;
  left.fetch(a, first_row, begin, end);
  right.fetch(b, first_col, begin, end);
  __syncthreads();
  left.put(a.along, shared.row_factors, shared.a[0]);
  right.put(b.along, shared.col_factors, shared.b[0]);
  __syncthreads();

  float sums[Shape::row_tiles][Shape::col_tiles][4] = {};
  int buffer = 0;
  for (index_t k = begin; k < end; k += kUnitDepth, buffer ^= 1) {
    const index_t next = k + kUnitDepth;
    if (next < end) {
      left.fetch(a, first_row, next, end);
      right.fetch(b, first_col, next, end);
    }
#pragma unroll 1
    for (int step = 0; step < kUnitDepth / 16; ++step) {
      multiply_step<Shape, Planes>(shared.a[buffer], shared.b[buffer], step, row, col, sums);
    }
    if (next < end) {
      left.put(a.along, shared.row_factors, shared.a[buffer ^ 1]);
      right.put(b.along, shared.col_factors, shared.b[buffer ^ 1]);
    }
    __syncthreads();
  }

  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int r = 0; r < 2 * Shape::row_tiles; ++r) {
    const index_t i = first_row + row + 8 * r + lane / 4;
#pragma unroll
    for (int t = 0; t < Shape::col_tiles; ++t) {
      const index_t j = first_col + col + 8 * t + 2 * (lane % 4);
      float z[2];
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        z[c] = sums[r / 2][t][r % 2 * 2 + c];
        if (i >= p.m || j + c >= p.n) continue;
        if (chunk_sums) {
          chunk_sums[(chunk * p.m + i) * p.n + j + c] = z[c];
        } else {
          z[c] = finished_sum(a, b, i, j + c, z[c]);
        }
      }
      if (!chunk_sums) store_two(p, i, j, z);
    }
  }
}

}  // namespace homfast::cuda
