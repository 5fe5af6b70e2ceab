// Whole networks as Python objects.
#pragma once

#include <utility>
#include <vector>

#include "bindings/plain_array.h"
#include "bindings/weight_handle.h"
#include "core/network.h"

namespace homfast {

// The layers of a network, for calls that run through all of them.
class NetworkHandle {
 public:
  NetworkHandle(std::vector<py::object> layers, double negative_slope)
      : layers_(std::move(layers)), slope_(negative_slope) {
    for (const py::object& layer : layers_) weights_.push_back(layer.cast<const WeightHandle*>());
    check(!weights_.empty(), "layers: wanted at least one");
  }

  double slope() const { return slope_; }
  template <class T>
  bool holds() const {
    return weights_.front()->holds<T>();
  }
  template <class T>
  std::vector<Weight<T>> get() const {
    std::vector<Weight<T>> weights;
    weights.reserve(weights_.size());
    for (const WeightHandle* handle : weights_) weights.push_back(handle->get<T>());
    return weights;
  }
  template <class T>
  T* writable_weight(std::size_t layer) const {
    return weights_[layer]->writable<T>();
  }

  // The network at plain rows, in a new array; None if x is not that plain.
  py::object plain(const py::object& x) const {
    const PlainArray input(x);
    if (!input.proxy) return py::none();
    if (input.type == type_number<float>()) return plain_rows<float>(input);
    if (input.type == type_number<double>()) return plain_rows<double>(input);
    return py::none();
  }

  // Lists of masks and of arrays for the hidden layers' outputs are empty or one entry a hidden layer.
  void forward(const py::array& x, const std::vector<py::array>& masks,
               const std::vector<py::array>& hidden, const py::array& out) const {
    run(x, masks, hidden, out, Epilogue::relu);
  }
  void forward_masked(const py::array& v, const std::vector<py::array>& masks,
                      const py::array& out) const {
    check(masks.size() + 1 == weights_.size(), "masks: wanted one for each hidden layer");
    run(v, masks, {}, out, Epilogue::masked);
  }

  void adjoint(const py::array& u, const std::vector<py::array>& masks, const py::array& out) const {
    check(masks.size() + 1 == weights_.size(), "masks: wanted one for each hidden layer");
    for_dtype(u, [&](auto zero) {
      using T = decltype(zero);
      const auto rows = matrix<const T>(u, "u");
      const auto target = matrix<T>(out, "out");
      std::vector<ChainStep<T>> steps(weights_.size());
      std::vector<Weight<T>> weights = get<T>();
      for (std::size_t i = 0; i < steps.size(); ++i) {
        const std::size_t layer = steps.size() - 1 - i;
        const auto& view = weights[layer].view;
        steps[i] = {nullptr, view.rows, view.cols, Epilogue::none, {}, {}, {}};
        if (i > 0) steps[i].a_mask = mask_view(masks[layer], rows.rows, view.rows, false);
      }
      check_ends(rows, steps, target);
      const py::gil_scoped_release release;
      const Target& here = target_in_use();
      for (std::size_t i = 0; i < steps.size(); ++i) {
        PackedWeight<T>& packed = *weights[steps.size() - 1 - i].packed;
        steps[i].panels = packed.backward_panels(here);
        steps[i].precision = packed.precision();
      }
      run_chain<T>(rows, steps, static_cast<T>(slope_), target, here);
    });
  }

 private:
  static const Target& target_in_use() { return homfast::target(); }

  template <class T>
  static std::vector<ChainStep<T>> forward_steps(const std::vector<Weight<T>>& weights,
                                                 Epilogue epilogue) {
    std::vector<ChainStep<T>> steps(weights.size());
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const auto& view = weights[i].view;
      check(i == 0 || view.cols == weights[i - 1].view.rows, "layers: widths do not chain");
      const bool last = i + 1 == steps.size();
      steps[i] = {nullptr, view.cols, view.rows, last ? Epilogue::none : epilogue, {}, {}, {}};
    }
    return steps;
  }

  template <class T>
  static void check_ends(const MatrixView<const T>& x, const std::vector<ChainStep<T>>& steps,
                         const MatrixView<T>& out) {
    check(x.cols == steps.front().in_features, "x: in_features do not match the first layer");
    check(out.rows == x.rows && out.cols == steps.back().out_features, "out: shape does not match");
  }

  template <class T>
  void run_forward(const MatrixView<const T>& x, const std::vector<Weight<T>>& weights,
                   std::vector<ChainStep<T>>& steps, const MatrixView<T>& out) const {
    const py::gil_scoped_release release;
    const Target& here = target_in_use();
    for (std::size_t i = 0; i < steps.size(); ++i) {
      steps[i].panels = weights[i].packed->forward_panels(here);
      steps[i].precision = weights[i].packed->precision();
    }
    run_chain<T>(x, steps, static_cast<T>(slope_), out, here);
  }

  void run(const py::array& x, const std::vector<py::array>& masks,
           const std::vector<py::array>& hidden, const py::array& out, Epilogue epilogue) const {
    for_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      const auto rows = matrix<const T>(x, "x");
      const auto target = matrix<T>(out, "out");
      const auto weights = get<T>();
      auto steps = forward_steps<T>(weights, epilogue);
      check(masks.empty() || masks.size() + 1 == steps.size(), "masks: wanted one a hidden layer");
      check(hidden.empty() || hidden.size() + 1 == steps.size(), "hidden: wanted one a hidden layer");
      for (std::size_t i = 0; i + 1 < steps.size(); ++i) {
        const index_t width = steps[i].out_features;
        if (!masks.empty()) {
          steps[i].mask = mask_view(masks[i], rows.rows, width, epilogue == Epilogue::relu);
        }
        if (!hidden.empty()) {
          steps[i].keep = matrix<T>(hidden[i], "hidden");
          check(steps[i].keep.rows == rows.rows && steps[i].keep.cols == width,
                "hidden: shape does not match");
        }
      }
      check_ends<T>(rows, steps, target);
      run_forward<T>(rows, weights, steps, target);
    });
  }

  template <class T>
  py::object plain_rows(const PlainArray& input) const {
    MatrixView<const T> rows;
    if (!holds<T>() || !input.rows<T>(rows)) return py::none();
    const auto weights = get<T>();
    auto steps = forward_steps<T>(weights, Epilogue::relu);
    if (rows.cols != steps.front().in_features) return py::none();
    const index_t width = steps.back().out_features;
    py::array out = new_like<T>(input, width);
    run_forward<T>(rows, weights, steps, {static_cast<T*>(out.mutable_data()), rows.rows, width, width});
    return std::move(out);
  }

  std::vector<py::object> layers_;  // keeps the handles alive
  std::vector<const WeightHandle*> weights_;
  double slope_;
};

}  // namespace homfast
