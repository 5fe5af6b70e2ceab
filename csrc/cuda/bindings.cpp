// The module homfast._cuda: arrays to views, checks, calls. Each op takes what its twin of _native
// takes, then scratch where it needs some, and the stream's handle.
#include "cuda/device_array.h"

namespace homfast::cuda {
namespace {

using Object = py::object;
using Optional = std::optional<py::object>;
using Handle = std::uintptr_t;

void linear_call(const Object& x, const Object& weight, Epilogue epilogue, double slope,
                 const Optional& mask, const Object& out, const std::string& precision,
                 const Optional& scratch, Handle stream) {
  for_dtype(out, "out", [&](auto zero) {
    using T = decltype(zero);
    Call call(stream);
    const auto to = call.matrix<T>(out, "out");
    const auto from = call.matrix<const T>(x, "x"), w = call.matrix<const T>(weight, "weight");
    check(from.cols == w.cols && to.rows == from.rows && to.cols == w.rows,
          "x, weight, out: shapes do not match");
    const auto bits = call.mask(mask, to.rows, to.cols, epilogue == Epilogue::relu);
    const Precision level = precision_of(precision);
    const auto memory = call.scratch(scratch, linear_scratch<T>(to.rows, w.cols, w.rows, level));
    call.run([&](Stream on) {
      linear<T>(from, w, epilogue, static_cast<T>(slope), bits, to, level, memory, on);
    });
  });
}

void grad_input_call(const Object& grad_output, const Object& weight, const Optional& mask,
                     double slope, const Object& out, const std::string& precision,
                     const Optional& scratch, Handle stream) {
  for_dtype(out, "out", [&](auto zero) {
    using T = decltype(zero);
    Call call(stream);
    const auto to = call.matrix<T>(out, "out");
    const auto grad = call.matrix<const T>(grad_output, "grad_output");
    const auto w = call.matrix<const T>(weight, "weight");
    check(grad.cols == w.rows && to.rows == grad.rows && to.cols == w.cols,
          "grad_output, weight, out: shapes do not match");
    const auto bits = call.mask(mask, grad.rows, grad.cols, false);
    const Precision level = precision_of(precision);
    const auto memory = call.scratch(scratch, grad_input_scratch<T>(to.rows, w.cols, w.rows, level));
    call.run([&](Stream on) {
      grad_input<T>(grad, w, bits, static_cast<T>(slope), to, level, memory, on);
    });
  });
}

void grad_weight_call(const Object& grad_output, const Object& x, const Optional& mask, double slope,
                      const Object& out, const std::string& precision, const Optional& scratch,
                      Handle stream) {
  for_dtype(out, "out", [&](auto zero) {
    using T = decltype(zero);
    Call call(stream);
    const auto to = call.matrix<T>(out, "out");
    const auto grad = call.matrix<const T>(grad_output, "grad_output");
    const auto from = call.matrix<const T>(x, "x");
    check(grad.rows == from.rows && to.rows == grad.cols && to.cols == from.cols,
          "grad_output, x, out: shapes do not match");
    const auto bits = call.mask(mask, grad.rows, grad.cols, false);
    const Precision level = precision_of(precision);
    const auto memory =
        call.scratch(scratch, grad_weight_scratch<T>(from.rows, to.cols, to.rows, level));
    call.run([&](Stream on) {
      grad_weight<T>(grad, from, bits, static_cast<T>(slope), to, level, memory, on);
    });
  });
}

// Bits of bfloat16 to those or to float32; whether wgmma took them.
template <class Result>
bool linear_bfloat16_call(const Object& x, const Object& weight, Epilogue epilogue, double slope,
                          const Object& out, const Optional& mask, const Optional& scratch, Handle stream) {
  Call call(stream);
  const auto to = call.matrix<Result>(out, "out");
  const auto from = call.matrix<const std::uint16_t>(x, "x");
  const auto w = call.matrix<const std::uint16_t>(weight, "weight");
  check(from.cols == w.cols && to.rows == from.rows && to.cols == w.rows,
        "x, weight, out: shapes do not match");
  const auto bits = call.mask(mask, to.rows, to.cols, true);
  const auto memory = call.scratch(scratch, scratch ? linear_bfloat16_scratch(from, w) : 0);
  bool done = false;
  call.run([&](Stream on) {
    done = linear_bfloat16<Result>(from, w, epilogue, static_cast<float>(slope), bits, to, memory, on);
  });
  return done;
}

// Whether the network has been launched as one kernel; masks and hidden are empty, or one a hidden layer.
bool network_forward_call(const Object& x, const std::vector<py::object>& weights, double slope,
                          const std::vector<py::object>& masks, const std::vector<py::object>& hidden,
                          const Object& out, const std::string& precision, Handle stream) {
  check(!weights.empty() && (masks.empty() || masks.size() + 1 == weights.size()) &&
            (hidden.empty() || hidden.size() + 1 == weights.size()),
        "masks, hidden: wanted none, or one a hidden layer");
  bool done = false;
  for_dtype(out, "out", [&](auto zero) {
    using T = decltype(zero);
    Call call(stream);
    const auto to = call.matrix<T>(out, "out");
    const auto from = call.matrix<const T>(x, "x");
    std::vector<NetworkLayer<T>> layers(weights.size());
    index_t features = from.cols;
    for (std::size_t l = 0; l < layers.size(); ++l) {
      layers[l].weight = call.matrix<const T>(weights[l], "weight");
      check(layers[l].weight.cols == features, "weights: shapes do not chain");
      features = layers[l].weight.rows;
      if (l + 1 == layers.size()) break;
      if (!masks.empty()) layers[l].mask = call.mask(masks[l], from.rows, features, true);
      if (hidden.empty()) continue;
      layers[l].hidden = call.matrix<T>(hidden[l], "hidden");
      check(layers[l].hidden.rows == from.rows && layers[l].hidden.cols == features,
            "hidden: shape does not match");
    }
    check(to.rows == from.rows && to.cols == features, "out: shape does not match");
    const Precision level = precision_of(precision);
    call.run([&](Stream on) {
      done = narrow_forward<T>(from, layers.data(), static_cast<index_t>(layers.size()),
                               static_cast<T>(slope), to, level, on);
    });
  });
  return done;
}

// Bytes of scratch for an op on a layer of these sizes.
index_t layer_scratch(const std::string& op, index_t rows, index_t in_features, index_t out_features,
                      int itemsize, const std::string& precision) {
  const Precision level = precision_of(precision);
  const bool is_float = itemsize == 4;
  if (op == "linear") {
    return is_float ? linear_scratch<float>(rows, in_features, out_features, level)
                    : linear_scratch<double>(rows, in_features, out_features, level);
  }
  if (op == "grad_input") {
    return is_float ? grad_input_scratch<float>(rows, in_features, out_features, level)
                    : grad_input_scratch<double>(rows, in_features, out_features, level);
  }
  check(op == "grad_weight", "op: wanted 'linear', 'grad_input' or 'grad_weight'");
  return is_float ? grad_weight_scratch<float>(rows, in_features, out_features, level)
                  : grad_weight_scratch<double>(rows, in_features, out_features, level);
}

void bind_layers(py::module_& m) {
  m.def("use_wgmma", &use_wgmma, py::arg("on"));
  m.def("takes_wgmma", &takes_wgmma, py::arg("out_features"), py::arg("in_features"));
  m.def(
      "linear_bfloat16_scratch",
      [](const Object& x, const Object& weight) {
        Call call(0);
        return linear_bfloat16_scratch(call.matrix<const std::uint16_t>(x, "x"),
                                       call.matrix<const std::uint16_t>(weight, "weight"));
      },
      py::arg("x"), py::arg("weight"));
  m.def(
      "linear_bfloat16",
      [](const Object& x, const Object& weight, bool relu, double negative_slope, const Object& out,
         const Optional& mask, const Optional& scratch, Handle stream) {
        const Epilogue epilogue = relu ? Epilogue::relu : Epilogue::none;
        const auto op = holds<float>(DeviceArray(out, "out")) ? &linear_bfloat16_call<float>
                                                              : &linear_bfloat16_call<std::uint16_t>;
        return op(x, weight, epilogue, negative_slope, out, mask, scratch, stream);
      },
      py::arg("x"), py::arg("weight"), py::arg("relu"), py::arg("negative_slope"), py::arg("out"),
      py::arg("mask"), py::arg("scratch"), py::arg("stream"));
  m.def("layer_scratch", &layer_scratch, py::arg("op"), py::arg("rows"), py::arg("in_features"),
        py::arg("out_features"), py::arg("itemsize"), py::arg("precision"));
  m.def(
      "linear",
      [](const Object& x, const Object& weight, const Object& out, const std::string& precision,
         const Optional& scratch, Handle stream) {
        linear_call(x, weight, Epilogue::none, 0, {}, out, precision, scratch, stream);
      },
      py::arg("x"), py::arg("weight"), py::arg("out"), py::arg("precision"), py::arg("scratch"),
      py::arg("stream"));
  m.def(
      "linear_relu",
      [](const Object& x, const Object& weight, double negative_slope, const Object& out,
         const Optional& mask, const std::string& precision, const Optional& scratch, Handle stream) {
        linear_call(x, weight, Epilogue::relu, negative_slope, mask, out, precision, scratch, stream);
      },
      py::arg("x"), py::arg("weight"), py::arg("negative_slope"), py::arg("out"), py::arg("mask"),
      py::arg("precision"), py::arg("scratch"), py::arg("stream"));
  m.def(
      "linear_masked",
      [](const Object& x, const Object& weight, const Object& mask, double negative_slope,
         const Object& out, const std::string& precision, const Optional& scratch, Handle stream) {
        linear_call(x, weight, Epilogue::masked, negative_slope, mask, out, precision, scratch, stream);
      },
      py::arg("x"), py::arg("weight"), py::arg("mask"), py::arg("negative_slope"), py::arg("out"),
      py::arg("precision"), py::arg("scratch"), py::arg("stream"));
  m.def("network_forward", &network_forward_call, py::arg("x"), py::arg("weights"),
        py::arg("negative_slope"), py::arg("masks"), py::arg("hidden"), py::arg("out"),
        py::arg("precision"), py::arg("stream"));
  m.def("grad_input", &grad_input_call, py::arg("grad_output"), py::arg("weight"), py::arg("mask"),
        py::arg("negative_slope"), py::arg("out"), py::arg("precision"), py::arg("scratch"),
        py::arg("stream"));
  m.def("grad_weight", &grad_weight_call, py::arg("grad_output"), py::arg("x"), py::arg("mask"),
        py::arg("negative_slope"), py::arg("out"), py::arg("precision"), py::arg("scratch"),
        py::arg("stream"));
}

double* flag(Call& call, const Optional& finite) {
  index_t one = 1;
  return finite ? call.elements<double>(*finite, "finite", one) : nullptr;
}

void bind_updates(py::module_& m) {
  m.def(
      "adam_update",
      [](const Object& weight, const Object& grad, const Object& first_moment,
         const Object& second_moment, const std::vector<double>& coefficients,
         const Optional& finite, Handle stream) {
        check(coefficients.size() == 7, "coefficients: wanted seven");
        const auto& c = coefficients;
        const AdamCoefficients all{c[0], c[1], c[2], c[3], c[4], c[5], c[6]};
        for_dtype(weight, "weight", [&](auto zero) {
          using T = decltype(zero);
          Call call(stream);
          index_t size = -1;
          T* const w = call.elements<T>(weight, "weight", size);
          const T* const g = call.elements<T>(grad, "grad", size);
          T* const first = call.elements<T>(first_moment, "first_moment", size);
          T* const second = call.elements<T>(second_moment, "second_moment", size);
          double* const told = flag(call, finite);
          call.run([&](Stream on) { adam_update<T>(w, g, first, second, size, all, told, on); });
        });
      },
      py::arg("weight"), py::arg("grad"), py::arg("first_moment"), py::arg("second_moment"),
      py::arg("coefficients"), py::arg("finite"), py::arg("stream"));
  m.def(
      "sgd_update",
      [](const Object& weight, const Object& grad, double learning_rate, double weight_decay,
         const Optional& finite, Handle stream) {
        for_dtype(weight, "weight", [&](auto zero) {
          using T = decltype(zero);
          Call call(stream);
          index_t size = -1;
          T* const w = call.elements<T>(weight, "weight", size);
          const T* const g = call.elements<T>(grad, "grad", size);
          double* const told = flag(call, finite);
          call.run([&](Stream on) {
            sgd_update<T>(w, g, size, static_cast<T>(learning_rate), static_cast<T>(weight_decay), told,
                          on);
          });
        });
      },
      py::arg("weight"), py::arg("grad"), py::arg("learning_rate"), py::arg("weight_decay"),
      py::arg("finite"), py::arg("stream"));
  m.def("square_residual_scratch", &square_residual_scratch, py::arg("size"));
  m.def(
      "square_residual",
      [](const Object& residual, const Object& target, double scale, const Object& sum,
         const Optional& scratch, Handle stream) {
        for_dtype(residual, "residual", [&](auto zero) {
          using T = decltype(zero);
          Call call(stream);
          index_t size = -1, one = 1;
          double* const to = call.elements<double>(sum, "sum", one);
          T* const values = call.elements<T>(residual, "residual", size);
          const T* const wanted = call.elements<T>(target, "target", size);
          const auto memory = call.scratch(scratch, square_residual_scratch(size));
          call.run([&](Stream on) {
            square_residual<T>(values, wanted, size, static_cast<T>(scale), to, memory, on);
          });
        });
      },
      py::arg("residual"), py::arg("target"), py::arg("scale"), py::arg("sum"), py::arg("scratch"),
      py::arg("stream"));
}

template <class From, class To>
void convert(const Object& values, const Object& out, Handle stream,
             void (*op)(MatrixView<const From>, MatrixView<To>, Stream)) {
  Call call(stream);
  const auto from = call.matrix<const From>(values, "values");
  const auto to = call.matrix<To>(out, "out");
  check(from.rows == to.rows && from.cols == to.cols, "out: shape does not match");
  call.run([&](Stream on) { op(from, to, on); });
}

void bind_conversions(py::module_& m) {
  m.def(
      "widen_bfloat16",
      [](const Object& values, const Object& out, Handle stream) {
        convert<std::uint16_t, float>(values, out, stream, &widen_bfloat16);
      },
      py::arg("values"), py::arg("out"), py::arg("stream"));
  m.def(
      "round_to_bfloat16",
      [](const Object& values, const Object& out, Handle stream) {
        convert<float, std::uint16_t>(values, out, stream, &round_to_bfloat16);
      },
      py::arg("values"), py::arg("out"), py::arg("stream"));
}

template <class Fill>
void seeded_block(std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row,
                  std::uint64_t column, const Object& out, Handle stream, Fill fill) {
  for_dtype(out, "out", [&](auto zero) {
    using T = decltype(zero);
    Call call(stream);
    const auto to = call.matrix<T>(out, "out");
    call.run([&](Stream on) { fill(SeededBlock{seed, row, column, stream_word}, to, on); });
  });
}

template <class Product>
bool seeded_product(std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row, const Object& x,
                    const Object& out, Handle stream, Product product) {
  for_dtype(out, "out", [&](auto zero) {
    using T = decltype(zero);
    Call call(stream);
    const auto to = call.matrix<T>(out, "out");
    const auto from = call.matrix<const T>(x, "x");
    check(from.rows == to.rows, "x, out: shapes do not match");
    call.run([&](Stream on) { product(SeededBlock{seed, row, 0, stream_word}, from, to, on); });
  });
  return true;
}

void bind_seeded(py::module_& m) {
  m.def(
      "gaussian_block",
      [](std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row, std::uint64_t column,
         const Object& out, Handle stream) {
        seeded_block(seed, stream_word, row, column, out, stream,
                     [](const SeededBlock& from, auto to, Stream on) { gaussian_block(from, to, on); });
      },
      py::arg("seed"), py::arg("stream_word"), py::arg("row"), py::arg("column"), py::arg("out"),
      py::arg("stream"));
  m.def(
      "rademacher_block",
      [](std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row, std::uint64_t column,
         const Object& out, Handle stream) {
        seeded_block(seed, stream_word, row, column, out, stream,
                     [](const SeededBlock& from, auto to, Stream on) { rademacher_block(from, to, on); });
      },
      py::arg("seed"), py::arg("stream_word"), py::arg("row"), py::arg("column"), py::arg("out"),
      py::arg("stream"));
  m.def(
      "rademacher_words",
      [](std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row, std::uint64_t column,
         const Object& out, Handle stream) {
        Call call(stream);
        const auto to = call.matrix<std::uint32_t>(out, "out");
        call.run([&](Stream on) {
          rademacher_words(SeededBlock{seed, row, column, stream_word}, to, on);
        });
      },
      py::arg("seed"), py::arg("stream_word"), py::arg("row"), py::arg("column"), py::arg("out"),
      py::arg("stream"));
  m.def(
      "gaussian_product",
      [](std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row, const Object& x, bool adjoint,
         const Object& out, Handle stream) {
        return seeded_product(seed, stream_word, row, x, out, stream,
                              [&](const SeededBlock& from, auto left, auto to, Stream on) {
                                gaussian_product(from, left, adjoint, to, on);
                              });
      },
      py::arg("seed"), py::arg("stream_word"), py::arg("row"), py::arg("x"), py::arg("adjoint"),
      py::arg("out"), py::arg("stream"));
  m.def(
      "rademacher_product",
      [](std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row, const Object& x, bool adjoint,
         const Object& out, Handle stream) {
        return seeded_product(seed, stream_word, row, x, out, stream,
                              [&](const SeededBlock& from, auto left, auto to, Stream on) {
                                rademacher_product(from, left, adjoint, to, on);
                              });
      },
      py::arg("seed"), py::arg("stream_word"), py::arg("row"), py::arg("x"), py::arg("adjoint"),
      py::arg("out"), py::arg("stream"));
}

bool is_power_of_two(index_t n) { return n > 0 && (n & (n - 1)) == 0; }

template <class T>
void walsh_hadamard_call(const Object& x, const Object& out, Handle stream) {
  Call call(stream);
  const auto to = call.matrix<T>(out, "out");
  const auto from = call.matrix<const T>(x, "x");
  check(from.rows == to.rows && from.cols == to.cols && is_power_of_two(to.cols),
        "x, out: wanted one shape, whose last axis is a power of two");
  call.run([&](Stream on) { walsh_hadamard<T>(from, to, on); });
}

void bind_operators(py::module_& m) {
  m.def(
      "walsh_hadamard",
      [](const Object& x, const Object& out, Handle stream) {
        if (holds<std::int32_t>(DeviceArray(out, "out"))) {
          return walsh_hadamard_call<std::int32_t>(x, out, stream);
        }
        for_dtype(out, "out", [&](auto zero) { walsh_hadamard_call<decltype(zero)>(x, out, stream); });
      },
      py::arg("x"), py::arg("out"), py::arg("stream"));
  m.def("subsampled_hadamard_scratch", [](index_t batch, index_t size, int itemsize) {
    return itemsize == 4 ? subsampled_hadamard_scratch<float>(batch, size)
                         : subsampled_hadamard_scratch<double>(batch, size);
  });
  m.def(
      "subsampled_hadamard",
      [](const Object& x, const Object& signs, const Object& rows, index_t size, double scale,
         bool adjoint, const Object& out, const Optional& scratch, Handle stream) {
        for_dtype(out, "out", [&](auto zero) {
          using T = decltype(zero);
          Call call(stream);
          const auto to = call.matrix<T>(out, "out");
          const auto from = call.matrix<const T>(x, "x");
          const index_t n = adjoint ? to.cols : from.cols;
          index_t m = adjoint ? from.cols : to.cols, words = (n + 31) / 32;
          const auto* const flips = call.elements<const std::uint32_t>(signs, "signs", words);
          const auto* const picked = call.elements<const std::int64_t>(rows, "rows", m);
          check(from.rows == to.rows && is_power_of_two(size) && n <= size && m <= size,
                "x, out, size: shapes do not match");
          const auto memory = call.scratch(scratch, subsampled_hadamard_scratch<T>(to.rows, size));
          call.run([&](Stream on) {
            subsampled_hadamard<T>(from, flips, picked, size, static_cast<T>(scale), adjoint, to, memory,
                                   on);
          });
        });
      },
      py::arg("x"), py::arg("signs"), py::arg("rows"), py::arg("size"), py::arg("scale"),
      py::arg("adjoint"), py::arg("out"), py::arg("scratch"), py::arg("stream"));
  m.def(
      "sparse_sign",
      [](const Object& entries, const Object& offsets, const Object& x, const Object& out,
         Handle stream) {
        for_dtype(out, "out", [&](auto zero) {
          using T = decltype(zero);
          Call call(stream);
          const auto to = call.matrix<T>(out, "out");
          const auto from = call.matrix<const T>(x, "x");
          check(from.rows == to.rows, "x, out: shapes do not match");
          index_t any = -1, ends = to.cols + 1;
          const auto* const table = call.elements<const std::uint32_t>(entries, "entries", any);
          static_assert(sizeof(index_t) == sizeof(std::int64_t), "offsets are int64");
          const auto* const at = call.elements<const std::int64_t>(offsets, "offsets", ends);
          const SparseSigns signs{table, reinterpret_cast<const index_t*>(at)};
          call.run([&](Stream on) { sparse_sign<T>(signs, from, to, on); });
        });
      },
      py::arg("entries"), py::arg("offsets"), py::arg("x"), py::arg("out"), py::arg("stream"));
  m.def(
      "scale",
      [](const Object& values, double factor, Handle stream) {
        for_number(values, "values", [&](auto zero) {
          using E = decltype(zero);
          Call call(stream);
          const auto to = call.matrix<E>(values, "values");
          call.run([&](Stream on) { scale<E>(to, static_cast<RealOf<E>>(factor), on); });
        });
      },
      py::arg("values"), py::arg("factor"), py::arg("stream"));
}

// Offsets come with targets, both for sums, or neither.
void sum_places_call(const Object& x, const Object& places, const Optional& offsets,
                     const Optional& targets, double start, const Object& out, Handle stream) {
  for_number(out, "out", [&](auto zero) {
    using E = decltype(zero);
    Call call(stream);
    const auto to = call.matrix<E>(out, "out");
    const auto from = call.matrix<const E>(x, "x");
    check(from.rows == to.rows, "x, out: shapes do not match");
    check(offsets.has_value() == targets.has_value(), "offsets, targets: wanted both, or none");
    index_t count = offsets ? -1 : to.cols;
    Places table{};
    if (offsets) {
      table.targets = call.elements<const std::int64_t>(*targets, "targets", count);
      index_t ends = count + 1;
      static_assert(sizeof(index_t) == sizeof(std::int64_t), "offsets are int64");
      table.offsets =
          reinterpret_cast<const index_t*>(call.elements<const std::int64_t>(*offsets, "offsets", ends));
    }
    index_t size = offsets ? -1 : count;
    table.places = call.elements<const std::int64_t>(places, "places", size);
    table.count = count;
    call.run([&](Stream on) { sum_places<E>(table, from, static_cast<RealOf<E>>(start), to, on); });
  });
}

void bind_matrix_measurements(py::module_& m) {
  m.def("sum_places", &sum_places_call, py::arg("x"), py::arg("places"), py::arg("offsets"),
        py::arg("targets"), py::arg("start"), py::arg("out"), py::arg("stream"));
  m.def(
      "weigh_rows",
      [](const Object& x, const Object& weights, const Object& out, Handle stream) {
        for_number(out, "out", [&](auto zero) {
          using E = decltype(zero);
          Call call(stream);
          const auto to = call.matrix<E>(out, "out");
          const auto from = call.matrix<const E>(x, "x"), w = call.matrix<const E>(weights, "weights");
          const index_t per_group = from.rows ? to.rows / from.rows : 0;
          check(from.cols == to.cols && w.cols == to.cols && per_group * from.rows == to.rows &&
                    (w.rows == to.rows || w.rows == per_group),
                "x, weights, out: shapes do not match");
          call.run([&](Stream on) { weigh_rows<E>(from, w, to, on); });
        });
      },
      py::arg("x"), py::arg("weights"), py::arg("out"), py::arg("stream"));
  m.def(
      "sum_weighted_rows",
      [](const Object& x, const Object& weights, bool accumulate, const Object& out, Handle stream) {
        for_number(out, "out", [&](auto zero) {
          using E = decltype(zero);
          Call call(stream);
          const auto to = call.matrix<E>(out, "out");
          const auto from = call.matrix<const E>(x, "x"), w = call.matrix<const E>(weights, "weights");
          const index_t per_group = to.rows ? from.rows / to.rows : 0;
          check(from.cols == to.cols && w.cols == to.cols && per_group * to.rows == from.rows &&
                    (w.rows == from.rows || w.rows == per_group),
                "x, weights, out: shapes do not match");
          call.run([&](Stream on) { sum_weighted_rows<E>(from, w, accumulate, to, on); });
        });
      },
      py::arg("x"), py::arg("weights"), py::arg("accumulate"), py::arg("out"), py::arg("stream"));
}

Modulus modulus_named(const std::string& kind) {
  return kind == "magnitude" ? Modulus::magnitude : Modulus::intensity;
}

void bind_modulus(py::module_& m) {
  m.def(
      "modulus",
      [](const std::string& kind, const Object& z, const Object& out, Handle stream) {
        for_number(z, "z", [&](auto zero) {
          using E = decltype(zero);
          Call call(stream);
          index_t size = -1;
          auto* const to = call.elements<RealOf<E>>(out, "out", size);
          const E* const from = call.elements<const E>(z, "z", size);
          call.run([&](Stream on) { modulus<E>(modulus_named(kind), from, size, to, on); });
        });
      },
      py::arg("kind"), py::arg("z"), py::arg("out"), py::arg("stream"));
  m.def(
      "modulus_gradient",
      [](const std::string& kind, const Object& z, const Object& g, const Object& out, Handle stream) {
        for_number(z, "z", [&](auto zero) {
          using E = decltype(zero);
          Call call(stream);
          index_t size = -1;
          const auto* const grad = call.elements<const RealOf<E>>(g, "g", size);
          const E* const from = call.elements<const E>(z, "z", size);
          E* const to = call.elements<E>(out, "out", size);
          call.run([&](Stream on) { modulus_gradient<E>(modulus_named(kind), from, grad, size, to, on); });
        });
      },
      py::arg("kind"), py::arg("z"), py::arg("g"), py::arg("out"), py::arg("stream"));
}

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "The CUDA kernels of homfast; use them through homfast.";
  py::register_exception<CudaError>(m, "CudaError", PyExc_RuntimeError);
  m.def("why_unavailable", &why_unavailable);
  m.def("devices", [] {
    py::list all;
    for (int device = 0; device < device_count(); ++device) {
      const DeviceReport report = device_report(device);
      all.append(report.name + ", compute capability " + std::to_string(report.major) + "." +
                 std::to_string(report.minor) + ", " + std::to_string(report.multiprocessors) +
                 " multiprocessors");
    }
    return all;
  });
  bind_layers(m);
  bind_updates(m);
  bind_conversions(m);
  bind_seeded(m);
  bind_operators(m);
  bind_matrix_measurements(m);
  bind_modulus(m);
}

}  // namespace
}  // namespace homfast::cuda
