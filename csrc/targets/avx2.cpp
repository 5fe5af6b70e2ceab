#include "core/kernel_table.h"
#include "simd/avx2.h"
#define HF_TARGET_TABLE homfast_kernels_avx2
#include "kernels/instantiate.inc"
