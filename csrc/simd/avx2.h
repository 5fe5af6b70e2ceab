// AVX2 + FMA: 8 floats or 4 doubles in one of 16 registers.
#pragma once

#include <immintrin.h>

#include "core/views.h"

#define HF_INLINE inline __attribute__((always_inline))

namespace {

template <class T>
struct Simd;

template <>
struct Simd<float> {
  using vector = __m256;
  using mask = __m256;
  static constexpr int lanes = 8;
  // 6 x 2 vectors of sums, 2 of B and 1 of A fill 15 of 16 registers, and 12 chains hide the
  // latency of two FMA units (4 or 5 cycles each).
  static constexpr int tile_rows = 6;
  static constexpr int tile_vectors = 2;
  static constexpr int l1_bytes = 28 * 1024;
};

template <>
struct Simd<double> {
  using vector = __m256d;
  using mask = __m256d;
  static constexpr int lanes = 4;
  static constexpr int tile_rows = 6;
  static constexpr int tile_vectors = 2;
  static constexpr int l1_bytes = 28 * 1024;
};

template <>
struct Simd<std::uint64_t> {
  using vector = __m256i;
  static constexpr int lanes = 4;
};

// A window into this, n lanes before its middle, has the first n lanes set.
alignas(32) constexpr std::int32_t lane_window[16] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                                      0,  0,  0,  0,  0,  0,  0,  0};

HF_INLINE __m256i first_lanes(const float*, int n) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane_window + 8 - n));
}
HF_INLINE __m256i first_lanes(const double*, int n) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane_window + 8 - 2 * n));
}

