// C = A B of planes of bf16 (bf16_product.cuh) by Hopper's wgmma: persistent blocks of a warpgroup that copies
// tiles by TMA into a ring of stages, and two that multiply, 64 rows each. Bits depend on k alone.
//
// The unit adds up all of k for one plane ("medium"). For two or three planes, what 64 of k make is added
// to sums outside, for the unit truncates: without guard bits the leading product of 64 terms loses up to
// 4 x 36 roundings, the others and the terms left out less than 6, the additions K / 64 and one: less than K from
// kLeastWgmmaDepth on. For one plane that is at most 36 a step of 16, which 2^-8 - 2^-7 |W||x|, what rounding
// the operands leaves of the bound, covers up to kMostWgmmaDepth.
#pragma once

#include "cuda/bf16_product.cuh"
#include "cuda/hopper_ptx.cuh"
#include "cuda/launch.h"
#include "cuda/wgmma_layout.h"

namespace homfast::cuda {

template <int Planes>
struct WgmmaShared {
  static constexpr int cols = wgmma_cols(Planes), stages = wgmma_stages(Planes);
  alignas(kPatternBytes) unsigned char a[stages][kWgmmaRows * kLineBytes];
  alignas(kPatternBytes) unsigned char b[stages][cols * kLineBytes];
  Barrier full[stages], empty[stages];
};

// The tiles of a block, one after the other, and the steps of each: pairs of planes in blocks of k.
struct WgmmaTiles {
  index_t rows, cols;  // of tiles
  int blocks;          // of k
};

// One thread: stages are filled as consumers leave them.
template <int Planes>
__device__ __forceinline__ void copy_tiles(WgmmaShared<Planes>& shared, const WgmmaTiles& tiles,
                                           const CUtensorMap* a_map, const CUtensorMap* b_map) {
  constexpr int cols = WgmmaShared<Planes>::cols, pairs = plane_pairs(Planes);
  Ring<WgmmaShared<Planes>::stages> ring;
  for (index_t tile = blockIdx.x; tile < tiles.rows * tiles.cols; tile += gridDim.x) {
    index_t row, col;
    tile_at(tile, tiles.rows, tiles.cols, row, col);
    const int first_row = static_cast<int>(row * kWgmmaRows), first_col = static_cast<int>(col * cols);
    for (int block = 0; block < tiles.blocks; ++block) {
#pragma unroll 1
      for (int pair = 0; pair < pairs; ++pair, ring.advance()) {
        const PlanePair planes = plane_pair(Planes, pair);
        Barrier* const full = &shared.full[ring.stage];
        wait_for_phase(&shared.empty[ring.stage], ring.empty_parity());
        arrive_expecting(full, (kWgmmaRows + cols) * kLineBytes);
        copy_box(shared.a[ring.stage], a_map, block * kWgmmaDepth, first_row, planes.a, full);
        copy_box(shared.b[ring.stage], b_map, block * kWgmmaDepth, first_col, planes.b, full);
      }
    }
  }
}

__device__ __forceinline__ void put_result(float* to, float value) { *to = value; }
__device__ __forceinline__ void put_result(std::uint16_t* to, float value) {
  *to = static_cast<std::uint16_t>(pack_bf16(value, 0.0f));
}

// The sums of a tile, one thread's share of a consumer's, through the epilogue. Lines without magnitudes were
// not scaled. The unit may make -0 of an empty sum; a chain from +0 does not.
template <class Result, int Count>
__device__ __forceinline__ void store_tile(const Product<float>& p, const UnitLines& a, const UnitLines& b,
                                           Result* result, index_t first_row, index_t first_col,
                                           const float (&sums)[Count]) {
  const bool scaled = a.greatest != nullptr;
  const auto put = [&](index_t row, index_t col, float value) {
    put_result(result + row * p.c_stride + col, value);
  };
  const int thread = static_cast<int>(threadIdx.x) % 128;
  const index_t i[2] = {first_row + fragment_row(thread, 0), first_row + fragment_row(thread, 2)};
  int row_exponents[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    row_exponents[half] = scaled && i[half] < p.m ? scale_exponent(a.greatest[i[half]]) : 0;
  }
#pragma unroll
  for (int e = 0; e < Count; e += 4) {
    const index_t j = first_col + fragment_col(thread, e);
    int exponents[2];
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      exponents[c] = scaled && j + c < p.n ? scale_exponent(b.greatest[j + c]) : 0;
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float z[2];
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        z[c] = scaled_back(sums[e + 2 * half + c] + 0.0f, row_exponents[half] + exponents[c]);
      }
      finish_two(p, i[half], j, z, put);
    }
    keep_order();
  }
}

