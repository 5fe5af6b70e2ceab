// A^H A x with a seeded matrix that is never stored, each entry made once.
#pragma once

#include "core/views.h"

namespace homfast {

// out = (scale x A^T) A, where A is `m` rows of normal entries that begin at `from`. To the bit what two
// calls of seeded_product give with the scaling between them: both chains run over the rows of A in
// order, some at a time. from.column is a multiple of 128. It may throw std::bad_alloc or Interrupted
// (ops.h). False, and nothing done, where two calls are as fast, or on a target that cannot.
template <class T>
bool gaussian_gram(const SeededBlock& from, index_t m, T scale, MatrixView<const T> x,
                   MatrixView<T> out);

}  // namespace homfast
