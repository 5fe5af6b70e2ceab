// C = A B of float32 on the bf16 matrix unit; see bf16_product.cuh.
#pragma once

#include "cuda/ops.h"

namespace homfast::cuda {

// Sums over fewer terms go to the multiply-adds: the unit truncates sums of 16 products, which stays under
// the bound of K roundings from here on whatever guard bits it has.
constexpr index_t kLeastUnitDepth = 64;

// What each line (a row of A or a column of B) has in scratch: the bits of its greatest magnitude; and its
// planes where wgmma takes the product.
index_t bf16_product_scratch(index_t m, index_t n, index_t k, index_t chunk, Precision precision);

// `chunk` > 0 sums parts of so much of k apart, and adds these in their order.
void run_bf16_product(const Product<float>& p, index_t chunk, Scratch scratch, Stream stream);

}  // namespace homfast::cuda
