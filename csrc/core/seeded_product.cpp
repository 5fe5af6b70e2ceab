#include "core/seeded_product.h"

#include <algorithm>

#include "core/run_product.h"

namespace homfast {
namespace {

// A tile of A is made as panels, used by all rows of x, and forgotten: depth x columns of it in half of
// a small L2. Both are multiples of 128, the columns of a Rademacher counter.
constexpr index_t kDepth = 256, kUnit = 128;
constexpr index_t kTileBytes = 256 << 10;
// Rows of panels that a generator may write behind the last (ops.def).
constexpr index_t kSpill = 64;
// Multiply-adds that take as long as an entry.
constexpr double kNormalCost = 50, kSignCost = 5;

// So few rows are faster without panels: entries are made once a row of x. The depth is that between
// two looks at the interrupt flag. The kernel of normal entries makes 256 columns at a time at most.
constexpr index_t kFewRowsOfNormals = 1, kFewRowsOfSigns = 2;
constexpr index_t kDotDepth = 1 << 14, kDotUnit = 256;

template <class T>
void run_dots(const KernelTable<T>& table, bool normal, double work, Layout layout,
              const SeededBlock& from, MatrixView<const T> x, MatrixView<T> out, StopFlag& stop) {
  const auto dot = normal ? table.gaussian_dot : table.rademacher_dot;
  const index_t width = normal && layout == Layout::rows ? kDotUnit : kUnit;
  auto run_unit = [&](index_t unit) {
    const Range cols{unit * width, std::min(out.cols, (unit + 1) * width)};
    for (index_t i = 0; i < x.rows; ++i) {
      T* const to = out.data + i * out.row_stride;
      for (index_t k = 0; k < x.cols && !stop.poll(); k += kDotDepth) {
        dot(from, layout, {k, std::min(k + kDotDepth, x.cols)}, cols, x.data + i * x.row_stride, to);
      }
    }
  };
  share_out((out.cols + width - 1) / width, work, run_unit);
}

}  // namespace

template <class T>
bool seeded_product(Ensemble ensemble, const SeededBlock& from, MatrixView<const T> x, bool adjoint,
                    MatrixView<T> out) {
  const KernelTable<T>& table = kernels<T>(target());
  if (!table.plain_panels) return false;
  if (out.rows == 0 || out.cols == 0) return true;
  const bool normal = ensemble == Ensemble::gaussian;
  const auto fill = normal ? table.gaussian_panels : table.rademacher_panels;
  const Layout layout = adjoint ? Layout::rows : Layout::columns;
  const double work = (static_cast<double>(x.rows) + (normal ? kNormalCost : kSignCost)) *
                      static_cast<double>(x.cols) * static_cast<double>(out.cols);
  const index_t threads = threads_for(work);
  const index_t most = kTileBytes / static_cast<index_t>(sizeof(T)) / kDepth;
  const index_t share = ((out.cols + threads - 1) / threads + kUnit - 1) / kUnit * kUnit;
  const index_t width = std::min(most, share), tiles = (out.cols + width - 1) / width;
  const index_t tile_size = kDepth * width + kSpill * table.panel_width;
  StopFlag stop;
  auto run_tile = [&](index_t t) {
    T* const panels = thread_workspace<T, Workspace::generated>(tile_size);
    const Range cols{t * width, std::min(out.cols, (t + 1) * width)};
    Product<T> p{};
    p.m = x.rows;
    p.n = cols.end - cols.begin;
    p.a_stride = x.row_stride;
    p.b = panels;
    p.b_layout = Layout::panels;
    p.c = out.data + cols.begin;
    p.c_stride = out.row_stride;
    p.stop = &StopFlag::poll_context;
    p.stop_context = &stop;
    index_t k = 0;
    do {  // once even for k = 0, which stores +0
      p.k = std::min(kDepth, x.cols - k);
      p.a = x.data + k;
      p.carried = k > 0;
      fill(from, layout, {k, k + p.k}, cols, panels);
      run_part_of_product(p, table, {0, p.m}, {0, p.n});
      k += p.k;
    } while (k < x.cols && !stop.poll());
  };
  // Narrow results would leave lanes of that kernel without use.
  const bool few = normal ? x.rows <= kFewRowsOfNormals && out.cols >= kDotUnit
                          : x.rows <= kFewRowsOfSigns;
  if (few && x.cols > 0) {
    run_dots(table, normal, work, layout, from, x, out, stop);
  } else {
    share_out(tiles, work, run_tile);
  }
  if (stop.stopped()) throw Interrupted();
  return true;
}

template bool seeded_product<float>(Ensemble, const SeededBlock&, MatrixView<const float>, bool,
                                    MatrixView<float>);
template bool seeded_product<double>(Ensemble, const SeededBlock&, MatrixView<const double>, bool,
                                     MatrixView<double>);

}  // namespace homfast
