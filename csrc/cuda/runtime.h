// What the bindings need of the CUDA runtime, without its headers.
#pragma once

#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace homfast::cuda {

// A call of CUDA that failed; what() names it and CUDA's reason.
struct CudaError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Memory of a device that CUDA could not give, with the call that asked for it.
struct OutOfMemory : std::bad_alloc {
  explicit OutOfMemory(std::string said) : text(std::move(said)) {}
  const char* what() const noexcept override { return text.c_str(); }
  std::string text;
};

// Why nothing can run here: no driver, one too old, no device, one too old; empty if something can.
// The first call may create no context.
std::string why_unavailable();

struct DeviceReport {
  std::string name;
  int major, minor, multiprocessors;
};
int device_count();
DeviceReport device_report(int device);

// The device on which memory lies, or -1 for memory that no device can use.
int device_of(const void* data);

// Makes a device current, and what was current before at the end.
class DeviceScope {
 public:
  explicit DeviceScope(int device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_ = -1;
};

// What is launched on `waiting` from now on runs after what `before` holds now.
void wait_for(void* waiting, void* before);

}  // namespace homfast::cuda
