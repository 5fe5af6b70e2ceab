#include "core/ops.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "core/parallel.h"
#include "core/run_product.h"

namespace homfast {
namespace {

// Fewer rows than this, on plain weights, go to dot_rows.
constexpr index_t kSmallBatch = 16;

std::atomic<bool> batch_invariant{false};

template <class T>
void run_dot_rows(const Product<T>& p, const Target& target) {
  if (p.m == 0 || p.n == 0) return;
  const KernelTable<T>& table = kernels<T>(target);
  read_by_columns(p, [&](Range columns) { table.dot_rows(p, columns); });
}

// What all threads together reach with run(rounds), called for at least so many seconds.
template <class Run>
double rounds_per_second(double seconds, index_t rounds_a_call, Run run) {
  using Clock = std::chrono::steady_clock;
  const int threads = num_threads();
  std::atomic<long long> rounds{0};
  Clock::time_point end;
  auto work = [&](index_t) {
    do {
      run(rounds_a_call);
      rounds.fetch_add(rounds_a_call, std::memory_order_relaxed);
    } while (Clock::now() < end);
  };
  end = Clock::now() + std::chrono::milliseconds(2);  // clocks up and workers awake
  parallel_for(threads, work);
  rounds.store(0);
  const auto begin = Clock::now();
  end = begin + std::chrono::nanoseconds(static_cast<long long>(seconds * 1e9));
  parallel_for(threads, work);
  const double elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
  return static_cast<double>(rounds.load()) / elapsed;
}

}  // namespace

void set_batch_invariant(bool enabled) { batch_invariant.store(enabled); }
bool get_batch_invariant() { return batch_invariant.load(); }
bool takes_dot_rows(index_t rows) { return rows < kSmallBatch && !get_batch_invariant(); }

template <class T>
void linear(MatrixView<const T> x, Weight<T> weight, Epilogue epilogue, T slope, MaskView mask,
            MatrixView<T> out, Precision precision) {
  const Target& here = target();
  if (weight.packed) precision = weight.packed->precision();
  Product<T> p = make_product<T>(out, x.cols, epilogue, slope, precision);
  p.mask = mask.data;
  p.mask_stride = mask.row_stride;
  set_a<T>(p, x, false, {});
  set_b<T>(p, weight.view, Layout::columns,
           weight.packed ? weight.packed->forward_panels(here) : nullptr);
  if (!weight.packed && takes_dot_rows(x.rows)) {
    run_dot_rows(p, here);
  } else {
    run_product(p, here);
  }
}

template <class T>
void grad_input(MatrixView<const T> grad_output, Weight<T> weight, MaskView mask, T slope,
                MatrixView<T> out, Precision precision) {
  const Target& here = target();
  if (weight.packed) precision = weight.packed->precision();
  Product<T> p = make_product<T>(out, grad_output.cols, Epilogue::none, slope, precision);
  set_a<T>(p, grad_output, false, mask);
  set_b<T>(p, weight.view, Layout::rows,
           weight.packed ? weight.packed->backward_panels(here) : nullptr);
  run_product(p, here);
}

template <class T>
void grad_weight(MatrixView<const T> grad_output, MatrixView<const T> x, MaskView mask, T slope,
                 MatrixView<T> out, Precision precision) {
  Product<T> p = weight_gradient(grad_output, x, out);
  p.a_mask = mask.data;
  p.a_mask_stride = mask.row_stride;
  p.slope = slope;
  p.precision = precision;
  run_product(p, target());
}

template <class T>
double measure_peak(double seconds) {
  const KernelTable<T>& table = kernels<T>(target());
  volatile T sink = T(0);
  auto run = [&](index_t rounds) { sink = table.fma_chain(rounds, static_cast<T>(0.5)); };
  return rounds_per_second(seconds, 1 << 14, run) * static_cast<double>(table.fma_chain_flops);
}

double measure_matrix_peak(double seconds) {
  const KernelTable<float>& table = kernels<float>(target());
  if (!table.matrix_chain) return 0;
  return rounds_per_second(seconds, 1 << 10, table.matrix_chain) *
         static_cast<double>(table.matrix_chain_flops);
}

#define HF_INSTANTIATE(T)                                                                       \
  template void linear<T>(MatrixView<const T>, Weight<T>, Epilogue, T, MaskView, MatrixView<T>,  \
                          Precision);                                                            \
  template void grad_input<T>(MatrixView<const T>, Weight<T>, MaskView, T, MatrixView<T>,        \
                              Precision);                                                        \
  template void grad_weight<T>(MatrixView<const T>, MatrixView<const T>, MaskView, T,            \
                               MatrixView<T>, Precision);                                        \
  template double measure_peak<T>(double);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast
