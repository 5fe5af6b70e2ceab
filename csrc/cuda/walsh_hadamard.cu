// The Walsh-Hadamard transform in Sylvester's order, and R H D made of it.
//
// An element of the result is always the same tree of sums and differences: butterflies at distances 1, 2,
// 4, .. n / 2, in this order, whatever the blocking. A block transforms a row, or a chunk of one, in
// shared memory, up to three stages at a time in registers; the stages that are left go over
// global memory, four at a time.
#include "cuda/arithmetic.cuh"
#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_walsh_hadamard {

constexpr int kChunkBytes = 32 << 10;
template <class T>
constexpr index_t kChunk = kChunkBytes / sizeof(T);
constexpr int kRadix = 8, kColumnRadix = 16;

template <class T>
__device__ __forceinline__ T plus(T a, T b) {
  return a + b;
}
template <class T>
__device__ __forceinline__ T minus(T a, T b) {
  return a - b;
}
// Modulo 2^32.
__device__ __forceinline__ std::int32_t plus(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}
__device__ __forceinline__ std::int32_t minus(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) - static_cast<std::uint32_t>(b));
}

// Butterflies at distances 1, 2, .. radix / 2 of v, radix <= Most.
template <int Most, class T>
__device__ __forceinline__ void butterflies(T (&v)[Most], int radix) {
#pragma unroll
  for (int h = 1; h < Most; h *= 2) {
    if (h >= radix) break;
#pragma unroll
    for (int i = 0; i < Most; ++i) {
      if (i & h) continue;
      const T sum = plus(v[i], v[i + h]);
      v[i + h] = minus(v[i], v[i + h]);
      v[i] = sum;
    }
  }
}

// Where element i of a chunk lies: threads that read 8 neighbours each meet different banks.
__device__ __forceinline__ int padded(int i) { return i + (i >> 5); }
template <class T>
constexpr std::size_t chunk_shared(index_t chunk) {
  return static_cast<std::size_t>(chunk + (chunk >> 5) + 1) * sizeof(T);
}

// All stages of a chunk in shared memory; a barrier before and after.
template <class T>
__device__ void transform_chunk(T* values, int size) {
  for (int h = 1; h < size;) {
    const int radix = min_of(kRadix, size / h), groups = size / radix;
    __syncthreads();
    for (int g = static_cast<int>(threadIdx.x); g < groups; g += kThreads) {
      const int at = g / h * (h * radix) + g % h;
      T v[kRadix];
#pragma unroll
      for (int i = 0; i < kRadix; ++i) {
        if (i < radix) v[i] = values[padded(at + i * h)];
      }
      butterflies<kRadix>(v, radix);
#pragma unroll
      for (int i = 0; i < kRadix; ++i) {
        if (i < radix) values[padded(at + i * h)] = v[i];
      }
    }
    h *= radix;
  }
  __syncthreads();
}

template <class T>
__device__ __forceinline__ T with_sign(T value, const std::uint32_t* signs, index_t j) {
  return (signs[j >> 5] >> (j & 31)) & 1 ? -value : value;
}

// A row, or the block's chunk of it.
template <class T>
__global__ void __launch_bounds__(kThreads)
    transform_chunks(const MatrixView<const T> x, const MatrixView<T> out, int chunk) {
  T* const values = &shared_as<T>();
  const index_t per_row = out.cols / chunk;
  const index_t i = blockIdx.x / per_row, begin = blockIdx.x % per_row * chunk;
  const T* const from = x.data + i * x.row_stride + begin;
  T* const to = out.data + i * out.row_stride + begin;
  for (int j = static_cast<int>(threadIdx.x); j < chunk; j += kThreads) values[padded(j)] = from[j];
  transform_chunk(values, chunk);
  for (int j = static_cast<int>(threadIdx.x); j < chunk; j += kThreads) to[j] = values[padded(j)];
}

// The stages at distances h, .. h radix / 2, in place.
template <class T>
__global__ void __launch_bounds__(kThreads)
    transform_columns(const MatrixView<T> out, index_t h, int radix) {
  const index_t groups = out.cols / radix;
  for (index_t e = global_index(); e < out.rows * groups; e += global_step()) {
    const index_t g = e % groups;
    T* const at = out.data + e / groups * out.row_stride + g / h * (h * radix) + g % h;
    T v[kColumnRadix];
#pragma unroll
    for (int i = 0; i < kColumnRadix; ++i) {
      if (i < radix) v[i] = at[i * h];
    }
    butterflies<kColumnRadix>(v, radix);
#pragma unroll
    for (int i = 0; i < kColumnRadix; ++i) {
      if (i < radix) at[i * h] = v[i];
    }
  }
}

// R H D as a whole.
template <class T>
struct Subsampled {
  MatrixView<const T> x;
  const std::uint32_t* signs;
  const std::int64_t* rows;
  T scale;
  MatrixView<T> out;
};

// A row of the operator that fits into a chunk.
template <class T, bool Adjoint>
__global__ void __launch_bounds__(kThreads) subsample_chunk(const Subsampled<T> s, int size) {
  T* const values = &shared_as<T>();
  const index_t i = blockIdx.x;
  const T* const from = s.x.data + i * s.x.row_stride;
  T* const to = s.out.data + i * s.out.row_stride;
  if (Adjoint) {
    for (int j = static_cast<int>(threadIdx.x); j < size; j += kThreads) values[padded(j)] = T(0);
    __syncthreads();
    for (index_t r = threadIdx.x; r < s.x.cols; r += kThreads) {
      values[padded(static_cast<int>(s.rows[r]))] = from[r];
    }
  } else {
    for (int j = static_cast<int>(threadIdx.x); j < size; j += kThreads) {
      values[padded(j)] = j < s.x.cols ? with_sign(from[j], s.signs, j) : T(0);
    }
  }
  transform_chunk(values, size);
  if (Adjoint) {
    for (index_t j = threadIdx.x; j < s.out.cols; j += kThreads) {
      to[j] = with_sign(values[padded(static_cast<int>(j))] * s.scale, s.signs, j);
    }
  } else {
    for (index_t r = threadIdx.x; r < s.out.cols; r += kThreads) {
      to[r] = values[padded(static_cast<int>(s.rows[r]))] * s.scale;
    }
  }
}

// The steps of a row that does not: into scratch, and out of it.
template <class T>
__global__ void __launch_bounds__(kThreads) flip_into(const Subsampled<T> s, const MatrixView<T> work) {
  for (index_t e = global_index(); e < work.rows * work.cols; e += global_step()) {
    const index_t i = e / work.cols, j = e % work.cols;
    work.data[e] = j < s.x.cols ? with_sign(s.x.data[i * s.x.row_stride + j], s.signs, j) : T(0);
  }
}
template <class T>
__global__ void __launch_bounds__(kThreads) clear(const MatrixView<T> work) {
  for (index_t e = global_index(); e < work.rows * work.cols; e += global_step()) work.data[e] = T(0);
}
template <class T>
__global__ void __launch_bounds__(kThreads)
    scatter_into(const Subsampled<T> s, const MatrixView<T> work) {
  for (index_t e = global_index(); e < s.x.rows * s.x.cols; e += global_step()) {
    const index_t i = e / s.x.cols, r = e % s.x.cols;
    work.data[i * work.cols + s.rows[r]] = s.x.data[i * s.x.row_stride + r];
  }
}
template <class T, bool Adjoint>
__global__ void __launch_bounds__(kThreads)
    take_out(const MatrixView<T> work, const Subsampled<T> s) {
  for (index_t e = global_index(); e < s.out.rows * s.out.cols; e += global_step()) {
    const index_t i = e / s.out.cols, j = e % s.out.cols;
    const T value = work.data[i * work.cols + (Adjoint ? j : s.rows[j])] * s.scale;
    s.out.data[i * s.out.row_stride + j] = Adjoint ? with_sign(value, s.signs, j) : value;
  }
}

