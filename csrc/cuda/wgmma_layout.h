// How a product on Hopper's wgmma is cut up: tiles, steps, the ring of stages, and where elements are. Plain
// functions, which the host checks (tests/emulation/cuda): nothing here needs the device.
//
// Operands are planes of bf16 with k contiguous. A stage holds kWgmmaDepth of k of a tile's lines of each, as
// TMA writes them with the 128-byte swizzle and wgmma reads them, K-major (PTX ISA, "Asynchronous warpgroup
// level matrix shared memory layout").
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace homfast::cuda {

constexpr int kWgmmaRows = 128;    // of a tile: 64 a consumer warpgroup
constexpr int kWgmmaDepth = 64;    // of a stage: 128 bytes, all that the swizzle spans
constexpr int kLineBytes = 128;    // of a line in a stage
constexpr int kPatternBytes = 8 * kLineBytes;  // after which the swizzle begins anew
constexpr int kConsumers = 2;      // warpgroups that multiply; one more copies
constexpr int kWgmmaThreads = 128 * (kConsumers + 1);

// Tiles of 256 columns fill a consumer's registers with sums. Where parts of k are summed apart, the sums of
// the parts and of the whole take as many for tiles of 128.
constexpr int wgmma_cols(int planes) { return planes == 1 ? 256 : 128; }
constexpr int wgmma_stages(int planes) { return planes == 1 ? 4 : 6; }  // 192 KiB

// What a descriptor has of an address or a distance in shared memory.
__host__ __device__ constexpr std::uint64_t descriptor_field(std::uint32_t bytes) {
  return (bytes & 0x3ffff) >> 4;
}

// The matrix of 16 of k that begins at `address`: lines of 128 bytes, groups of eight one pattern apart, swizzle
// of 128 bytes. The distance along k (bits 16 to 29) is not used with a swizzle, and is set to one.
__host__ __device__ constexpr std::uint64_t matrix_descriptor(std::uint32_t address) {
  return descriptor_field(address) | std::uint64_t{1} << 16 | descriptor_field(kPatternBytes) << 32 |
         std::uint64_t{1} << 62;
}

// Where the 16 of k of a step begin, and a consumer's 64 lines. The swizzle is one of addresses, so that steps
// are apart as they would be without.
__host__ __device__ constexpr std::uint32_t step_offset(int step) { return 32u * static_cast<std::uint32_t>(step); }
__host__ __device__ constexpr std::uint32_t consumer_offset(int consumer) {
  return 64u * kLineBytes * static_cast<std::uint32_t>(consumer);
}

// The element of a consumer's 64 rows that a thread of the warpgroup holds as its e-th sum.
__host__ __device__ constexpr int fragment_row(int thread, int e) {
  return thread / 32 * 16 + thread % 32 / 4 + e / 2 % 2 * 8;
}
__host__ __device__ constexpr int fragment_col(int thread, int e) {
  return e / 4 * 8 + thread % 4 * 2 + e % 2;
}

// Products of planes (p of A, q of B), p + q < planes, in a block of k: the smallest first, the leading one last.
struct PlanePair {
  int a, b;
};
__host__ __device__ constexpr int plane_pairs(int planes) { return planes * (planes + 1) / 2; }
__host__ __device__ constexpr PlanePair plane_pair(int planes, int index) {
  int order = planes - 1;
  while (index > order) index -= order-- + 1;
  return {order - index, index};
}

// A place in the ring of stages, and the parity of the phase in which its barriers are: producer and consumers
// go round it in step. A stage is full in the phase of its parity; in the other one before, it is empty.
template <int Stages>
struct Ring {
  int stage = 0;
  std::uint32_t parity = 0;
  __host__ __device__ constexpr void advance() {
    if (++stage < Stages) return;
    stage = 0;
    parity ^= 1;
  }
  __host__ __device__ constexpr std::uint32_t full_parity() const { return parity; }
  __host__ __device__ constexpr std::uint32_t empty_parity() const { return parity ^ 1; }
};

}  // namespace homfast::cuda
