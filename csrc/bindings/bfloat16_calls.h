// Layers of bfloat16, whose bits come as uint16, and the conversions.
#pragma once

#include "bindings/array_view.h"
#include "bindings/gil.h"
#include "core/bfloat16.h"
#include "core/bfloat16_layers.h"

namespace homfast {

// True: nothing is left to do by widening.
inline bool linear_bfloat16_call(const py::array& x, const py::array& weight, bool relu,
                                 double negative_slope, const py::array& out, const OptionalArray& mask) {
  const auto rows = matrix<const std::uint16_t>(x, "x");
  const auto w = matrix<const std::uint16_t>(weight, "weight");
  const auto target = matrix<std::uint16_t>(out, "out");
  check(w.cols == rows.cols, "weight: in_features do not match x");
  check(target.rows == rows.rows && target.cols == w.rows, "out: shape does not match");
  const auto bits = mask_view(mask, target.rows, target.cols, relu);
  const WithoutGil released;
  linear_bfloat16(rows, w, relu ? Epilogue::relu : Epilogue::none, static_cast<float>(negative_slope),
                  bits, target);
  return true;
}

inline bool linear_backward_bfloat16_call(const py::array& grad_output, const OptionalArray& x,
                                          const OptionalArray& weight, const OptionalArray& mask,
                                          double negative_slope, const OptionalArray& grad_input,
                                          const OptionalArray& grad_weight) {
  const auto grad = matrix<const std::uint16_t>(grad_output, "grad_output");
  const auto bits = mask_view(mask, grad.rows, grad.cols, false);
  Halves rows{}, w{};
  MatrixView<std::uint16_t> to_input, to_weight;
  check(!grad_input == !weight && !grad_weight == !x, "wanted x for grad_weight, weight for grad_input");
  if (grad_input) {
    w = matrix<const std::uint16_t>(*weight, "weight");
    to_input = matrix<std::uint16_t>(*grad_input, "grad_input");
    check(w.rows == grad.cols, "weight: out_features do not match grad_output");
    check(to_input.rows == grad.rows && to_input.cols == w.cols, "grad_input: shape does not match");
  }
  if (grad_weight) {
    rows = matrix<const std::uint16_t>(*x, "x");
    to_weight = matrix<std::uint16_t>(*grad_weight, "grad_weight");
    check(rows.rows == grad.rows, "x: rows do not match grad_output");
    check(to_weight.rows == grad.cols && to_weight.cols == rows.cols, "grad_weight: shape does not match");
  }
  const WithoutGil released;
  linear_backward_bfloat16(grad, rows, w, bits, static_cast<float>(negative_slope),
                           grad_input ? &to_input : nullptr, grad_weight ? &to_weight : nullptr);
  return true;
}

inline void bind_bfloat16(py::module_& m) {
  m.def("linear_bfloat16", &linear_bfloat16_call, py::arg("x").noconvert(),
        py::arg("weight").noconvert(), py::arg("relu"), py::arg("negative_slope"),
        py::arg("out").noconvert(), py::arg("mask").noconvert());
  m.def("linear_backward_bfloat16", &linear_backward_bfloat16_call, py::arg("grad_output").noconvert(),
        py::arg("x").noconvert(), py::arg("weight").noconvert(), py::arg("mask").noconvert(),
        py::arg("negative_slope"), py::arg("grad_input").noconvert(), py::arg("grad_weight").noconvert());
  m.def(
      "widen_bfloat16",
      [](const py::array& values, const py::array& out) {
        const auto from = matrix<const std::uint16_t>(values, "values");
        const auto to = matrix<float>(out, "out");
        check(from.rows == to.rows && from.cols == to.cols, "out: shape does not match");
        const WithoutGil released;
        widen_bfloat16(from, to);
      },
      py::arg("values").noconvert(), py::arg("out").noconvert());
  m.def(
      "round_to_bfloat16",
      [](const py::array& values, const py::array& out) {
        const auto from = matrix<const float>(values, "values");
        const auto to = matrix<std::uint16_t>(out, "out");
        check(from.rows == to.rows && from.cols == to.cols, "out: shape does not match");
        const WithoutGil released;
        round_to_bfloat16(from, to);
      },
      py::arg("values").noconvert(), py::arg("out").noconvert());
}

}  // namespace homfast
