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

// A bit mask for (rows, features), or an empty view for None.
inline MaskView mask_view(const std::optional<py::array>& mask, index_t rows, index_t features,
                          bool writes) {
  if (!mask) return {};
  const auto view = matrix<const std::uint8_t>(*mask, "mask");
  check(view.rows == rows && view.cols == (features + 7) / 8, "mask: shape does not match");
  check(!writes || mask->writeable(), "mask: is read-only");
  return {const_cast<std::uint8_t*>(view.data), view.rows, view.cols, view.row_stride};
}

// Arguments of the short way: exact NumPy arrays in kernel layout, or nothing. The long way through
// homfast._arrays takes all else, and explains what cannot be taken.
struct PlainArray {
  const py::detail::PyArray_Proxy* proxy = nullptr;
  int type = 0;

  explicit PlainArray(const py::handle& object) {
    const auto& api = py::detail::npy_api::get();
    if (Py_TYPE(object.ptr()) != api.PyArray_Type_) return;
    const auto* array = py::detail::array_proxy(object.ptr());
    const auto* dtype = py::detail::array_descriptor_proxy(array->descr);
    if (dtype->byteorder != '=' && dtype->byteorder != '|') return;
    constexpr int wanted = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    if (array->nd < 1 || (array->flags & wanted) != wanted) return;
    proxy = array;
    type = dtype->type_num;
  }

  bool contiguous() const { return proxy->flags & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_; }
  index_t cols() const { return proxy->dimensions[proxy->nd - 1]; }

  // As rows; false if that needs a copy.
  template <class T>
  bool rows(MatrixView<const T>& view) const {
    index_t count = 1, stride = cols();
    if (contiguous()) {
      for (int axis = 0; axis + 1 < proxy->nd; ++axis) count *= proxy->dimensions[axis];
    } else {
      constexpr index_t itemsize = sizeof(T);
      if (proxy->nd != 2 || proxy->strides[1] != itemsize || proxy->strides[0] % itemsize) return false;
      count = proxy->dimensions[0];
      stride = proxy->strides[0] / itemsize;
    }
    view = {reinterpret_cast<const T*>(proxy->data), count, cols(), stride};
    return true;
  }
};

template <class T>
constexpr int type_number() {
  return sizeof(T) == 4 ? py::detail::npy_api::NPY_FLOAT_ : py::detail::npy_api::NPY_DOUBLE_;
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

}  // namespace homfast
