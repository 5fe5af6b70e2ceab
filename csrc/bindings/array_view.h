// NumPy arrays to views. The Python layer has checked what a user can get wrong; here it is checked
// again as far as memory safety needs.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "core/views.h"

namespace homfast {

namespace py = pybind11;

inline bool holds_float(const py::array& array) {
  return py::detail::array_descriptor_proxy(py::detail::array_proxy(array.ptr())->descr)->type_num ==
         py::detail::npy_api::NPY_FLOAT_;
}
inline bool holds_double(const py::array& array) {
  return py::detail::array_descriptor_proxy(py::detail::array_proxy(array.ptr())->descr)->type_num ==
         py::detail::npy_api::NPY_DOUBLE_;
}

template <class T>
bool holds(const py::array& array);
template <>
inline bool holds<float>(const py::array& array) {
  return holds_float(array);
}
template <>
inline bool holds<double>(const py::array& array) {
  return holds_double(array);
}
template <>
inline bool holds<std::uint8_t>(const py::array& array) {
  return py::detail::array_descriptor_proxy(py::detail::array_proxy(array.ptr())->descr)->type_num ==
         py::detail::npy_api::NPY_UBYTE_;
}

template <>
inline bool holds<std::uint16_t>(const py::array& array) {
  return py::detail::array_descriptor_proxy(py::detail::array_proxy(array.ptr())->descr)->type_num ==
         py::detail::npy_api::NPY_USHORT_;
}

// A 2-D array whose last axis is contiguous. T const reads, T not const writes.
template <class T>
MatrixView<T> matrix(const py::array& array, const char* name) {
  using Element = std::remove_const_t<T>;
  constexpr index_t itemsize = sizeof(Element);
  if (!holds<Element>(array)) throw py::type_error(std::string(name) + ": wrong dtype");
  if (array.ndim() != 2) throw py::value_error(std::string(name) + ": wanted two axes");
  const auto address = reinterpret_cast<std::uintptr_t>(array.data());
  const index_t stride = array.strides(0);
  const bool aligned = address % alignof(Element) == 0 && stride % itemsize == 0;
  const bool empty = array.size() == 0;  // NumPy's strides and addresses of these mean nothing
  if (!empty && (!aligned || (array.shape(1) > 1 && array.strides(1) != itemsize))) {
    throw py::value_error(std::string(name) + ": wanted an aligned, contiguous last axis");
  }
  if (!std::is_const_v<T> && !array.writeable()) {
    throw py::value_error(std::string(name) + ": is read-only");
  }
  Element* data = static_cast<Element*>(const_cast<void*>(array.data()));
  return {data, array.shape(0), array.shape(1), stride / itemsize};
}

inline void check(bool condition, const char* message) {
  if (!condition) throw py::value_error(message);
}

inline Precision precision_of(const std::string& word) {
  if (word == "high") return Precision::high;
  if (word == "medium") return Precision::medium;
  check(word == "highest", "precision: wanted 'highest', 'high' or 'medium'");
  return Precision::highest;
}

using OptionalArray = std::optional<py::array>;

// A bit mask for (rows, features), or an empty view for None.
inline MaskView mask_view(const OptionalArray& mask, index_t rows, index_t features,
                          bool writes) {
  if (!mask) return {};
  const auto view = matrix<const std::uint8_t>(*mask, "mask");
  check(view.rows == rows && view.cols == (features + 7) / 8, "mask: shape does not match");
  check(!writes || mask->writeable(), "mask: is read-only");
  return {const_cast<std::uint8_t*>(view.data), view.rows, view.cols, view.row_stride};
}

// All elements of an array that is contiguous as a whole.
template <class T>
T* elements(const py::array& array, index_t size, const char* name, bool writes) {
  if (!holds<T>(array)) throw py::type_error(std::string(name) + ": wrong dtype");
  const bool contiguous = (array.flags() & py::array::c_style) != 0;
  check(contiguous && array.size() == size && (!writes || array.writeable()),
        "wanted contiguous writable arrays of one size");
  return static_cast<T*>(const_cast<void*>(array.data()));
}

// Runs op.template operator()<T>() for the dtype of `array`.
template <class Op>
void for_dtype(const py::array& array, Op op) {
  if (holds_float(array)) return op(float{});
  if (holds_double(array)) return op(double{});
  throw py::type_error("wanted float32 or float64");
}

}  // namespace homfast
