// Products with seeded matrices that are never stored.
#pragma once

#include "core/views.h"

namespace homfast {

enum class Ensemble { gaussian, rademacher };

// out = x A^T, or x A if `adjoint`, where A's entry (0, 0) is the ensemble's at `from`. To the bit what
// `linear` and `grad_input` give with the stored matrix as a packed weight. from.column is a multiple
// of 128. It may throw std::bad_alloc or Interrupted (parallel.h). False, and nothing done, on a target whose
// products do not read plain panels.
template <class T>
bool seeded_product(Ensemble ensemble, const SeededBlock& from, MatrixView<const T> x, bool adjoint,
                    MatrixView<T> out);

}  // namespace homfast
