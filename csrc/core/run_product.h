// Running a product on the pool: how the result is cut into parts, and the parts computed.
#pragma once

#include <algorithm>

#include "core/dispatch.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/workspace.h"

namespace homfast {

// Where part `part` of `parts` begins, in whole units.
inline index_t part_begin(index_t count, index_t part, index_t parts, index_t unit) {
  const index_t units = (count + unit - 1) / unit;
  return std::min(count, units * part / parts * unit);
}

struct Grid {
  index_t row_parts, col_parts;
};

// How to cut C (m, n) for `threads`: the cut whose largest part takes the least time, counting the
// operands that a part packs, in multiply-adds of one lane.
template <class T>
Grid choose_grid(const Product<T>& p, index_t width, int threads) {
  const double lanes = static_cast<double>(width) / 2;
  Grid best{1, 1};
  double least = -1;
  for (index_t row_parts = 1; row_parts <= threads; ++row_parts) {
    const index_t col_parts = threads / row_parts;
    const double rows = std::min<double>(static_cast<double>(p.m),
                                         static_cast<double>((p.m + row_parts * 8 - 1) / (row_parts * 8) * 8));
    const double cols = static_cast<double>((p.n + col_parts * width - 1) / (col_parts * width) * width);
    const double pack_b = p.b_layout == Layout::panels ? 0 : cols;
    const double time = rows * cols / lanes + rows + pack_b;
    if (least < 0 || time < least) {
      least = time;
      best = {row_parts, col_parts};
    }
  }
  return best;
}

template <class T>
Range part_rows(const Product<T>& p, Grid grid, index_t part) {
  const index_t i = part / grid.col_parts;  // in eights: a byte of a bit mask belongs to one part
  return {part_begin(p.m, i, grid.row_parts, 8), part_begin(p.m, i + 1, grid.row_parts, 8)};
}
template <class T>
Range part_cols(const Product<T>& p, Grid grid, index_t part, const KernelTable<T>& table) {
  const index_t j = part % grid.col_parts;  // in panels
  return {part_begin(p.n, j, grid.col_parts, table.panel_width),
          part_begin(p.n, j + 1, grid.col_parts, table.panel_width)};
}

// The work of a product, to be held against the threshold for threads. Reading an element of B takes
// the time of a few multiply-adds: few rows cost as much as four.
template <class T>
double multiply_adds(const Product<T>& p) {
  constexpr index_t kRowsWorthARead = 4;
  return static_cast<double>(std::max(p.m, kRowsWorthARead)) * static_cast<double>(p.n) *
         static_cast<double>(std::max<index_t>(p.k, 1));
}

// C and what is done to it; operands are for set_a and set_b.
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
inline void set_a(Product<T>& p, MatrixView<const T> a, bool transposed, MaskView mask) {
  p.a = a.data;
  p.a_stride = a.row_stride;
  p.a_transposed = transposed;
  p.a_mask = mask.data;
  p.a_mask_stride = mask.row_stride;
}

template <class T>
inline void set_b(Product<T>& p, MatrixView<const T> b, Layout layout, const T* panels) {
  p.b = panels ? panels : b.data;
  p.b_stride = b.row_stride;
  p.b_layout = panels ? Layout::panels : layout;
}

// out = grad^T input, a chain over the rows in order; a mask is for the caller to set.
template <class T>
Product<T> weight_gradient(MatrixView<const T> grad, MatrixView<const T> input, MatrixView<T> out) {
  Product<T> p{};
  p.m = out.rows;
  p.n = out.cols;
  p.k = grad.rows;
  p.a = grad.data;
  p.a_stride = grad.row_stride;
  p.a_transposed = true;
  p.b = input.data;
  p.b_stride = input.row_stride;
  p.b_layout = Layout::rows;
  p.c = out.data;
  p.c_stride = out.row_stride;
  p.epilogue = Epilogue::none;
  return p;
}

// One part on this thread.
template <class T>
void run_part_of_product(const Product<T>& p, const KernelTable<T>& table, Range rows, Range cols) {
  table.product(p, rows, cols, thread_workspace<T>(table.product_workspace(p, rows, cols)));
}

template <class T>
void run_product(Product<T> p, const Target& target) {
  if (p.m == 0 || p.n == 0) return;
  const KernelTable<T>& table = kernels<T>(target);
  StopFlag stop;
  p.stop = &StopFlag::poll_context;
  p.stop_context = &stop;
  const Grid grid = choose_grid(p, table.panel_width, threads_for(multiply_adds(p)));
  auto run_part = [&](index_t part) {
    const Range rows = part_rows(p, grid, part), cols = part_cols(p, grid, part, table);
    if (rows.begin == rows.end || cols.begin == cols.end) return;
    run_part_of_product(p, table, rows, cols);
  };
  parallel_for(grid.row_parts * grid.col_parts, run_part);
  if (stop.stopped()) throw Interrupted();
}

// run(columns) for all columns of B, shared among threads, a few at a time: so many that Ctrl-C is heard.
template <class T, class Run>
void read_by_columns(const Product<T>& p, Run run) {
  constexpr index_t read_at_once = 1 << 20;  // elements
  const index_t at_once = std::max<index_t>(1, read_at_once / std::max<index_t>(1, p.k) / 16) * 16;
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

}  // namespace homfast
