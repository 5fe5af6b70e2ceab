// No instruction set of its own: 16-byte vectors of the compiler's vector extension, which are SSE on
// the x86-64-v2 baseline and plain code elsewhere. This is the target that every machine can run.
#pragma once

#include "core/views.h"

#define HF_INLINE inline __attribute__((always_inline))

namespace {

typedef float f32x4 __attribute__((vector_size(16)));
typedef double f64x2 __attribute__((vector_size(16)));
typedef std::int32_t i32x4 __attribute__((vector_size(16)));
typedef std::int64_t i64x2 __attribute__((vector_size(16)));
typedef std::uint32_t u32x4 __attribute__((vector_size(16)));
typedef std::uint64_t u64x2 __attribute__((vector_size(16)));

template <class T>
struct Simd;

template <>
struct Simd<float> {
  using vector = f32x4;
  using mask = i32x4;
  static constexpr int lanes = 4;
  static constexpr int tile_rows = 4;  // 4 x 2 sums, 2 of B, 1 of A and a product in 16 registers
  static constexpr int tile_vectors = 2;
  static constexpr int l1_bytes = 28 * 1024;
};

template <>
struct Simd<double> {
  using vector = f64x2;
  using mask = i64x2;
  static constexpr int lanes = 2;
  static constexpr int tile_rows = 2;
  static constexpr int tile_vectors = 4;  // panels are a multiple of 8 wide, a byte of the bit mask
  static constexpr int l1_bytes = 28 * 1024;
};

// One word a lane: SSE's product of halves has no name in the compiler's vector extension.
template <>
struct Simd<std::uint64_t> {
  using vector = std::uint64_t;
  static constexpr int lanes = 1;
};

HF_INLINE f32x4 load(const float* p) {
  f32x4 v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
HF_INLINE f64x2 load(const double* p) {
  f64x2 v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
HF_INLINE void store(float* p, f32x4 v) { __builtin_memcpy(p, &v, sizeof v); }
HF_INLINE void store(double* p, f64x2 v) { __builtin_memcpy(p, &v, sizeof v); }
HF_INLINE f32x4 load_bfloat16(const std::uint16_t* p) {
  f32x4 v;
  for (int l = 0; l < 4; ++l) {
    const std::uint32_t bits = static_cast<std::uint32_t>(p[l]) << 16;
    float value;
    __builtin_memcpy(&value, &bits, sizeof bits);
    v[l] = value;
  }
  return v;
}
HF_INLINE f32x4 load_partial(const float* p, int n) {
  f32x4 v = {0, 0, 0, 0};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
HF_INLINE f64x2 load_partial(const double* p, int n) {
  f64x2 v = {0, 0};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
HF_INLINE void store_partial(float* p, f32x4 v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}
HF_INLINE void store_partial(double* p, f64x2 v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}

template <class T>
HF_INLINE typename Simd<T>::vector zero() {
  return typename Simd<T>::vector{};
}
HF_INLINE f32x4 broadcast(float x) { return f32x4{x, x, x, x}; }
HF_INLINE f64x2 broadcast(double x) { return f64x2{x, x}; }

// Compiled with -ffp-contract=off, so that `a * b + c` rounds twice on every machine. Where the baseline
// has a fused multiply-add in one instruction (aarch64), that is what `fma` is.
#if defined(__FP_FAST_FMA) && defined(__FP_FAST_FMAF)
constexpr bool has_fma = true;
#else
constexpr bool has_fma = false;
#endif
HF_INLINE f32x4 add(f32x4 a, f32x4 b) { return a + b; }
HF_INLINE f64x2 add(f64x2 a, f64x2 b) { return a + b; }
HF_INLINE f32x4 sub(f32x4 a, f32x4 b) { return a - b; }
HF_INLINE f64x2 sub(f64x2 a, f64x2 b) { return a - b; }
HF_INLINE f32x4 mul(f32x4 a, f32x4 b) { return a * b; }
HF_INLINE f64x2 mul(f64x2 a, f64x2 b) { return a * b; }
HF_INLINE f32x4 div(f32x4 a, f32x4 b) { return a / b; }
HF_INLINE f64x2 div(f64x2 a, f64x2 b) { return a / b; }
HF_INLINE f32x4 sqrt(f32x4 a) {
  for (int i = 0; i < 4; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
}
HF_INLINE f64x2 sqrt(f64x2 a) {
  for (int i = 0; i < 2; ++i) a[i] = __builtin_sqrt(a[i]);
  return a;
}
HF_INLINE f32x4 fma(f32x4 a, f32x4 b, f32x4 c) {
  if (!has_fma) return a * b + c;
  for (int i = 0; i < 4; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
}
HF_INLINE f64x2 fma(f64x2 a, f64x2 b, f64x2 c) {
  if (!has_fma) return a * b + c;
  for (int i = 0; i < 2; ++i) c[i] = __builtin_fma(a[i], b[i], c[i]);
  return c;
}

HF_INLINE float hsum(f32x4 v) { return (v[0] + v[2]) + (v[1] + v[3]); }
HF_INLINE double hsum(f64x2 v) { return v[0] + v[1]; }

HF_INLINE i32x4 active(f32x4 v) { return ~(v <= f32x4{}); }
HF_INLINE i64x2 active(f64x2 v) { return ~(v <= f64x2{}); }
HF_INLINE unsigned bits(i32x4 m) {
  return static_cast<unsigned>((m[0] & 1) | (m[1] & 2) | (m[2] & 4) | (m[3] & 8));
}
HF_INLINE unsigned bits(i64x2 m) { return static_cast<unsigned>((m[0] & 1) | (m[1] & 2)); }

template <class T>
HF_INLINE typename Simd<T>::mask mask_from_bits(unsigned b);
template <>
HF_INLINE i32x4 mask_from_bits<float>(unsigned b) {
  const i32x4 lane = {1, 2, 4, 8};
  const int all = static_cast<int>(b);
  return (i32x4{all, all, all, all} & lane) == lane;
}
template <>
HF_INLINE i64x2 mask_from_bits<double>(unsigned b) {
  const i64x2 lane = {1, 2};
  const long all = static_cast<long>(b);
  return (i64x2{all, all} & lane) == lane;
}
HF_INLINE f32x4 select(i32x4 m, f32x4 a, f32x4 b) { return m ? a : b; }
HF_INLINE f64x2 select(i64x2 m, f64x2 a, f64x2 b) { return m ? a : b; }

HF_INLINE void transpose(f32x4 (&r)[4]) {
  const f32x4 a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
  const f32x4 b = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  const f32x4 c = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
  const f32x4 d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  r[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  r[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  r[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}
HF_INLINE void transpose(f64x2 (&r)[2]) {
  const f64x2 a = {r[0][0], r[1][0]};
  r[1] = f64x2{r[0][1], r[1][1]};
  r[0] = a;
}

HF_INLINE std::uint64_t load(const std::uint64_t* p) { return *p; }
HF_INLINE void store(std::uint64_t* p, std::uint64_t v) { *p = v; }
HF_INLINE std::uint64_t broadcast(std::uint64_t x) { return x; }
HF_INLINE std::uint64_t exclusive_or(std::uint64_t a, std::uint64_t b) { return a ^ b; }
HF_INLINE std::uint64_t mul_low_halves(std::uint64_t a, std::uint64_t b) {
  return (a & 0xffffffffu) * (b & 0xffffffffu);
}
HF_INLINE std::uint64_t high_half(std::uint64_t a) { return a >> 32; }
template <class T>
HF_INLINE typename Simd<T>::vector sign_bits(std::uint32_t word, int first) {
  return select(mask_from_bits<T>(word >> first), broadcast(T(-1)), broadcast(T(1)));
}
HF_INLINE void store_halves(std::uint32_t* p, std::uint64_t even, std::uint64_t odd) {
  p[0] = static_cast<std::uint32_t>(even);
  p[1] = static_cast<std::uint32_t>(odd);
}

HF_INLINE f32x4 lane_butterflies(f32x4 v) {
  v = v * f32x4{1, -1, 1, -1} + __builtin_shufflevector(v, v, 1, 0, 3, 2);
  return v * f32x4{1, 1, -1, -1} + __builtin_shufflevector(v, v, 2, 3, 0, 1);
}
HF_INLINE f64x2 lane_butterflies(f64x2 v) {
  return v * f64x2{1, -1} + __builtin_shufflevector(v, v, 1, 0);
}

template <class T>
HF_INLINE typename Simd<T>::vector sign_lanes(const std::uint32_t* words, int bit);
template <>
HF_INLINE f32x4 sign_lanes<float>(const std::uint32_t* words, int bit) {
  u32x4 all;
  __builtin_memcpy(&all, words, sizeof all);
  const auto one = reinterpret_cast<u32x4>(broadcast(1.0f));
  return reinterpret_cast<f32x4>((all >> bit) << 31 | one);
}
template <>
HF_INLINE f64x2 sign_lanes<double>(const std::uint32_t* words, int bit) {
  const u64x2 all = {words[0], words[1]};
  const auto one = reinterpret_cast<u64x2>(broadcast(1.0));
  return reinterpret_cast<f64x2>((all >> bit) << 63 | one);
}

HF_INLINE void prefetch_write(const void* p) { __builtin_prefetch(p, 1); }

}  // namespace
