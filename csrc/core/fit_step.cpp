#include "core/fit_step.h"

#include <algorithm>
#include <cmath>

#include "core/dispatch.h"
#include "core/parallel.h"

namespace homfast {
namespace {

// Elements of the residual whose squares are summed apart: fixed, so that the loss does not know the
// number of threads.
constexpr index_t kLossChunk = 4096;
// Multiply-adds in whose time an element of a residual passes.
constexpr double kResidualCost = 8;

// residual = scale (residual - target); the sum of the squares before scaling.
template <class T>
double square_residual(MatrixView<T> residual, MatrixView<const T> target, T scale,
                       const KernelTable<T>& table) {
  const index_t rows = std::max<index_t>(1, kLossChunk / std::max<index_t>(1, residual.cols));
  std::vector<double> sums(static_cast<std::size_t>((residual.rows + rows - 1) / rows));
  auto sum_chunk = [&](index_t chunk) {
    double sum = 0;
    const index_t last = std::min(residual.rows, (chunk + 1) * rows);
    for (index_t i = chunk * rows; i < last; ++i) {
      sum += table.square_residual(residual.data + i * residual.row_stride,
                                   target.data + i * target.row_stride, residual.cols, scale);
    }
    sums[static_cast<std::size_t>(chunk)] = sum;
  };
  share_out(static_cast<index_t>(sums.size()),
            kResidualCost * static_cast<double>(residual.rows) * static_cast<double>(residual.cols),
            sum_chunk);
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace

template <class T>
StepResult fit_step(const std::vector<Weight<T>>& weights, T slope, MatrixView<const T> x,
                MatrixView<const T> target, const Optimizer& optimizer,
                std::vector<Trained<T>> trained, StepMemory<T>& memory) {
  const KernelTable<T>& table = kernels<T>(homfast::target());
  memory.trace.reserve(weights, x.rows, false, 2);
  const Trace<T> trace = memory.trace.trace(x);

  const index_t out_features = weights.back().view.rows;
  index_t size = x.rows * out_features;
  for (const Weight<T>& weight : weights) size += weight.view.rows * weight.view.cols;
  T* free = static_cast<T*>(memory.gradients.reserve(static_cast<std::size_t>(size + 1) * sizeof(T)));
  const auto take = [&](index_t rows, index_t cols) {
    const MatrixView<T> view{free, rows, cols, cols};
    free += rows * cols;
    return view;
  };
  std::vector<MatrixView<T>> gradients;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    gradients.push_back(take(weights[i].view.rows, weights[i].view.cols));
    trained[i].gradient = gradients[i].data;
  }
  const MatrixView<T> residual = take(x.rows, out_features);

  run_forward<T>(weights, slope, trace, residual);
  const double count = static_cast<double>(std::max<index_t>(1, residual.rows * residual.cols));
  const double loss =
      square_residual<T>(residual, target, static_cast<T>(2.0 / count), table) / count;
  if (!std::isfinite(loss)) return {loss, true};
  run_backward<T>(weights, slope, trace,
                  {residual.data, residual.rows, residual.cols, residual.row_stride},
                  memory.trace.hidden(1), {}, gradients);
  const bool finite = update<T>(trained, optimizer);
  for (const Weight<T>& weight : weights) weight.packed->refresh();
  return {loss, finite};
}

#define HF_INSTANTIATE(T)                                                                    \
  template StepResult fit_step<T>(const std::vector<Weight<T>>&, T, MatrixView<const T>,         \
                              MatrixView<const T>, const Optimizer&,                         \
                              std::vector<Trained<T>>, StepMemory<T>&);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast
