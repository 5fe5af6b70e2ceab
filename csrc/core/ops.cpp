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
// Elements that an update moves per multiply-add's worth of time, to share the threads' threshold.
constexpr double kUpdateCost = 4;

std::atomic<bool> batch_invariant{false};

template <class T>
void run_dot_rows(const Product<T>& p, const Target& target) {
  if (p.m == 0 || p.n == 0) return;
  const KernelTable<T>& table = kernels<T>(target);
  const int parts = threads_for(multiply_adds(p));
  auto run_part = [&](index_t part) {
    const Range cols{part_begin(p.n, part, parts, 16), part_begin(p.n, part + 1, parts, 16)};
    if (cols.begin < cols.end) table.dot_rows(p, cols);
  };
  parallel_for(parts, run_part);
}

template <class T>
Product<T> make_product(MatrixView<T> out, index_t depth, Epilogue epilogue, T slope,
                        Precision precision) {
  Product<T> p{};
  p.m = out.rows;
  p.n = out.cols;
  p.k = depth;
  p.c = out.data;
  p.c_stride = out.row_stride;
  p.epilogue = epilogue;
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
void set_b(Product<T>& p, MatrixView<const T> b, Layout layout, const T* panels) {
  p.b = panels ? panels : b.data;
  p.b_stride = b.row_stride;
  p.b_layout = panels ? Layout::panels : layout;
}

template <class Update>
void run_update(index_t size, Update update) {
  const int parts = threads_for(kUpdateCost * static_cast<double>(size));
  auto run_part = [&](index_t part) {
    const Range range{part_begin(size, part, parts, 64), part_begin(size, part + 1, parts, 64)};
    if (range.begin < range.end) update(range);
  };
  parallel_for(parts, run_part);
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
  if (!weight.packed && x.rows < kSmallBatch && !get_batch_invariant()) {
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
void adam_update(T* weight, const T* grad, T* first_moment, T* second_moment, index_t size,
                 const AdamCoefficients& coefficients) {
  const KernelTable<T>& table = kernels<T>(target());
  run_update(size, [&](Range range) {
    table.adam_update(weight, grad, first_moment, second_moment, range, coefficients);
  });
}

template <class T>
void sgd_update(T* weight, const T* grad, index_t size, T learning_rate, T weight_decay) {
  const KernelTable<T>& table = kernels<T>(target());
  run_update(size, [&](Range range) {
    table.sgd_update(weight, grad, range, learning_rate, weight_decay);
  });
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
  template void adam_update<T>(T*, const T*, T*, T*, index_t, const AdamCoefficients&);          \
  template void sgd_update<T>(T*, const T*, index_t, T, T);                                      \
  template double measure_peak<T>(double);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast
