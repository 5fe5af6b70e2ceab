// Elements of rows at given places, and sums of what comes to one place: homfast/measure/entries.py.
#include "cuda/arithmetic.cuh"
#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_places {

// A result a thread: its sum has one owner and one order.
template <class E>
__global__ void __launch_bounds__(kThreads)
    place_sums(const Places table, const MatrixView<const E> x, const E start, const MatrixView<E> out) {
  for (index_t e = global_index(); e < out.rows * table.count; e += global_step()) {
    const index_t row = e / table.count, t = e % table.count;
    const index_t first = table.offsets ? table.offsets[t] : t;
    const index_t last = table.offsets ? table.offsets[t + 1] : t + 1;
    E sum = start;
    for (index_t at = first; at < last; ++at) sum = sum + x.data[row * x.row_stride + table.places[at]];
    out.data[row * out.row_stride + (table.targets ? table.targets[t] : t)] = sum;
  }
}

}  // namespace in_places

template <class E>
void sum_places(const Places& table, MatrixView<const E> x, RealOf<E> start, MatrixView<E> out,
                Stream stream) {
  launch("sum_places", place_sums<E>, blocks_for(out.rows * table.count), kThreads, 0, stream, table, x,
         as_number<E>(start), out);
}

#define HF_INSTANTIATE(E) \
  template void sum_places<E>(const Places&, MatrixView<const E>, RealOf<E>, MatrixView<E>, Stream);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
HF_INSTANTIATE(Complex<float>)
HF_INSTANTIATE(Complex<double>)
#undef HF_INSTANTIATE

}  // namespace homfast::cuda
