// Entries of seeded matrices, made in parallel. It may throw std::bad_alloc or Interrupted (ops.h).
#pragma once

#include "core/views.h"

namespace homfast {

// out = the standard normal entries of the block that begins at `from`.
template <class T>
void gaussian_block(const SeededBlock& from, MatrixView<T> out);

}  // namespace homfast
