// A whole network of narrow layers in one kernel. A block keeps the weights in shared memory, read once;
// each of its warps takes 16 rows of the batch through all layers, and 16 others after them, without
// waiting for other warps. Every sum is that of the layer's own kernels, in their order: results have
// the bits that layer by layer has (fma_product.cuh, bf16_product.cuh).
//
// A layer is summed by multiply-adds, or in float32 from kLeastUnitDepth terms on by the matrix unit in
// Planes planes. Weights of the unit lie split, in the order in which a warp's fragments want them: two
// tiles of 8 columns are four words of each lane, one load.
#pragma once

#include "cuda/bf16_product.cuh"
#include "cuda/bf16_product.h"

namespace homfast::cuda {

constexpr int kMostLayers = 16;      // in a kernel's parameters
constexpr int kMostNarrow = 256;     // widths: a lane stages 4 pairs of a row of a weight
constexpr int kNarrowRows = 16;      // of the batch, a warp: one tile of the unit
constexpr int kMostNarrowWarps = 8;

// Sizes of a layer in shared memory; the host counts them, kernels find things by them.
struct NarrowLayer {
  bool on_unit;
  int in, out;    // features
  int offset;     // bytes before its weight
  int greatest;   // bytes before the greatest magnitudes of its lines: on the unit only
};

template <class T>
struct NarrowNetwork {
  MatrixView<const T> x;
  MatrixView<T> out;
  NetworkLayer<T> layers[kMostLayers];
  NarrowLayer sizes[kMostLayers];
  int count, stride;  // layers; elements between rows of activations
  int weight_bytes;
  T slope;
};

// Blocks that a multiprocessor has registers for; fewer where they fill its shared memory.
constexpr int narrow_blocks(int planes) { return planes == 3 ? 1 : 2; }

__host__ __device__ constexpr int round_up(int a, int b) { return (a + b - 1) / b * b; }

template <class T>
__host__ __device__ constexpr bool narrow_on_unit(int in) {
  return sizeof(T) == sizeof(float) && in >= static_cast<int>(kLeastUnitDepth);
}
// Steps of 16 over so many terms: as many as bf16_product takes, whose tiles are two of them.
__host__ __device__ constexpr int unit_steps(int in) { return round_up(in, kUnitDepth) / 16; }
__host__ __device__ constexpr int column_pairs(int out) { return round_up(out, 16) / 16; }

// Where a lane's four words of a plane of tiles 2 pair and 2 pair + 1 begin.
template <int Planes>
__host__ __device__ constexpr int fragment_at(int step, int pairs, int pair, int plane, int lane) {
  return (((step * pairs + pair) * Planes + plane) * 32 + lane) * 4;
}
// Words of the weight of a layer on the unit.
template <int Planes>
__host__ __device__ constexpr int fragment_words(int in, int out) {
  return fragment_at<Planes>(unit_steps(in), column_pairs(out), 0, 0, 0);
}
// The word of pair w (of neighbours along k) of a line: tiles of 8 lines, of which lane 4 (line % 8) + w % 4
// has words w / 4 % 2.
template <int Planes>
__host__ __device__ constexpr int fragment_word(int line, int w, int pairs, int plane) {
  return fragment_at<Planes>(w / 8, pairs, line / 16, plane, line % 8 * 4 + w % 4) + line / 8 % 2 * 2 +
         w / 4 % 2;
}
// Elements between the k of a weight for multiply-adds: odd, so that it is stored without conflicts.
__host__ __device__ constexpr int fma_stride(int out) { return out | 1; }

// A line of a weight by one warp: scaled, split and put in its place.
template <int Planes>
__device__ __forceinline__ void stage_line(const float* row, int depth, int line, int pairs,
                                           std::uint32_t* words, std::uint32_t* greatest) {
  constexpr int count = kMostNarrow / 64;
  const int lane = static_cast<int>(threadIdx.x) % 32, used = unit_steps(depth) * 8;
  float values[count][2];
  std::uint32_t most = 0;
#pragma unroll
  for (int e = 0; e < count; ++e) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int k = 2 * (32 * e + lane) + c;
      values[e][c] = row && k < depth ? row[k] : 0.0f;
      most = max_of(most, bits_as<std::uint32_t>(values[e][c]) & 0x7fffffffu);
    }
  }
  for (int half = 16; half > 0; half /= 2) most = max_of(most, __shfl_xor_sync(0xffffffffu, most, half));
  if (lane == 0) *greatest = most;
  const float factor = scale_factor(most);
#pragma unroll
  for (int e = 0; e < count; ++e) {
    const int w = 32 * e + lane;
    if (w >= used) continue;
    std::uint32_t planes[Planes];
    split_pair(scaled_element(values[e][0], factor), scaled_element(values[e][1], factor), planes);
#pragma unroll
    for (int q = 0; q < Planes; ++q) words[fragment_word<Planes>(line, w, pairs, q)] = planes[q];
  }
}

// All weights, by the whole block.
template <class T, int Planes>
__device__ __forceinline__ void stage_weights(const NarrowNetwork<T>& net, unsigned char* shared) {
  const int warps = static_cast<int>(blockDim.x) / 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int l = 0; l < net.count; ++l) {
    const NarrowLayer& size = net.sizes[l];
    const MatrixView<const T>& weight = net.layers[l].weight;
    if (size.on_unit) {
      if constexpr (sizeof(T) == sizeof(float)) {
        const int pairs = column_pairs(size.out);
        auto* const words = reinterpret_cast<std::uint32_t*>(shared + size.offset);
        auto* const greatest = reinterpret_cast<std::uint32_t*>(shared + size.greatest);
        for (int line = warp; line < 16 * pairs; line += warps) {
          const float* const row = line < size.out ? weight.data + line * weight.row_stride : nullptr;
          stage_line<Planes>(row, size.in, line, pairs, words, greatest + line);
        }
      }
    } else {
      T* const to = reinterpret_cast<T*>(shared + size.offset);
      for (int line = warp; line < size.out; line += warps) {
        for (int k = lane; k < size.in; k += 32) {
          to[k * fma_stride(size.out) + line] = weight.data[line * weight.row_stride + k];
        }
      }
    }
  }
}

// The activations of a warp's 16 rows and the bits of their greatest magnitudes.
template <class T>
struct NarrowRows {
  T* values;
  std::uint32_t* greatest;
};

// Leaves the greatest magnitude of row r, from every lane's own.
__device__ __forceinline__ void put_greatest(std::uint32_t* greatest, int r, std::uint32_t most) {
  for (int half = 16; half > 0; half /= 2) most = max_of(most, __shfl_xor_sync(0xffffffffu, most, half));
  if (static_cast<int>(threadIdx.x) % 32 == 0) greatest[r] = most;
}
__device__ __forceinline__ std::uint32_t magnitude_bits(float value) {
  return bits_as<std::uint32_t>(value) & 0x7fffffffu;
}
__device__ __forceinline__ std::uint32_t magnitude_bits(double) { return 0; }  // nothing is scaled

template <class T>
__device__ __forceinline__ void load_rows(const NarrowNetwork<T>& net, index_t first, T* to,
                                          std::uint32_t* greatest) {
  const int lane = static_cast<int>(threadIdx.x) % 32, in = net.sizes[0].in;
  for (int r = 0; r < kNarrowRows; ++r) {
    std::uint32_t most = 0;
    for (int c = lane; c < round_up(in, 32); c += 32) {
      const bool here = first + r < net.x.rows && c < in;
      const T value = here ? net.x.data[(first + r) * net.x.row_stride + c] : T(0);
      to[r * net.stride + c] = value;
      most = max_of(most, magnitude_bits(value));
    }
    put_greatest(greatest, r, most);
  }
}

