// The short way: calls on plain arrays, whole, for the price of one crossing of the language border.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "bindings/array_view.h"

namespace homfast {

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

  bool same_leading_axes(const PlainArray& other) const {
    if (proxy->nd != other.proxy->nd) return false;
    for (int axis = 0; axis + 1 < proxy->nd; ++axis) {
      if (proxy->dimensions[axis] != other.proxy->dimensions[axis]) return false;
    }
    return true;
  }

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

// Whether the rows of two views may share memory.
template <class T>
bool overlap(const MatrixView<const T>& a, const MatrixView<T>& b) {
  if (a.rows == 0 || a.cols == 0 || b.rows == 0 || b.cols == 0) return false;
  const T* const a_last = a.data + (a.rows - 1) * a.row_stride;
  const T* const b_last = b.data + (b.rows - 1) * b.row_stride;
  const T* const a_low = a.row_stride < 0 ? a_last : a.data;
  const T* const b_low = b.row_stride < 0 ? b_last : b.data;
  const T* const a_end = (a.row_stride < 0 ? a.data : a_last) + a.cols;
  const T* const b_end = (b.row_stride < 0 ? b.data : b_last) + b.cols;
  return a_low < b_end && b_low < a_end;
}

// A new array of the leading axes of x and then `features`.
template <class T>
py::array new_like(const PlainArray& x, index_t features) {
  const auto* first = x.proxy->dimensions;
  std::vector<py::ssize_t> shape(first, first + x.proxy->nd);
  shape.back() = features;
  py::ssize_t bytes = sizeof(T);
  for (const py::ssize_t n : shape) {
    if (__builtin_mul_overflow(bytes, std::max<py::ssize_t>(n, 1), &bytes)) {
      PyErr_SetString(PyExc_MemoryError,
                      "out: a result of more bytes than there are addresses; call with fewer rows at a time");
      throw py::error_already_set();
    }
  }
  return py::array(py::dtype::of<T>(), std::move(shape));
}

// Where a call on x writes: `out` if it is given, else a new array. False if `out` is not a plain array of
// the shape and dtype of the result that can be written to as it lies.
template <class T>
bool plain_target(const PlainArray& x, index_t features, py::object& out, MatrixView<T>& view) {
  index_t rows = 1;
  for (int axis = 0; axis + 1 < x.proxy->nd; ++axis) rows *= x.proxy->dimensions[axis];
  if (out.is_none()) {
    py::array result = new_like<T>(x, features);
    view = {static_cast<T*>(result.mutable_data()), rows, features, features};
    out = std::move(result);
    return true;
  }
  const PlainArray target(out);
  if (!target.proxy || target.type != x.type || !target.contiguous()) return false;
  if (!(target.proxy->flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_)) return false;
  if (!target.same_leading_axes(x) || target.cols() != features) return false;
  view = {reinterpret_cast<T*>(target.proxy->data), rows, features, features};
  return true;
}

}  // namespace homfast
