// Arrays on a device, by `__cuda_array_interface__` (version 2 and 3), to views; and calls on them. The
// Python layer has checked what a user can get wrong; here it is checked again as far as memory safety
// needs.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings/gil.h"
#include "cuda/ops.h"
#include "cuda/runtime.h"

namespace homfast::cuda {

namespace py = pybind11;

inline void check(bool condition, const std::string& message) {
  if (!condition) throw py::value_error(message);
}

// What the interface says of an array.
struct DeviceArray {
  std::string name;
  std::uintptr_t address = 0;
  bool read_only = false;
  std::string type;               // "<f4"
  std::vector<index_t> shape;
  std::vector<index_t> strides;   // bytes
  std::uintptr_t stream = 0;      // 0: none to wait for

  DeviceArray(const py::handle& array, const char* argument) : name(argument) {
    const py::object found = py::getattr(array, "__cuda_array_interface__", py::none());
    if (!py::isinstance<py::dict>(found)) {
      throw py::type_error(name + ": wanted an array on a CUDA device, with __cuda_array_interface__");
    }
    const auto interface = py::reinterpret_borrow<py::dict>(found);
    const auto data = py::cast<py::tuple>(interface["data"]);
    address = data[0].is_none() ? 0 : py::cast<std::uintptr_t>(data[0]);
    read_only = py::cast<bool>(data[1]);
    type = py::cast<std::string>(interface["typestr"]);
    shape = py::cast<std::vector<index_t>>(interface["shape"]);
    if (interface.contains("strides") && !interface["strides"].is_none()) {
      strides = py::cast<std::vector<index_t>>(interface["strides"]);
    } else {
      strides.resize(shape.size());
      index_t step = itemsize();
      for (std::size_t axis = shape.size(); axis-- > 0; step *= shape[axis]) strides[axis] = step;
    }
    if (interface.contains("mask") && !interface["mask"].is_none()) {
      throw py::type_error(name + ": got a masked array, whose mask would be lost");
    }
    if (interface.contains("stream") && !interface["stream"].is_none()) {
      stream = py::cast<std::uintptr_t>(interface["stream"]);
      check(stream != 0, name + ": its interface names stream 0, which is ambiguous; 1 is the default one");
    }
  }

  index_t itemsize() const { return std::stol(type.substr(2)); }
  index_t size() const {
    index_t product = 1;
    for (const index_t n : shape) product *= n;
    return product;
  }
};

template <class T>
bool holds(const DeviceArray& array);
template <>
inline bool holds<float>(const DeviceArray& array) {
  return array.type == "<f4";
}
template <>
inline bool holds<double>(const DeviceArray& array) {
  return array.type == "<f8";
}
template <>
inline bool holds<Complex<float>>(const DeviceArray& array) {
  return array.type == "<c8";
}
template <>
inline bool holds<Complex<double>>(const DeviceArray& array) {
  return array.type == "<c16";
}
template <>
inline bool holds<std::uint8_t>(const DeviceArray& array) {
  return array.type == "|u1";
}
template <>
inline bool holds<std::uint16_t>(const DeviceArray& array) {  // and what holds the bits of bfloat16
  return array.itemsize() == 2 && array.type != "<f2";
}
template <>
inline bool holds<std::int32_t>(const DeviceArray& array) {
  return array.type == "<i4";
}
template <>
inline bool holds<std::uint32_t>(const DeviceArray& array) {  // torch has few operations on unsigned
  return array.type == "<u4" || array.type == "<i4";
}
template <>
inline bool holds<std::int64_t>(const DeviceArray& array) {
  return array.type == "<i8";
}

// One call: the arrays it takes, the device they are on, the stream it runs on.
//
// Where an array names another stream as its own, the call waits for that stream, and a stream whose
// array is written waits for the call.
class Call {
 public:
  explicit Call(std::uintptr_t stream) : stream_(stream) {}

  // A 2-D array whose last axis is contiguous. T const reads, T not const writes.
  template <class T>
  MatrixView<T> matrix(const py::handle& object, const char* name) {
    using Element = std::remove_const_t<T>;
    const DeviceArray array(object, name);
    Element* const data = enter<T>(array);
    check(array.shape.size() == 2, array.name + ": wanted two axes");
    const index_t itemsize = sizeof(Element), stride = array.strides[0];
    if (array.size() != 0) {
      check(stride % itemsize == 0 && (array.shape[1] <= 1 || array.strides[1] == itemsize),
            array.name + ": wanted a contiguous last axis");
    }
    return {data, array.shape[0], array.shape[1], stride / itemsize};
  }