HF_INLINE __m256 load(const float* p) { return _mm256_loadu_ps(p); }
HF_INLINE __m256d load(const double* p) { return _mm256_loadu_pd(p); }
HF_INLINE void store(float* p, __m256 v) { _mm256_storeu_ps(p, v); }
HF_INLINE void store(double* p, __m256d v) { _mm256_storeu_pd(p, v); }
HF_INLINE __m256 load_bfloat16(const std::uint16_t* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
HF_INLINE __m256 load_partial(const float* p, int n) {
  return _mm256_maskload_ps(p, first_lanes(p, n));
}
HF_INLINE __m256d load_partial(const double* p, int n) {
  return _mm256_maskload_pd(p, first_lanes(p, n));
}
// In pieces: a masked store is microcode on some processors, tens of cycles a store.
HF_INLINE void store_partial(float* p, __m256 v, int n) {
  if (n >= 8) return store(p, v);
  __m128 part = _mm256_castps256_ps128(v);
  if (n & 4) {
    _mm_storeu_ps(p, part);
    part = _mm256_extractf128_ps(v, 1);
    p += 4;
  }
  if (n & 2) {
    _mm_storel_pi(reinterpret_cast<__m64*>(p), part);
    part = _mm_movehl_ps(part, part);
    p += 2;
  }
  if (n & 1) _mm_store_ss(p, part);
}
HF_INLINE void store_partial(double* p, __m256d v, int n) {
  if (n >= 4) return store(p, v);
  __m128d part = _mm256_castpd256_pd128(v);
  if (n & 2) {
    _mm_storeu_pd(p, part);
    part = _mm256_extractf128_pd(v, 1);
    p += 2;
  }
  if (n & 1) _mm_store_sd(p, part);
}

template <class T>
HF_INLINE typename Simd<T>::vector zero();
template <>
HF_INLINE __m256 zero<float>() { return _mm256_setzero_ps(); }
template <>
HF_INLINE __m256d zero<double>() { return _mm256_setzero_pd(); }
HF_INLINE __m256 broadcast(float x) { return _mm256_set1_ps(x); }
HF_INLINE __m256d broadcast(double x) { return _mm256_set1_pd(x); }

constexpr bool has_fma = true;
HF_INLINE __m256 add(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
HF_INLINE __m256d add(__m256d a, __m256d b) { return _mm256_add_pd(a, b); }
HF_INLINE __m256 sub(__m256 a, __m256 b) { return _mm256_sub_ps(a, b); }
HF_INLINE __m256d sub(__m256d a, __m256d b) { return _mm256_sub_pd(a, b); }
HF_INLINE __m256 mul(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
HF_INLINE __m256d mul(__m256d a, __m256d b) { return _mm256_mul_pd(a, b); }
HF_INLINE __m256 div(__m256 a, __m256 b) { return _mm256_div_ps(a, b); }
HF_INLINE __m256d div(__m256d a, __m256d b) { return _mm256_div_pd(a, b); }
HF_INLINE __m256 sqrt(__m256 a) { return _mm256_sqrt_ps(a); }
HF_INLINE __m256d sqrt(__m256d a) { return _mm256_sqrt_pd(a); }
HF_INLINE __m256 fma(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
HF_INLINE __m256d fma(__m256d a, __m256d b, __m256d c) { return _mm256_fmadd_pd(a, b, c); }

HF_INLINE float hsum(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
HF_INLINE double hsum(__m256d v) {
  __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

HF_INLINE __m256 active(__m256 v) { return _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_NLE_UQ); }
HF_INLINE __m256d active(__m256d v) { return _mm256_cmp_pd(v, _mm256_setzero_pd(), _CMP_NLE_UQ); }
HF_INLINE unsigned bits(__m256 m) { return static_cast<unsigned>(_mm256_movemask_ps(m)); }
HF_INLINE unsigned bits(__m256d m) { return static_cast<unsigned>(_mm256_movemask_pd(m)); }

template <class T>
HF_INLINE typename Simd<T>::mask mask_from_bits(unsigned b);
template <>
HF_INLINE __m256 mask_from_bits<float>(unsigned b) {
  const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(b)), lane);
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane));
}
template <>
HF_INLINE __m256d mask_from_bits<double>(unsigned b) {
  const __m256i lane = _mm256_setr_epi64x(1, 2, 4, 8);
  const __m256i set = _mm256_and_si256(_mm256_set1_epi64x(static_cast<long long>(b)), lane);
  return _mm256_castsi256_pd(_mm256_cmpeq_epi64(set, lane));
}
HF_INLINE __m256 select(__m256 m, __m256 a, __m256 b) { return _mm256_blendv_ps(b, a, m); }
HF_INLINE __m256d select(__m256d m, __m256d a, __m256d b) { return _mm256_blendv_pd(b, a, m); }

HF_INLINE void transpose(__m256 (&r)[8]) {
  __m256 t[8], u[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}
HF_INLINE void transpose(__m256d (&r)[4]) {
  const __m256d t0 = _mm256_unpacklo_pd(r[0], r[1]), t1 = _mm256_unpackhi_pd(r[0], r[1]);
  const __m256d t2 = _mm256_unpacklo_pd(r[2], r[3]), t3 = _mm256_unpackhi_pd(r[2], r[3]);
  r[0] = _mm256_permute2f128_pd(t0, t2, 0x20);
  r[1] = _mm256_permute2f128_pd(t1, t3, 0x20);
  r[2] = _mm256_permute2f128_pd(t0, t2, 0x31);
  r[3] = _mm256_permute2f128_pd(t1, t3, 0x31);
}

HF_INLINE __m256i load(const std::uint64_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
HF_INLINE void store(std::uint64_t* p, __m256i v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
}
HF_INLINE __m256i broadcast(std::uint64_t x) {
  return _mm256_set1_epi64x(static_cast<long long>(x));
}
HF_INLINE __m256i exclusive_or(__m256i a, __m256i b) { return _mm256_xor_si256(a, b); }
HF_INLINE __m256i mul_low_halves(__m256i a, __m256i b) { return _mm256_mul_epu32(a, b); }
HF_INLINE __m256i high_half(__m256i a) { return _mm256_srli_epi64(a, 32); }
template <class T>
HF_INLINE typename Simd<T>::vector sign_bits(std::uint32_t word, int first);
template <>
HF_INLINE __m256 sign_bits<float>(std::uint32_t word, int first) {
  const __m256i lane = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
  const __m256i counts = _mm256_sub_epi32(lane, _mm256_set1_epi32(first));
  const __m256i all = _mm256_sllv_epi32(_mm256_set1_epi32(static_cast<int>(word)), counts);
  const __m256 signs = _mm256_and_ps(_mm256_castsi256_ps(all), _mm256_set1_ps(-0.0f));
  return _mm256_or_ps(signs, _mm256_set1_ps(1.0f));
}
template <>
HF_INLINE __m256d sign_bits<double>(std::uint32_t word, int first) {
  const __m256i lane = _mm256_setr_epi64x(63, 62, 61, 60);
  const __m256i counts = _mm256_sub_epi64(lane, _mm256_set1_epi64x(first));
  const __m256i all = _mm256_sllv_epi64(_mm256_set1_epi64x(word), counts);
  const __m256d signs = _mm256_and_pd(_mm256_castsi256_pd(all), _mm256_set1_pd(-0.0));
  return _mm256_or_pd(signs, _mm256_set1_pd(1.0));
}
HF_INLINE void store_halves(std::uint32_t* p, __m256i even, __m256i odd) {
  const __m256i both = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), both);
}

HF_INLINE __m256 lane_butterflies(__m256 v) {
  v = _mm256_fmadd_ps(v, _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1), _mm256_permute_ps(v, 0xB1));
  v = _mm256_fmadd_ps(v, _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1), _mm256_permute_ps(v, 0x4E));
  return _mm256_fmadd_ps(v, _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1),
                         _mm256_permute2f128_ps(v, v, 0x01));
}
HF_INLINE __m256d lane_butterflies(__m256d v) {
  v = _mm256_fmadd_pd(v, _mm256_setr_pd(1, -1, 1, -1), _mm256_permute_pd(v, 0x5));
  return _mm256_fmadd_pd(v, _mm256_setr_pd(1, 1, -1, -1), _mm256_permute2f128_pd(v, v, 0x01));
}

template <class T>
HF_INLINE typename Simd<T>::vector sign_lanes(const std::uint32_t* words, int bit);
template <>
HF_INLINE __m256 sign_lanes<float>(const std::uint32_t* words, int bit) {
  const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
  const __m256 signs = _mm256_castsi256_ps(_mm256_slli_epi32(all, 31 - bit));
  return _mm256_or_ps(_mm256_and_ps(signs, _mm256_set1_ps(-0.0f)), _mm256_set1_ps(1.0f));
}
template <>
HF_INLINE __m256d sign_lanes<double>(const std::uint32_t* words, int bit) {
  const __m256i all = _mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)));
  const __m256d signs = _mm256_castsi256_pd(_mm256_slli_epi64(all, 63 - bit));
  return _mm256_or_pd(_mm256_and_pd(signs, _mm256_set1_pd(-0.0)), _mm256_set1_pd(1.0));
}

HF_INLINE void prefetch_write(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}

}  // namespace
