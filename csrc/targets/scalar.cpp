#include "core/kernel_table.h"
#include "simd/scalar.h"
#define HF_TARGET_TABLE homfast_kernels_scalar
#include "kernels/instantiate.inc"
