// A whole network on tensors of few rows of another library: forward, forward that keeps what a
// backward pass needs, and backward. None is the answer for what has to be looked at, or takes longer.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "bindings/exchanged_tensor.h"
#include "core/ops.h"
#include "core/workspace.h"

namespace homfast {

// Above so many rows the way that packs the weights once a call is the faster one.
constexpr index_t kFewRows = 64;
// Up to so many multiply-adds forward the interpreter waits (50 us, and 100 backward): nobody takes a
// weight's memory away meanwhile, and to let it go and come back would cost as much as a small layer.
constexpr double kHeldMultiplyAdds = 2e6;

// A network's input and weights.
template <class T>
struct ExchangedLayers {
  MatrixView<const T> x;
  std::vector<MatrixView<const T>> weights;
  std::vector<dlpack::Tensor> tensors;  // of the weights
  index_t widest = 0;                   // hidden layer

  // False if they are not that plain, or their products take longer.
  bool take(const dlpack::Exchange& exchange, const ExchangedTensor& input, const py::list& layers) {
    if (!input.rows<T>(x) || x.rows > kFewRows) return false;
    index_t features = x.cols;
    double multiply_adds = 0;
    for (const py::handle layer : layers) {
      const ExchangedTensor weight(exchange, layer);
      MatrixView<const T> view;
      if (!weight.holds<T>() || weight.tensor.axes != 2 || !weight.rows<T>(view)) return false;
      if (view.cols != features) return false;
      features = view.rows;
      if (weights.size() + 1 < layers.size()) widest = std::max(widest, features);
      multiply_adds += static_cast<double>(x.rows) * view.rows * view.cols;
      weights.push_back(view);
      tensors.push_back(weight.tensor);
    }
    return !weights.empty() && multiply_adds <= kHeldMultiplyAdds;
  }
};

template <class T>
py::object forward_exchanged(const dlpack::Exchange& exchange, const ExchangedTensor& x,
                             const py::list& layers, double slope, bool last_relu) {
  ExchangedLayers<T> net;
  if (!net.take(exchange, x, layers)) return py::none();
  ExchangedResult<T> result(exchange, x.tensor, net.weights.back().rows);
  // Two buffers in turn for what lies between layers.
  const index_t apart = net.x.rows * net.widest;
  T* const between = thread_workspace<T, Workspace::activations>(2 * apart);
  MatrixView<const T> rows = net.x;
  for (std::size_t i = 0; i < net.weights.size(); ++i) {
    const bool last = i + 1 == net.weights.size();
    const bool relu = !last || last_relu;
    const index_t width = net.weights[i].rows;
    const MatrixView<T> out{last ? result.data() : between + (i % 2) * apart, rows.rows, width, width};
    linear<T>(rows, {net.weights[i], nullptr}, relu ? Epilogue::relu : Epilogue::none,
              relu ? static_cast<T>(slope) : T{0}, {}, out, Precision::highest);
    rows = {out.data, out.rows, width, width};
  }
  return result.object();
}

// (y, outputs of the hidden layers, masks of the layers with units).
template <class T>
py::object keep_exchanged(const dlpack::Exchange& exchange, const ExchangedTensor& x,
                          const py::list& layers, double slope, bool last_relu) {
  ExchangedLayers<T> net;
  if (!net.take(exchange, x, layers)) return py::none();
  std::vector<ExchangedResult<T>> outputs;
  std::vector<ExchangedResult<std::uint8_t>> masks;
  MatrixView<const T> rows = net.x;
  for (std::size_t i = 0; i < net.weights.size(); ++i) {
    const bool relu = i + 1 < net.weights.size() || last_relu;
    const index_t width = net.weights[i].rows, bytes = (width + 7) / 8;
    outputs.emplace_back(exchange, x.tensor, width);
    MaskView mask;
    if (relu) {
      masks.emplace_back(exchange, x.tensor, bytes);
      mask = {masks.back().data(), rows.rows, bytes, bytes};
    }
    const MatrixView<T> out{outputs.back().data(), rows.rows, width, width};
    linear<T>(rows, {net.weights[i], nullptr}, relu ? Epilogue::relu : Epilogue::none,
              relu ? static_cast<T>(slope) : T{0}, mask, out, Precision::highest);
    rows = {out.data, out.rows, width, width};
  }
  py::list hidden, bits;
  for (std::size_t i = 0; i + 1 < outputs.size(); ++i) hidden.append(outputs[i].object());
  for (auto& mask : masks) bits.append(mask.object());
  return py::make_tuple(outputs.back().object(), std::move(hidden), std::move(bits));
}

// Gradients of x, if needed, and then of all weights, if needed, from what was kept.
template <class T>
py::object backward_exchanged(const dlpack::Exchange& exchange, const ExchangedTensor& grad,
                              const ExchangedTensor& x, const py::list& layers,
                              const py::list& hidden, const py::list& masks, double slope,
                              bool input_needed, bool weights_needed) {
  ExchangedLayers<T> net;
  if (!net.take(exchange, x, layers)) return py::none();
  const std::size_t count = net.weights.size();
  if (hidden.size() + 1 != count || masks.size() + 1 < count || masks.size() > count) {
    return py::none();
  }
  MatrixView<const T> above;
  if (!grad.holds<T>() || !grad.rows<T>(above)) return py::none();
  if (above.rows != net.x.rows || above.cols != net.weights.back().rows) return py::none();
  std::vector<MatrixView<const T>> inputs{net.x};
  std::vector<MaskView> bits(count);
  for (std::size_t i = 0; i < masks.size(); ++i) {
    const ExchangedTensor mask(exchange, masks[i]);
    MatrixView<const std::uint8_t> view;
    if (!mask.holds<std::uint8_t>() || !mask.rows<std::uint8_t>(view)) return py::none();
    if (view.rows != net.x.rows || view.cols != (net.weights[i].rows + 7) / 8) return py::none();
    bits[i] = {const_cast<std::uint8_t*>(view.data), view.rows, view.cols, view.row_stride};
  }
  for (const py::handle output : hidden) {
    const ExchangedTensor kept(exchange, output);
    MatrixView<const T> view;
    if (!kept.holds<T>() || !kept.rows<T>(view)) return py::none();
    if (view.rows != net.x.rows || view.cols != net.weights[inputs.size() - 1].rows) return py::none();
    inputs.push_back(view);
  }
  std::vector<ExchangedResult<T>> results;
  results.reserve(count + 1);
  if (input_needed) results.emplace_back(exchange, x.tensor, net.x.cols);
  if (weights_needed) {
    for (std::size_t i = 0; i < count; ++i) {
      results.emplace_back(exchange, net.tensors[i], net.weights[i].cols);
    }
  }
  const index_t apart = net.x.rows * net.widest;
  T* const between = thread_workspace<T, Workspace::activations>(2 * apart);
  const T a = static_cast<T>(slope);
  constexpr Precision precision = Precision::highest;
  for (std::size_t i = count; i-- > 0;) {
    const MatrixView<const T>& w = net.weights[i];
    if (weights_needed) {
      const MatrixView<T> out{results[i + input_needed].data(), w.rows, w.cols, w.cols};
      grad_weight<T>(above, inputs[i], bits[i], a, out, precision);
    }
    if (i == 0 && !input_needed) break;
    T* const target = i ? between + (i % 2) * apart : results.front().data();
    const MatrixView<T> out{target, above.rows, w.cols, w.cols};
    grad_input<T>(above, {w, nullptr}, bits[i], a, out, precision);
    above = {out.data, out.rows, w.cols, w.cols};
  }
  py::list found;
  for (auto& result : results) found.append(result.object());
  return std::move(found);
}

// The slope, if a plain call has it; else not a number.
inline double plain_slope(const py::object& negative_slope) {
#if defined(Py_GIL_DISABLED)
  return std::nan("");  // nothing keeps another thread from a weight's memory meanwhile
#endif
  if (!PyFloat_Check(negative_slope.ptr())) return std::nan("");
  const double slope = PyFloat_AS_DOUBLE(negative_slope.ptr());
  return std::abs(slope) <= std::numeric_limits<float>::max() ? slope : std::nan("");
}

// run(exchange, x, slope, a zero of x's dtype), if the call is as plain as that.
template <class Run>
py::object with_exchange(const py::object& table, const py::object& x,
                         const py::object& negative_slope, Run run) {
  const double slope = plain_slope(negative_slope);
  const dlpack::Exchange* const exchange = exchange_of(table);
  if (!exchange || std::isnan(slope)) return py::none();
  const Unasked brief;  // a handler could give a weight other memory
  const ExchangedTensor in(*exchange, x);
  if (in.holds<float>()) return run(*exchange, in, slope, float{});
  if (in.holds<double>()) return run(*exchange, in, slope, double{});
  return py::none();
}

inline py::object exchanged_forward(const py::object& table, const py::object& x,
                                    const py::list& weights, const py::object& negative_slope,
                                    bool last_relu) {
  return with_exchange(table, x, negative_slope, [&](auto& exchange, auto& in, double slope, auto zero) {
    return forward_exchanged<decltype(zero)>(exchange, in, weights, slope, last_relu);
  });
}

inline py::object exchanged_keep(const py::object& table, const py::object& x,
                                 const py::list& weights, const py::object& negative_slope,
                                 bool last_relu) {
  return with_exchange(table, x, negative_slope, [&](auto& exchange, auto& in, double slope, auto zero) {
    return keep_exchanged<decltype(zero)>(exchange, in, weights, slope, last_relu);
  });
}

inline py::object exchanged_backward(const py::object& table, const py::object& grad_output,
                                     const py::object& x, const py::list& weights,
                                     const py::list& hidden, const py::list& masks,
                                     const py::object& negative_slope, bool input_needed,
                                     bool weights_needed) {
  return with_exchange(table, x, negative_slope, [&](auto& exchange, auto& in, double slope, auto zero) {
    const ExchangedTensor grad(exchange, grad_output);
    return backward_exchanged<decltype(zero)>(exchange, grad, in, weights, hidden, masks, slope,
                                              input_needed, weights_needed);
  });
}

}  // namespace homfast
