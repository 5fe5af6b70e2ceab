// The extension homfast._native: view, check, release the GIL, call.

#include "bindings/bfloat16_calls.h"
#include "bindings/exchanged_network.h"
#include "bindings/gil.h"
#include "bindings/kept_backward.h"
#include "bindings/operators.h"
#include "bindings/plain_calls.h"
#include "bindings/training_handle.h"
#include "bindings/xla_handlers.h"
#include "core/cpu_features.h"
#include "core/dispatch.h"
#include "core/parallel.h"

#define HF_EXPORT extern "C" __attribute__((visibility("default")))

// For threadpoolctl, which finds a library by its symbols.
HF_EXPORT int homfast_get_num_threads() { return homfast::num_threads(); }
HF_EXPORT void homfast_set_num_threads(int n) { homfast::set_num_threads(n < 1 ? 1 : n); }

namespace homfast {
namespace {

void forward(const py::array& x, const py::object& weight, Epilogue epilogue, double slope,
             const py::array& out, const OptionalArray& mask, const std::string& precision) {
  const Precision wanted = precision_of(precision);
  for_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    const auto rows = matrix<const T>(x, "x");
    const auto w = weight_view<T>(weight);
    const auto target = matrix<T>(out, "out");
    check(w.view.cols == rows.cols, "weight: in_features do not match x");
    check(target.rows == rows.rows && target.cols == w.view.rows, "out: shape does not match");
    const auto bits = mask_view(mask, target.rows, target.cols, epilogue == Epilogue::relu);
    const WithoutGil released;
    linear<T>(rows, w, epilogue, static_cast<T>(slope), bits, target, wanted);
  });
}

void bind_layers(py::module_& m) {
  m.def("plain_backward", [](const py::object& grad_output, const py::object& x,
                           const py::object& weight, const py::object& mask,
                           double slope) -> py::object {
    const PlainArray grad(grad_output);
    if (!grad.proxy) return py::none();
    if (grad.type == type_number<float>()) return plain_backward<float>(grad, x, weight, mask, slope);
    if (grad.type == type_number<double>()) {
      return plain_backward<double>(grad, x, weight, mask, slope);
    }
    return py::none();
  });
  m.def("plain_linear", [](const py::object& x, const py::object& weight, bool relu, double slope,
                         bool return_mask, const py::object& out) -> py::object {
    const PlainArray plain_x(x), plain_weight(weight);
    if (!plain_x.proxy || !plain_weight.proxy || plain_x.type != plain_weight.type) return py::none();
    if (plain_x.type == type_number<float>()) {
      return plain_forward<float>(plain_x, plain_weight, relu, slope, return_mask, out);
    }
    if (plain_x.type == type_number<double>()) {
      return plain_forward<double>(plain_x, plain_weight, relu, slope, return_mask, out);
    }
    return py::none();
  });
  m.def("exchanged_forward", &exchanged_forward);
  m.def("exchanged_keep", &exchanged_keep);
  m.def("exchanged_backward", &exchanged_backward);
  m.def(
      "linear",
      [](const py::array& x, const py::object& weight, const py::array& out,
         const std::string& precision) {
        forward(x, weight, Epilogue::none, 0.0, out, std::nullopt, precision);
      },
      py::arg("x").noconvert(), py::arg("weight"), py::arg("out").noconvert(),
      py::arg("precision") = "highest");
  m.def(
      "linear_relu",
      [](const py::array& x, const py::object& weight, double negative_slope, const py::array& out,
         const OptionalArray& mask, const std::string& precision) {
        forward(x, weight, Epilogue::relu, negative_slope, out, mask, precision);
      },
      py::arg("x").noconvert(), py::arg("weight"), py::arg("negative_slope"),
      py::arg("out").noconvert(), py::arg("mask").noconvert(), py::arg("precision") = "highest");
  m.def(
      "linear_masked",
      [](const py::array& x, const py::object& weight, const py::array& mask, double negative_slope,
         const py::array& out, const std::string& precision) {
        forward(x, weight, Epilogue::masked, negative_slope, out, mask, precision);
      },
      py::arg("x").noconvert(), py::arg("weight"), py::arg("mask").noconvert(),
      py::arg("negative_slope"), py::arg("out").noconvert(), py::arg("precision") = "highest");
  m.def(
      "grad_input",
      [](const py::array& grad_output, const py::object& weight, const OptionalArray& mask,
         double negative_slope, const py::array& out, const std::string& precision) {
        const Precision wanted = precision_of(precision);
        for_dtype(grad_output, [&](auto zero) {
          using T = decltype(zero);
          const auto grad = matrix<const T>(grad_output, "grad_output");
          const auto w = weight_view<T>(weight);
          const auto target = matrix<T>(out, "out");
          check(w.view.rows == grad.cols, "weight: out_features do not match grad_output");
          check(target.rows == grad.rows && target.cols == w.view.cols, "out: shape does not match");
          const auto bits = mask_view(mask, grad.rows, grad.cols, false);
          const WithoutGil released;
          homfast::grad_input<T>(grad, w, bits, static_cast<T>(negative_slope), target,
                                 wanted);
        });
      },
      py::arg("grad_output").noconvert(), py::arg("weight"), py::arg("mask").noconvert(),
      py::arg("negative_slope"), py::arg("out").noconvert(), py::arg("precision") = "highest");
  m.def(
      "grad_weight",
      [](const py::array& grad_output, const py::array& x, const OptionalArray& mask,
         double negative_slope, const py::array& out, const std::string& precision) {
        const Precision wanted = precision_of(precision);
        for_dtype(grad_output, [&](auto zero) {
          using T = decltype(zero);
          const auto grad = matrix<const T>(grad_output, "grad_output");
          const auto rows = matrix<const T>(x, "x");
          const auto target = matrix<T>(out, "out");
          check(rows.rows == grad.rows, "x: rows do not match grad_output");
          check(target.rows == grad.cols && target.cols == rows.cols, "out: shape does not match");
          const auto bits = mask_view(mask, grad.rows, grad.cols, false);
          const WithoutGil released;
          homfast::grad_weight<T>(grad, rows, bits, static_cast<T>(negative_slope), target,
                                 wanted);
        });
      },
      py::arg("grad_output").noconvert(), py::arg("x").noconvert(), py::arg("mask").noconvert(),
      py::arg("negative_slope"), py::arg("out").noconvert(), py::arg("precision") = "highest");
}

