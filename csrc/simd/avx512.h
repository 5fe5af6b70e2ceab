// AVX-512 F, BW, DQ, VL: 16 floats or 8 doubles in one of 32 registers, masks of their own.
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // gcc 12 warns within its own header
#include <immintrin.h>
#pragma GCC diagnostic pop

#include "core/views.h"

#define HF_INLINE inline __attribute__((always_inline))

namespace {

template <class T>
struct Simd;

template <>
struct Simd<float> {
  using vector = __m512;
  using mask = __mmask16;
  static constexpr int lanes = 16;
  // 14 x 2 vectors of sums, 2 of B and 1 of A fill 31 of 32 registers; 14 broadcasts and 2 loads
  // for 28 FMAs stay under the two load ports.
  static constexpr int tile_rows = 14;
  static constexpr int tile_vectors = 2;
  static constexpr int l1_bytes = 40 * 1024;
};

template <>
struct Simd<double> {
  using vector = __m512d;
  using mask = __mmask8;
  static constexpr int lanes = 8;
  static constexpr int tile_rows = 14;
  static constexpr int tile_vectors = 2;
  static constexpr int l1_bytes = 40 * 1024;
};

template <>
struct Simd<std::uint64_t> {
  using vector = __m512i;
  static constexpr int lanes = 8;
};

HF_INLINE __mmask16 first_lanes(const float*, int n) {
  return static_cast<__mmask16>((1u << n) - 1u);
}
HF_INLINE __mmask8 first_lanes(const double*, int n) {
  return static_cast<__mmask8>((1u << n) - 1u);
}

HF_INLINE __m512 load(const float* p) { return _mm512_loadu_ps(p); }
HF_INLINE __m512d load(const double* p) { return _mm512_loadu_pd(p); }
HF_INLINE void store(float* p, __m512 v) { _mm512_storeu_ps(p, v); }
HF_INLINE void store(double* p, __m512d v) { _mm512_storeu_pd(p, v); }
HF_INLINE __m512 load_bfloat16(const std::uint16_t* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
HF_INLINE __m512 load_partial(const float* p, int n) {
  return _mm512_maskz_loadu_ps(first_lanes(p, n), p);
}
HF_INLINE __m512d load_partial(const double* p, int n) {
  return _mm512_maskz_loadu_pd(first_lanes(p, n), p);
}
HF_INLINE void store_partial(float* p, __m512 v, int n) {
  _mm512_mask_storeu_ps(p, first_lanes(p, n), v);
}
HF_INLINE void store_partial(double* p, __m512d v, int n) {
  _mm512_mask_storeu_pd(p, first_lanes(p, n), v);
}

template <class T>
HF_INLINE typename Simd<T>::vector zero();
template <>
HF_INLINE __m512 zero<float>() { return _mm512_setzero_ps(); }
template <>
HF_INLINE __m512d zero<double>() { return _mm512_setzero_pd(); }
HF_INLINE __m512 broadcast(float x) { return _mm512_set1_ps(x); }
HF_INLINE __m512d broadcast(double x) { return _mm512_set1_pd(x); }

constexpr bool has_fma = true;
HF_INLINE __m512 add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
HF_INLINE __m512d add(__m512d a, __m512d b) { return _mm512_add_pd(a, b); }
HF_INLINE __m512 sub(__m512 a, __m512 b) { return _mm512_sub_ps(a, b); }
HF_INLINE __m512d sub(__m512d a, __m512d b) { return _mm512_sub_pd(a, b); }
HF_INLINE __m512 mul(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
HF_INLINE __m512d mul(__m512d a, __m512d b) { return _mm512_mul_pd(a, b); }
HF_INLINE __m512 div(__m512 a, __m512 b) { return _mm512_div_ps(a, b); }
HF_INLINE __m512d div(__m512d a, __m512d b) { return _mm512_div_pd(a, b); }
HF_INLINE __m512 sqrt(__m512 a) { return _mm512_sqrt_ps(a); }
HF_INLINE __m512d sqrt(__m512d a) { return _mm512_sqrt_pd(a); }
HF_INLINE __m512 fma(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
HF_INLINE __m512d fma(__m512d a, __m512d b, __m512d c) { return _mm512_fmadd_pd(a, b, c); }

HF_INLINE float hsum(__m512 v) {
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
HF_INLINE double hsum(__m512d v) {
  const __m256d h = _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

HF_INLINE __mmask16 active(__m512 v) {
  return _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NLE_UQ);
}
HF_INLINE __mmask8 active(__m512d v) {
  return _mm512_cmp_pd_mask(v, _mm512_setzero_pd(), _CMP_NLE_UQ);
}
HF_INLINE unsigned bits(__mmask16 m) { return m; }
HF_INLINE unsigned bits(__mmask8 m) { return m; }

template <class T>
HF_INLINE typename Simd<T>::mask mask_from_bits(unsigned b) {
  return static_cast<typename Simd<T>::mask>(b);
}
HF_INLINE __m512 select(__mmask16 m, __m512 a, __m512 b) { return _mm512_mask_blend_ps(m, b, a); }
HF_INLINE __m512d select(__mmask8 m, __m512d a, __m512d b) { return _mm512_mask_blend_pd(m, b, a); }

HF_INLINE void transpose(__m512 (&r)[16]) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xEE);
    r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
  }
  // Now r[4 g + c] holds, in 128-bit lane q, column 4 q + c of rows 4 g .. 4 g + 3.
  for (int c = 0; c < 4; ++c) {
    const __m512 low01 = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x44);
    const __m512 high01 = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xEE);
    const __m512 low23 = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x44);
    const __m512 high23 = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xEE);
    t[c] = _mm512_shuffle_f32x4(low01, low23, 0x88);
    t[4 + c] = _mm512_shuffle_f32x4(low01, low23, 0xDD);
    t[8 + c] = _mm512_shuffle_f32x4(high01, high23, 0x88);
    t[12 + c] = _mm512_shuffle_f32x4(high01, high23, 0xDD);
  }
  for (int i = 0; i < 16; ++i) r[i] = t[i];
}
HF_INLINE void transpose(__m512d (&r)[8]) {
  __m512d t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm512_unpacklo_pd(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);
  }
  // t[2 g + c] holds, in 128-bit lane q, column 2 q + c of rows 2 g, 2 g + 1.
  for (int c = 0; c < 2; ++c) {
    const __m512d low01 = _mm512_shuffle_f64x2(t[c], t[2 + c], 0x44);
    const __m512d high01 = _mm512_shuffle_f64x2(t[c], t[2 + c], 0xEE);
    const __m512d low23 = _mm512_shuffle_f64x2(t[4 + c], t[6 + c], 0x44);
    const __m512d high23 = _mm512_shuffle_f64x2(t[4 + c], t[6 + c], 0xEE);
    r[c] = _mm512_shuffle_f64x2(low01, low23, 0x88);
    r[2 + c] = _mm512_shuffle_f64x2(low01, low23, 0xDD);
    r[4 + c] = _mm512_shuffle_f64x2(high01, high23, 0x88);
    r[6 + c] = _mm512_shuffle_f64x2(high01, high23, 0xDD);
  }
}

