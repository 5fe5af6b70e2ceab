#include "cuda/arithmetic.cuh"
#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_bfloat16 {

__global__ void __launch_bounds__(kThreads)
    widen(const MatrixView<const std::uint16_t> from, const MatrixView<float> to) {
  const index_t size = from.rows * from.cols;
  for (index_t e = global_index(); e < size; e += global_step()) {
    const index_t i = e / from.cols, j = e % from.cols;
    const std::uint32_t bits = from.data[i * from.row_stride + j];
    to.data[i * to.row_stride + j] = bits_as<float>(bits << 16);
  }
}

__global__ void __launch_bounds__(kThreads)
    narrow(const MatrixView<const float> from, const MatrixView<std::uint16_t> to) {
  const index_t size = from.rows * from.cols;
  for (index_t e = global_index(); e < size; e += global_step()) {
    const index_t i = e / from.cols, j = e % from.cols;
    const auto bits = bits_as<std::uint32_t>(from.data[i * from.row_stride + j]);
    const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const std::uint32_t quiet = (bits >> 16) | 0x40u;  // a NaN stays one
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    to.data[i * to.row_stride + j] = static_cast<std::uint16_t>(nan ? quiet : rounded);
  }
}

}  // namespace in_bfloat16

void widen_bfloat16(MatrixView<const std::uint16_t> from, MatrixView<float> to, Stream stream) {
  launch("widen_bfloat16", widen, blocks_for(from.rows * from.cols), kThreads, 0, stream, from, to);
}

void round_to_bfloat16(MatrixView<const float> from, MatrixView<std::uint16_t> to, Stream stream) {
  launch("round_to_bfloat16", narrow, blocks_for(from.rows * from.cols), kThreads, 0, stream, from, to);
}

}  // namespace homfast::cuda
