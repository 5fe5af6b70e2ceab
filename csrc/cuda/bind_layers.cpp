// Layers: products, masks, gradients, whole networks.
#include "cuda/bindings.h"

namespace homfast::cuda {
namespace {

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

}  // namespace

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

}  // namespace homfast::cuda
