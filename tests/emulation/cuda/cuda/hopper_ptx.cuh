// The instructions of csrc/cuda/hopper_ptx.cuh, in C++, from what the PTX ISA says of them. Copies and products are
// done where they are issued.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include "cuda/ptx.cuh"

#define HF_HAS_WGMMA 1

namespace homfast::cuda {

extern unsigned char dynamic_shared[];

struct Barrier {
  int expected, pending, bytes;
  std::uint32_t phase;
};

// Shared memory begins at 0 here, on a 1024-byte boundary.
inline std::uint32_t shared_address(const void* data) {
  return static_cast<std::uint32_t>(static_cast<const unsigned char*>(data) - dynamic_shared);
}

// An address with the 128-byte swizzle: its 16 bytes within 128 are exchanged by the number of the 128 bytes
// within 1024 (Swizzle<3, 4, 3> of bytes).
inline std::uint32_t emulated_swizzle(std::uint32_t address) { return address ^ (address >> 7 & 7u) << 4; }

inline void begin_barrier(Barrier* barrier, int arrivals) { *barrier = {arrivals, arrivals, 0, 0}; }
inline void publish_barriers() {}
inline void emulated_end_of_phase(Barrier* barrier) {
  if (barrier->pending < 0) emulation::fail("more arrivals than a barrier expects");
  if (barrier->pending > 0 || barrier->bytes != 0) return;
  barrier->phase ^= 1;
  barrier->pending = barrier->expected;
}
inline void arrive(Barrier* barrier) {
  --barrier->pending;
  emulated_end_of_phase(barrier);
}
inline void arrive_expecting(Barrier* barrier, int bytes) {
  barrier->bytes += bytes;
  arrive(barrier);
}
inline void wait_for_phase(Barrier* barrier, std::uint32_t parity) {
  while (barrier->phase == parity) emulation::pause();
}

inline void copy_box(void* to, const CUtensorMap* map, int k, int line, int plane, Barrier* barrier) {
  const std::uint32_t base = shared_address(to), row_bytes = 2 * map->box[0];
  if (base % 128 != 0 || row_bytes != 128 || map->box[2] != 1) emulation::fail("a box that TMA refuses");
  if (k < 0 || line < 0 || plane < 0 || static_cast<cuuint64_t>(plane) >= map->sizes[2]) {
    emulation::fail("a box outside its map");
  }
  for (std::uint32_t r = 0; r < map->box[1]; ++r) {
    for (std::uint32_t c = 0; c < map->box[0]; ++c) {
      const cuuint64_t at[2] = {static_cast<cuuint64_t>(k) + c, static_cast<cuuint64_t>(line) + r};
      const unsigned char* const from = map->data + static_cast<cuuint64_t>(plane) * map->strides[1] +
                                        at[1] * map->strides[0] + 2 * at[0];
      std::uint32_t address = base + r * row_bytes + 2 * c;
      if (map->swizzle == CU_TENSOR_MAP_SWIZZLE_128B) address = emulated_swizzle(address);
      const bool in = at[0] < map->sizes[0] && at[1] < map->sizes[1];
      for (int byte = 0; byte < 2; ++byte) dynamic_shared[address + byte] = in ? from[byte] : 0;
    }
  }
  barrier->bytes -= static_cast<int>(row_bytes * map->box[1]);
  emulated_end_of_phase(barrier);
}

template <int Count>
void give_registers() {}
template <int Count>
void take_registers() {}
// What is .sync.aligned brings a warp's lanes together.
inline void begin_products() { __syncwarp(); }
inline void end_products() { __syncwarp(); }
template <int Groups>
void wait_for_products() {
  __syncwarp();
}
template <int Count>
void hold(float (&)[Count]) {}
inline void keep_order() {}

// Element k of a line of the K-major matrix of a descriptor with the 128-byte swizzle.
inline float emulated_element(std::uint64_t descriptor, int line, int k) {
  const auto field = [&](int from) { return static_cast<std::uint32_t>(descriptor >> from & 0x3fff) << 4; };
  if (descriptor >> 62 != 1) emulation::fail("a descriptor without the 128-byte swizzle");
  if ((descriptor >> 49 & 7) != 0) emulation::fail("a descriptor with a base offset");
  const std::uint32_t line_at = static_cast<std::uint32_t>(line / 8) * field(32) + line % 8 * 128u;
  const std::uint32_t address = emulated_swizzle(field(0) + line_at + 2u * static_cast<std::uint32_t>(k));
  std::uint16_t bits;
  std::memcpy(&bits, dynamic_shared + address, sizeof bits);
  return emulated_float(bits);
}

// A warp has 16 rows of the 64: lane l has l / 4 and 8 behind it, of every 8 columns 2 (l % 4) and the next.
template <int Count>
void multiply_async(float (&d)[Count], std::uint64_t a, std::uint64_t b, bool accumulate) {
  const int lane = emulation::lane(), warp = static_cast<int>(threadIdx.x) / 32 % 4;
  float left[2][16];
  for (int half = 0; half < 2; ++half) {
    for (int k = 0; k < 16; ++k) left[half][k] = emulated_element(a, 16 * warp + lane / 4 + 8 * half, k);
  }
  for (int tile = 0; tile < Count / 4; ++tile) {
    for (int c = 0; c < 2; ++c) {
      float right[16];
      for (int k = 0; k < 16; ++k) right[k] = emulated_element(b, 8 * tile + 2 * (lane % 4) + c, k);
      for (int half = 0; half < 2; ++half) {
        float& sum = d[4 * tile + 2 * half + c];
        sum = emulated_sum(accumulate ? sum : 0.0f, left[half], right);
      }
    }
  }
}

}  // namespace homfast::cuda
