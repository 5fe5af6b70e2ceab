#include "cuda/wgmma_product.h"

#include <atomic>

#include "cuda/launch.h"
#include "cuda/wgmma_product.cuh"

namespace homfast::cuda {
inline namespace in_wgmma_product {

std::atomic<bool> asked_for{false};

using EncodeTiled = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                                 const cuuint64_t*, const cuuint32_t*, const cuuint32_t*,
                                 CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                                 CUtensorMapFloatOOBfill);

// The driver's encoder of maps, found at run time: the extension imports where there is no driver.
EncodeTiled encoder() {
  static const EncodeTiled found = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult status = cudaDriverEntryPointSymbolNotFound;
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &status),
          "cuTensorMapEncodeTiled");
    if (status != cudaDriverEntryPointSuccess || !entry) {
      throw CudaError("cuTensorMapEncodeTiled: the driver has none; wanted one of CUDA 12.0 or higher");
    }
    return reinterpret_cast<EncodeTiled>(entry);
  }();
  return found;
}

// Planes (planes, lines, depth), rows `stride` elements apart, in boxes of kWgmmaDepth by `box_lines`; what lies
// outside is read as zeros.
CUtensorMap map_planes(const void* data, index_t depth, index_t stride, index_t lines, int planes,
                       int box_lines) {
  const auto row = static_cast<cuuint64_t>(stride) * 2;
  const cuuint64_t sizes[3] = {static_cast<cuuint64_t>(depth), static_cast<cuuint64_t>(lines),
                               static_cast<cuuint64_t>(planes)};
  const cuuint64_t strides[2] = {row, row * static_cast<cuuint64_t>(lines)};
  const cuuint32_t box[3] = {kWgmmaDepth, static_cast<cuuint32_t>(box_lines), 1};
  const cuuint32_t steps[3] = {1, 1, 1};
  CUtensorMap map;
  const CUresult code =
      encoder()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void*>(data), sizes, strides, box, steps,
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (code != CUDA_SUCCESS) {
    throw CudaError("cuTensorMapEncodeTiled: error " + std::to_string(static_cast<int>(code)));
  }
  return map;
}

int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

void check_device() {
  const int major = attribute(cudaDevAttrComputeCapabilityMajor);
  const int minor = attribute(cudaDevAttrComputeCapabilityMinor);
  if (major == 9 && minor == 0) return;
  throw CudaError("HOMFAST_CUDA_WGMMA=1: the device has compute capability " + std::to_string(major) + "." +
                  std::to_string(minor) + ", wgmma is of 9.0; unset the variable");
}

constexpr index_t padded_depth(index_t k) { return ceil_div<index_t>(k, kWgmmaDepth) * kWgmmaDepth; }

constexpr int planes_of(Precision precision) {
  return precision == Precision::highest ? 3 : precision == Precision::high ? 2 : 1;
}

template <int Planes>
CUtensorMap split(const UnitLines& from, index_t terms, void* to, int box_lines, Stream stream) {
  const index_t depth = padded_depth(terms);
  const index_t blocks = ceil_div<index_t>(from.lines, kSplitLines) * (depth / kWgmmaDepth);
  launch("split_planes", split_planes<Planes>, blocks, 256, sizeof(SplitShared), stream, from, terms, depth,
         static_cast<std::uint32_t*>(to));
  return map_planes(to, depth, depth, from.lines, Planes, box_lines);
}

template <int Planes, class Result>
void multiply(const Product<float>& p, const UnitLines& a, const UnitLines& b, Result* result,
              const CUtensorMap& a_map, const CUtensorMap& b_map, Stream stream) {
  const WgmmaTiles tiles{ceil_div<index_t>(p.m, kWgmmaRows), ceil_div<index_t>(p.n, wgmma_cols(Planes)),
                         static_cast<int>(padded_depth(p.k) / kWgmmaDepth)};
  const index_t count = tiles.rows * tiles.cols, most = attribute(cudaDevAttrMultiProcessorCount);
  launch("wgmma_product", wgmma_product<Planes, Result>, count < most ? count : most, kWgmmaThreads,
         sizeof(WgmmaShared<Planes>), stream, p, a, b, result, tiles, a_map, b_map);
}

