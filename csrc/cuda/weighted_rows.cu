// Rows times weights, and sums of such rows, in their order: what measurements of matrices a_i^T X b_i are made
// of beside products (homfast/measure/low_rank.py, rank_one.py).
//
// Group g of `per_group` rows belongs to row g of the other array; row r takes row r % weights.rows of the
// weights, which may be those of one group, for all of them.
#include "cuda/arithmetic.cuh"
#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_weighted_rows {

template <class E>
__global__ void __launch_bounds__(kThreads)
    weigh(const MatrixView<const E> x, const MatrixView<const E> weights, index_t per_group,
          const MatrixView<E> out) {
  for (index_t e = global_index(); e < out.rows * out.cols; e += global_step()) {
    const index_t row = e / out.cols, i = e % out.cols;
    const E weight = weights.data[row % weights.rows * weights.row_stride + i];
    out.data[row * out.row_stride + i] = x.data[row / per_group * x.row_stride + i] * weight;
  }
}

template <class E>
__global__ void __launch_bounds__(kThreads)
    sum_weighted(const MatrixView<const E> x, const MatrixView<const E> weights, index_t per_group,
                 bool accumulate, const MatrixView<E> out) {
  for (index_t e = global_index(); e < out.rows * out.cols; e += global_step()) {
    const index_t group = e / out.cols, i = e % out.cols;
    E& result = out.data[group * out.row_stride + i];
    E sum = accumulate ? result : E{};
    for (index_t row = group * per_group; row < (group + 1) * per_group; ++row) {
      const E weight = weights.data[row % weights.rows * weights.row_stride + i];
      sum = sum + x.data[row * x.row_stride + i] * weight;
    }
    result = sum;
  }
}

}  // namespace in_weighted_rows

template <class E>
void weigh_rows(MatrixView<const E> x, MatrixView<const E> weights, MatrixView<E> out, Stream stream) {
  if (out.rows == 0) return;
  launch("weigh_rows", weigh<E>, blocks_for(out.rows * out.cols), kThreads, 0, stream, x, weights,
         out.rows / x.rows, out);
}

template <class E>
void sum_weighted_rows(MatrixView<const E> x, MatrixView<const E> weights, bool accumulate,
                       MatrixView<E> out, Stream stream) {
  if (out.rows == 0) return;
  launch("sum_weighted_rows", sum_weighted<E>, blocks_for(out.rows * out.cols), kThreads, 0, stream, x,
         weights, x.rows / out.rows, accumulate, out);
}

#define HF_INSTANTIATE(E)                                                                          \
  template void weigh_rows<E>(MatrixView<const E>, MatrixView<const E>, MatrixView<E>, Stream);    \
  template void sum_weighted_rows<E>(MatrixView<const E>, MatrixView<const E>, bool, MatrixView<E>, \
                                     Stream);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
HF_INSTANTIATE(Complex<float>)
HF_INSTANTIATE(Complex<double>)
#undef HF_INSTANTIATE

}  // namespace homfast::cuda
