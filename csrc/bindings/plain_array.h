// The short way: calls on plain arrays, whole, for the price of one crossing of the language border.
#pragma once

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

// A new array of the leading axes of x and then `features`.
template <class T>
py::array new_like(const PlainArray& x, index_t features) {
  const auto* first = x.proxy->dimensions;
  std::vector<py::ssize_t> shape(first, first + x.proxy->nd);
  shape.back() = features;
  return py::array(py::dtype::of<T>(), std::move(shape));
}

}  // namespace homfast
