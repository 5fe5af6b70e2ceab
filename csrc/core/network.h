// Whole networks: a part of the batch runs through all layers while it is in cache.
#pragma once

#include <vector>

#include "core/ops.h"

namespace homfast {

// One layer of a chain of products: y = epilogue(x B), B in panels.
template <class T>
struct ChainStep {
  const T* panels;
  index_t in_features, out_features;
  Epilogue epilogue;
  MaskView mask;       // of the epilogue, one row a sample; without data, none
  MatrixView<T> keep;  // where the output is kept, one row a sample; without data, in scratch
  Precision precision = Precision::highest;  // that the panels were packed for
};

// out = the chain applied to each row of x; the last step writes to out. The bits of a row do not
// depend on the others, nor on how the batch is cut. `target` is the one the panels were packed for.
template <class T>
void run_chain(MatrixView<const T> x, const std::vector<ChainStep<T>>& steps, T slope,
               MatrixView<T> out, const Target& target);

}  // namespace homfast
