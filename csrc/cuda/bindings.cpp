// The module homfast._cuda.
#include "cuda/bindings.h"

namespace homfast::cuda {
namespace {

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
