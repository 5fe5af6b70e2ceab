// The passes of a network on XLA's buffers: decode, check what memory safety needs, pack, run.
//
// Buffers are (..., features), row-major. Weights are packed in every call: XLA hands over values, not
// objects that could keep a packing. XLA calls on any thread, without the interpreter's lock.
#include "bindings/xla_handlers.h"

#if __has_include("xla/ffi/api/ffi.h")

#include <deque>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "bindings/gil.h"
#include "core/parallel.h"
#include "core/passes.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wreturn-type"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "xla/ffi/api/ffi.h"
#pragma GCC diagnostic pop

namespace homfast {
namespace {

namespace ffi = xla::ffi;

template <class T>
constexpr ffi::DataType type_of() {
  if constexpr (std::is_same_v<T, float>) return ffi::F32;
  if constexpr (std::is_same_v<T, double>) return ffi::F64;
  return ffi::U8;
}

struct Refused {
  const char* why;
};

void want(bool condition, const char* message) {
  if (!condition) throw Refused{message};
}

// The operands or the results of a call, taken one after the other.
template <class Remaining>
class Buffers {
 public:
  explicit Buffers(const Remaining& remaining) : remaining_(remaining) {}

  std::size_t left() const { return remaining_.size() - next_; }
  ffi::AnyBuffer peek() const { return at(next_); }
  ffi::AnyBuffer take() { return at(next_++); }

  // (..., features) as rows.
  template <class T>
  MatrixView<T> rows() {
    const ffi::AnyBuffer buffer = take();
    want(buffer.element_type() == type_of<std::remove_const_t<T>>(), "operands of several dtypes");
    const auto sizes = buffer.dimensions();
    want(sizes.size() > 0, "an operand without axes");
    index_t count = 1;
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i) count *= sizes[i];
    const index_t features = sizes.back();
    return {static_cast<T*>(buffer.untyped_data()), count, features, features};
  }

  template <class T>
  MatrixView<T> rows_of(index_t count, index_t features) {
    const auto view = rows<T>();
    want(view.rows == count && view.cols == features, "an operand's shape does not match");
    return view;
  }

 private:
  ffi::AnyBuffer at(std::size_t index) const {
    want(index < remaining_.size(), "too few operands or results");
    if constexpr (std::is_same_v<Remaining, ffi::RemainingArgs>) {
      return remaining_.template get<ffi::AnyBuffer>(index).value();
    } else {
      return *remaining_.template get<ffi::AnyBuffer>(index).value();
    }
  }

  const Remaining& remaining_;
  std::size_t next_ = 0;
};

using Operands = Buffers<ffi::RemainingArgs>;
using Results = Buffers<ffi::RemainingRets>;

// The weights of a call, packed as they are first read.
template <class T>
struct Layers {
  std::deque<PackedWeight<T>> packed;
  std::vector<Weight<T>> weights;
  bool last_relu;
  Precision precision;
  T slope;