template <int Planes>
void run(const Product<float>& p, const UnitLines& a, const UnitLines& b, void* planes, Stream stream) {
  auto* const a_planes = static_cast<unsigned char*>(planes);
  unsigned char* const b_planes = a_planes + 2 * Planes * p.m * padded_depth(p.k);
  const CUtensorMap a_map = split<Planes>(a, p.k, a_planes, kWgmmaRows, stream);
  const CUtensorMap b_map = split<Planes>(b, p.k, b_planes, wgmma_cols(Planes), stream);
  multiply<Planes, float>(p, a, b, p.c, a_map, b_map, stream);
}

void check_sizes(index_t m, index_t n) {
  if (m <= 0x7fffffff - kWgmmaRows && n <= 0x7fffffff - 256) return;  // coordinates of boxes are 32 bits
  throw CudaError("HOMFAST_CUDA_WGMMA=1: more rows than wgmma's copies can count; unset the variable");
}

using Halves = MatrixView<const std::uint16_t>;

// Whether TMA reads rows where they lie.
bool lies_well(const Halves& rows) {
  return reinterpret_cast<std::uintptr_t>(rows.data) % 16 == 0 && rows.row_stride % 8 == 0 &&
         rows.row_stride >= rows.cols;
}
index_t copy_bytes(const Halves& rows) { return lies_well(rows) ? 0 : 2 * rows.rows * padded_depth(rows.cols); }

CUtensorMap map_rows(const Halves& rows, void* copy, int box_lines, Stream stream) {
  if (lies_well(rows)) return map_planes(rows.data, rows.cols, rows.row_stride, rows.rows, 1, box_lines);
  const index_t depth = padded_depth(rows.cols);
  launch("copy_rows", copy_rows, blocks_for(rows.rows * depth), kThreads, 0, stream, rows, depth,
         static_cast<std::uint16_t*>(copy));
  return map_planes(copy, depth, depth, rows.rows, 1, box_lines);
}

}  // namespace in_wgmma_product

void use_wgmma(bool on) { asked_for = on; }

bool takes_wgmma(index_t n, index_t k) {
  return asked_for && n >= kLeastWgmmaCols && k >= kLeastWgmmaDepth && k <= kMostWgmmaDepth;
}

index_t wgmma_scratch(index_t m, index_t n, index_t k, Precision precision) {
  return 2 * planes_of(precision) * (m + n) * padded_depth(k);
}

void run_wgmma_product(const Product<float>& p, const UnitLines& a, const UnitLines& b, void* planes,
                       Stream stream) {
  check_device();
  check_sizes(p.m, p.n);
  if (p.precision == Precision::highest) {
    run<3>(p, a, b, planes, stream);
  } else if (p.precision == Precision::high) {
    run<2>(p, a, b, planes, stream);
  } else {
    run<1>(p, a, b, planes, stream);
  }
}

index_t linear_bfloat16_scratch(Halves x, Halves weight) { return copy_bytes(x) + copy_bytes(weight); }

template <class Result>
bool linear_bfloat16(Halves x, Halves weight, Epilogue epilogue, float slope, MaskView mask,
                     MatrixView<Result> out, Scratch scratch, Stream stream) {
  if (!takes_wgmma(weight.rows, weight.cols)) return false;
  if (x.rows == 0) return true;
  check_device();
  check_sizes(x.rows, weight.rows);
  if (scratch.bytes < linear_bfloat16_scratch(x, weight)) throw CudaError("scratch: too small for this op");
  Product<float> p{};
  p.m = out.rows;
  p.n = out.cols;
  p.k = x.cols;
  p.c_stride = out.row_stride;
  p.epilogue = epilogue;
  p.mask = mask.data;
  p.mask_stride = mask.row_stride;
  p.slope = slope;
  auto* const copies = static_cast<unsigned char*>(scratch.data);
  const CUtensorMap a_map = map_rows(x, copies, kWgmmaRows, stream);
  const CUtensorMap b_map = map_rows(weight, copies + copy_bytes(x), wgmma_cols(1), stream);
  multiply<1, Result>(p, {}, {}, out.data, a_map, b_map, stream);
  return true;
}

#define HF_INSTANTIATE(T)                                                                         \
  template bool linear_bfloat16<T>(Halves, Halves, Epilogue, float, MaskView, MatrixView<T>,      \
                                   Scratch, Stream);
HF_INSTANTIATE(float)
HF_INSTANTIATE(std::uint16_t)
#undef HF_INSTANTIATE

}  // namespace homfast::cuda
