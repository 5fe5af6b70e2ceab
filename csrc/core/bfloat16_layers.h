// Layers of bfloat16: the bits of those of widened operands (core/ops.h, precision "medium"), summed in
// float32, rounded once.
#pragma once

#include "core/views.h"

namespace homfast {

using Halves = MatrixView<const std::uint16_t>;

// out = epilogue(x weight^T). Few rows of x read the weight where it lies.
void linear_bfloat16(Halves x, Halves weight, Epilogue epilogue, float slope, MaskView mask,
                     MatrixView<std::uint16_t> out);

// grad_input, unless it is null, is (mask applied to grad_output) weight, and grad_weight, likewise, the
// transpose of that grad_output times x.
void linear_backward_bfloat16(Halves grad_output, Halves x, Halves weight, MaskView mask, float slope,
                              const MatrixView<std::uint16_t>* grad_input,
                              const MatrixView<std::uint16_t>* grad_weight);

}  // namespace homfast
