// Optimizer steps and the loss, an element a thread. Products and sums round separately, as on the CPU.
#include "cuda/arithmetic.cuh"
#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_updates {

// NaN to *finite, by however many threads, if the sum is not 0: products of what was written and 0 are
// 0 where that is finite, and NaN else.
template <class T>
__device__ void report(T sum, double* finite) {
  if (finite != nullptr && !(sum == T(0))) *finite = static_cast<double>(sum);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    adam_step(T* weight, const T* grad, T* first_moment, T* second_moment, index_t size,
              const AdamCoefficients c, double* finite) {
  T sum = 0;
  for (index_t i = global_index(); i < size; i += global_step()) {
    T w = weight[i], g = grad[i], first = first_moment[i], second = second_moment[i];
    if (c.decay_factor != 1.0) w = w * static_cast<T>(c.decay_factor);
    if (c.weight_decay != 0.0) g = g + static_cast<T>(c.weight_decay) * w;
    first = first * static_cast<T>(c.beta1) + static_cast<T>(1.0 - c.beta1) * g;
    second = second * static_cast<T>(c.beta2) + static_cast<T>(1.0 - c.beta2) * (g * g);
    const T denominator = root(second) * static_cast<T>(c.root_correction) + static_cast<T>(c.epsilon);
    w = w - static_cast<T>(c.step_size) * (first / denominator);
    weight[i] = w;
    first_moment[i] = first;
    second_moment[i] = second;
    sum = sum + w * T(0) + second * T(0);
  }
  report(sum, finite);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    sgd_step(T* weight, const T* grad, index_t size, T learning_rate, T weight_decay,
             double* finite) {
  T sum = 0;
  for (index_t i = global_index(); i < size; i += global_step()) {
    T w = weight[i];
    w = w - learning_rate * (grad[i] + weight_decay * w);
    weight[i] = w;
    sum = sum + w * T(0);
  }
  report(sum, finite);
}

constexpr index_t kLossChunk = 1 << 14;

// The sum over a block of what its threads hold, in a fixed tree.
__device__ double block_sum(double value) {
  auto& sums = shared_as<double[kThreads]>();
  sums[threadIdx.x] = value;
  __syncthreads();
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    __syncthreads();
  }
  return sums[0];
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    residual_chunk(T* residual, const T* target, index_t size, T scale, double* sums) {
  const index_t begin = static_cast<index_t>(blockIdx.x) * kLossChunk;
  const index_t end = min_of(begin + kLossChunk, size);
  double sum = 0;
  for (index_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const T difference = residual[i] - target[i];
    residual[i] = difference * scale;
    sum += static_cast<double>(difference) * static_cast<double>(difference);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) sum_losses(const double* sums, index_t count, double* out) {
  double sum = 0;
  for (index_t i = threadIdx.x; i < count; i += kThreads) sum += sums[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *out = sum;
}

}  // namespace in_updates

template <class T>
void adam_update(T* weight, const T* grad, T* first_moment, T* second_moment, index_t size,
                 const AdamCoefficients& coefficients, double* finite, Stream stream) {
  launch("adam_update", adam_step<T>, blocks_for(size), kThreads, 0, stream, weight, grad,
         first_moment, second_moment, size, coefficients, finite);
}

template <class T>
void sgd_update(T* weight, const T* grad, index_t size, T learning_rate, T weight_decay,
                double* finite, Stream stream) {
  launch("sgd_update", sgd_step<T>, blocks_for(size), kThreads, 0, stream, weight, grad, size,
         learning_rate, weight_decay, finite);
}

index_t square_residual_scratch(index_t size) {
  return ceil_div(size, kLossChunk) * static_cast<index_t>(sizeof(double));
}

template <class T>
void square_residual(T* residual, const T* target, index_t size, T scale, double* sum,
                     Scratch scratch, Stream stream) {
  if (scratch.bytes < square_residual_scratch(size)) {
    throw CudaError("scratch: too small for this op");
  }
  const index_t chunks = ceil_div(size, kLossChunk);
  double* const sums = static_cast<double*>(scratch.data);
  constexpr std::size_t shared = kThreads * sizeof(double);
  launch("square_residual", residual_chunk<T>, chunks, kThreads, shared, stream, residual, target,
         size, scale, sums);
  launch("square_residual", sum_losses, 1, kThreads, shared, stream, sums, chunks, sum);
}

#define HF_INSTANTIATE(T)                                                                    \
  template void adam_update<T>(T*, const T*, T*, T*, index_t, const AdamCoefficients&,       \
                               double*, Stream);                                             \
  template void sgd_update<T>(T*, const T*, index_t, T, T, double*, Stream);                 \
  template void square_residual<T>(T*, const T*, index_t, T, double*, Scratch, Stream);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast::cuda
