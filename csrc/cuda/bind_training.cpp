// Optimizers' steps, the loss, and bfloat16 to float32 and back.
#include "cuda/bindings.h"

namespace homfast::cuda {
namespace {

double* flag(Call& call, const Optional& finite) {
  index_t one = 1;
  return finite ? call.elements<double>(*finite, "finite", one) : nullptr;
}

}  // namespace

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

namespace {

template <class From, class To>
void convert(const Object& values, const Object& out, Handle stream,
             void (*op)(MatrixView<const From>, MatrixView<To>, Stream)) {
  Call call(stream);
  const auto from = call.matrix<const From>(values, "values");
  const auto to = call.matrix<To>(out, "out");
  check(from.rows == to.rows && from.cols == to.cols, "out: shape does not match");
  call.run([&](Stream on) { op(from, to, on); });
}

}  // namespace

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

}  // namespace homfast::cuda