void bind_updates(py::module_& m) {
  m.def(
      "adam_update",
      [](const py::array& weight, const py::array& grad, const py::array& first_moment,
         const py::array& second_moment, const std::vector<double>& coefficients) {
        const Optimizer optimizer = optimizer_of(coefficients, 0.0, 0.0);
        check(optimizer.adam, "coefficients: wanted seven");
        for_dtype(weight, [&](auto zero) {
          using T = decltype(zero);
          auto layer = trained_layer<T>(elements<T>(weight, weight.size(), "weight", true),
                                        weight.size(), &first_moment, &second_moment);
          layer.gradient = elements<T>(grad, layer.size, "grad", false);
          const WithoutGil released;
          update<T>({layer}, optimizer);
        });
      },
      py::arg("weight").noconvert(), py::arg("grad").noconvert(),
      py::arg("first_moment").noconvert(), py::arg("second_moment").noconvert(),
      py::arg("coefficients"));
  m.def(
      "sgd_update",
      [](const py::array& weight, const py::array& grad, double learning_rate, double weight_decay) {
        for_dtype(weight, [&](auto zero) {
          using T = decltype(zero);
          auto layer = trained_layer<T>(elements<T>(weight, weight.size(), "weight", true),
                                        weight.size(), nullptr, nullptr);
          layer.gradient = elements<T>(grad, layer.size, "grad", false);
          const WithoutGil released;
          update<T>({layer}, optimizer_of({}, learning_rate, weight_decay));
        });
      },
      py::arg("weight").noconvert(), py::arg("grad").noconvert(), py::arg("learning_rate"),
      py::arg("weight_decay"));
}

