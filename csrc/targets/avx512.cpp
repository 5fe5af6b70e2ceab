#include "core/kernel_table.h"
#include "simd/avx512.h"
#define HF_TARGET_TABLE homfast_kernels_avx512
#include "kernels/instantiate.inc"
