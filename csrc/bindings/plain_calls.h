// One layer, forward and backward, on plain arrays into new ones.
#pragma once

#include <utility>
#include <vector>

#include "bindings/gil.h"
#include "bindings/plain_array.h"
#include "core/ops.h"

namespace homfast {

// linear or linear_relu of plain arrays, into `out` or into new ones; None if the arguments are not that
// plain, or share memory.
template <class T>
py::object plain_forward(const PlainArray& x, const PlainArray& weight, bool relu, double slope,
                         bool return_mask, py::object out) {
  MatrixView<const T> rows, w;
  if (weight.proxy->nd != 2 || x.cols() != weight.cols()) return py::none();
  if (!x.rows<T>(rows) || !weight.rows<T>(w)) return py::none();
  MatrixView<T> target;
  if (!plain_target<T>(x, w.rows, out, target)) return py::none();
  if (overlap(rows, target) || overlap(w, target)) return py::none();
  OptionalArray mask;
  MaskView bits;
  if (return_mask) {
    mask = new_like<std::uint8_t>(x, (w.rows + 7) / 8);
    bits = {static_cast<std::uint8_t*>(mask->mutable_data()), rows.rows, (w.rows + 7) / 8,
            (w.rows + 7) / 8};
  }
  {
    const WithoutGil released;
    linear<T>(rows, {w, nullptr}, relu ? Epilogue::relu : Epilogue::none, static_cast<T>(slope),
              bits, target, Precision::highest);
  }
  if (return_mask) return py::make_tuple(std::move(out), std::move(*mask));
  return out;
}

// A plain mask for the units of `grad`; false if it is not one.
inline bool plain_mask(const py::object& mask, const PlainArray& grad, MaskView& view) {
  if (mask.is_none()) return true;
  const PlainArray plain(mask);
  MatrixView<const std::uint8_t> bytes;
  if (!plain.proxy || plain.type != py::detail::npy_api::NPY_UBYTE_) return false;
  if (!plain.same_leading_axes(grad) || plain.cols() != (grad.cols() + 7) / 8) return false;
  if (!plain.rows<std::uint8_t>(bytes)) return false;
  view = {const_cast<std::uint8_t*>(bytes.data), bytes.rows, bytes.cols, bytes.row_stride};
  return true;
}

// Both gradients, or one, of plain arrays; None if the arguments are not that plain.
template <class T>
py::object plain_backward(const PlainArray& grad, const py::object& x, const py::object& weight,
                        const py::object& mask, double slope) {
  MatrixView<const T> g, rows, w;
  MaskView bits;
  if (!grad.rows<T>(g) || !plain_mask(mask, grad, bits)) return py::none();
  const bool wants_input = !weight.is_none(), wants_weight = !x.is_none();
  py::object grad_input = py::none(), grad_weight = py::none();
  MatrixView<T> input_target, weight_target;
  if (wants_input) {
    const PlainArray plain(weight);
    if (!plain.proxy || plain.type != grad.type || plain.proxy->nd != 2 || !plain.rows<T>(w)) {
      return py::none();
    }
    if (w.rows != g.cols) return py::none();
  }
  if (wants_weight) {
    const PlainArray plain(x);
    if (!plain.proxy || plain.type != grad.type || !plain.same_leading_axes(grad)) {
      return py::none();
    }
    if (!plain.rows<T>(rows) || (wants_input && rows.cols != w.cols)) return py::none();
    py::array out(py::dtype::of<T>(), std::vector<py::ssize_t>{g.cols, rows.cols});
    weight_target = {static_cast<T*>(out.mutable_data()), g.cols, rows.cols, rows.cols};
    grad_weight = std::move(out);
  }
  if (wants_input) {
    py::array out = new_like<T>(grad, w.cols);
    input_target = {static_cast<T*>(out.mutable_data()), g.rows, w.cols, w.cols};
    grad_input = std::move(out);
  }
  {
    const WithoutGil released;
    const T a = static_cast<T>(slope);
    constexpr Precision precision = Precision::highest;
    if (wants_input) homfast::grad_input<T>(g, {w, nullptr}, bits, a, input_target, precision);
    if (wants_weight) homfast::grad_weight<T>(g, rows, bits, a, weight_target, precision);
  }
  return py::make_tuple(std::move(grad_input), std::move(grad_weight));
}

}  // namespace homfast