void bind_settings(py::module_& m) {
  m.attr("compiler") = __VERSION__;
  m.def("set_num_threads", &set_num_threads, py::arg("n"));
  m.def("get_num_threads", &num_threads);
  m.def("threads_source", &num_threads_source);
  m.def("set_batch_invariant", &set_batch_invariant, py::arg("enabled"));
  m.def("get_batch_invariant", &get_batch_invariant);
  m.def(
      "set_target",
      [](const std::optional<std::string>& name) { name ? set_target(*name) : reset_target(); },
      py::arg("name"));
  m.def("get_target", [] { return target().name; });
  m.def("targets", [] {
    py::dict status;
    for (const Target& t : targets()) {
      status[t.name] = t.why_not.empty() ? "available" : t.why_not;
    }
    return status;
  });
  m.def(
      "measure_peak",
      [](const std::string& dtype, double seconds) {
        check(dtype == "float32" || dtype == "float64" || dtype == "bfloat16",
              "dtype: wanted 'float32', 'float64' or 'bfloat16'");
        const WithoutGil released;
        if (dtype == "bfloat16") return measure_matrix_peak(seconds);
        return dtype == "float32" ? measure_peak<float>(seconds) : measure_peak<double>(seconds);
      },
      py::arg("dtype"), py::arg("seconds"));
}

// Before anything else runs: an instruction that the processor lacks would end the process.
void require_baseline() {
  const std::string missing = missing_cpu_feature(kBaseline);
  if (missing.empty()) return;
  throw py::import_error("the kernels of homfast need x86-64-v2 (" + std::string(kBaseline) +
                         "), and this processor lacks " + missing);
}

bool interpreter_has_signal() {
  const WithGil held;
  // It runs Python, in any thread: CPython 3.12 collects garbage here.
  return ask_for_gil([] { return PyErr_CheckSignals(); }) != 0;
}

PYBIND11_MODULE(_native, m, py::mod_gil_not_used()) {
  require_baseline();
  m.doc() = "The C++ kernels of homfast; use them through homfast.";
  set_interrupt_check(&interpreter_has_signal);
  watch_forks();
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const Interrupted&) {
      // The interrupt check has left the interpreter's exception set.
      if (!PyErr_Occurred()) PyErr_SetNone(PyExc_KeyboardInterrupt);
    } catch (const Abandoned& abandoned) {
      // What the handler raised in the child is there too.
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_RuntimeError, abandoned.what());
    }
  });
  py::class_<WeightHandle>(m, "PackedWeight")
      .def("refresh", &WeightHandle::refresh, py::call_guard<WithoutGil>());
  m.def("pack_weight", &make_object<WeightHandle, py::array, const std::string&>,
        py::arg("weight").noconvert(), py::arg("precision") = "highest");
  py::class_<NetworkHandle>(m, "PackedNetwork")
      .def("plain", &NetworkHandle::plain)
      .def("forward", &NetworkHandle::forward, py::arg("x").noconvert(),
           py::arg("masks").noconvert(), py::arg("hidden").noconvert(), py::arg("out").noconvert())
      .def("forward_masked", &NetworkHandle::forward_masked, py::arg("v").noconvert(),
           py::arg("masks").noconvert(), py::arg("out").noconvert())
      .def("adjoint", &NetworkHandle::adjoint, py::arg("u").noconvert(),
           py::arg("masks").noconvert(), py::arg("out").noconvert())
      .def("backward", &backward, py::arg("x").noconvert(), py::arg("masks").noconvert(),
           py::arg("hidden").noconvert(), py::arg("grad_output").noconvert(),
           py::arg("grad_input").noconvert(), py::arg("grad_weights").noconvert());
  m.def("pack_network", &make_object<NetworkHandle, std::vector<py::object>, double>,
        py::arg("layers"), py::arg("negative_slope"));
  py::class_<TraceHandle>(m, "NetworkTrace")
      .def("pull_back", &TraceHandle::pull_back, py::arg("grad_output"), py::arg("input_needed"));
  py::class_<TrainingHandle>(m, "NetworkTraining")
      .def("trace", &TrainingHandle::trace)
      .def("jvp", &TrainingHandle::jvp)
      .def("fit_step", &TrainingHandle::fit_step, py::arg("x").noconvert(),
           py::arg("target").noconvert(), py::arg("adam"), py::arg("learning_rate"),
           py::arg("weight_decay"), py::arg("first_moments").noconvert(),
           py::arg("second_moments").noconvert());
  m.def("pack_training", &make_object<TrainingHandle, py::object>, py::arg("network"));
  bind_layers(m);
  bind_updates(m);
  bind_bfloat16(m);
  bind_operators(m);
  bind_settings(m);
  bind_xla_handlers(m);
}

}  // namespace
}  // namespace homfast
