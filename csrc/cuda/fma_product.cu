#include "cuda/fma_product.h"

#include "cuda/fma_product.cuh"
#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_fma_product {

template <class Shape, class T, bool ATransposed, bool BRows>
void run_tiles(const Product<T>& p, Chunks<T> chunks, index_t count, Stream stream) {
  using Left = ArrayLines<T, !ATransposed, Shape::rows, Shape::depth, Shape::threads>;
  using Right = ArrayLines<T, !BRows, Shape::cols, Shape::depth, Shape::threads>;
  const typename Left::Array a{p.a, p.a_stride, p.m, p.a_mask, p.a_mask_stride, p.slope};
  const typename Right::Array b{p.b, p.b_stride, p.n, nullptr, 0, T(0)};
  const index_t tiles = ceil_div<index_t>(p.m, Shape::rows) * ceil_div<index_t>(p.n, Shape::cols);
  launch("fma_product", fma_product<Shape, T, Left, Right>, tiles * count, Shape::threads,
         sizeof(ProductShared<Shape, T, Left, Right>), stream, p, a, b, chunks);
}

template <class T, bool ATransposed, bool BRows>
void choose_tiles(const Product<T>& p, Chunks<T> chunks, index_t count, Stream stream) {
  using Large = typename Tiles<T>::Large;
  using Small = typename Tiles<T>::Small;
  const index_t tiles = ceil_div<index_t>(p.m, Large::rows) * ceil_div<index_t>(p.n, Large::cols);
  if (tiles * count < kManyTiles) {
    run_tiles<Small, T, ATransposed, BRows>(p, chunks, count, stream);
  } else {
    run_tiles<Large, T, ATransposed, BRows>(p, chunks, count, stream);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    sum_chunks(const Product<T> p, index_t chunks, const T* sums) {
  const index_t size = p.m * p.n;
  for (index_t e = global_index(); e < size; e += global_step()) {
    T sum = sums[e];
    for (index_t c = 1; c < chunks; ++c) sum += sums[c * size + e];
    p.c[e / p.n * p.c_stride + e % p.n] = sum;
  }
}

}  // namespace in_fma_product

template <class T>
void run_fma_product(const Product<T>& p, index_t chunk, T* sums, Stream stream) {
  if (p.m == 0 || p.n == 0) return;
  const Chunks<T> chunks{chunk > 0 ? chunk : p.k, sums};
  const index_t count = chunk > 0 ? ceil_div(p.k, chunk) : 1;
  if (p.a_transposed) {
    choose_tiles<T, true, true>(p, chunks, count, stream);
  } else if (p.b_layout == Layout::rows) {
    choose_tiles<T, false, true>(p, chunks, count, stream);
  } else {
    choose_tiles<T, false, false>(p, chunks, count, stream);
  }
}

template <class T>
void add_chunks(const Product<T>& p, index_t chunks, const T* sums, Stream stream) {
  launch("sum_chunks", sum_chunks<T>, blocks_for(p.m * p.n), kThreads, 0, stream, p, chunks, sums);
}

#define HF_INSTANTIATE(T)                                                     \
  template void run_fma_product<T>(const Product<T>&, index_t, T*, Stream);   \
  template void add_chunks<T>(const Product<T>&, index_t, const T*, Stream);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast::cuda
