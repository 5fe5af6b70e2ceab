// The seam between the bindings and the kernels: twins of the ops of core, by name and argument
// order, in plain types, with scratch and a stream last. No caller needs CUDA's headers.
//
// Shapes have been checked by the bindings, and the stream's device is current (DeviceScope). An op
// launches on the stream and returns: it allocates nothing and waits for nothing, so that a CUDA graph
// can capture it. Each may throw CudaError or std::bad_alloc.
#pragma once

#include "core/views.h"

namespace homfast::cuda {

using Stream = void*;  // cudaStream_t

// A complex number as it is in memory; arithmetic.cuh has its arithmetic.
template <class T>
struct Complex {
  T re, im;
};
template <class E>
struct RealPart {
  using type = E;
};
template <class T>
struct RealPart<Complex<T>> {
  using type = T;
};
template <class E>
using RealOf = typename RealPart<E>::type;

// Memory on the device that an op uses while it runs; each op tells how much it wants.
struct Scratch {
  void* data = nullptr;
  index_t bytes = 0;
};

// Whether float32 products of wide layers run on Hopper's wgmma, which has other bits: linear, and grad_input.
// Off, until a caller asks. To be called before the first op, as scratch depends on it.
void use_wgmma(bool on);
// Whether a layer takes it: it was asked for, and the layer is wide. The batch has no say.
bool takes_wgmma(index_t out_features, index_t in_features);

// out = epilogue(x weight^T). A mask without data is none.
template <class T>
index_t linear_scratch(index_t rows, index_t in_features, index_t out_features, Precision precision);
template <class T>
void linear(MatrixView<const T> x, MatrixView<const T> weight, Epilogue epilogue, T slope,
            MaskView mask, MatrixView<T> out, Precision precision, Scratch scratch, Stream stream);

// out = (mask applied to grad_output) weight.
template <class T>
index_t grad_input_scratch(index_t rows, index_t in_features, index_t out_features,
                           Precision precision);
template <class T>
void grad_input(MatrixView<const T> grad_output, MatrixView<const T> weight, MaskView mask, T slope,
                MatrixView<T> out, Precision precision, Scratch scratch, Stream stream);

// out = (mask applied to grad_output)^T x: chunks of rows that the sizes of the layer choose, and
// these in their order.
template <class T>
index_t grad_weight_scratch(index_t rows, index_t in_features, index_t out_features,
                            Precision precision);
template <class T>
void grad_weight(MatrixView<const T> grad_output, MatrixView<const T> x, MaskView mask, T slope,
                 MatrixView<T> out, Precision precision, Scratch scratch, Stream stream);

// out = epilogue(x weight^T) of the bits of bfloat16 on wgmma, in one pass over them; out is float, or bits of
// bfloat16, rounded once. False, and nothing done, for layers that do not take wgmma.
index_t linear_bfloat16_scratch(MatrixView<const std::uint16_t> x, MatrixView<const std::uint16_t> weight);
template <class Result>
bool linear_bfloat16(MatrixView<const std::uint16_t> x, MatrixView<const std::uint16_t> weight,
                     Epilogue epilogue, float slope, MaskView mask, MatrixView<Result> out, Scratch scratch,
                     Stream stream);

// A layer of a network: its weight, and where its bits and its activations go; without data, nowhere.
template <class T>
struct NetworkLayer {
  MatrixView<const T> weight;
  MaskView mask;
  MatrixView<T> hidden;
};

// out = the network at the rows of x, with the bits of a linear or linear_relu a layer. False, and nothing
// done, where a layer is wider than 256, or the weights are more than a block's shared memory holds.
template <class T>
bool narrow_forward(MatrixView<const T> x, const NetworkLayer<T>* layers, index_t count, T slope,
                    MatrixView<T> out, Precision precision, Stream stream);

// NaN goes to *finite, unless that is null, where a weight or a second moment was written that is not
// finite; else *finite stays what it is.
template <class T>
void adam_update(T* weight, const T* grad, T* first_moment, T* second_moment, index_t size,
                 const AdamCoefficients& coefficients, double* finite, Stream stream);
template <class T>
void sgd_update(T* weight, const T* grad, index_t size, T learning_rate, T weight_decay,
                double* finite, Stream stream);

// residual = scale (residual - target), *sum = the sum of the squares before scaling: partial sums
// of fixed chunks, and these in their order.
index_t square_residual_scratch(index_t size);
template <class T>
void square_residual(T* residual, const T* target, index_t size, T scale, double* sum,
                     Scratch scratch, Stream stream);

void widen_bfloat16(MatrixView<const std::uint16_t> from, MatrixView<float> to, Stream stream);
void round_to_bfloat16(MatrixView<const float> from, MatrixView<std::uint16_t> to, Stream stream);

// Blocks of seeded entries, to the bit those of the CPU.
template <class T>
void gaussian_block(const SeededBlock& from, MatrixView<T> out, Stream stream);
template <class T>
void rademacher_block(const SeededBlock& from, MatrixView<T> out, Stream stream);
void rademacher_words(const SeededBlock& from, MatrixView<std::uint32_t> out, Stream stream);

// out = x A^T, or x A if adjoint; A has the entries of the block from (from.row, 0) on, and is not
// stored. from.column is 0.
template <class T>
void gaussian_product(const SeededBlock& from, MatrixView<const T> x, bool adjoint,
                      MatrixView<T> out, Stream stream);
template <class T>
void rademacher_product(const SeededBlock& from, MatrixView<const T> x, bool adjoint,
                        MatrixView<T> out, Stream stream);

// The Walsh-Hadamard transform of each row, for float, double and int32; x may be out.
template <class T>
void walsh_hadamard(MatrixView<const T> x, MatrixView<T> out, Stream stream);

// out = scale R H D x, or the adjoint. `rows` are distinct and below `size`.
template <class T>
index_t subsampled_hadamard_scratch(index_t batch, index_t size);
template <class T>
void subsampled_hadamard(MatrixView<const T> x, const std::uint32_t* signs, const std::int64_t* rows,
                         index_t size, T scale, bool adjoint, MatrixView<T> out, Scratch scratch,
                         Stream stream);

// out(b, i) = the sum of the entries of row i of the table in their order, each times its x(b, column).
template <class T>
void sparse_sign(const SparseSigns& table, MatrixView<const T> x, MatrixView<T> out, Stream stream);

// out(b, targets[t]) = start + the sum of x(b, places[e]) for e from offsets[t] up to offsets[t + 1], in
// their order. Without offsets there is one e = t, without targets t itself is the target. A start of -0
// leaves a single element what it is.
struct Places {
  const std::int64_t* places;
  const index_t* offsets;       // (count + 1)
  const std::int64_t* targets;  // (count), distinct
  index_t count;
};
template <class E>
void sum_places(const Places& table, MatrixView<const E> x, RealOf<E> start, MatrixView<E> out,
                Stream stream);

// d = out.rows / x.rows: out(b d + k, i) = x(b, i) weights(b d + k, i); with weights of d rows alone, those
// are of every b.
template <class E>
void weigh_rows(MatrixView<const E> x, MatrixView<const E> weights, MatrixView<E> out, Stream stream);
// d = x.rows / out.rows: out(b, i) = the sum over k, ascending, of x(b d + k, i) weights(b d + k, i), each product
// rounded, from zero on or from what out holds; weights as above.
template <class E>
void sum_weighted_rows(MatrixView<const E> x, MatrixView<const E> weights, bool accumulate,
                       MatrixView<E> out, Stream stream);

// values *= factor.
template <class E>
void scale(MatrixView<E> values, RealOf<E> factor, Stream stream);

// |z| or |z|^2 of real or complex numbers, and the gradient with respect to z for a gradient g of that.
enum class Modulus { magnitude, intensity };
template <class E>
void modulus(Modulus kind, const E* z, index_t size, RealOf<E>* out, Stream stream);
template <class E>
void modulus_gradient(Modulus kind, const E* z, const RealOf<E>* g, index_t size, E* out, Stream stream);

}  // namespace homfast::cuda
