// The driver's entry that encodes maps for TMA, with the conditions that CUDA's documentation names.
#include <cstring>

#include <cuda.h>
#include <cuda_runtime.h>

#include "cuda/wgmma_layout.h"

namespace {

CUresult encode(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data,
                const cuuint64_t* sizes, const cuuint64_t* strides, const cuuint32_t* box,
                const cuuint32_t* steps, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  bool good = type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 && rank == 3 &&
              interleave == CU_TENSOR_MAP_INTERLEAVE_NONE && reinterpret_cast<std::uintptr_t>(data) % 16 == 0;
  for (int axis = 0; axis < 3; ++axis) {
    good = good && sizes[axis] > 0 && sizes[axis] <= cuuint64_t{1} << 32 && box[axis] > 0 &&
           box[axis] <= 256 && steps[axis] == 1;
  }
  for (int axis = 0; axis < 2; ++axis) {
    good = good && strides[axis] % 16 == 0 && strides[axis] < cuuint64_t{1} << 40;
  }
  if (swizzle == CU_TENSOR_MAP_SWIZZLE_128B) good = good && 2 * box[0] <= 128;
  if (!good) return CUDA_ERROR_INVALID_VALUE;
  *map = {static_cast<const unsigned char*>(data),
          {sizes[0], sizes[1], sizes[2]},
          {strides[0], strides[1]},
          {box[0], box[1], box[2]},
          swizzle};
  return CUDA_SUCCESS;
}

// What the PTX ISA says of m64nNk16 and of descriptors, against the kernel's words for it.
using namespace homfast::cuda;
static_assert(matrix_descriptor(0x400) == 0x4000004000010040, "128-byte swizzle, 1024 bytes a group");
static_assert(matrix_descriptor(0x38020) == 0x4000004000013802, "18 bits of an address");
static_assert(fragment_row(0, 0) == 0 && fragment_col(0, 0) == 0 && fragment_col(0, 1) == 1);
static_assert(fragment_row(0, 2) == 8 && fragment_col(0, 2) == 0 && fragment_col(0, 4) == 8);
static_assert(fragment_row(127, 3) == 63 && fragment_col(127, 3) == 7 && fragment_col(127, 127) == 255);
static_assert(fragment_row(33, 0) == 16 && fragment_col(33, 0) == 2 && fragment_row(36, 0) == 17);

// Every element of a consumer's rows once.
constexpr bool covers(int cols) {
  bool seen[64][256] = {};
  for (int thread = 0; thread < 128; ++thread) {
    for (int e = 0; e < cols / 2; ++e) {
      bool& once = seen[fragment_row(thread, e)][fragment_col(thread, e)];
      if (once || fragment_col(thread, e) >= cols) return false;
      once = true;
    }
  }
  return true;
}
static_assert(covers(128) && covers(256), "fragments");

constexpr bool pairs_are(int planes) {
  int last_order = planes;
  bool seen[3][3] = {};
  for (int index = 0; index < plane_pairs(planes); ++index) {
    const PlanePair pair = plane_pair(planes, index);
    const int order = pair.a + pair.b;
    if (pair.a < 0 || pair.b < 0 || order >= planes || order > last_order || seen[pair.a][pair.b]) return false;
    seen[pair.a][pair.b] = true;
    last_order = order;
  }
  return last_order == 0;
}
static_assert(pairs_are(1) && pairs_are(2) && pairs_are(3), "the smallest first, the leading one last");

// A barrier's phases are 0, 1, 0, ..: the n-th use of a stage waits for the end of phase n % 2 to read, and to
// write for that of the phase before, which before the first is taken as ended.
constexpr bool goes_round() {
  Ring<3> ring;
  for (int n = 0; n < 20; ++n, ring.advance()) {
    const auto use = static_cast<std::uint32_t>(n / 3);
    if (ring.stage != n % 3 || ring.full_parity() != use % 2 || ring.empty_parity() != (use + 1) % 2) return false;
  }
  return true;
}
static_assert(goes_round(), "ring");

}  // namespace

cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** entry, unsigned version,
                                             unsigned long long, cudaDriverEntryPointQueryResult* status) {
  const bool known = std::strcmp(name, "cuTensorMapEncodeTiled") == 0 && version >= 12000;
  *entry = known ? reinterpret_cast<void*>(&encode) : nullptr;
  *status = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
