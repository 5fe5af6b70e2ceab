// AVX-512 intrinsics as plain code, so that the targets avx512 and amx can be run on a processor without them.
//
// SIMDe (Debian: libsimde-dev) has most; what its release lacks follows. For tests alone: see `run`.
#pragma once
#define SIMDE_ENABLE_NATIVE_ALIASES
#define SIMDE_X86_AVX512F_ENABLE_NATIVE_ALIASES
#include_next <immintrin.h>
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

namespace emulated {

template <class V, class T, int lanes>
inline V masked_load(unsigned mask, const T* p) {
  T lane[lanes];
  for (int i = 0; i < lanes; ++i) lane[i] = (mask >> i & 1) ? p[i] : T(0);
  V v;
  __builtin_memcpy(&v, lane, sizeof v);
  return v;
}

template <class V, class T, int lanes>
inline void masked_store(T* p, unsigned mask, V v) {
  T lane[lanes];
  __builtin_memcpy(lane, &v, sizeof v);
  for (int i = 0; i < lanes; ++i) {
    if (mask >> i & 1) p[i] = lane[i];
  }
}

inline __m256 half(__m512 v, int which) {
  __m256 part;
  __builtin_memcpy(&part, reinterpret_cast<const char*>(&v) + 32 * which, sizeof part);
  return part;
}

// v 2^exponent, rounded once.
inline __m512 scale(__m512 v, __m512 exponent) {
  float lane[16], power[16];
  __builtin_memcpy(lane, &v, sizeof v);
  __builtin_memcpy(power, &exponent, sizeof exponent);
  for (int i = 0; i < 16; ++i) {
    lane[i] = power[i] != power[i] ? power[i] : __builtin_ldexpf(lane[i], static_cast<int>(power[i]));
  }
  __builtin_memcpy(&v, lane, sizeof v);
  return v;
}

// 128-bit quarters: two of a, then two of b, chosen by pairs of bits.
template <int choice, class V>
inline V shuffle_quarters(V a, V b) {
  char from[2][64], to[64];
  __builtin_memcpy(from[0], &a, 64);
  __builtin_memcpy(from[1], &b, 64);
  for (int q = 0; q < 4; ++q) {
    __builtin_memcpy(to + 16 * q, from[q / 2] + 16 * ((choice >> (2 * q)) & 3), 16);
  }
  V v;
  __builtin_memcpy(&v, to, 64);
  return v;
}

// Lane i of each pair of doubles is chosen by bit i of the whole vector.
template <int choice>
inline __m512d permute_pairs(__m512d v) {
  double from[8], to[8];
  __builtin_memcpy(from, &v, 64);
  for (int i = 0; i < 8; ++i) to[i] = from[i / 2 * 2 + ((choice >> i) & 1)];
  __builtin_memcpy(&v, to, 64);
  return v;
}

template <class Narrow, class Wide>
inline __m512i widen(__m256i v) {
  constexpr int lanes = 64 / sizeof(Wide);
  Narrow from[lanes];
  Wide to[lanes];
  __builtin_memcpy(from, &v, 32);
  for (int i = 0; i < lanes; ++i) to[i] = from[i];
  __m512i wide;
  __builtin_memcpy(&wide, to, 64);
  return wide;
}

}  // namespace emulated

#undef _mm512_maskz_loadu_ps
#undef _mm512_maskz_loadu_pd
#undef _mm512_mask_storeu_ps
#undef _mm512_mask_storeu_pd
#undef _mm512_extractf32x8_ps
#undef _mm512_scalef_ps
#define _mm512_scalef_ps(v, exponent) emulated::scale(v, exponent)
#undef _mm512_shuffle_f32x4
#undef _mm512_shuffle_f64x2
#define _mm512_maskz_loadu_ps(k, p) emulated::masked_load<__m512, float, 16>(k, p)
#define _mm512_maskz_loadu_pd(k, p) emulated::masked_load<__m512d, double, 8>(k, p)
#define _mm512_mask_storeu_ps(p, k, v) emulated::masked_store<__m512, float, 16>(p, k, v)
#define _mm512_mask_storeu_pd(p, k, v) emulated::masked_store<__m512d, double, 8>(p, k, v)
#define _mm512_extractf32x8_ps(v, which) emulated::half(v, which)
#define _mm512_shuffle_f32x4(a, b, choice) emulated::shuffle_quarters<choice>(a, b)
#define _mm512_shuffle_f64x2(a, b, choice) emulated::shuffle_quarters<choice>(a, b)
#undef _mm512_permute_ps
#undef _mm512_permute_pd
#undef _mm512_cvtepu32_epi64
#undef _mm512_cvtepu16_epi32
#define _mm512_permute_ps(v, choice) _mm512_shuffle_ps(v, v, choice)
#define _mm512_permute_pd(v, choice) emulated::permute_pairs<choice>(v)
#define _mm512_cvtepu32_epi64(v) emulated::widen<unsigned, unsigned long long>(v)
#define _mm512_cvtepu16_epi32(v) emulated::widen<unsigned short, unsigned>(v)