  // All elements of an array that is contiguous as a whole; as many as `size`, unless that is negative.
  template <class T>
  T* elements(const py::handle& object, const char* name, index_t& size) {
    const DeviceArray array(object, name);
    auto* const data = enter<T>(array);
    index_t step = sizeof(T);
    for (std::size_t axis = array.shape.size(); axis-- > 0; step *= array.shape[axis]) {
      check(array.size() == 0 || array.shape[axis] == 1 || array.strides[axis] == step,
            array.name + ": wanted a contiguous array");
    }
    check(size < 0 || size == array.size(), array.name + ": wanted " + std::to_string(size) + " elements");
    size = array.size();
    return data;
  }

  // A bit mask for (rows, features), or an empty view for None.
  MaskView mask(const std::optional<py::object>& object, index_t rows, index_t features, bool writes) {
    if (!object) return {};
    const auto view = matrix<const std::uint8_t>(*object, "mask");
    if (writes) matrix<std::uint8_t>(*object, "mask");
    check(view.rows == rows && view.cols == (features + 7) / 8, "mask: shape does not match");
    return {const_cast<std::uint8_t*>(view.data), view.rows, view.cols, view.row_stride};
  }

  Scratch scratch(const std::optional<py::object>& object, index_t wanted) {
    if (wanted == 0) return {};
    check(object.has_value(), "scratch: this op needs " + std::to_string(wanted) + " bytes");
    index_t size = -1;
    auto* const data = elements<std::uint8_t>(*object, "scratch", size);
    check(size >= wanted && address_of(data) % 16 == 0,
          "scratch: wanted " + std::to_string(wanted) + " bytes, aligned to 16");
    return {data, size};
  }

  // Runs op(stream) on the device of the arrays, without the interpreter's lock.
  template <class Op>
  void run(Op op) {
    if (device_ < 0) return;  // every array is empty
    const WithoutGil released;
    const DeviceScope scope(device_);
    auto* const stream = reinterpret_cast<void*>(stream_);
    for (const auto other : before_) wait_for(stream, reinterpret_cast<void*>(other));
    op(static_cast<Stream>(stream));
    for (const auto other : after_) wait_for(reinterpret_cast<void*>(other), stream);
  }

 private:
  static std::uintptr_t address_of(const void* data) { return reinterpret_cast<std::uintptr_t>(data); }

  template <class T>
  std::remove_const_t<T>* enter(const DeviceArray& array) {
    using Element = std::remove_const_t<T>;
    if (!holds<Element>(array)) throw py::type_error(array.name + ": wrong dtype " + array.type);
    auto* const data = reinterpret_cast<Element*>(array.address);
    if (array.size() == 0) return data;
    check(array.address % alignof(Element) == 0, array.name + ": wanted aligned elements");
    check(std::is_const_v<T> || !array.read_only, array.name + ": is read-only");
    const int device = device_of(data);
    if (device < 0) {
      throw py::type_error(array.name + ": its memory is on no CUDA device; homfast moves nothing");
    }
    if (device_ >= 0 && device != device_) {
      throw py::type_error(array.name + ": on device " + std::to_string(device) + ", other arrays on " +
                           std::to_string(device_) + "; homfast moves nothing");
    }
    device_ = device;
    constexpr std::uintptr_t legacy = 1;
    const std::uintptr_t ours = stream_ == 0 ? legacy : stream_;
    if (array.stream != 0 && array.stream != ours) {
      before_.push_back(array.stream);
      if (!std::is_const_v<T>) after_.push_back(array.stream);
    }
    return data;
  }

  std::uintptr_t stream_;
  int device_ = -1;
  std::vector<std::uintptr_t> before_, after_;
};

// Runs op(T()) for the dtype of the array.
template <class Op>
void for_dtype(const py::handle& object, const char* name, Op op) {
  const DeviceArray array(object, name);
  if (holds<float>(array)) return op(float{});
  if (holds<double>(array)) return op(double{});
  throw py::type_error(array.name + ": wanted float32 or float64, got " + array.type);
}

// As `for_dtype`, for complex arrays too.
template <class Op>
void for_number(const py::handle& object, const char* name, Op op) {
  const DeviceArray array(object, name);
  if (holds<Complex<float>>(array)) return op(Complex<float>{});
  if (holds<Complex<double>>(array)) return op(Complex<double>{});
  for_dtype(object, name, op);
}

inline Precision precision_of(const std::string& word) {
  if (word == "high") return Precision::high;
  if (word == "medium") return Precision::medium;
  check(word == "highest", "precision: wanted 'highest', 'high' or 'medium'");
  return Precision::highest;
}

}  // namespace homfast::cuda
