// Whole networks as Python objects.
#pragma once

#include <utility>
#include <vector>

#include "bindings/gil.h"
#include "bindings/plain_array.h"
#include "bindings/weight_handle.h"
#include "core/passes.h"

namespace homfast {

// The layers of a network, for calls that run through all of them.
class NetworkHandle {
 public:
  NetworkHandle(std::vector<py::object> layers, double negative_slope)
      : layers_(std::move(layers)), slope_(negative_slope) {
    for (const py::object& layer : layers_) weights_.push_back(layer.cast<const WeightHandle*>());
    check(!weights_.empty(), "layers: wanted at least one");
    holds<float>() ? check_chain<float>() : check_chain<double>();
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

  // The network at plain rows, in `out` or a new array; None if they are not that plain, or share memory.
  py::object plain(const py::object& x, const py::object& out) const {
    const PlainArray input(x);
    if (!input.proxy) return py::none();
    if (input.type == type_number<float>()) return plain_rows<float>(input, out);
    if (input.type == type_number<double>()) return plain_rows<double>(input, out);
    return py::none();
  }

  // Lists of masks and of arrays for the hidden layers' outputs are empty or one entry a hidden layer.
  void forward(const py::array& x, const std::vector<py::array>& masks,
               const std::vector<py::array>& hidden, const py::array& out) const {
    for_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      const auto weights = get<T>();
      const auto rows = matrix<const T>(x, "x");
      const auto target = matrix<T>(out, "out");
      check_ends<T>(rows, weights.front().view.cols, target, weights.back().view.rows);
      Trace<T> trace{rows, {}, {}};
      if (!masks.empty()) trace.masks = mask_views(masks, rows.rows, weights, true);
      check(hidden.empty() || hidden.size() + 1 == weights.size(), "hidden: wanted one a hidden layer");
      for (std::size_t i = 0; i < hidden.size(); ++i) {
        trace.hidden.push_back(matrix<T>(hidden[i], "hidden"));
        check(trace.hidden[i].rows == rows.rows && trace.hidden[i].cols == weights[i].view.rows,
              "hidden: shape does not match");
      }
      const WithoutGil released;
      run_forward<T>(weights, static_cast<T>(slope_), trace, target);
    });
  }

  void forward_masked(const py::array& v, const std::vector<py::array>& masks,
                      const py::array& out) const {
    for_dtype(v, [&](auto zero) {
      using T = decltype(zero);
      const auto weights = get<T>();
      const auto rows = matrix<const T>(v, "v");
      const auto target = matrix<T>(out, "out");
      check_ends<T>(rows, weights.front().view.cols, target, weights.back().view.rows);
      const auto bits = mask_views(masks, rows.rows, weights, false);
      const WithoutGil released;
      run_tangent<T>(weights, static_cast<T>(slope_), bits, rows, target);
    });
  }

  void adjoint(const py::array& u, const std::vector<py::array>& masks, const py::array& out) const {
    for_dtype(u, [&](auto zero) {
      using T = decltype(zero);
      const auto weights = get<T>();
      const auto rows = matrix<const T>(u, "u");
      const auto target = matrix<T>(out, "out");
      check_ends<T>(rows, weights.back().view.rows, target, weights.front().view.cols);
      const Trace<T> trace{{}, {}, mask_views(masks, rows.rows, weights, false)};
      const WithoutGil released;
      run_backward<T>(weights, static_cast<T>(slope_), trace, rows, {}, target, {});
    });
  }

 private:
  template <class T>
  void check_chain() const {
    const auto weights = get<T>();
    for (std::size_t i = 1; i < weights.size(); ++i) {
      check(weights[i].view.cols == weights[i - 1].view.rows, "layers: widths do not chain");
    }
  }

  template <class T>
  static void check_ends(const MatrixView<const T>& rows, index_t in_features,
                         const MatrixView<T>& out, index_t out_features) {
    check(rows.cols == in_features, "features do not match the layer that they enter");
    check(out.rows == rows.rows && out.cols == out_features, "out: shape does not match");
  }

  template <class T>
  static std::vector<MaskView> mask_views(const std::vector<py::array>& masks, index_t rows,
                                          const std::vector<Weight<T>>& weights, bool writes) {
    check(masks.size() + 1 == weights.size(), "masks: wanted one a hidden layer");
    std::vector<MaskView> views;
    for (std::size_t i = 0; i < masks.size(); ++i) {
      views.push_back(mask_view(masks[i], rows, weights[i].view.rows, writes));
    }
    return views;
  }

  template <class T>
  py::object plain_rows(const PlainArray& input, py::object out) const {
    MatrixView<const T> rows;
    if (!holds<T>() || !input.rows<T>(rows)) return py::none();
    const auto weights = get<T>();
    if (rows.cols != weights.front().view.cols) return py::none();
    MatrixView<T> target;
    if (!plain_target<T>(input, weights.back().view.rows, out, target)) return py::none();
    if (overlap(rows, target)) return py::none();
    {
      const WithoutGil released;
      run_forward<T>(weights, static_cast<T>(slope_), {rows, {}, {}}, target);
    }
    return out;
  }

  std::vector<py::object> layers_;  // keeps the handles alive
  std::vector<const WeightHandle*> weights_;
  double slope_;
};

}  // namespace homfast
