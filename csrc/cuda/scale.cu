// The scale of an operator: once a finished sum.
#include "cuda/arithmetic.cuh"
#include "cuda/launch.h"

namespace homfast::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(kThreads) multiply_by(const MatrixView<T> values, T factor) {
  const index_t size = values.rows * values.cols;
  for (index_t e = global_index(); e < size; e += global_step()) {
    T& value = values.data[e / values.cols * values.row_stride + e % values.cols];
    value = value * factor;
  }
}

}  // namespace

template <class T>
void scale(MatrixView<T> values, T factor, Stream stream) {
  launch("scale", multiply_by<T>, blocks_for(values.rows * values.cols), kThreads, 0, stream, values,
         factor);
}

template void scale<float>(MatrixView<float>, float, Stream);
template void scale<double>(MatrixView<double>, double, Stream);

}  // namespace homfast::cuda
