// Tensors of another library, which hands over their memory by DLPack's C exchange (1.3): a table of
// functions, so that a call crosses the border of the language once, and makes no arrays.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "bindings/array_view.h"

namespace homfast {

// What DLPack fixes of its memory layout, in the first major version.
namespace dlpack {

constexpr std::uint32_t kMajor = 1;
constexpr std::int32_t kCpu = 1;
constexpr std::uint8_t kUnsigned = 1, kFloat = 2;

struct Version {
  std::uint32_t major, minor;
};
struct Device {
  std::int32_t type, id;
};
struct Dtype {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  std::int32_t axes;
  Dtype dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; without, rows lie one after the other
  std::uint64_t byte_offset;
};
struct Owned {
  Version version;
  void* owner;
  void (*release)(Owned*);
  std::uint64_t flags;
  Tensor tensor;
};
struct Exchange {
  Version version;
  Exchange* older;
  int (*allocate)(Tensor* like, Owned** out, void* context,
                  void (*set_error)(void* context, const char* kind, const char* message));
  int (*own)(void* object, Owned** out);
  int (*to_object)(Owned* tensor, void** object);
  int (*look)(void* object, Tensor* out);  // valid while nobody else runs; may be missing
  int (*stream)(std::int32_t type, std::int32_t id, void** stream);
};

}  // namespace dlpack

// The memory of a tensor in the interpreter, on the CPU, with its rows in kernel layout; else none.
class ExchangedTensor {
 public:
  ExchangedTensor(const dlpack::Exchange& exchange, const py::handle& object) {
    if (exchange.look(object.ptr(), &tensor)) {
      PyErr_Clear();  // the long way says what it is that has no memory of its own
      return;
    }
    taken_ = tensor.device.type == dlpack::kCpu && tensor.dtype.lanes == 1 && tensor.axes >= 1 &&
             tensor.data;
  }

  template <class T>
  bool holds() const {
    constexpr std::uint8_t code = std::is_integral_v<T> ? dlpack::kUnsigned : dlpack::kFloat;
    return taken_ && tensor.dtype.code == code && tensor.dtype.bits == 8 * sizeof(T);
  }

  // As rows; false if that needs a copy, or there are no elements.
  template <class T>
  bool rows(MatrixView<const T>& view) const {
    const int last = tensor.axes - 1;
    const index_t cols = tensor.shape[last];
    index_t count = 1, stride = cols;
    const bool two = tensor.axes == 2 && tensor.strides;
    if (two) {
      count = tensor.shape[0];
      if (count > 1) stride = tensor.strides[0];
      if (cols > 1 && tensor.strides[1] != 1) return false;
    } else {
      for (int axis = last - 1; axis >= 0; --axis) {
        const index_t length = tensor.shape[axis];
        if (tensor.strides && length > 1 && tensor.strides[axis] != count * cols) return false;
        count *= length;
      }
      if (tensor.strides && cols > 1 && tensor.strides[last] != 1) return false;
    }
    if (count == 0 || cols == 0) return false;
    const auto address = reinterpret_cast<std::uintptr_t>(tensor.data) + tensor.byte_offset;
    if (address % alignof(T)) return false;
    view = {reinterpret_cast<const T*>(address), count, cols, stride};
    return true;
  }

  dlpack::Tensor tensor{};

 private:
  bool taken_ = false;
};

// Why the other library has no memory, in its words.
struct ExchangeError {
  bool memory = true;
  char message[512] = "no memory for the result";

  static void set(void* context, const char* kind, const char* said) noexcept {
    auto& error = *static_cast<ExchangeError*>(context);
    error.memory = std::strcmp(kind, "MemoryError") == 0;
    std::snprintf(error.message, sizeof error.message, "%s", said);
  }
  [[noreturn]] void raise() const {
    PyErr_SetString(memory ? PyExc_MemoryError : PyExc_RuntimeError, message);
    throw py::error_already_set();
  }
};

// A new tensor of the leading axes of `like` and then `features`, of like's library. An object of the
// interpreter it becomes at the end: making one may run code of the user's.
template <class T>
class ExchangedResult {
 public:
  ExchangedResult(const dlpack::Exchange& exchange, const dlpack::Tensor& like, index_t features)
      : exchange_(exchange) {
    std::vector<std::int64_t> shape(like.shape, like.shape + like.axes);
    shape.back() = features;
    dlpack::Tensor wanted = like;
    wanted.dtype = {std::is_integral_v<T> ? dlpack::kUnsigned : dlpack::kFloat, 8 * sizeof(T), 1};
    wanted.shape = shape.data();
    wanted.strides = nullptr;
    ExchangeError error;
    if (exchange.allocate(&wanted, &owned_, &error, &ExchangeError::set)) error.raise();
  }
  ~ExchangedResult() {
    if (owned_) owned_->release(owned_);
  }
  ExchangedResult(ExchangedResult&& other) noexcept
      : exchange_(other.exchange_), owned_(std::exchange(other.owned_, nullptr)) {}
  ExchangedResult& operator=(ExchangedResult&&) = delete;

  T* data() const {
    return reinterpret_cast<T*>(static_cast<char*>(owned_->tensor.data) + owned_->tensor.byte_offset);
  }
  py::object object() {
    void* made = nullptr;
    if (exchange_.to_object(std::exchange(owned_, nullptr), &made)) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(static_cast<PyObject*>(made));
  }

 private:
  const dlpack::Exchange& exchange_;
  dlpack::Owned* owned_ = nullptr;
};

// The table in a capsule; none if it is of another version, or lets nobody look.
inline const dlpack::Exchange* exchange_of(const py::object& capsule) {
  const auto* exchange = static_cast<const dlpack::Exchange*>(
      PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  if (!exchange) throw py::error_already_set();
  return exchange->version.major == dlpack::kMajor && exchange->look ? exchange : nullptr;
}

}  // namespace homfast
