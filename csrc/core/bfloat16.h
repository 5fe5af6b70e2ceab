// bfloat16, the upper half of a float32: widening is exact, narrowing rounds to nearest, ties to even.
#pragma once

#include "core/views.h"

namespace homfast {

// So many elements, on this thread.
void widen_bfloat16(const std::uint16_t* from, float* to, index_t count);
void round_to_bfloat16(const float* from, std::uint16_t* to, index_t count);

// The same of matrices, on the pool.
void widen_bfloat16(MatrixView<const std::uint16_t> from, MatrixView<float> to);
void round_to_bfloat16(MatrixView<const float> from, MatrixView<std::uint16_t> to);

}  // namespace homfast