template <int Planes, class Result>
__device__ __forceinline__ void multiply_tiles(WgmmaShared<Planes>& shared, const WgmmaTiles& tiles,
                                               const Product<float>& p, const UnitLines& a,
                                               const UnitLines& b, Result* result, int consumer) {
  constexpr int cols = WgmmaShared<Planes>::cols, pairs = plane_pairs(Planes);
  const bool signals = threadIdx.x % 32 == 0;
  Ring<WgmmaShared<Planes>::stages> ring;
  for (index_t tile = blockIdx.x; tile < tiles.rows * tiles.cols; tile += gridDim.x) {
    index_t row, col;
    tile_at(tile, tiles.rows, tiles.cols, row, col);  // here, for its division would save all sums
    float sums[cols / 2], parts[Planes == 1 ? 1 : cols / 2];
    if constexpr (Planes > 1) {
#pragma unroll
      for (int e = 0; e < cols / 2; ++e) sums[e] = 0.0f;
    }
    Barrier* before = nullptr;  // of the stage whose products may be under way
#pragma unroll 1
    for (int block = 0; block < tiles.blocks; ++block) {
#pragma unroll 1
      for (int pair = 0; pair < pairs; ++pair, ring.advance()) {
        wait_for_phase(&shared.full[ring.stage], ring.full_parity());
        const std::uint32_t left = shared_address(shared.a[ring.stage]) + consumer_offset(consumer);
        const std::uint32_t right = shared_address(shared.b[ring.stage]);
        begin_products();
#pragma unroll
        for (int step = 0; step < kWgmmaDepth / 16; ++step) {
          const std::uint64_t l = matrix_descriptor(left + step_offset(step));
          const std::uint64_t r = matrix_descriptor(right + step_offset(step));
          if constexpr (Planes == 1) {
            multiply_async(sums, l, r, block + step > 0);
          } else {
            multiply_async(parts, l, r, pair + step > 0);
          }
        }
        end_products();
        wait_for_products<1>();
        if (before && signals) arrive(before);
        before = &shared.empty[ring.stage];
      }
      if constexpr (Planes > 1) {
        wait_for_products<0>();
        hold(parts);
        if (signals) arrive(before);
        before = nullptr;
#pragma unroll
        for (int e = 0; e < cols / 2; ++e) sums[e] += parts[e];
      }
    }
    if constexpr (Planes == 1) {
      wait_for_products<0>();
      hold(sums);
      if (signals) arrive(before);
    }
    store_tile(p, a, b, result, row * kWgmmaRows + consumer * 64, col * cols, sums);
  }
}

template <int Planes, class Result>
__global__ void __launch_bounds__(kWgmmaThreads, 1)
    wgmma_product(const Product<float> p, const UnitLines a, const UnitLines b, Result* result,
                  const WgmmaTiles tiles, const __grid_constant__ CUtensorMap a_map,
                  const __grid_constant__ CUtensorMap b_map) {
#if HF_HAS_WGMMA
  auto& shared = shared_as<WgmmaShared<Planes>>();
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < WgmmaShared<Planes>::stages; ++stage) {
      begin_barrier(&shared.full[stage], 1);
      begin_barrier(&shared.empty[stage], 4 * kConsumers);  // a lane of each warp
    }
    publish_barriers();
  }
  __syncthreads();
  const int group = static_cast<int>(threadIdx.x) / 128;
  if (group == 0) {
    give_registers<40>();
    if (threadIdx.x == 0) copy_tiles(shared, tiles, &a_map, &b_map);
  } else {
    take_registers<232>();
    multiply_tiles(shared, tiles, p, a, b, result, group - 1);
  }
#endif
}

// Lines of an array as planes of bf16 (planes, lines, depth), `depth` a multiple of kWgmmaDepth, zeros behind
// `terms`. A block takes 32 lines by kWgmmaDepth through shared memory, so that reads and writes are along rows.
constexpr int kSplitLines = 32;
struct SplitShared {
  float values[kSplitLines][kWgmmaDepth + 1];
};

template <int Planes>
__global__ void __launch_bounds__(256)
    split_planes(const UnitLines from, index_t terms, index_t depth, std::uint32_t* to) {
  auto& shared = shared_as<SplitShared>();
  const index_t across = depth / kWgmmaDepth;
  const index_t first = blockIdx.x / across * kSplitLines, k0 = blockIdx.x % across * kWgmmaDepth;
  const int t = static_cast<int>(threadIdx.x);
  for (int e = t; e < kSplitLines * kWgmmaDepth; e += 256) {
    const int line = from.along ? e / kWgmmaDepth : e % kSplitLines;
    const int k = from.along ? e % kWgmmaDepth : e / kSplitLines;
    const bool in = first + line < from.lines && k0 + k < terms;
    shared.values[line][k] = in ? line_element(from, first + line, k0 + k) : 0.0f;
  }
  __syncthreads();
  for (int e = t; e < kSplitLines * kWgmmaDepth / 2; e += 256) {
    const int line = e / (kWgmmaDepth / 2), w = e % (kWgmmaDepth / 2);
    if (first + line >= from.lines) continue;
    const float factor = scale_factor(from.greatest[first + line]);
    std::uint32_t words[Planes];
    split_pair(scaled_element(shared.values[line][2 * w], factor),
               scaled_element(shared.values[line][2 * w + 1], factor), words);
#pragma unroll
    for (int q = 0; q < Planes; ++q) {
      to[((q * from.lines + first + line) * depth + k0) / 2 + w] = words[q];
    }
  }
}

// Rows of bf16 that TMA cannot read where they lie, in rows `depth` apart.
__global__ void __launch_bounds__(kThreads)
    copy_rows(const MatrixView<const std::uint16_t> from, index_t depth, std::uint16_t* to) {
  const index_t size = from.rows * depth;
  for (index_t e = global_index(); e < size; e += global_step()) {
    const index_t i = e / depth, k = e % depth;
    to[e] = k < from.cols ? from.data[i * from.row_stride + k] : std::uint16_t{0};
  }
}

}  // namespace homfast::cuda
