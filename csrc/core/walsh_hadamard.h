// Walsh-Hadamard transforms of rows, and the operator R H D made of them. All may throw std::bad_alloc or
// Interrupted (parallel.h).
#pragma once

#include "core/views.h"

namespace homfast {

// out = the transform of each row of x, unscaled, in Sylvester's order; x.cols is a power of two; x may
// be out. Sums are taken at distances 1, 2, 4, ..: bits depend on the row alone.
template <class T>
void walsh_hadamard(MatrixView<const T> x, MatrixView<T> out);

// The same modulo 2^32.
void walsh_hadamard(MatrixView<const std::int32_t> x, MatrixView<std::int32_t> out);

// scale R H D: D changes the signs whose bits are set, H is of `size` elements (a power of two; what is
// missing of x is 0), R picks rows, which are distinct.
template <class T>
struct SubsampledHadamard {
  const std::uint32_t* signs;
  const index_t* rows;
  index_t size;
  T scale;
};

// out = the operator at each row of x, and its adjoint.
template <class T>
void hadamard_forward(const SubsampledHadamard<T>& op, MatrixView<const T> x, MatrixView<T> out);
template <class T>
void hadamard_adjoint(const SubsampledHadamard<T>& op, MatrixView<const T> y, MatrixView<T> out);

}  // namespace homfast