template <class T>
void transform(MatrixView<const T> x, MatrixView<T> out, Stream stream) {
  if (out.rows == 0 || out.cols == 0) return;
  const index_t chunk = out.cols < kChunk<T> ? out.cols : kChunk<T>;
  launch("walsh_hadamard", transform_chunks<T>, out.rows * (out.cols / chunk), kThreads,
         chunk_shared<T>(chunk), stream, x, out, static_cast<int>(chunk));
  for (index_t h = chunk; h < out.cols;) {
    const index_t left = out.cols / h;
    const int radix = static_cast<int>(left < kColumnRadix ? left : kColumnRadix);
    launch("walsh_hadamard", transform_columns<T>, blocks_for(out.rows * (out.cols / radix)), kThreads,
           0, stream, out, h, radix);
    h *= radix;
  }
}

template <class T, bool Adjoint>
void subsample(const Subsampled<T>& s, index_t size, Scratch scratch, Stream stream) {
  const index_t batch = s.out.rows;
  if (size <= kChunk<T>) {
    launch("subsampled_hadamard", subsample_chunk<T, Adjoint>, batch, kThreads, chunk_shared<T>(size),
           stream, s, static_cast<int>(size));
    return;
  }
  if (scratch.bytes < subsampled_hadamard_scratch<T>(batch, size)) {
    throw CudaError("scratch: too small for this op");
  }
  const MatrixView<T> work{static_cast<T*>(scratch.data), batch, size, size};
  const index_t blocks = blocks_for(batch * size);
  if (Adjoint) {
    launch("subsampled_hadamard", clear<T>, blocks, kThreads, 0, stream, work);
    launch("subsampled_hadamard", scatter_into<T>, blocks_for(batch * s.x.cols), kThreads, 0, stream,
           s, work);
  } else {
    launch("subsampled_hadamard", flip_into<T>, blocks, kThreads, 0, stream, s, work);
  }
  transform<T>({work.data, work.rows, work.cols, work.row_stride}, work, stream);
  launch("subsampled_hadamard", take_out<T, Adjoint>, blocks_for(batch * s.out.cols), kThreads, 0,
         stream, work, s);
}

}  // namespace in_walsh_hadamard

template <class T>
void walsh_hadamard(MatrixView<const T> x, MatrixView<T> out, Stream stream) {
  transform<T>(x, out, stream);
}

template <class T>
index_t subsampled_hadamard_scratch(index_t batch, index_t size) {
  return size <= kChunk<T> ? 0 : batch * size * static_cast<index_t>(sizeof(T));
}

template <class T>
void subsampled_hadamard(MatrixView<const T> x, const std::uint32_t* signs, const std::int64_t* rows,
                         index_t size, T scale, bool adjoint, MatrixView<T> out, Scratch scratch,
                         Stream stream) {
  if (out.rows == 0 || out.cols == 0) return;
  const Subsampled<T> s{x, signs, rows, scale, out};
  if (adjoint) {
    subsample<T, true>(s, size, scratch, stream);
  } else {
    subsample<T, false>(s, size, scratch, stream);
  }
}

template void walsh_hadamard<float>(MatrixView<const float>, MatrixView<float>, Stream);
template void walsh_hadamard<double>(MatrixView<const double>, MatrixView<double>, Stream);
template void walsh_hadamard<std::int32_t>(MatrixView<const std::int32_t>, MatrixView<std::int32_t>,
                                           Stream);
#define HF_INSTANTIATE(T)                                                                       \
  template index_t subsampled_hadamard_scratch<T>(index_t, index_t);                            \
  template void subsampled_hadamard<T>(MatrixView<const T>, const std::uint32_t*,               \
                                       const std::int64_t*, index_t, T, bool, MatrixView<T>,    \
                                       Scratch, Stream);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast::cuda