// Sums of ColTiles tiles of columns on the unit, scaled, to `to`.
template <int Planes, int ColTiles>
__device__ __forceinline__ void unit_columns(const std::uint32_t* words, int steps, int pairs, int first_pair,
                                             const float* in, int stride, float low_factor,
                                             float high_factor, float* to) {
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  float sums[ColTiles][4] = {};
#pragma unroll 1
  for (int s = 0; s < steps; ++s) {
    std::uint32_t left[Planes][4], right[Planes][ColTiles][2];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float* const at = in + (g + e % 2 * 8) * stride + 16 * s + e / 2 * 8 + 2 * t;
      const float factor = e % 2 == 0 ? low_factor : high_factor;
      std::uint32_t planes[Planes];
      split_pair(scaled_element(at[0], factor), scaled_element(at[1], factor), planes);
#pragma unroll
      for (int p = 0; p < Planes; ++p) left[p][e] = planes[p];
    }
#pragma unroll
    for (int q = 0; q < Planes; ++q) {
#pragma unroll
      for (int j = 0; j < ColTiles; j += 2) {
        const auto both = *reinterpret_cast<const Four<std::uint32_t>*>(
            words + fragment_at<Planes>(s, pairs, first_pair + j / 2, q, lane));
        right[q][j][0] = both.v[0];
        right[q][j][1] = both.v[1];
        right[q][j + 1][0] = both.v[2];
        right[q][j + 1][1] = both.v[3];
      }
    }
    multiply_planes(left, right, sums);
  }
#pragma unroll
  for (int j = 0; j < ColTiles; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      to[(g + e / 2 * 8) * stride + 16 * first_pair + 8 * j + 2 * t + e % 2] = sums[j][e];
    }
  }
}

template <int Planes>
__device__ __forceinline__ void unit_layer(const NarrowLayer& size, const unsigned char* shared, const float* in,
                                           const std::uint32_t* greatest, int stride, float* to) {
  const auto* const words = reinterpret_cast<const std::uint32_t*>(shared + size.offset);
  const int steps = unit_steps(size.in), pairs = column_pairs(size.out);
  const int g = static_cast<int>(threadIdx.x) % 32 / 4;
  const float low = scale_factor(greatest[g]), high = scale_factor(greatest[g + 8]);
  int pair = 0;
  for (; pair + 4 <= pairs; pair += 4) {
    unit_columns<Planes, 8>(words, steps, pairs, pair, in, stride, low, high, to);
  }
  for (; pair < pairs; ++pair) {
    unit_columns<Planes, 2>(words, steps, pairs, pair, in, stride, low, high, to);
  }
}

// Chains of multiply-adds over k in order, from +0: 16 rows by two columns a lane.
template <class T>
__device__ __forceinline__ void fma_layer(const NarrowLayer& size, const unsigned char* shared, const T* in,
                                          int stride, T* to) {
  const T* const weight = reinterpret_cast<const T*>(shared + size.offset);
  const int step = fma_stride(size.out);
  for (int col = static_cast<int>(threadIdx.x) % 32; col < round_up(size.out, 32); col += 64) {
    const int first = min_of(col, size.out - 1), second = min_of(col + 32, size.out - 1);
    T sums[kNarrowRows][2] = {};
#pragma unroll 2
    for (int k = 0; k < size.in; ++k) {
      const T left = weight[k * step + first], right = weight[k * step + second];
#pragma unroll
      for (int r = 0; r < kNarrowRows; ++r) {
        const T value = in[r * stride + k];
        sums[r][0] = multiply_add(value, left, sums[r][0]);
        sums[r][1] = multiply_add(value, right, sums[r][1]);
      }
    }
#pragma unroll
    for (int r = 0; r < kNarrowRows; ++r) {
      if (col < size.out) to[r * stride + col] = sums[r][0];
      if (col + 32 < size.out) to[r * stride + col + 32] = sums[r][1];
    }
  }
}

// A scaled sum of the unit, finished; where an infinity or a NaN has left a line without a scale, the chain
// of multiply-adds instead, with the weight from where it lies.
template <class T>
__device__ __forceinline__ T unscaled(T sum, std::uint32_t, std::uint32_t, const T*, const T*, int) {
  return sum;
}
template <>
__device__ __forceinline__ float unscaled(float sum, std::uint32_t row, std::uint32_t line, const float* in,
                                          const float* weight, int depth) {
  if (has_scale(row) && has_scale(line)) {
    return scaled_back(sum, scale_exponent(row) + scale_exponent(line));
  }
  float chain = 0.0f;
#pragma unroll 1
  for (int k = 0; k < depth; ++k) chain = multiply_add(in[k], weight[k], chain);
  return chain;
}

