// C = A B by multiply-adds; see fma_product.cuh.
#pragma once

#include "cuda/ops.h"

namespace homfast::cuda {

// `chunk` > 0 sums parts of so much of k apart, in sums (chunks, m, n); add_chunks adds them up.
template <class T>
void run_fma_product(const Product<T>& p, index_t chunk, T* sums, Stream stream);

// c = the sum of the chunks, in their order, from the first.
template <class T>
void add_chunks(const Product<T>& p, index_t chunks, const T* sums, Stream stream);

}  // namespace homfast::cuda
