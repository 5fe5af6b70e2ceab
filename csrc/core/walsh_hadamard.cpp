#include "core/walsh_hadamard.h"

#include <algorithm>
#include <cstring>

#include "core/dispatch.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/workspace.h"

namespace homfast {
namespace {

// A chunk is transformed in L1 in one pass over memory; seven stages more take another pass.
constexpr index_t kChunkBytes = 32 << 10;
constexpr int kColumnStages = 7;
constexpr index_t kColumnWorkspace = 32 << 10;  // bytes
// Rows from here on are cut among the threads if there are too few of them.
constexpr index_t kLongRow = 1 << 15;
// Scratch of so many elements stays with its thread; more is given back after the row.
constexpr index_t kKeptRow = 1 << 20;
// Multiply-adds that take as long as an element.
constexpr double kCost = 4;

int log2_of(index_t n) { return n <= 1 ? 0 : 1 + log2_of(n / 2); }

// One row: prepare(begin, count) says where chunk [begin, begin + count) of the input lies, or null for
// zeros; run(tasks, function) calls function(task) for each.
template <class T, class Prepare, class Run>
void transform_row(const KernelTable<T>& table, index_t size, T* out, StopFlag& stop, Prepare prepare,
                   Run run) {
  const index_t chunk = std::min<index_t>(size, kChunkBytes / static_cast<index_t>(sizeof(T)));
  auto run_chunk = [&](index_t c) {
    if (stop.poll()) return;
    const T* const from = prepare(c * chunk, chunk);
    if (from) {
      table.hadamard_chunk(from, out + c * chunk, chunk);
    } else {
      std::fill(out + c * chunk, out + (c + 1) * chunk, T(0));
    }
  };
  run(size / chunk, run_chunk);
  int left = log2_of(size / chunk);
  index_t stride = chunk;
  for (int passes = (left + kColumnStages - 1) / kColumnStages; passes > 0; --passes) {
    const int stages = (left + passes - 1) / passes;
    const index_t rows = index_t{1} << stages, groups = size / stride / rows;
    const index_t cut = std::min<index_t>(stride, 1024), cuts = stride / cut;
    auto run_columns = [&](index_t task) {
      if (stop.poll()) return;
      T* const workspace = thread_workspace<T, Workspace::transform>(kColumnWorkspace /
                                                                     static_cast<index_t>(sizeof(T)));
      const index_t j = task % cuts * cut;
      table.hadamard_columns(out + task / cuts * rows * stride, stride, rows, {j, j + cut}, workspace);
    };
    run(groups * cuts, run_columns);
    stride *= rows;
    left -= stages;
  }
}

// body(row, run) for each row, on threads that share the rows; or, where these are few and long, one
// row after the other with run(tasks, function) on all threads.
template <class Body>
void for_rows(index_t rows, index_t size, StopFlag& stop, Body body) {
  const auto serial = [](index_t tasks, auto& function) {
    for (index_t t = 0; t < tasks; ++t) function(t);
  };
  const auto shared = [](index_t tasks, auto& function) { parallel_for(tasks, function); };
  const index_t threads = threads_for(kCost * static_cast<double>(rows) * static_cast<double>(size));
  if (threads > 1 && size >= kLongRow && rows < 4 * threads) {
    for (index_t i = 0; i < rows && !stop.poll(); ++i) body(i, shared);
  } else {
    auto run_part = [&](index_t part) {
      const index_t end = rows * (part + 1) / threads;
      for (index_t i = rows * part / threads; i < end && !stop.poll(); ++i) body(i, serial);
    };
    parallel_for(threads, run_part);
  }
  if (stop.stopped()) throw Interrupted();
}

// Scratch for one row: `large` if it is too long to be kept.
template <class T>
T* reserve_row(AlignedBuffer& large, index_t size) {
  if (size <= kKeptRow) return thread_workspace<T, Workspace::transformed_row>(size);
  return static_cast<T*>(large.reserve(static_cast<std::size_t>(size) * sizeof(T)));
}

using Word = std::uint32_t;

void transform_words(const Word* x, Word* out, index_t size) {
  if (size > 2048) {  // so that the parts stay in L1 while they are worked on
    const index_t half = size / 2;
    transform_words(x, out, half);
    transform_words(x + half, out + half, half);
    for (index_t i = 0; i < half; ++i) {
      const Word a = out[i], b = out[i + half];
      out[i] = a + b;
      out[i + half] = a - b;
    }
    return;
  }
  std::memmove(out, x, static_cast<std::size_t>(size) * sizeof(Word));
  for (index_t h = 1; h < size; h *= 2) {
    for (index_t block = 0; block < size; block += 2 * h) {
      for (index_t i = block; i < block + h; ++i) {
        const Word a = out[i], b = out[i + h];
        out[i] = a + b;
        out[i + h] = a - b;
      }
    }
  }
}

}  // namespace

template <class T>
void walsh_hadamard(MatrixView<const T> x, MatrixView<T> out) {
  if (x.rows == 0) return;
  const KernelTable<T>& table = kernels<T>(target());
  StopFlag stop;
  for_rows(x.rows, x.cols, stop, [&](index_t i, auto run) {
    const T* const row = x.data + i * x.row_stride;
    const auto prepare = [&](index_t begin, index_t) { return row + begin; };
    transform_row(table, x.cols, out.data + i * out.row_stride, stop, prepare, run);
  });
}

void walsh_hadamard(MatrixView<const std::int32_t> x, MatrixView<std::int32_t> out) {
  if (x.rows == 0) return;
  StopFlag stop;
  for_rows(x.rows, std::min<index_t>(x.cols, kLongRow - 1), stop, [&](index_t i, auto) {
    transform_words(reinterpret_cast<const Word*>(x.data + i * x.row_stride),
                    reinterpret_cast<Word*>(out.data + i * out.row_stride), x.cols);
  });
}

template <class T>
void hadamard_forward(const SubsampledHadamard<T>& op, MatrixView<const T> x, MatrixView<T> out) {
  if (x.rows == 0 || out.cols == 0) return;
  const KernelTable<T>& table = kernels<T>(target());
  StopFlag stop;
  for_rows(x.rows, op.size, stop, [&](index_t i, auto run) {
    AlignedBuffer large;
    T* const row = reserve_row<T>(large, op.size);
    const T* const from = x.data + i * x.row_stride;
    const auto prepare = [&](index_t begin, index_t count) -> const T* {
      const index_t n = std::min(count, x.cols - begin);
      if (n <= 0) return nullptr;
      table.apply_signs(from + begin, op.signs + begin / 32, n, T(1), row + begin);
      std::fill(row + begin + n, row + begin + count, T(0));
      return row + begin;
    };
    transform_row(table, op.size, row, stop, prepare, run);
    T* const to = out.data + i * out.row_stride;
    for (index_t j = 0; j < out.cols; ++j) to[j] = row[op.rows[j]] * op.scale;
  });
}

template <class T>
void hadamard_adjoint(const SubsampledHadamard<T>& op, MatrixView<const T> y, MatrixView<T> out) {
  if (y.rows == 0 || out.cols == 0) return;
  const KernelTable<T>& table = kernels<T>(target());
  StopFlag stop;
  for_rows(y.rows, op.size, stop, [&](index_t i, auto run) {
    AlignedBuffer large;
    T* const row = reserve_row<T>(large, op.size);
    std::fill(row, row + op.size, T(0));
    const T* const from = y.data + i * y.row_stride;
    for (index_t j = 0; j < y.cols; ++j) row[op.rows[j]] = from[j];
    const auto prepare = [&](index_t begin, index_t) { return row + begin; };
    transform_row(table, op.size, row, stop, prepare, run);
    table.apply_signs(row, op.signs, out.cols, op.scale, out.data + i * out.row_stride);
  });
}

#define HF_INSTANTIATE(T)                                                                          \
  template void walsh_hadamard<T>(MatrixView<const T>, MatrixView<T>);                             \
  template void hadamard_forward<T>(const SubsampledHadamard<T>&, MatrixView<const T>, MatrixView<T>); \
  template void hadamard_adjoint<T>(const SubsampledHadamard<T>&, MatrixView<const T>, MatrixView<T>);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast
