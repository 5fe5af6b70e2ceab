#include "core/kernel_table.h"
#include "simd/neon.h"
#define HF_TARGET_TABLE homfast_kernels_neon
#include "kernels/instantiate.inc"
