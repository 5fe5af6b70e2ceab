// A whole network on tensors of few rows, which their library hands over by DLPack's C exchange (1.3):
// a table of functions, so that a call crosses the border of the language once, and makes no arrays.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

#include "bindings/array_view.h"
#include "core/ops.h"
#include "core/workspace.h"

namespace homfast {

// What DLPack fixes of its memory layout, in the first major version.
namespace dlpack {

constexpr std::uint32_t kMajor = 1;
constexpr std::int32_t kCpu = 1;
constexpr std::uint8_t kFloat = 2;

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
    const bool floats = tensor.dtype.code == dlpack::kFloat && tensor.dtype.lanes == 1;
    taken_ = tensor.device.type == dlpack::kCpu && floats && tensor.axes >= 1 && tensor.data;
  }

  template <class T>
  bool holds() const {
    return taken_ && tensor.dtype.bits == 8 * sizeof(T);
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

// Above so many rows the way that packs the weights once a call is the faster one.
constexpr index_t kFewRows = 64;
// Up to so many multiply-adds the interpreter waits (some 50 us): nobody takes a weight's memory away
// meanwhile, and letting it go and coming back would cost as much as a small layer.
constexpr double kHeldMultiplyAdds = 2e6;

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
    wanted.shape = shape.data();
    wanted.strides = nullptr;
    ExchangeError error;
    if (exchange.allocate(&wanted, &owned_, &error, &ExchangeError::set)) error.raise();
  }
  ~ExchangedResult() {
    if (owned_) owned_->release(owned_);
  }
  ExchangedResult(const ExchangedResult&) = delete;
  ExchangedResult& operator=(const ExchangedResult&) = delete;

  T* data() const {
    return reinterpret_cast<T*>(static_cast<char*>(owned_->tensor.data) + owned_->tensor.byte_offset);
  }
  py::object object() {
    void* made = nullptr;
    dlpack::Owned* const given = owned_;
    owned_ = nullptr;
    if (exchange_.to_object(given, &made)) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(static_cast<PyObject*>(made));
  }

 private:
  const dlpack::Exchange& exchange_;
  dlpack::Owned* owned_ = nullptr;
};

template <class T>
py::object run_exchanged(const dlpack::Exchange& exchange, const ExchangedTensor& x,
                         const py::list& layers, double slope, bool last_relu) {
  std::vector<MatrixView<const T>> weights;
  weights.reserve(layers.size());
  MatrixView<const T> rows;
  if (!x.rows<T>(rows) || rows.rows > kFewRows) return py::none();
  index_t features = rows.cols, widest = 0;
  double multiply_adds = 0;
  for (const py::handle layer : layers) {
    const ExchangedTensor weight(exchange, layer);
    MatrixView<const T> view;
    if (!weight.holds<T>() || weight.tensor.axes != 2 || !weight.rows<T>(view)) return py::none();
    if (view.cols != features) return py::none();
    features = view.rows;
    if (weights.size() + 1 < layers.size()) widest = std::max(widest, features);
    multiply_adds += static_cast<double>(rows.rows) * view.rows * view.cols;
    weights.push_back(view);
  }
  if (weights.empty() || multiply_adds > kHeldMultiplyAdds) return py::none();
  ExchangedResult<T> result(exchange, x.tensor, features);
  // Two buffers in turn for what lies between layers.
  T* between = thread_workspace<T, Workspace::activations>(2 * rows.rows * widest);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const bool last = i + 1 == weights.size();
    const index_t width = weights[i].rows;
    T* const target = last ? result.data() : between + (i % 2) * rows.rows * widest;
    const bool relu = !last || last_relu;
    const MatrixView<T> out{target, rows.rows, width, width};
    linear<T>(rows, {weights[i], nullptr}, relu ? Epilogue::relu : Epilogue::none,
              relu ? static_cast<T>(slope) : T{0}, {}, out, Precision::highest);
    rows = {target, out.rows, width, width};
  }
  return result.object();
}

// The network at x, as a tensor of x's library; None for what has to be looked at, or takes longer.
inline py::object exchanged_network(const py::object& table, const py::object& x,
                                    const py::list& weights, const py::object& negative_slope,
                                    bool last_relu) {
#if defined(Py_GIL_DISABLED)
  return py::none();  // nothing keeps another thread from a weight's memory meanwhile
#endif
  if (!PyFloat_Check(negative_slope.ptr())) return py::none();
  const double slope = PyFloat_AS_DOUBLE(negative_slope.ptr());
  if (!(std::abs(slope) <= std::numeric_limits<float>::max())) return py::none();
  const auto* exchange = static_cast<const dlpack::Exchange*>(
      PyCapsule_GetPointer(table.ptr(), "dlpack_exchange_api"));
  if (!exchange) throw py::error_already_set();
  if (exchange->version.major != dlpack::kMajor || !exchange->look) return py::none();
  const ExchangedTensor input(*exchange, x);
  if (input.holds<float>()) return run_exchanged<float>(*exchange, input, weights, slope, last_relu);
  if (input.holds<double>()) {
    return run_exchanged<double>(*exchange, input, weights, slope, last_relu);
  }
  return py::none();
}

}  // namespace homfast
