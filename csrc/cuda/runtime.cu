#include "cuda/runtime.h"

#include <new>

#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_runtime {

constexpr int kLeastMajor = 8;  // bf16 on the matrix unit

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Errors of a question stay here: the next launch's check must not find them.
bool asked(cudaError_t code) {
  if (code == cudaSuccess) return true;
  cudaGetLastError();
  return false;
}

}  // namespace in_runtime

void check(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  cudaGetLastError();
  if (code == cudaErrorMemoryAllocation) {
    throw OutOfMemory(std::string(call) + ": " + cudaGetErrorName(code) +
                      ": the device has no memory left for this call; free arrays, or call with "
                      "fewer rows at a time");
  }
  throw CudaError(std::string(call) + ": " + cudaGetErrorName(code) + ": " +
                  cudaGetErrorString(code));
}

std::string why_unavailable() {
  int driver = 0, count = 0;
  if (!asked(cudaDriverGetVersion(&driver)) || driver == 0) {
    return "no NVIDIA driver is installed; install one for CUDA " + version_text(CUDART_VERSION) +
           " or newer";
  }
  const cudaError_t code = cudaGetDeviceCount(&count);
  asked(code);
  if (code == cudaErrorInsufficientDriver) {
    return "the NVIDIA driver is too old: it knows CUDA " + version_text(driver) +
           ", homfast was built with " + version_text(CUDART_VERSION) +
           "; update the driver, or build homfast with an older CUDA toolkit";
  }
  if (code == cudaErrorNoDevice || (code == cudaSuccess && count == 0)) {
    return "no CUDA device is visible; look at nvidia-smi and CUDA_VISIBLE_DEVICES";
  }
  if (code != cudaSuccess) return std::string("CUDA does not start: ") + cudaGetErrorString(code);
  for (int device = 0; device < count; ++device) {
    int major = 0;
    if (asked(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device)) &&
        major >= kLeastMajor) {
      return "";
    }
  }
  return "no CUDA device of compute capability 8.0 or higher";
}

int device_count() {
  int count = 0;
  return asked(cudaGetDeviceCount(&count)) ? count : 0;
}

DeviceReport device_report(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return {properties.name, properties.major, properties.minor, properties.multiProcessorCount};
}

int device_of(const void* data) {
  cudaPointerAttributes attributes{};
  if (!asked(cudaPointerGetAttributes(&attributes, data))) return -1;
  const bool usable =
      attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
  return usable ? attributes.device : -1;
}

DeviceScope::DeviceScope(int device) {
  int current = 0;
  check(cudaGetDevice(&current), "cudaGetDevice");
  if (current == device) return;
  check(cudaSetDevice(device), "cudaSetDevice");
  before_ = current;
}

DeviceScope::~DeviceScope() {
  if (before_ >= 0) asked(cudaSetDevice(before_));
}

void wait_for(void* waiting, void* before) {
  cudaEvent_t event;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
  const cudaError_t recorded = cudaEventRecord(event, static_cast<cudaStream_t>(before));
  const cudaError_t waited = recorded == cudaSuccess
                                 ? cudaStreamWaitEvent(static_cast<cudaStream_t>(waiting), event, 0)
                                 : recorded;
  asked(cudaEventDestroy(event));  // CUDA frees it once it has happened
  check(waited, "cudaStreamWaitEvent");
}

}  // namespace homfast::cuda
