// What the files of homfast._cuda's bindings share. Each op takes what its twin of _native takes, then scratch
// where it needs some, and the stream's handle.
#pragma once

#include "cuda/device_array.h"

namespace homfast::cuda {

using Object = py::object;
using Optional = std::optional<py::object>;
using Handle = std::uintptr_t;

void bind_layers(py::module_& m);
void bind_updates(py::module_& m);
void bind_conversions(py::module_& m);
void bind_seeded(py::module_& m);
void bind_operators(py::module_& m);
void bind_matrix_measurements(py::module_& m);
void bind_modulus(py::module_& m);

}  // namespace homfast::cuda
