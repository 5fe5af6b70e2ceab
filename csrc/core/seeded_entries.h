// Entries of seeded matrices, made in parallel. All may throw std::bad_alloc or Interrupted (parallel.h).
#pragma once

#include "core/views.h"

namespace homfast {

// out = the standard normal entries of the block that begins at `from`.
template <class T>
void gaussian_block(const SeededBlock& from, MatrixView<T> out);

// out = the entries +1 and -1 of the block that begins at `from`.
template <class T>
void rademacher_block(const SeededBlock& from, MatrixView<T> out);

// out = the words whose bits are the signs of those entries; from.column counts words of 32.
void rademacher_words(const SeededBlock& from, MatrixView<std::uint32_t> out);

}  // namespace homfast
