// Stands in for CUDA's header where the kernels of csrc/cuda are compiled as plain C++ and run on the
// host: each thread of a block is a fiber, switched at barriers and warp collectives, in an order that
// a test can change. Shared memory is poisoned before each block, what lies behind it is checked after
// it, and "device" memory lies between pages that trap.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __shared__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define CUDART_VERSION 13000

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3() = default;
  explicit dim3(unsigned x_) : x(x_) {}
};

// Of the fiber that runs.
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

enum class Collective : int { shuffle_down, shuffle_xor, shuffle_from, ballot, product, sync };
constexpr int kSlotBytes = 64;

// All 32 lanes of the warp hand in `size` bytes and go on when the last has: what the lanes handed in.
const unsigned char (*exchange(Collective kind, const void* value, std::size_t size))[kSlotBytes];
void barrier();
int lane();
// Others go first; an error where all have only done so for long.
void pause();
[[noreturn]] void fail(const char* what);

// Runs body for each thread of each block.
void run_grid(dim3 grid, dim3 block, std::size_t shared, const std::function<void()>& body);

}  // namespace emulation

inline void __syncthreads() { emulation::barrier(); }
inline void __syncwarp(unsigned = ~0u) { emulation::exchange(emulation::Collective::sync, "", 0); }

template <class T>
T emulated_lane(const unsigned char (*slots)[emulation::kSlotBytes], int lane) {
  T value;
  std::memcpy(&value, slots[lane], sizeof value);
  return value;
}
template <class T>
T __shfl_down_sync(unsigned, T value, unsigned delta) {
  const auto slots = emulation::exchange(emulation::Collective::shuffle_down, &value, sizeof value);
  const int from = emulation::lane() + static_cast<int>(delta);
  return from < 32 ? emulated_lane<T>(slots, from) : value;
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  const auto slots = emulation::exchange(emulation::Collective::shuffle_xor, &value, sizeof value);
  return emulated_lane<T>(slots, emulation::lane() ^ mask);
}
template <class T>
T __shfl_sync(unsigned, T value, int from) {
  const auto slots = emulation::exchange(emulation::Collective::shuffle_from, &value, sizeof value);
  return emulated_lane<T>(slots, from & 31);
}

inline unsigned __ballot_sync(unsigned, bool value) {
  const auto slots = emulation::exchange(emulation::Collective::ballot, &value, sizeof value);
  unsigned bits = 0;
  for (int lane = 0; lane < 32; ++lane) bits |= static_cast<unsigned>(slots[lane][0]) << lane;
  return bits;
}

inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline double __dsqrt_rn(double x) { return std::sqrt(x); }
inline std::uint32_t __umulhi(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(a) * b) >> 32);
}

inline std::uint32_t atomicMax(std::uint32_t* at, std::uint32_t value) {
  const std::uint32_t before = *at;
  if (value > before) *at = value;
  return before;
}

// The runtime: two devices, streams that are finished at once.
using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;
enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
};
enum cudaMemoryType { cudaMemoryTypeUnregistered, cudaMemoryTypeHost, cudaMemoryTypeDevice, cudaMemoryTypeManaged };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};
enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess, cudaDriverEntryPointSymbolNotFound };
constexpr unsigned long long cudaEnableDefault = 0;
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
constexpr unsigned cudaEventDisableTiming = 2;
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
};
struct cudaDeviceProp {
  char name[256];
  int major, minor, multiProcessorCount;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetLastError();
const char* cudaGetErrorName(cudaError_t code);
const char* cudaGetErrorString(cudaError_t code);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* data);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** entry, unsigned version,
                                             unsigned long long flags,
                                             cudaDriverEntryPointQueryResult* status);
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);

namespace emulation {
// Whether a launch of this size may be: the current device's limits, and an error asked for by a test.
cudaError_t admit(const void* kernel, const cudaLaunchConfig_t& config);
}  // namespace emulation

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const cudaError_t code = emulation::admit(reinterpret_cast<const void*>(kernel), *config);
  if (code != cudaSuccess) return code;
  const std::tuple<std::decay_t<Parameters>...> kept(std::forward<Arguments>(arguments)...);
  emulation::run_grid(config->gridDim, config->blockDim, config->dynamicSmemBytes,
                      [&] { std::apply([&](const auto&... a) { kernel(a...); }, kept); });
  return cudaSuccess;
}
