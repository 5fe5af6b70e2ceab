// The ops on views: choose the kernel, cut the result into parts, run them on the pool.
//
// Shapes have been checked by the bindings. Each op may throw std::bad_alloc or Interrupted.
#pragma once

#include "core/packed_weight.h"
#include "core/views.h"

namespace homfast {

// A weight (out_features, in_features): where it lies and, for networks and operators, its packing.
template <class T>
struct Weight {
  MatrixView<const T> view;
  PackedWeight<T>* packed = nullptr;
};

// Layer calls on plain arrays may sum in another order for fewer than 16 rows unless this is set:
// `takes_dot_rows` says whether they do.
void set_batch_invariant(bool enabled);
bool get_batch_invariant();
bool takes_dot_rows(index_t rows);

// out = epilogue(x weight^T). A mask without data is none. A packed weight has a precision of its own.
template <class T>
void linear(MatrixView<const T> x, Weight<T> weight, Epilogue epilogue, T slope, MaskView mask,
            MatrixView<T> out, Precision precision);

// out = (mask applied to grad_output) weight.
template <class T>
void grad_input(MatrixView<const T> grad_output, Weight<T> weight, MaskView mask, T slope,
                MatrixView<T> out, Precision precision);

// out = (mask applied to grad_output)^T x: a chain over the rows in order.
template <class T>
void grad_weight(MatrixView<const T> grad_output, MatrixView<const T> x, MaskView mask, T slope,
                 MatrixView<T> out, Precision precision);

// Floating-point operations a second that all threads together reach on multiply-adds in registers.
template <class T>
double measure_peak(double seconds);

// The same of products of bf16 tiles on the target's matrix unit; 0 where it has none.
double measure_matrix_peak(double seconds);

}  // namespace homfast
