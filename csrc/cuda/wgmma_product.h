// Products of float32 on Hopper's wgmma, for who asks for them; see wgmma_product.cuh.
#pragma once

#include "cuda/ops.h"

namespace homfast::cuda {

struct UnitLines;

constexpr index_t kLeastWgmmaDepth = 256, kMostWgmmaDepth = 1 << 14, kLeastWgmmaCols = 128;

// Bytes for the planes of both operands.
index_t wgmma_scratch(index_t m, index_t n, index_t k, Precision precision);

// The lines' greatest magnitudes are known; elements of lines without a scale are left to be recomputed.
void run_wgmma_product(const Product<float>& p, const UnitLines& a, const UnitLines& b, void* planes,
                       Stream stream);

}  // namespace homfast::cuda