HF_INLINE __m512i load(const std::uint64_t* p) { return _mm512_loadu_si512(p); }
HF_INLINE void store(std::uint64_t* p, __m512i v) { _mm512_storeu_si512(p, v); }
HF_INLINE __m512i broadcast(std::uint64_t x) {
  return _mm512_set1_epi64(static_cast<long long>(x));
}
HF_INLINE __m512i exclusive_or(__m512i a, __m512i b) { return _mm512_xor_si512(a, b); }
HF_INLINE __m512i mul_low_halves(__m512i a, __m512i b) { return _mm512_mul_epu32(a, b); }
HF_INLINE __m512i high_half(__m512i a) { return _mm512_srli_epi64(a, 32); }
template <class T>
HF_INLINE typename Simd<T>::vector sign_bits(std::uint32_t word, int first) {
  return select(mask_from_bits<T>(word >> first), broadcast(T(-1)), broadcast(T(1)));
}
HF_INLINE void store_halves(std::uint32_t* p, __m512i even, __m512i odd) {
  _mm512_storeu_si512(p, _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32)));
}

// other + x, or other - x in the lanes of the mask.
HF_INLINE __m512 add_or_sub(__m512 other, __m512 x, __mmask16 minus) {
  return _mm512_mask_sub_ps(_mm512_add_ps(other, x), minus, other, x);
}
HF_INLINE __m512d add_or_sub(__m512d other, __m512d x, __mmask8 minus) {
  return _mm512_mask_sub_pd(_mm512_add_pd(other, x), minus, other, x);
}
HF_INLINE __m512 lane_butterflies(__m512 v) {
  v = add_or_sub(_mm512_permute_ps(v, 0xB1), v, 0xAAAA);
  v = add_or_sub(_mm512_permute_ps(v, 0x4E), v, 0xCCCC);
  v = add_or_sub(_mm512_shuffle_f32x4(v, v, 0xB1), v, 0xF0F0);
  return add_or_sub(_mm512_shuffle_f32x4(v, v, 0x4E), v, 0xFF00);
}
HF_INLINE __m512d lane_butterflies(__m512d v) {
  v = add_or_sub(_mm512_permute_pd(v, 0x55), v, 0xAA);
  v = add_or_sub(_mm512_shuffle_f64x2(v, v, 0xB1), v, 0xCC);
  return add_or_sub(_mm512_shuffle_f64x2(v, v, 0x4E), v, 0xF0);
}

template <class T>
HF_INLINE typename Simd<T>::vector sign_lanes(const std::uint32_t* words, int bit);
template <>
HF_INLINE __m512 sign_lanes<float>(const std::uint32_t* words, int bit) {
  const __m512i all = _mm512_slli_epi32(_mm512_loadu_si512(words), static_cast<unsigned>(31 - bit));
  const __m512i signs = _mm512_and_si512(all, _mm512_set1_epi32(INT32_MIN));
  return _mm512_castsi512_ps(_mm512_or_si512(signs, _mm512_castps_si512(_mm512_set1_ps(1.0f))));
}
template <>
HF_INLINE __m512d sign_lanes<double>(const std::uint32_t* words, int bit) {
  const __m512i wide =
      _mm512_cvtepu32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)));
  const __m512i all = _mm512_slli_epi64(wide, static_cast<unsigned>(63 - bit));
  const __m512i signs = _mm512_and_si512(all, _mm512_set1_epi64(INT64_MIN));
  return _mm512_castsi512_pd(_mm512_or_si512(signs, _mm512_castpd_si512(_mm512_set1_pd(1.0))));
}

HF_INLINE void prefetch_write(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}

}  // namespace
