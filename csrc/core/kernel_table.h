// What a target exports: one table of kernels a dtype, and the sizes that callers align to.
#pragma once

#include "core/views.h"

namespace homfast {

template <class T>
struct KernelTable {
#define HF_OP(name, result, parameters) result(*name) parameters;
#include "core/ops.def"
#undef HF_OP
  index_t panel_width;       // columns of a packed panel of B
  index_t fma_chain_flops;   // floating-point operations in one round of fma_chain
  bool plain_panels;         // panels hold B's elements, which others than pack_panels may write
  // float: dot_rows (ops.def) with B of bfloat16, which p.b is not read for.
  void (*dot_rows_bfloat16)(const Product<T>& p, const std::uint16_t* b, Range cols) = nullptr;
  // The roof of a matrix unit, and the operations of one round of it; none on other targets.
  void (*matrix_chain)(index_t rounds) = nullptr;
  index_t matrix_chain_flops = 0;
};

struct TargetKernels {
  KernelTable<float> f32;
  KernelTable<double> f64;
};

}  // namespace homfast
