// Networks as targets of XLA's foreign function interface, which JAX calls without Python.
#pragma once

#include <pybind11/pybind11.h>

namespace homfast {

// Adds xla_handlers(): a capsule a pass, by name; none where XLA's headers were not there at build time.
void bind_xla_handlers(pybind11::module_& m);

}  // namespace homfast
