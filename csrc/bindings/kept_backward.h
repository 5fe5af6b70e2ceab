// A network's backward pass from arrays that a forward pass wrote, for callers that keep them
// themselves: an autograd engine saves tensors, and knows no handles.
#pragma once

#include <vector>

#include "bindings/gil.h"
#include "bindings/training_handle.h"

namespace homfast {

template <class T>
void backward_as(const NetworkHandle& network, const py::array& x, const std::vector<py::array>& masks,
                 const std::vector<py::array>& hidden, const py::array& grad_output,
                 const OptionalArray& grad_input, const std::vector<py::array>& grad_weights) {
  const auto weights = network.get<T>();
  const std::size_t inner = weights.size() - 1;
  check(masks.size() == inner && hidden.size() == inner, "masks, hidden: wanted one a hidden layer");
  Trace<T> trace;
  trace.x = matrix<const T>(x, "x");
  const index_t rows = trace.x.rows;
  check(trace.x.cols == weights.front().view.cols, "x: in_features do not match the first layer");
  for (std::size_t i = 0; i < inner; ++i) {
    const index_t width = weights[i].view.rows;
    const auto kept = matrix<const T>(hidden[i], "hidden");
    check(kept.rows == rows && kept.cols == width, "hidden: shape does not match");
    trace.hidden.push_back({const_cast<T*>(kept.data), rows, width, kept.row_stride});  // only read
    trace.masks.push_back(mask_view(masks[i], rows, width, false));
  }
  const auto grad = matrix<const T>(grad_output, "grad_output");
  check(grad.rows == rows && grad.cols == weights.back().view.rows, "grad_output: shape does not match");
  MatrixView<T> input_target{};
  if (grad_input) {
    input_target = matrix<T>(*grad_input, "grad_input");
    check(input_target.rows == rows && input_target.cols == trace.x.cols,
          "grad_input: shape does not match");
  }
  std::vector<MatrixView<T>> targets;
  check(grad_weights.empty() || grad_weights.size() == weights.size(), "grad_weights: wanted one a layer");
  for (std::size_t i = 0; i < grad_weights.size(); ++i) {
    const auto& view = weights[i].view;
    targets.push_back(matrix<T>(grad_weights[i], "grad_weight"));
    check(targets[i].rows == view.rows && targets[i].cols == view.cols,
          "grad_weight: shape does not match");
  }
  const WithoutGil released;
  auto& scratch = memory_of_thread<TraceMemory<T>, TraceMemory<T>>();
  scratch.reserve(weights, rows, false, 1);
  run_backward<T>(weights, static_cast<T>(network.slope()), trace, grad, scratch.hidden(0),
                  input_target, targets);
}

// Writes grad_input, unless that is None, and grad_weights, unless that is empty.
inline void backward(const NetworkHandle& network, const py::array& x,
                     const std::vector<py::array>& masks, const std::vector<py::array>& hidden,
                     const py::array& grad_output, const OptionalArray& grad_input,
                     const std::vector<py::array>& grad_weights) {
  for_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    backward_as<T>(network, x, masks, hidden, grad_output, grad_input, grad_weights);
  });
}

}  // namespace homfast
