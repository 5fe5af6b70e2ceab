// The scale of an operator: once a finished sum.
#include "cuda/arithmetic.cuh"
#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_scale {

template <class E>
__global__ void __launch_bounds__(kThreads)
    multiply_by(const MatrixView<E> values, const RealOf<E> factor) {
  const index_t size = values.rows * values.cols;
  for (index_t e = global_index(); e < size; e += global_step()) {
    E& value = values.data[e / values.cols * values.row_stride + e % values.cols];
    value = value * factor;
  }
}

}  // namespace in_scale

template <class E>
void scale(MatrixView<E> values, RealOf<E> factor, Stream stream) {
  launch("scale", multiply_by<E>, blocks_for(values.rows * values.cols), kThreads, 0, stream, values,
         factor);
}

template void scale<float>(MatrixView<float>, float, Stream);
template void scale<double>(MatrixView<double>, double, Stream);
template void scale<Complex<float>>(MatrixView<Complex<float>>, float, Stream);
template void scale<Complex<double>>(MatrixView<Complex<double>>, double, Stream);

}  // namespace homfast::cuda
