#include "core/seeded_gram.h"

#include <algorithm>

#include "core/run_product.h"

namespace homfast {
namespace {

// Rows of A taken at a time: panels of them, n entries deep, in this many bytes of L3. Each panel is
// made and used for A x piece by piece, in L2, and then used for A^H, some columns of the result at a
// time, so that these stay in L2 over all panels.
constexpr index_t kBlockBytes = 4 << 20;
constexpr index_t kDepth = 1024, kColumns = 512;
// Rows of panels that a generator may write behind the last (ops.def).
constexpr index_t kSpill = 64;
// Multiply-adds that take as long as an entry.
constexpr double kNormalCost = 50;
// With more rows of x, the chains of one panel after the other cost what the entries would.
constexpr index_t kMostRows = 16;

}  // namespace

template <class T>
bool gaussian_gram(const SeededBlock& from, index_t m, T scale, MatrixView<const T> x,
                   MatrixView<T> out) {
  const KernelTable<T>& table = kernels<T>(target());
  if (!table.plain_panels || x.rows > kMostRows) return false;
  if (m == 0 || x.rows == 0 || x.cols == 0) return false;
  const index_t n = x.cols, width = table.panel_width;
  const index_t panel_size = (n + kSpill) * width;
  const double work = (2 * static_cast<double>(x.rows) + kNormalCost) * static_cast<double>(m) *
                      static_cast<double>(n);
  const index_t threads = threads_for(work);
  const index_t fit = kBlockBytes / static_cast<index_t>(sizeof(T)) / panel_size;
  const index_t panels = std::min(std::max(fit, threads), (m + width - 1) / width);
  AlignedBuffer memory, sums;
  T* const block = static_cast<T*>(
      memory.reserve(static_cast<std::size_t>(panels * panel_size) * sizeof(T)));
  T* const z = static_cast<T*>(
      sums.reserve(static_cast<std::size_t>(x.rows * panels * width) * sizeof(T)));
  StopFlag stop;
  Product<T> shared{};
  shared.m = x.rows;
  shared.stop = &StopFlag::poll_context;
  shared.stop_context = &stop;
  for (index_t first = 0; first < m && !stop.poll(); first += panels * width) {
    const index_t rows = std::min(panels * width, m - first), used = (rows + width - 1) / width;
    const SeededBlock here{from.seed, from.row + static_cast<std::uint64_t>(first), from.column,
                           from.stream};
    auto measure = [&](index_t panel) {
      const Range lanes{panel * width, std::min((panel + 1) * width, rows)};
      SeededBlock rows_here = here;
      rows_here.row += static_cast<std::uint64_t>(lanes.begin);
      Product<T> p = shared;
      p.n = lanes.end - lanes.begin;
      p.a_stride = x.row_stride;
      p.b_layout = Layout::panels;
      p.c = z + lanes.begin;
      p.c_stride = panels * width;
      for (index_t k = 0; k < n && !stop.poll(); k += kDepth) {
        T* const part = block + panel * panel_size + k * width;
        p.k = std::min(kDepth, n - k);
        p.a = x.data + k;
        p.b = part;
        p.carried = k > 0;
        table.gaussian_panels(rows_here, Layout::columns, {k, k + p.k}, {0, p.n}, part);
        run_part_of_product(p, table, {0, p.m}, {0, p.n});
      }
      for (index_t i = 0; i < p.m; ++i) {
        for (index_t j = 0; j < p.n; ++j) p.c[i * p.c_stride + j] *= scale;
      }
    };
    parallel_for(used, measure);
    auto collect = [&](index_t part) {
      const Range cols{part * kColumns, std::min((part + 1) * kColumns, n)};
      Product<T> p = shared;
      p.n = cols.end - cols.begin;
      p.a_stride = panels * width;
      p.b_stride = width;
      p.b_layout = Layout::columns;
      p.c = out.data + cols.begin;
      p.c_stride = out.row_stride;
      for (index_t panel = 0; panel < used && !stop.poll(); ++panel) {
        p.k = std::min(width, rows - panel * width);
        p.a = z + panel * width;
        p.b = block + panel * panel_size + cols.begin * width;
        p.carried = first > 0 || panel > 0;
        run_part_of_product(p, table, {0, p.m}, {0, p.n});
      }
    };
    parallel_for((n + kColumns - 1) / kColumns, collect);
  }
  if (stop.stopped()) throw Interrupted();
  return true;
}

template bool gaussian_gram<float>(const SeededBlock&, index_t, float, MatrixView<const float>,
                                   MatrixView<float>);
template bool gaussian_gram<double>(const SeededBlock&, index_t, double, MatrixView<const double>,
                                    MatrixView<double>);

}  // namespace homfast