  std::size_t masks() const { return weights.size() - (last_relu ? 0 : 1); }
  index_t in_features() const { return weights.front().view.cols; }
  index_t out_features() const { return weights.back().view.rows; }
};

// What every pass is told.
struct Options {
  std::int64_t layers;
  double slope;
  bool last_relu;
  std::string_view precision;
};

template <class T>
Layers<T> take_weights(Operands& operands, const Options& options) {
  Layers<T> layers{{}, {}, options.last_relu, Precision::highest, static_cast<T>(options.slope)};
  if (options.precision == "high") layers.precision = Precision::high;
  if (options.precision == "medium") layers.precision = Precision::medium;
  want(options.layers > 0 && (options.layers == 1 || !options.last_relu),
       "one layer with a ReLU, or a network whose last layer is linear");
  for (std::int64_t i = 0; i < options.layers; ++i) {
    const auto view = operands.rows<const T>();
    want(i == 0 || view.cols == layers.weights.back().view.rows, "widths do not chain");
    layers.packed.emplace_back(view, layers.precision);
    layers.weights.push_back({view, &layers.packed.back()});
  }
  return layers;
}

template <class T>
std::vector<MaskView> take_masks(Operands& operands, const Layers<T>& layers, index_t rows) {
  std::vector<MaskView> masks;
  for (std::size_t i = 0; i < layers.masks(); ++i) {
    const index_t width = layers.weights[i].view.rows;
    const auto view = operands.rows_of<const std::uint8_t>(rows, (width + 7) / 8);
    masks.push_back({const_cast<std::uint8_t*>(view.data), view.rows, view.cols, view.row_stride});
  }
  return masks;  // only read
}

// x, weights -> y; with `keep` also, if there are as many results, the hidden layers' outputs, and masks.
template <class T>
void forward_as(Operands operands, Results results, const Options& options, bool keep) {
  const auto x = operands.rows<const T>();
  const auto layers = take_weights<T>(operands, options);
  want(x.cols == layers.in_features(), "x does not match the first weight");
  const auto y = results.rows_of<T>(x.rows, layers.out_features());
  Trace<T> trace{x, {}, {}};
  if (keep) {
    const std::size_t inner = layers.weights.size() - 1;
    const std::size_t hidden = results.left() - layers.masks();
    want(hidden == 0 || hidden == inner, "hidden outputs: all or none");
    for (std::size_t i = 0; i < hidden; ++i) {
      trace.hidden.push_back(results.rows_of<T>(x.rows, layers.weights[i].view.rows));
    }
    for (std::size_t i = 0; i < layers.masks(); ++i) {
      const index_t width = layers.weights[i].view.rows;
      trace.masks.push_back(results.rows_of<std::uint8_t>(x.rows, (width + 7) / 8));
    }
  }
  if (layers.last_relu) {
    linear<T>(x, layers.weights[0], Epilogue::relu, layers.slope, keep ? trace.masks[0] : MaskView{}, y,
              layers.precision);
  } else {
    run_forward<T>(layers.weights, layers.slope, trace, y);
  }
}

// v, weights, masks -> J v.
template <class T>
void tangent_as(Operands operands, Results results, const Options& options) {
  const auto v = operands.rows<const T>();
  const auto layers = take_weights<T>(operands, options);
  want(v.cols == layers.in_features(), "v does not match the first weight");
  const auto masks = take_masks(operands, layers, v.rows);
  const auto out = results.rows_of<T>(v.rows, layers.out_features());
  if (layers.last_relu) {
    linear<T>(v, layers.weights[0], Epilogue::masked, layers.slope, masks[0], out, layers.precision);
  } else {
    run_tangent<T>(layers.weights, layers.slope, masks, v, out);
  }
}

template <class View>
View part_of(const View& whole, index_t part, index_t parts) {
  const index_t rows = whole.rows / parts;
  return {whole.data + part * rows * whole.row_stride, rows, whole.cols, whole.row_stride};
}

template <class View>
std::vector<View> parts_of(const std::vector<View>& whole, index_t part, index_t parts) {
  std::vector<View> found;
  for (const View& view : whole) found.push_back(part_of(view, part, parts));
  return found;
}

// grad_output, weights, masks and, for gradients of weights, x and the hidden outputs -> gradients of
// x, if there are as many results, and of the weights, for each of `parts` groups of rows.
template <class T>
void backward_as(Operands operands, Results results, const Options& options, bool input_needed,
                 bool weights_needed, index_t parts) {
  const auto grad = operands.rows<const T>();
  const auto layers = take_weights<T>(operands, options);
  want(grad.cols == layers.out_features(), "grad_output does not match the last weight");
  want(parts > 0 ? grad.rows % parts == 0 : grad.rows == 0, "parts do not divide the rows");
  Trace<T> trace{{nullptr, grad.rows, 0, 0}, {}, take_masks(operands, layers, grad.rows)};
  if (weights_needed) {
    trace.x = operands.rows_of<const T>(grad.rows, layers.in_features());
    for (std::size_t i = 0; i + 1 < layers.weights.size(); ++i) {
      const auto view = operands.rows_of<const T>(grad.rows, layers.weights[i].view.rows);
      trace.hidden.push_back({const_cast<T*>(view.data), view.rows, view.cols, view.row_stride});
    }
  }
  MatrixView<T> input_target{};
  if (input_needed) input_target = results.rows_of<T>(grad.rows, layers.in_features());
  std::vector<MatrixView<T>> weight_targets;
  for (std::size_t i = 0; weights_needed && i < layers.weights.size(); ++i) {
    const auto& view = layers.weights[i].view;
    weight_targets.push_back(results.rows_of<T>(parts * view.rows, view.cols));
  }
  auto& scratch = memory_of_thread<TraceMemory<T>, TraceMemory<T>>();
  for (index_t part = 0; part < parts; ++part) {
    const auto g = part_of(grad, part, parts);
    const Trace<T> own{part_of(trace.x, part, parts), parts_of(trace.hidden, part, parts),
                       parts_of(trace.masks, part, parts)};
    const auto below = input_needed ? part_of(input_target, part, parts) : MatrixView<T>{};
    const auto targets = parts_of(weight_targets, part, parts);
    if (layers.last_relu) {
      const auto& weight = layers.weights[0];
      if (input_needed) {
        grad_input<T>(g, weight, own.masks[0], layers.slope, below, layers.precision);
      }
      if (weights_needed) {
        grad_weight<T>(g, own.x, own.masks[0], layers.slope, targets[0], layers.precision);
      }
    } else {
      scratch.reserve(layers.weights, g.rows, false, 1);
      run_backward<T>(layers.weights, layers.slope, own, g, scratch.hidden(0), below, targets);
    }
  }
}

// What a signal handler raised within a call comes again where Python goes on: XLA has no room for it.
// Only the main thread runs handlers.
void raise_later() {
  struct Raised {
    PyObject *type, *value, *traceback;
  };
  const WithGil held;
  Raised raised{};
  PyErr_Fetch(&raised.type, &raised.value, &raised.traceback);
  if (!raised.type) return;
  auto* const kept = new Raised(raised);
  const auto raise = [](void* kept) {
    const Raised again = *static_cast<Raised*>(kept);
    delete static_cast<Raised*>(kept);
    PyErr_Restore(again.type, again.value, again.traceback);
    return -1;
  };
  if (Py_AddPendingCall(raise, kept) != 0) PyErr_SetInterrupt();
}

// What a call throws, as what XLA passes on.
template <class Call>
ffi::Error guarded(Call call) {
  try {
    call();
    return ffi::Error::Success();
  } catch (const Refused& refused) {
    return ffi::Error(ffi::ErrorCode::kInvalidArgument, std::string("homfast: ") + refused.why);
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "homfast: out of memory");
  } catch (const Interrupted&) {
    raise_later();
    return ffi::Error(ffi::ErrorCode::kCancelled, "homfast: interrupted");
  } catch (const Abandoned& abandoned) {
    raise_later();
    return ffi::Error(ffi::ErrorCode::kInternal, abandoned.what());
  } catch (const std::exception& error) {
    return ffi::Error(ffi::ErrorCode::kInternal, std::string("homfast: ") + error.what());
  }
}

