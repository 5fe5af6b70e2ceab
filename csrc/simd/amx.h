// AMX-BF16 beside AVX-512: eight tiles of 16 rows x 64 bytes, and what feeds them.
//
// Inline assembly instead of gcc's intrinsics: those of gcc 12 lack a memory clobber, and stores of
// packed operands move past the loads that read them.
#pragma once

#include "simd/avx512.h"

// instantiate.inc puts the kernels for a matrix unit into the float table.
#define HF_MATRIX_UNIT

namespace {

// Rounded to the 8 significant bits of bf16, to nearest even; finite values below 2^127.
HF_INLINE __m512 round_to_bf16(__m512 v) {
  const __m512i word = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(word, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(_mm512_add_epi32(word, _mm512_set1_epi32(0x7fff)), odd);
  return _mm512_castsi512_ps(_mm512_and_si512(up, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}

// Lane by lane two bf16 in 32 bits: the high half of `first` in the low bits, that of `second` above.
HF_INLINE __m512 pair_bf16(__m512 first, __m512 second) {
  const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(first), 16);
  const __m512i high = _mm512_and_si512(_mm512_castps_si512(second),
                                        _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
  return _mm512_castsi512_ps(_mm512_or_si512(low, high));
}

// The greater of a >= 0 and |v|; infinity is greater than any number, and NaN than infinity.
HF_INLINE __m512 max_magnitude(__m512 a, __m512 v) {
  const __m512i magnitude =
      _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
  return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), magnitude));
}

// v 2^exponent with one rounding; exponents are integers in floating point.
HF_INLINE __m512 scale_by_power(__m512 v, __m512 exponent) { return _mm512_scalef_ps(v, exponent); }

// Tiles -----------------------------------------------------------------------------------------

struct alignas(64) TileShapes {
  std::uint8_t palette, start_row, reserved[14];
  std::uint16_t row_bytes[16];
  std::uint8_t rows[16];
};

// All eight tiles 16 x 64 bytes. A call within which tiles are in use must not leave the kernels: what
// it runs may configure tiles for itself, and a thread that keeps them pays for 8 KiB a switch.
HF_INLINE void begin_tiles() {
  static constexpr TileShapes shapes = {1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64},
                                        {16, 16, 16, 16, 16, 16, 16, 16}};
  __asm__ volatile("ldtilecfg %0" : : "m"(shapes) : "memory");
}
HF_INLINE void end_tiles() { __asm__ volatile("tilerelease" : : : "memory"); }

template <int t>
HF_INLINE void zero_tile() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(t));
}
// Sixteen rows of 64 bytes, row_bytes apart.
template <int t>
HF_INLINE void load_tile(const float* p, homfast::index_t row_bytes) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(row_bytes), "i"(t) : "memory");
}
template <int t>
HF_INLINE void store_tile(float* p, homfast::index_t row_bytes) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(p), "r"(row_bytes), "i"(t) : "memory");
}
// c += a b: c of 16 x 16 floats, a of 16 rows x 16 pairs of bf16, b of 16 pairs x 16 columns.
template <int c, int a, int b>
HF_INLINE void multiply_tiles() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
}

}  // namespace
