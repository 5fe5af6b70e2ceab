// The instructions of csrc/cuda/ptx.cuh, in C++.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include <cuda_runtime.h>

namespace homfast::cuda {

inline std::uint32_t emulated_bf16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}
inline float emulated_float(std::uint32_t bf16) {
  const std::uint32_t bits = bf16 << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline std::uint32_t pack_bf16(float low, float high) {
  return emulated_bf16(low) | emulated_bf16(high) << 16;
}

// One sum as the unit may do it at its worst: the addends, c and 16 exact products, cut off at 24 bits below
// the greatest of them, added exactly, and the sum cut to a float.
inline float emulated_sum(float c, const float (&a)[16], const float (&b)[16]) {
  double terms[17];
  double greatest = 0;
  bool finite = true;
  for (int k = 0; k < 17; ++k) {
    terms[k] = k == 16 ? static_cast<double>(c) : static_cast<double>(a[k]) * static_cast<double>(b[k]);
    finite = finite && std::isfinite(terms[k]);
    greatest = std::fmax(greatest, std::fabs(terms[k]));
  }
  double sum = 0;
  if (!finite) {
    for (const double term : terms) sum += term;
    return static_cast<float>(sum);
  }
  if (greatest == 0) return c;
  const double unit = std::ldexp(1.0, std::ilogb(greatest) - 23);
  for (const double term : terms) sum += std::trunc(term / unit);  // integers below 2^29: exact
  sum *= unit;
  float result = static_cast<float>(sum);
  if (std::fabs(static_cast<double>(result)) > std::fabs(sum)) result = std::nextafter(result, 0.0f);
  return result;
}

inline void multiply_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  std::uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const auto slots = emulation::exchange(emulation::Collective::product, mine, sizeof mine);
  std::uint32_t all[32][6];
  for (int lane = 0; lane < 32; ++lane) std::memcpy(all[lane], slots[lane], sizeof mine);
  const int g = emulation::lane() / 4, t = emulation::lane() % 4;
  for (int e = 0; e < 4; ++e) {
    const int row = g + e / 2 * 8, col = 2 * t + e % 2;
    float left[16], right[16];
    for (int k = 0; k < 16; ++k) {
      const int half = k % 2 * 16, of = k % 8 / 2;
      left[k] = emulated_float(all[row % 8 * 4 + of][row / 8 + k / 8 * 2] >> half & 0xffffu);
      right[k] = emulated_float(all[col * 4 + of][4 + k / 8] >> half & 0xffffu);
    }
    d[e] = emulated_sum(d[e], left, right);
  }
}

}  // namespace homfast::cuda
