#include "core/kernel_table.h"
#include "simd/amx.h"
#define HF_TARGET_TABLE homfast_kernels_amx
#include "kernels/instantiate.inc"
