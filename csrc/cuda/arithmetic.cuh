// Arithmetic that is rounded as written: nvcc is told not to contract (-fmad=false), so that a multiply-add
// is one only where it is called so.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "core/views.h"
#include "cuda/ops.h"

namespace homfast::cuda {

__device__ __forceinline__ float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ __forceinline__ double multiply_add(double a, double b, double c) {
  return __fma_rn(a, b, c);
}
__device__ __forceinline__ float root(float x) { return __fsqrt_rn(x); }
__device__ __forceinline__ double root(double x) { return __dsqrt_rn(x); }

// Complex numbers in real ones, each operation rounded once.
template <class T>
__device__ __forceinline__ Complex<T> operator+(Complex<T> a, Complex<T> b) {
  return {a.re + b.re, a.im + b.im};
}
template <class T>
__device__ __forceinline__ Complex<T> operator*(Complex<T> a, Complex<T> b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
template <class T>
__device__ __forceinline__ Complex<T> operator*(Complex<T> a, T factor) {
  return {a.re * factor, a.im * factor};
}

// A number of type E, both parts of it `value`.
template <class E>
E as_number(RealOf<E> value) {
  if constexpr (sizeof(E) == sizeof(value)) {
    return value;
  } else {
    return {value, value};
  }
}

template <class To, class From>
__device__ __forceinline__ To bits_as(From value) {
  static_assert(sizeof(To) == sizeof(From), "another size");
  To result;
  memcpy(&result, &value, sizeof result);
  return result;
}

// The shared memory of a launch, as a structure.
template <class Shared>
__device__ __forceinline__ Shared& shared_as() {
  extern __shared__ __align__(1024) unsigned char dynamic_shared[];
  return *reinterpret_cast<Shared*>(dynamic_shared);
}

// Four neighbours, moved at once.
template <class T>
struct alignas(16) Four {
  T v[4];
};

__device__ __forceinline__ index_t global_index() {
  return static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ index_t global_step() {
  return static_cast<index_t>(gridDim.x) * blockDim.x;
}

template <class T>
__host__ __device__ __forceinline__ T min_of(T a, T b) {
  return a < b ? a : b;
}
template <class T>
__host__ __device__ __forceinline__ T max_of(T a, T b) {
  return a < b ? b : a;
}

// Tiles of eight rows of tiles go together: blocks that run at one time share operands in L2.
__device__ __forceinline__ void tile_at(index_t block, index_t tile_rows, index_t tile_cols,
                                        index_t& row, index_t& col) {
  constexpr index_t group = 8;
  const index_t band = block / (group * tile_cols), first = band * group;
  const index_t height = min_of(group, tile_rows - first), within = block - first * tile_cols;
  row = first + within % height;
  col = within / height;
}

template <class T>
__device__ __forceinline__ T kept_or_sloped(bool keep, T z, T slope) {
  if (keep) return z;
  return slope == T(0) ? T(0) : slope * z;
}

// A finished sum z through the epilogue of p, at (i, j): the value to store, and whether it is kept.
template <class T>
__device__ __forceinline__ T finish(const Product<T>& p, index_t i, index_t j, T z, bool& keep) {
  keep = true;
  if (p.epilogue == Epilogue::relu) {
    keep = !(z <= T(0));
  } else if (p.epilogue == Epilogue::masked) {
    keep = (p.mask[i * p.mask_stride + (j >> 3)] >> (j & 7)) & 1;
  }
  return kept_or_sloped(keep, z, p.slope);
}

// Element (row, col) of the array in which a lies, with the mask applied.
template <class T>
__device__ __forceinline__ T masked_element(const T* a, index_t stride, const std::uint8_t* mask,
                                            index_t mask_stride, T slope, index_t row, index_t col) {
  const T value = a[row * stride + col];
  const bool keep = !mask || ((mask[row * mask_stride + (col >> 3)] >> (col & 7)) & 1);
  return kept_or_sloped(keep, value, slope);
}

}  // namespace homfast::cuda
