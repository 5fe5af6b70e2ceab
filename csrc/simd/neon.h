// NEON (ASIMD of armv8-a): 4 floats or 2 doubles in one of 32 registers.
#pragma once

#include <arm_neon.h>

#include "core/views.h"

#define HF_INLINE inline __attribute__((always_inline))

namespace {

template <class T>
struct Simd;

template <>
struct Simd<float> {
  using vector = float32x4_t;
  using mask = uint32x4_t;
  static constexpr int lanes = 4;
  // 6 x 4 vectors of sums, 4 of B and up to 4 of A fill 32 registers, and 24 chains hide the latency
  // of four FMA units (4 cycles each). 12 x 2 has as many chains and 14 loads a k instead of 10.
  static constexpr int tile_rows = 6;
  static constexpr int tile_vectors = 4;
  static constexpr int l1_bytes = 28 * 1024;
};

template <>
struct Simd<double> {
  using vector = float64x2_t;
  using mask = uint64x2_t;
  static constexpr int lanes = 2;
  static constexpr int tile_rows = 6;
  static constexpr int tile_vectors = 4;
  static constexpr int l1_bytes = 28 * 1024;
};

template <>
struct Simd<std::uint64_t> {
  using vector = uint64x2_t;
  static constexpr int lanes = 2;
};

template <class T>
HF_INLINE typename Simd<T>::vector zero();
template <>
HF_INLINE float32x4_t zero<float>() { return vdupq_n_f32(0); }
template <>
HF_INLINE float64x2_t zero<double>() { return vdupq_n_f64(0); }
HF_INLINE float32x4_t broadcast(float x) { return vdupq_n_f32(x); }
HF_INLINE float64x2_t broadcast(double x) { return vdupq_n_f64(x); }

HF_INLINE float32x4_t load(const float* p) { return vld1q_f32(p); }
HF_INLINE float64x2_t load(const double* p) { return vld1q_f64(p); }
HF_INLINE void store(float* p, float32x4_t v) { vst1q_f32(p, v); }
HF_INLINE void store(double* p, float64x2_t v) { vst1q_f64(p, v); }
HF_INLINE float32x4_t load_bfloat16(const std::uint16_t* p) {
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
// In pieces: there are no masked loads and stores.
HF_INLINE float32x4_t load_partial(const float* p, int n) {
  if (n >= 4) return load(p);
  float32x4_t v = zero<float>();
  if (n & 2) {
    v = vcombine_f32(vld1_f32(p), vdup_n_f32(0));
    return n & 1 ? vld1q_lane_f32(p + 2, v, 2) : v;
  }
  return n & 1 ? vld1q_lane_f32(p, v, 0) : v;
}
HF_INLINE float64x2_t load_partial(const double* p, int n) {
  if (n >= 2) return load(p);
  return n == 1 ? vld1q_lane_f64(p, zero<double>(), 0) : zero<double>();
}
HF_INLINE void store_partial(float* p, float32x4_t v, int n) {
  if (n >= 4) return store(p, v);
  float32x2_t part = vget_low_f32(v);
  if (n & 2) {
    vst1_f32(p, part);
    part = vget_high_f32(v);
    p += 2;
  }
  if (n & 1) vst1_lane_f32(p, part, 0);
}
HF_INLINE void store_partial(double* p, float64x2_t v, int n) {
  if (n >= 2) return store(p, v);
  if (n == 1) vst1q_lane_f64(p, v, 0);
}

constexpr bool has_fma = true;
HF_INLINE float32x4_t add(float32x4_t a, float32x4_t b) { return vaddq_f32(a, b); }
HF_INLINE float64x2_t add(float64x2_t a, float64x2_t b) { return vaddq_f64(a, b); }
HF_INLINE float32x4_t sub(float32x4_t a, float32x4_t b) { return vsubq_f32(a, b); }
HF_INLINE float64x2_t sub(float64x2_t a, float64x2_t b) { return vsubq_f64(a, b); }
HF_INLINE float32x4_t mul(float32x4_t a, float32x4_t b) { return vmulq_f32(a, b); }
HF_INLINE float64x2_t mul(float64x2_t a, float64x2_t b) { return vmulq_f64(a, b); }
HF_INLINE float32x4_t div(float32x4_t a, float32x4_t b) { return vdivq_f32(a, b); }
HF_INLINE float64x2_t div(float64x2_t a, float64x2_t b) { return vdivq_f64(a, b); }
HF_INLINE float32x4_t sqrt(float32x4_t a) { return vsqrtq_f32(a); }
HF_INLINE float64x2_t sqrt(float64x2_t a) { return vsqrtq_f64(a); }
HF_INLINE float32x4_t fma(float32x4_t a, float32x4_t b, float32x4_t c) { return vfmaq_f32(c, a, b); }
HF_INLINE float64x2_t fma(float64x2_t a, float64x2_t b, float64x2_t c) { return vfmaq_f64(c, a, b); }

// The tree of the scalar target, which has as many lanes: all their bits agree.
HF_INLINE float hsum(float32x4_t v) {
  const float32x2_t s = vadd_f32(vget_low_f32(v), vget_high_f32(v));
  return vget_lane_f32(s, 0) + vget_lane_f32(s, 1);
}
HF_INLINE double hsum(float64x2_t v) { return vgetq_lane_f64(v, 0) + vgetq_lane_f64(v, 1); }

HF_INLINE uint32x4_t active(float32x4_t v) { return vmvnq_u32(vclezq_f32(v)); }
HF_INLINE uint64x2_t active(float64x2_t v) {
  return vreinterpretq_u64_u32(vmvnq_u32(vreinterpretq_u32_u64(vclezq_f64(v))));
}

HF_INLINE uint32x4_t lane_bits(uint32x4_t) { return uint32x4_t{1, 2, 4, 8}; }
HF_INLINE uint64x2_t lane_bits(uint64x2_t) { return uint64x2_t{1, 2}; }
HF_INLINE unsigned bits(uint32x4_t m) { return vaddvq_u32(vandq_u32(m, lane_bits(m))); }
HF_INLINE unsigned bits(uint64x2_t m) {
  return static_cast<unsigned>(vaddvq_u64(vandq_u64(m, lane_bits(m))));
}
template <class T>
HF_INLINE typename Simd<T>::mask mask_from_bits(unsigned b);
template <>
HF_INLINE uint32x4_t mask_from_bits<float>(unsigned b) {
  const uint32x4_t all = vdupq_n_u32(b);
  return vtstq_u32(all, lane_bits(all));
}
template <>
HF_INLINE uint64x2_t mask_from_bits<double>(unsigned b) {
  const uint64x2_t all = vdupq_n_u64(b);
  return vtstq_u64(all, lane_bits(all));
}
HF_INLINE float32x4_t select(uint32x4_t m, float32x4_t a, float32x4_t b) {
  return vbslq_f32(m, a, b);
}
HF_INLINE float64x2_t select(uint64x2_t m, float64x2_t a, float64x2_t b) {
  return vbslq_f64(m, a, b);
}

HF_INLINE void transpose(float32x4_t (&r)[4]) {
  const float64x2_t a = vreinterpretq_f64_f32(vtrn1q_f32(r[0], r[1]));
  const float64x2_t b = vreinterpretq_f64_f32(vtrn2q_f32(r[0], r[1]));
  const float64x2_t c = vreinterpretq_f64_f32(vtrn1q_f32(r[2], r[3]));
  const float64x2_t d = vreinterpretq_f64_f32(vtrn2q_f32(r[2], r[3]));
  r[0] = vreinterpretq_f32_f64(vtrn1q_f64(a, c));
  r[1] = vreinterpretq_f32_f64(vtrn1q_f64(b, d));
  r[2] = vreinterpretq_f32_f64(vtrn2q_f64(a, c));
  r[3] = vreinterpretq_f32_f64(vtrn2q_f64(b, d));
}
HF_INLINE void transpose(float64x2_t (&r)[2]) {
  const float64x2_t a = vtrn1q_f64(r[0], r[1]);
  r[1] = vtrn2q_f64(r[0], r[1]);
  r[0] = a;
}

HF_INLINE uint64x2_t load(const std::uint64_t* p) { return vld1q_u64(p); }
HF_INLINE void store(std::uint64_t* p, uint64x2_t v) { vst1q_u64(p, v); }
HF_INLINE uint64x2_t broadcast(std::uint64_t x) { return vdupq_n_u64(x); }
HF_INLINE uint64x2_t exclusive_or(uint64x2_t a, uint64x2_t b) { return veorq_u64(a, b); }
HF_INLINE uint64x2_t mul_low_halves(uint64x2_t a, uint64x2_t b) {
  return vmull_u32(vmovn_u64(a), vmovn_u64(b));
}
HF_INLINE uint64x2_t high_half(uint64x2_t a) { return vshrq_n_u64(a, 32); }
HF_INLINE void store_halves(std::uint32_t* p, uint64x2_t even, uint64x2_t odd) {
  vst1q_u32(p, vtrn1q_u32(vreinterpretq_u32_u64(even), vreinterpretq_u32_u64(odd)));
}

// The highest bit of each lane as the sign of 1.
HF_INLINE float32x4_t signed_ones(uint32x4_t a) {
  return vbslq_f32(vdupq_n_u32(1u << 31), vreinterpretq_f32_u32(a), vdupq_n_f32(1));
}
HF_INLINE float64x2_t signed_ones(uint64x2_t a) {
  return vbslq_f64(vdupq_n_u64(1ull << 63), vreinterpretq_f64_u64(a), vdupq_n_f64(1));
}
template <class T>
HF_INLINE typename Simd<T>::vector sign_bits(std::uint32_t word, int first);
template <>
HF_INLINE float32x4_t sign_bits<float>(std::uint32_t word, int first) {
  const int32x4_t counts = vsubq_s32(int32x4_t{31, 30, 29, 28}, vdupq_n_s32(first));
  return signed_ones(vshlq_u32(vdupq_n_u32(word), counts));
}
template <>
HF_INLINE float64x2_t sign_bits<double>(std::uint32_t word, int first) {
  const int64x2_t counts = vsubq_s64(int64x2_t{63, 62}, vdupq_n_s64(first));
  return signed_ones(vshlq_u64(vdupq_n_u64(word), counts));
}
template <class T>
HF_INLINE typename Simd<T>::vector sign_lanes(const std::uint32_t* words, int bit);
template <>
HF_INLINE float32x4_t sign_lanes<float>(const std::uint32_t* words, int bit) {
  return signed_ones(vshlq_u32(vld1q_u32(words), vdupq_n_s32(31 - bit)));
}
template <>
HF_INLINE float64x2_t sign_lanes<double>(const std::uint32_t* words, int bit) {
  return signed_ones(vshlq_u64(vmovl_u32(vld1_u32(words)), vdupq_n_s64(63 - bit)));
}

HF_INLINE float32x4_t lane_butterflies(float32x4_t v) {
  v = vfmaq_f32(vrev64q_f32(v), v, float32x4_t{1, -1, 1, -1});
  return vfmaq_f32(vextq_f32(v, v, 2), v, float32x4_t{1, 1, -1, -1});
}
HF_INLINE float64x2_t lane_butterflies(float64x2_t v) {
  return vfmaq_f64(vextq_f64(v, v, 1), v, float64x2_t{1, -1});
}

HF_INLINE void prefetch_write(const void* p) { __builtin_prefetch(p, 1); }

}  // namespace
