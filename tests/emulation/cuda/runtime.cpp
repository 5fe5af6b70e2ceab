// The parts of CUDA's runtime that homfast uses: two devices whose memory is the host's, between pages
// that trap. A test can ask for failures and look at what was waited for.
#include <map>
#include <mutex>

#include <sys/mman.h>
#include <unistd.h>

#include <cuda_runtime.h>

namespace {

struct Block {
  unsigned char* map;
  std::size_t mapped, bytes;
  int device;
};

std::map<const unsigned char*, Block> blocks;  // by first byte
cudaStream_t last_stream = nullptr;
bool adopted = false;  // memory of the host counts as the first device's
int current_device = 0, devices = 2, driver = 13000, launches = 0, waits = 0;
int capability = 80, shared_bytes = 227 << 10;
cudaError_t pending = cudaSuccess, refuse_launches = cudaSuccess;

cudaError_t result(cudaError_t code) {
  if (code != cudaSuccess) pending = code;
  return code;
}

}  // namespace

cudaError_t cudaDriverGetVersion(int* version) {
  *version = driver;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = devices;
  if (driver < CUDART_VERSION) return result(cudaErrorInsufficientDriver);
  return devices == 0 ? result(cudaErrorNoDevice) : cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= devices) return result(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return std::exchange(pending, cudaSuccess); }
const char* cudaGetErrorName(cudaError_t code) {
  return code == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaErrorEmulated";
}
const char* cudaGetErrorString(cudaError_t) { return "as a test asked"; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = 4; break;
    case cudaDevAttrComputeCapabilityMajor: *value = capability / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *value = capability % 10; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = shared_bytes; break;
  }
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulated", 8, 0, 4};
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* data) {
  const auto* const at = static_cast<const unsigned char*>(data);
  auto found = blocks.upper_bound(at);
  *attributes = adopted ? cudaPointerAttributes{cudaMemoryTypeDevice, 0}
                        : cudaPointerAttributes{cudaMemoryTypeUnregistered, -1};
  if (found == blocks.begin()) return cudaSuccess;
  --found;
  if (at < found->first + found->second.bytes) *attributes = {cudaMemoryTypeDevice, found->second.device};
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(16);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  ++waits;
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int value) {
  return value <= (227 << 10) ? cudaSuccess : result(cudaErrorInvalidValue);
}

cudaError_t emulation::admit(const void*, const cudaLaunchConfig_t& config) {
  ++launches;
  last_stream = config.stream;
  if (refuse_launches != cudaSuccess) return result(refuse_launches);
  const bool fits = config.blockDim.x <= 1024 && config.dynamicSmemBytes <= (227u << 10);
  return fits ? cudaSuccess : result(cudaErrorInvalidValue);
}

#pragma GCC visibility push(default)
extern "C" {

// `bytes` that end at a page that traps (less what `align` takes), all 0xff; the page before traps too.
void* emulated_allocate(std::size_t bytes, std::size_t align, int device) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t usable = (bytes + page - 1) / page * page;
  void* const map = mmap(nullptr, usable + 2 * page, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return nullptr;
  auto* const first = static_cast<unsigned char*>(map);
  std::memset(first + page, 0xff, usable);
  mprotect(first, page, PROT_NONE);
  mprotect(first + page + usable, page, PROT_NONE);
  unsigned char* const data = first + page + (usable - bytes) / align * align;
  if (bytes > 0) blocks[data] = {first, usable + 2 * page, bytes, device};
  return data;
}

// Whether a byte of the first page before the block has changed; frees it.
int emulated_free(void* data) {
  const auto found = blocks.find(static_cast<unsigned char*>(data));
  if (found == blocks.end()) return 0;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  int changed = 0;
  for (const unsigned char* p = found->second.map + page; p < found->first; ++p) changed |= *p != 0xff;
  munmap(found->second.map, found->second.mapped);
  blocks.erase(found);
  return changed;
}

void emulated_machine(int device_count, int driver_version) {
  devices = device_count;
  driver = driver_version;
}
void emulated_kind(int compute_capability, int shared_memory) {
  capability = compute_capability;
  shared_bytes = shared_memory;
}
void emulated_adopt(int all) { adopted = all != 0; }
void emulated_refuse(int code) { refuse_launches = static_cast<cudaError_t>(code); }
void emulated_device(int device) { current_device = device; }
int emulated_current_device() { return current_device; }
std::uintptr_t emulated_last_stream() { return reinterpret_cast<std::uintptr_t>(last_stream); }
int emulated_launches() { return std::exchange(launches, 0); }
int emulated_waits() { return std::exchange(waits, 0); }
}
#pragma GCC visibility pop
