// Instructions that C++ has no words for. Tests compile the kernels with another file of this name.
#pragma once

#include <cstdint>

namespace homfast::cuda {

// Two numbers as bf16, rounded to nearest, ties to even: the first in the low half.
__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  std::uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}

// d += a b on the matrix unit: a 16 x 16, b 16 x 8 of bf16, shared out among the lanes of a warp as PTX
// says of mma.m16n8k16. With g = lane / 4 and t = lane % 4, a holds the pairs (g, 2t), (g + 8, 2t),
// (g, 2t + 8), (g + 8, 2t + 8), b the pairs of rows (2t, g), (2t + 8, g), d the elements (g, 2t),
// (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
__device__ __forceinline__ void multiply_bf16(float (&d)[4], const std::uint32_t (&a)[4],
                                              const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace homfast::cuda
