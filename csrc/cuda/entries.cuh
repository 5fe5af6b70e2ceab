// Seeded entries from their coordinates, to the bit those of homfast/_backends/normal.py and
// rademacher.py, whose numbered steps the code follows. No libm; each operation is rounded once.
#pragma once

#include "cuda/arithmetic.cuh"

namespace homfast::cuda {

struct Words {
  std::uint32_t w[4];
};

// Philox4x32-10 of the counter (block, low row, high row, stream) and the seed.
__device__ __forceinline__ Words philox(const SeededBlock& from, std::uint64_t row,
                                        std::uint64_t block) {
  auto x0 = static_cast<std::uint32_t>(block), x1 = static_cast<std::uint32_t>(row);
  auto x2 = static_cast<std::uint32_t>(row >> 32), x3 = from.stream;
  auto k0 = static_cast<std::uint32_t>(from.seed), k1 = static_cast<std::uint32_t>(from.seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const std::uint32_t high0 = __umulhi(0xd2511f53u, x0), low0 = 0xd2511f53u * x0;
    const std::uint32_t high1 = __umulhi(0xcd9e8d57u, x2), low1 = 0xcd9e8d57u * x2;
    x0 = high1 ^ x1 ^ k0;
    x1 = low1;
    x2 = high0 ^ x3 ^ k1;
    x3 = low0;
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return {{x0, x1, x2, x3}};
}

// Two normal entries of a pair of words: steps 1 to 8 in float32.
__device__ __forceinline__ void normal_pair(std::uint32_t a, std::uint32_t c, float& first,
                                            float& second) {
  const auto t = static_cast<std::int32_t>(a | 1u);
  const float x = static_cast<float>(t) * 0x1p-32f;
  const float u = t < 0 ? 1.0f + x : x;
  const auto bits = bits_as<std::int32_t>(u);
  const std::int32_t k = (bits - 0x3f3504f3) >> 23;
  const auto shifted = static_cast<std::int32_t>(static_cast<std::uint32_t>(k) << 23);
  const float m = bits_as<float>(bits - shifted);
  const float f = k == 0 ? x : m - 1.0f;
  const float s = f / (2.0f + f);
  const float z = s * s;
  float p = -0x1.31e356p-1f * z + -0x1.995eb6p-1f;
  p = p * z + -0x1.55557ap+0f;
  const float e = static_cast<float>(k) * -0x1.62e43p+0f + s * (p * z - 4.0f);
  const float y = static_cast<float>(static_cast<std::int32_t>((c & ~3u) | 2u)) * 0x1p-32f;
  const float q = y * y;
  float sine = -0x1.2d9302p-8f * q + 0x1.465e92p-4f;
  sine = sine * q + -0x1.4abbbap-1f;
  sine = sine * q + 0x1.921fb6p+0f;
  sine = sine * y;
  float cosine = -0x1.4ea9e2p-6f * q + 0x1.03b162p-2f;
  cosine = cosine * q + -0x1.3bd3a2p+0f;
  cosine = cosine * q + 1.0f;
  const float r = bits_as<float>(bits_as<std::uint32_t>(root(e)) ^ ((c & 2u) << 30));
  const bool swap = (c & 1u) != 0;
  first = r * (swap ? sine : cosine);
  second = r * (swap ? cosine : sine);
}

// The same in float64.
__device__ __forceinline__ void normal_pair(std::uint64_t a, std::uint64_t c, double& first,
                                            double& second) {
  const std::uint64_t one = std::uint64_t{0x3ff} << 52;
  const double u = bits_as<double>(one | (a >> 12)) - 0x1.fffffffffffffp-1;
  const auto bits = bits_as<std::int64_t>(u);
  const std::int64_t k = (bits - 0x3fe6a09e667f3bcd) >> 52;
  const auto shifted = static_cast<std::int64_t>(static_cast<std::uint64_t>(k) << 52);
  const double m = bits_as<double>(bits - shifted);
  const double f = m - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  double p = -0x1.2f05cda5943fcp-2 * z + -0x1.39a1b1e17f2c6p-2;
  p = p * z + -0x1.74663f2dbd70fp-2;
  p = p * z + -0x1.c71c52086b082p-2;
  p = p * z + -0x1.24924941f1dbcp-1;
  p = p * z + -0x1.999999997fdafp-1;
  p = p * z + -0x1.5555555555592p+0;
  const double e = static_cast<double>(k) * -0x1.62e42fefa39efp+0 + s * (p * z - 4.0);
  const double y = bits_as<double>(one | (c >> 12) | 1u) - 1.5;
  const double q = y * y;
  double sine = 0x1.e3eed5c514041p-25 * q + -0x1.e30063a00aeb1p-19;
  sine = sine * q + 0x1.50782fca388bcp-13;
  sine = sine * q + -0x1.32d2cce2d535ap-8;
  sine = sine * q + 0x1.466bc677586ffp-4;
  sine = sine * q + -0x1.4abbce625be41p-1;
  sine = sine * q + 0x1.921fb54442d18p+0;
  sine = sine * y;
  double cosine = 0x1.f3ef462563f22p-22 * q + -0x1.a6ca00a155b43p-16;
  cosine = cosine * q + 0x1.e1f4fbfc1722fp-11;
  cosine = cosine * q + -0x1.55d3c7dcb6052p-6;
  cosine = cosine * q + 0x1.03c1f081b14bep-2;
  cosine = cosine * q + -0x1.3bd3cc9be45a5p+0;
  cosine = cosine * q + 1.0;
  const double r = bits_as<double>(bits_as<std::uint64_t>(root(e)) ^ ((c & 2u) << 62));
  const bool swap = (c & 1u) != 0;
  first = r * (swap ? sine : cosine);
  second = r * (swap ? cosine : sine);
}

// The entries of a counter: 4 columns in float32, 2 in float64.
template <class T>
struct Normals {
  static constexpr int width = 16 / sizeof(T);
  T v[width];
};

__device__ __forceinline__ Normals<float> normals(const Words& words, float) {
  Normals<float> z;
  normal_pair(words.w[0], words.w[1], z.v[0], z.v[1]);
  normal_pair(words.w[2], words.w[3], z.v[2], z.v[3]);
  return z;
}
__device__ __forceinline__ Normals<double> normals(const Words& words, double) {
  Normals<double> z;
  normal_pair(std::uint64_t{words.w[0]} << 32 | words.w[1], std::uint64_t{words.w[2]} << 32 | words.w[3],
              z.v[0], z.v[1]);
  return z;
}

constexpr int kSignsPerCounter = 128;

}  // namespace homfast::cuda