// Runs call(zero) with a zero of the dtype of the first operand.
template <class Call>
ffi::Error for_dtype(const Operands& operands, Call call) {
  return guarded([&] {
    const auto type = operands.peek().element_type();
    want(type == ffi::F32 || type == ffi::F64, "wanted float32 or float64");
    type == ffi::F32 ? call(float{}) : call(double{});
  });
}

ffi::Error forward(ffi::RemainingArgs args, ffi::RemainingRets rets, std::int64_t layers, double slope,
                   bool last_relu, std::string_view precision, bool keep) {
  return for_dtype(Operands(args), [&](auto zero) {
    forward_as<decltype(zero)>(Operands(args), Results(rets), {layers, slope, last_relu, precision}, keep);
  });
}

ffi::Error tangent(ffi::RemainingArgs args, ffi::RemainingRets rets, std::int64_t layers, double slope,
                   bool last_relu, std::string_view precision) {
  return for_dtype(Operands(args), [&](auto zero) {
    tangent_as<decltype(zero)>(Operands(args), Results(rets), {layers, slope, last_relu, precision});
  });
}

ffi::Error backward(ffi::RemainingArgs args, ffi::RemainingRets rets, std::int64_t layers, double slope,
                    bool last_relu, std::string_view precision, bool input_needed, bool weights_needed,
                    std::int64_t parts) {
  return for_dtype(Operands(args), [&](auto zero) {
    backward_as<decltype(zero)>(Operands(args), Results(rets), {layers, slope, last_relu, precision},
                                input_needed, weights_needed, parts);
  });
}

#define HF_OPTIONS                                                                          \
  ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attr<std::int64_t>("layers").Attr<double>("slope") \
      .Attr<bool>("last_relu").Attr<std::string_view>("precision")

XLA_FFI_DEFINE_HANDLER(forward_handler, forward, HF_OPTIONS.Attr<bool>("keep"));
XLA_FFI_DEFINE_HANDLER(tangent_handler, tangent, HF_OPTIONS);
XLA_FFI_DEFINE_HANDLER(backward_handler, backward,
                       HF_OPTIONS.Attr<bool>("input_needed").Attr<bool>("weights_needed")
                           .Attr<std::int64_t>("parts"));

#undef HF_OPTIONS

}  // namespace

void bind_xla_handlers(pybind11::module_& m) {
  m.def("xla_handlers", [] {
    pybind11::dict handlers;
    handlers["forward"] = pybind11::capsule(reinterpret_cast<void*>(forward_handler));
    handlers["tangent"] = pybind11::capsule(reinterpret_cast<void*>(tangent_handler));
    handlers["backward"] = pybind11::capsule(reinterpret_cast<void*>(backward_handler));
    return handlers;
  });
}

}  // namespace homfast

#else

namespace homfast {

void bind_xla_handlers(pybind11::module_& m) {
  m.def("xla_handlers", [] { return pybind11::dict(); });
}

}  // namespace homfast

#endif
