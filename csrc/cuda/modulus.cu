// |z| and |z|^2, elementwise, with their gradients: homfast/measure/modulus.py.
#include "cuda/arithmetic.cuh"
#include "cuda/launch.h"

namespace homfast::cuda {
namespace {

// sqrt(re^2 + im^2) without overflow on the way: hypot is correct to an ulp here as in NumPy, not to
// the bit.
__device__ __forceinline__ float length(float re, float im) { return hypotf(re, im); }
__device__ __forceinline__ double length(double re, double im) { return hypot(re, im); }

template <class T>
__device__ __forceinline__ T sign_of(T z) {
  return z > T(0) ? T(1) : z < T(0) ? T(-1) : z;  // keeps a NaN, and 0
}

template <class T, bool Complex>
__global__ void __launch_bounds__(kThreads)
    modulus_values(Modulus kind, const T* z, index_t size, T* out) {
  for (index_t i = global_index(); i < size; i += global_step()) {
    const T re = z[Complex ? 2 * i : i], im = Complex ? z[2 * i + 1] : T(0);
    if (kind == Modulus::intensity) {
      out[i] = Complex ? re * re + im * im : re * re;
    } else {
      out[i] = Complex ? length(re, im) : fabs(re);
    }
  }
}

template <class T, bool Complex>
__global__ void __launch_bounds__(kThreads)
    modulus_slopes(Modulus kind, const T* z, const T* g, index_t size, T* out) {
  for (index_t i = global_index(); i < size; i += global_step()) {
    const T re = z[Complex ? 2 * i : i], im = Complex ? z[2 * i + 1] : T(0);
    T slope_re = re + re, slope_im = im + im;
    if (kind == Modulus::magnitude) {
      const T size_of = Complex ? length(re, im) : T(1);
      slope_re = !Complex ? sign_of(re) : size_of != T(0) ? re / size_of : T(0);
      slope_im = size_of != T(0) ? im / size_of : T(0);
    }
    out[Complex ? 2 * i : i] = slope_re * g[i];
    if (Complex) out[2 * i + 1] = slope_im * g[i];
  }
}

}  // namespace

template <class T>
void modulus(Modulus kind, bool complex, const T* z, index_t size, T* out, Stream stream) {
  const auto kernel = complex ? &modulus_values<T, true> : &modulus_values<T, false>;
  launch("modulus", kernel, blocks_for(size), kThreads, 0, stream, kind, z, size, out);
}

template <class T>
void modulus_gradient(Modulus kind, bool complex, const T* z, const T* g, index_t size, T* out,
                      Stream stream) {
  const auto kernel = complex ? &modulus_slopes<T, true> : &modulus_slopes<T, false>;
  launch("modulus_gradient", kernel, blocks_for(size), kThreads, 0, stream, kind, z, g, size, out);
}

#define HF_INSTANTIATE(T)                                                              \
  template void modulus<T>(Modulus, bool, const T*, index_t, T*, Stream);              \
  template void modulus_gradient<T>(Modulus, bool, const T*, const T*, index_t, T*, Stream);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast::cuda
