// The layer ops: a product each, on the unit that its dtype, precision and sizes choose.
#include "cuda/bf16_product.h"
#include "cuda/fma_product.h"
#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_products {

template <class T>
Product<T> make_product(MatrixView<T> out, index_t depth, T slope, Precision precision) {
  Product<T> p{};
  p.m = out.rows;
  p.n = out.cols;
  p.k = depth;
  p.c = out.data;
  p.c_stride = out.row_stride;
  p.epilogue = Epilogue::none;
  p.slope = slope;
  p.precision = precision;
  return p;
}

template <class T>
void set_a(Product<T>& p, MatrixView<const T> a, bool transposed, MaskView mask) {
  p.a = a.data;
  p.a_stride = a.row_stride;
  p.a_transposed = transposed;
  p.a_mask = mask.data;
  p.a_mask_stride = mask.row_stride;
}

template <class T>
void set_b(Product<T>& p, MatrixView<const T> b, Layout layout) {
  p.b = b.data;
  p.b_stride = b.row_stride;
  p.b_layout = layout;
}

// Rows of the batch whose share of a weight's gradient is summed apart. The sizes of the layer choose
// it, never the batch: so many that a device has blocks to run, and sums take 64 bytes a row.
index_t chunk_rows(index_t in_features, index_t out_features) {
  const index_t tiles = ceil_div<index_t>(in_features, 128) * ceil_div<index_t>(out_features, 128);
  return 1024 * (tiles > 0 ? tiles : 1);
}

index_t chunk_count(index_t rows, index_t in_features, index_t out_features) {
  return ceil_div(rows, chunk_rows(in_features, out_features));
}

// Float32 sums that are long enough for the matrix unit. (What k is, a layer's sizes decide, but for the
// weight's gradient, which sums over the batch.)
template <class T>
constexpr bool takes_unit(index_t) {
  return false;
}
template <>
constexpr bool takes_unit<float>(index_t k) {
  return k >= kLeastUnitDepth;
}

void run_unit(const Product<float>& p, index_t chunk, Scratch scratch, Stream stream) {
  run_bf16_product(p, chunk, scratch, stream);
}
void run_unit(const Product<double>&, index_t, Scratch, Stream) {}

template <class T>
void run_product(const Product<T>& p, Scratch scratch, Stream stream) {
  if (takes_unit<T>(p.k)) {
    run_unit(p, 0, scratch, stream);
  } else {
    run_fma_product<T>(p, 0, nullptr, stream);
  }
}

}  // namespace in_products

template <class T>
index_t linear_scratch(index_t rows, index_t in_features, index_t out_features, Precision precision) {
  if (!takes_unit<T>(in_features)) return 0;
  return bf16_product_scratch(rows, out_features, in_features, 0, precision);
}

template <class T>
void linear(MatrixView<const T> x, MatrixView<const T> weight, Epilogue epilogue, T slope,
            MaskView mask, MatrixView<T> out, Precision precision, Scratch scratch, Stream stream) {
  Product<T> p = make_product<T>(out, x.cols, slope, precision);
  p.epilogue = epilogue;
  p.mask = mask.data;
  p.mask_stride = mask.row_stride;
  set_a<T>(p, x, false, {});
  set_b<T>(p, weight, Layout::columns);
  run_product<T>(p, scratch, stream);
}

template <class T>
index_t grad_input_scratch(index_t rows, index_t in_features, index_t out_features, Precision precision) {
  if (!takes_unit<T>(out_features)) return 0;
  return bf16_product_scratch(rows, in_features, out_features, 0, precision);
}

template <class T>
void grad_input(MatrixView<const T> grad_output, MatrixView<const T> weight, MaskView mask, T slope,
                MatrixView<T> out, Precision precision, Scratch scratch, Stream stream) {
  Product<T> p = make_product<T>(out, grad_output.cols, slope, precision);
  set_a<T>(p, grad_output, false, mask);
  set_b<T>(p, weight, Layout::rows);
  run_product<T>(p, scratch, stream);
}

template <class T>
index_t grad_weight_scratch(index_t rows, index_t in_features, index_t out_features,
                            Precision precision) {
  const index_t chunks = chunk_count(rows, in_features, out_features);
  if (takes_unit<T>(rows)) {
    const index_t chunk = chunk_rows(in_features, out_features);
    return bf16_product_scratch(out_features, in_features, rows, chunk, precision);
  }
  return chunks > 1 ? chunks * in_features * out_features * static_cast<index_t>(sizeof(T)) : 0;
}

template <class T>
void grad_weight(MatrixView<const T> grad_output, MatrixView<const T> x, MaskView mask, T slope,
                 MatrixView<T> out, Precision precision, Scratch scratch, Stream stream) {
  Product<T> p = make_product<T>(out, x.rows, slope, precision);
  set_a<T>(p, grad_output, true, mask);
  set_b<T>(p, x, Layout::rows);
  const index_t chunk = chunk_rows(out.cols, out.rows);
  const index_t chunks = chunk_count(x.rows, out.cols, out.rows);
  if (takes_unit<T>(p.k)) return run_unit(p, chunk, scratch, stream);
  if (chunks <= 1) return run_fma_product<T>(p, 0, nullptr, stream);
  if (scratch.bytes < grad_weight_scratch<T>(x.rows, out.cols, out.rows, precision)) {
    throw CudaError("scratch: too small for this op");
  }
  T* const sums = static_cast<T*>(scratch.data);
  run_fma_product<T>(p, chunk, sums, stream);
  add_chunks<T>(p, chunks, sums, stream);
}

#define HF_INSTANTIATE(T)                                                                         \
  template index_t linear_scratch<T>(index_t, index_t, index_t, Precision);                       \
  template void linear<T>(MatrixView<const T>, MatrixView<const T>, Epilogue, T, MaskView,        \
                          MatrixView<T>, Precision, Scratch, Stream);                             \
  template index_t grad_input_scratch<T>(index_t, index_t, index_t, Precision);                   \
  template void grad_input<T>(MatrixView<const T>, MatrixView<const T>, MaskView, T,              \
                              MatrixView<T>, Precision, Scratch, Stream);                         \
  template index_t grad_weight_scratch<T>(index_t, index_t, index_t, Precision);                  \
  template void grad_weight<T>(MatrixView<const T>, MatrixView<const T>, MaskView, T,             \
                               MatrixView<T>, Precision, Scratch, Stream);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast::cuda
