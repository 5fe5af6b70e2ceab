// |z| and |z|^2, elementwise, with their gradients: homfast/measure/modulus.py.
#include "cuda/arithmetic.cuh"
#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_modulus {

// sqrt(re^2 + im^2) without overflow on the way: hypot is correct to an ulp here as in NumPy, not to
// the bit.
__device__ __forceinline__ float length(float re, float im) { return hypotf(re, im); }
__device__ __forceinline__ double length(double re, double im) { return hypot(re, im); }

template <class T>
__device__ __forceinline__ T sign_of(T z) {
  return z > T(0) ? T(1) : z < T(0) ? T(-1) : z;  // keeps a NaN, and 0
}

__device__ __forceinline__ float modulus_of(float z) { return fabs(z); }
__device__ __forceinline__ double modulus_of(double z) { return fabs(z); }
template <class T>
__device__ __forceinline__ T modulus_of(Complex<T> z) {
  return length(z.re, z.im);
}
__device__ __forceinline__ float square_of(float z) { return z * z; }
__device__ __forceinline__ double square_of(double z) { return z * z; }
template <class T>
__device__ __forceinline__ T square_of(Complex<T> z) {
  return z.re * z.re + z.im * z.im;
}

// z / |z|, or 0: the gradient of |z|.
__device__ __forceinline__ float direction_of(float z) { return sign_of(z); }
__device__ __forceinline__ double direction_of(double z) { return sign_of(z); }
template <class T>
__device__ __forceinline__ Complex<T> direction_of(Complex<T> z) {
  const T size = length(z.re, z.im);
  return size != T(0) ? Complex<T>{z.re / size, z.im / size} : Complex<T>{T(0), T(0)};
}

template <class E>
__global__ void __launch_bounds__(kThreads)
    modulus_values(Modulus kind, const E* z, index_t size, RealOf<E>* out) {
  for (index_t i = global_index(); i < size; i += global_step()) {
    out[i] = kind == Modulus::intensity ? square_of(z[i]) : modulus_of(z[i]);
  }
}

template <class E>
__global__ void __launch_bounds__(kThreads)
    modulus_slopes(Modulus kind, const E* z, const RealOf<E>* g, index_t size, E* out) {
  for (index_t i = global_index(); i < size; i += global_step()) {
    out[i] = (kind == Modulus::intensity ? z[i] + z[i] : direction_of(z[i])) * g[i];
  }
}

}  // namespace in_modulus

template <class E>
void modulus(Modulus kind, const E* z, index_t size, RealOf<E>* out, Stream stream) {
  launch("modulus", modulus_values<E>, blocks_for(size), kThreads, 0, stream, kind, z, size, out);
}

template <class E>
void modulus_gradient(Modulus kind, const E* z, const RealOf<E>* g, index_t size, E* out, Stream stream) {
  launch("modulus_gradient", modulus_slopes<E>, blocks_for(size), kThreads, 0, stream, kind, z, g, size, out);
}

#define HF_INSTANTIATE(E)                                                            \
  template void modulus<E>(Modulus, const E*, index_t, RealOf<E>*, Stream);          \
  template void modulus_gradient<E>(Modulus, const E*, const RealOf<E>*, index_t, E*, Stream);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
HF_INSTANTIATE(Complex<float>)
HF_INSTANTIATE(Complex<double>)
#undef HF_INSTANTIATE

}  // namespace homfast::cuda
