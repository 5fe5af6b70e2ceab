#include "cuda/bf16_product.h"

#include "cuda/bf16_product.cuh"
#include "cuda/launch.h"
#include "cuda/wgmma_product.h"

namespace homfast::cuda {
inline namespace in_bf16_product {

using Large = UnitTile<2, 4, 4, 4>;  // 128 x 128
using Small = UnitTile<2, 2, 2, 4>;  // 64 x 64
__global__ void __launch_bounds__(kThreads) clear_words(std::uint32_t* words, index_t count) {
  for (index_t i = global_index(); i < count; i += global_step()) words[i] = 0;
}

constexpr index_t kScanDepth = 2048;  // of a line, or of 32 of them, a warp

// The greatest magnitude of each line. A maximum of integers knows no order: the atomics give the same
// whatever comes first.
__global__ void __launch_bounds__(kThreads)
    scan_lines(const UnitLines from, index_t depth, std::uint32_t* greatest) {
  const index_t warp = (static_cast<index_t>(blockIdx.x) * kThreads + threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const index_t parts = (depth + kScanDepth - 1) / kScanDepth;
  const index_t group = warp / parts, begin = warp % parts * kScanDepth;
  const index_t end = min_of(begin + kScanDepth, depth);
  const bool along = from.along;
  const index_t line = along ? group : group * 32 + lane;
  std::uint32_t most = 0;
  if (line < from.lines) {
    for (index_t k = begin + (along ? lane : 0); k < end; k += along ? 32 : 1) {
      most = max_of(most, bits_as<std::uint32_t>(line_element(from, line, k)) & 0x7fffffffu);
    }
  }
  if (along) {
    for (int half = 16; half > 0; half /= 2) most = max_of(most, __shfl_xor_sync(0xffffffffu, most, half));
  }
  if (line < from.lines && (!along || lane == 0)) atomicMax(greatest + line, most);
}

void scan(const UnitLines& from, index_t depth, std::uint32_t* greatest, Stream stream) {
  const index_t groups = from.along ? from.lines : ceil_div<index_t>(from.lines, 32);
  const index_t warps = groups * ceil_div(depth, kScanDepth);
  launch("scan_lines", scan_lines, ceil_div<index_t>(warps, kThreads / 32), kThreads, 0, stream, from,
         depth, greatest);
}

// What an infinity or a NaN in its lines makes of an element: by multiply-adds, eight neighbours a thread,
// which share a byte of the mask.
__global__ void __launch_bounds__(kThreads)
    recompute_unscaled(const Product<float> p, const UnitLines a, const UnitLines b) {
  const index_t per_row = (p.n + 7) / 8;
  for (index_t e = global_index(); e < p.m * per_row; e += global_step()) {
    const index_t i = e / per_row, first = e % per_row * 8;
    const bool whole = !has_scale(a.greatest[i]);
    for (index_t j = first; j < min_of(first + 8, p.n); ++j) {
      if (!whole && has_scale(b.greatest[j])) continue;
      float sum = 0.0f;
      for (index_t k = 0; k < p.k; ++k) {
        sum = multiply_add(line_element(a, i, k), line_element(b, j, k), sum);
      }
      bool keep;
      p.c[i * p.c_stride + j] = finish(p, i, j, sum, keep);
      if (p.epilogue != Epilogue::relu || !p.mask) continue;
      std::uint8_t& byte = p.mask[i * p.mask_stride + (j >> 3)];
      const auto bit = static_cast<unsigned>(1u << (j & 7));
      byte = static_cast<std::uint8_t>(keep ? byte | bit : byte & ~bit);
    }
  }
}

// The sums of the chunks, in their order, finished.
__global__ void __launch_bounds__(kThreads)
    finish_chunks(const Product<float> p, const UnitLines a, const UnitLines b, index_t chunks,
                  const float* sums) {
  const index_t size = p.m * p.n;
  for (index_t e = global_index(); e < size; e += global_step()) {
    float sum = sums[e];
    for (index_t c = 1; c < chunks; ++c) sum += sums[c * size + e];
    const index_t i = e / p.n, j = e % p.n;
    p.c[i * p.c_stride + j] = finished_sum(a, b, i, j, sum);
  }
}

template <class Shape, int Planes>
void run_tiles(const Product<float>& p, const UnitLines& a, const UnitLines& b, index_t chunk,
               index_t chunks, float* sums, Stream stream) {
  const index_t tiles = ceil_div<index_t>(p.m, Shape::rows) * ceil_div<index_t>(p.n, Shape::cols);
  launch("bf16_product", bf16_product<Shape, Planes>, tiles * chunks, Shape::threads,
         sizeof(UnitShared<Shape, Planes>), stream, p, a, b, chunk, sums);
}

template <int Planes>
void choose_tiles(const Product<float>& p, const UnitLines& a, const UnitLines& b, index_t chunk,
                  index_t chunks, float* sums, Stream stream) {
  const index_t tiles = ceil_div<index_t>(p.m, Large::rows) * ceil_div<index_t>(p.n, Large::cols);
  const bool large = tiles * chunks >= kManyTiles;
  (large ? &run_tiles<Large, Planes> : &run_tiles<Small, Planes>)(p, a, b, chunk, chunks, sums, stream);
}

// Words before the sums, which begin aligned.
index_t line_words(index_t m, index_t n) { return (m + n + 3) / 4 * 4; }

}  // namespace in_bf16_product

index_t bf16_product_scratch(index_t m, index_t n, index_t k, index_t chunk, Precision precision) {
  const index_t words = 4 * line_words(m, n), chunks = chunk > 0 ? ceil_div(k, chunk) : 1;
  if (chunk == 0 && takes_wgmma(n, k)) return words + wgmma_scratch(m, n, k, precision);
  return words + (chunks > 1 ? 4 * chunks * m * n : 0);
}

void run_bf16_product(const Product<float>& p, index_t chunk, Scratch scratch, Stream stream) {
  if (p.m == 0 || p.n == 0) return;
  const index_t depth = chunk > 0 ? chunk : p.k, chunks = ceil_div(p.k, depth);
  if (scratch.bytes < bf16_product_scratch(p.m, p.n, p.k, chunk, p.precision)) {
    throw CudaError("scratch: too small for this op");
  }
  auto* const greatest = static_cast<std::uint32_t*>(scratch.data);
  std::uint32_t* const behind = greatest + line_words(p.m, p.n);
  float* const sums = chunks > 1 ? reinterpret_cast<float*>(behind) : nullptr;
  const UnitLines a{!p.a_transposed, p.a,     p.a_stride, p.m, p.a_mask, p.a_mask_stride,
                    p.slope,         greatest};
  const UnitLines b{p.b_layout == Layout::columns, p.b, p.b_stride, p.n, nullptr, 0, 0.0f,
                    greatest + p.m};
  launch("clear_words", clear_words, blocks_for(p.m + p.n), kThreads, 0, stream, greatest, p.m + p.n);
  scan(a, p.k, greatest, stream);
  scan(b, p.k, greatest + p.m, stream);
  if (chunk == 0 && takes_wgmma(p.n, p.k)) {
    run_wgmma_product(p, a, b, behind, stream);
  } else if (p.precision == Precision::highest) {
    choose_tiles<3>(p, a, b, depth, chunks, sums, stream);
  } else if (p.precision == Precision::high) {
    choose_tiles<2>(p, a, b, depth, chunks, sums, stream);
  } else {
    choose_tiles<1>(p, a, b, depth, chunks, sums, stream);
  }
  if (chunks > 1) {
    launch("finish_chunks", finish_chunks, blocks_for(p.m * p.n), kThreads, 0, stream, p, a, b, chunks,
           static_cast<const float*>(sums));
  }
  launch("recompute_unscaled", recompute_unscaled, blocks_for(p.m * ceil_div<index_t>(p.n, 8)), kThreads,
         0, stream, p, a, b);
}

}  // namespace homfast::cuda
