// Launches with their errors checked: for .cu files.
#pragma once

#include <cuda_runtime.h>

#include "core/views.h"
#include "cuda/ops.h"
#include "cuda/runtime.h"

namespace homfast::cuda {

// Throws what CUDA's code stands for: std::bad_alloc, else CudaError naming `call`.
void check(cudaError_t code, const char* call);

constexpr index_t kMostBlocks = 0x7fffffff;
constexpr std::size_t kSharedWithoutAsking = 48 << 10;

template <class T>
constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

// A grid of one dimension. Blocks beyond what a grid may have are an error, not a truncation.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), index_t blocks, int threads,
            std::size_t shared, Stream stream, Arguments... arguments) {
  if (blocks <= 0) return;
  if (blocks > kMostBlocks) throw CudaError(std::string(name) + ": more blocks than a grid holds");
  if (shared > kSharedWithoutAsking) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
          name);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared;
  config.stream = static_cast<cudaStream_t>(stream);
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name);
}

// Results of fewer large tiles than this leave most of a device idle, and take small ones. The emulated
// kernels of the tests, which are slow, take large ones earlier.
#ifndef HF_MANY_TILES
#define HF_MANY_TILES 96
#endif
constexpr index_t kManyTiles = HF_MANY_TILES;

// Elementwise kernels: blocks of kThreads, each thread from its own index on in steps of the grid.
constexpr int kThreads = 256;
inline index_t blocks_for(index_t size) {
  const index_t blocks = ceil_div<index_t>(size, kThreads);
  return blocks < (index_t{1} << 20) ? blocks : index_t{1} << 20;
}

}  // namespace homfast::cuda