// Sums of a layer to what it gives: activations for the next one and for `hidden`, bits, or the result.
template <class T>
__device__ __forceinline__ void finish_layer(const NarrowNetwork<T>& net, int l, const unsigned char* shared,
                                             index_t first, const T* in, T* to, std::uint32_t* greatest) {
  const NarrowLayer& size = net.sizes[l];
  const NetworkLayer<T>& layer = net.layers[l];
  const bool last = l + 1 == net.count;
  const MatrixView<T>& result = last ? net.out : layer.hidden;
  const auto* const lines = reinterpret_cast<const std::uint32_t*>(shared + size.greatest);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int r = 0; r < kNarrowRows; ++r) {
    const bool here = first + r < net.x.rows;
    const std::uint32_t row = greatest[r];
    std::uint32_t most = 0;
    for (int c = lane; c < round_up(size.out, 32); c += 32) {
      T value = T(0);
      bool keep = false;
      if (c < size.out) {
        value = to[r * net.stride + c];
        if (size.on_unit) {
          value = unscaled(value, row, lines[c], in + r * net.stride,
                           layer.weight.data + c * layer.weight.row_stride, size.in);
        }
        keep = last || !(value <= T(0));
        value = kept_or_sloped(keep, value, net.slope);
        if (here && result.data) result.data[(first + r) * result.row_stride + c] = value;
      }
      if (!last) {
        to[r * net.stride + c] = value;
        most = max_of(most, magnitude_bits(value));
        const unsigned bits = __ballot_sync(0xffffffffu, keep);
        const int byte = c / 32 * 4 + lane;
        if (layer.mask.data && here && lane < 4 && byte < (size.out + 7) / 8) {
          layer.mask.data[(first + r) * layer.mask.row_stride + byte] =
              static_cast<std::uint8_t>(bits >> 8 * lane);
        }
      }
    }
    if (!last) put_greatest(greatest, r, most);
  }
}

template <class T, int Planes>
__global__ void __launch_bounds__(32 * kMostNarrowWarps, narrow_blocks(Planes)) narrow_network(const NarrowNetwork<T> net) {
  unsigned char* const shared = &shared_as<unsigned char>();
  stage_weights<T, Planes>(net, shared);
  __syncthreads();

  const int warps = static_cast<int>(blockDim.x) / 32, warp = static_cast<int>(threadIdx.x) / 32;
  auto* const greatest = reinterpret_cast<std::uint32_t*>(shared + net.weight_bytes) + warp * kNarrowRows;
  T* const rows = reinterpret_cast<T*>(shared + net.weight_bytes + 4 * warps * kNarrowRows);
  T* const here = rows + 2 * warp * kNarrowRows * net.stride;
  T* const there = here + kNarrowRows * net.stride;
  const index_t tiles = (net.x.rows + kNarrowRows - 1) / kNarrowRows;
  for (index_t tile = static_cast<index_t>(blockIdx.x) * warps + warp; tile < tiles;
       tile += static_cast<index_t>(gridDim.x) * warps) {
    const index_t first = tile * kNarrowRows;
    load_rows(net, first, here, greatest);
#pragma unroll 1
    for (int l = 0; l < net.count; ++l) {
      T* const in = l % 2 == 0 ? here : there;
      T* const to = l % 2 == 0 ? there : here;
      __syncwarp();
      if constexpr (sizeof(T) == sizeof(float)) {
        if (net.sizes[l].on_unit) {
          unit_layer<Planes>(net.sizes[l], shared, in, greatest, net.stride, to);
        } else {
          fma_layer(net.sizes[l], shared, in, net.stride, to);
        }
      } else {
        fma_layer(net.sizes[l], shared, in, net.stride, to);
      }
      __syncwarp();
      finish_layer(net, l, shared, first, in, to, greatest);
    }
    __syncwarp();
  }
}

}  // namespace homfast::cuda
