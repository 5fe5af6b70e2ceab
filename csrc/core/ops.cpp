#include "core/ops.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "core/bfloat16.h"
#include "core/parallel.h"
#include "core/run_product.h"

namespace homfast {
namespace {

// Fewer rows than this, on plain weights, go to dot_rows.
constexpr index_t kSmallBatch = 16;
// Elements of a weight that dot_rows reads between two looks at the stop flag.
constexpr index_t kReadAtOnce = 1 << 20;

std::atomic<bool> batch_invariant{false};

// run(columns) for all columns of the weight, shared among threads and so many at a time.
template <class T, class Run>
void read_by_columns(const Product<T>& p, Run run) {
  const index_t at_once = std::max<index_t>(1, kReadAtOnce / std::max<index_t>(1, p.k) / 16) * 16;
  const int parts = threads_for(multiply_adds(p));
  StopFlag stop;
  auto run_part = [&](index_t part) {
    const index_t begin = part_begin(p.n, part, parts, 16);
    const index_t end = part_begin(p.n, part + 1, parts, 16);
    for (index_t j = begin; j < end; j += at_once) {
      if (j > begin && stop.poll()) return;
      run(Range{j, std::min(end, j + at_once)});
    }
  };
  parallel_for(parts, run_part);
  if (stop.stopped()) throw Interrupted();
}

template <class T>
void run_dot_rows(const Product<T>& p, const Target& target) {
  if (p.m == 0 || p.n == 0) return;
  const KernelTable<T>& table = kernels<T>(target);
  read_by_columns(p, [&](Range columns) { table.dot_rows(p, columns); });
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

bool linear_bfloat16(MatrixView<const std::uint16_t> x, MatrixView<const std::uint16_t> weight,
                     Epilogue epilogue, float slope, MaskView mask, MatrixView<std::uint16_t> out) {
  if (x.rows >= kSmallBatch || get_batch_invariant()) return false;
  if (out.rows == 0 || out.cols == 0) return true;
  const KernelTable<float>& table = kernels<float>(target());
  float* const wide_x = thread_workspace<float, Workspace::activations>(x.rows * x.cols);
  for (index_t i = 0; i < x.rows; ++i) {
    widen_bfloat16(x.data + i * x.row_stride, wide_x + i * x.cols, x.cols);
  }
  Product<float> p = make_product<float>({nullptr, out.rows, out.cols, 0}, x.cols, epilogue, slope,
                                         Precision::medium);
  set_a<float>(p, {wide_x, x.rows, x.cols, x.cols}, false, {});
  p.b_stride = weight.row_stride;
  p.mask_stride = mask.row_stride;
  read_by_columns(p, [&](Range columns) {
    const index_t first = columns.begin, count = columns.end - columns.begin;
    Product<float> own = p;
    own.c = thread_workspace<float>(out.rows * count);
    own.c_stride = count;
    own.mask = mask.data ? mask.data + first / 8 : nullptr;
    table.dot_rows_bfloat16(own, weight.data + first * weight.row_stride, Range{0, count});
    for (index_t i = 0; i < out.rows; ++i) {
      round_to_bfloat16(own.c + i * own.c_stride, out.data + i * out.row_stride + first, count);
    }
  });
  return true;
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
