#include "core/sparse_sign.h"

#include <algorithm>

#include "core/ops.h"
#include "core/run_product.h"

namespace homfast {
namespace {

// Rows of x that are cheaper to take as they lie than as a panel that is mostly empty.
constexpr index_t kFewRows = 2;
// Multiply-adds that take as long as an entry of a panel.
constexpr double kCost = 32;

}  // namespace

SparseSignMatrix::SparseSignMatrix(const std::int64_t* rows, const std::int8_t* signs, index_t m,
                                   index_t n, index_t per_column)
    : m_(m), n_(n) {
  const index_t count = n * per_column;
  by_column_.entries.resize(static_cast<std::size_t>(count));
  by_row_.entries.resize(static_cast<std::size_t>(count));
  for (index_t j = 0; j <= n; ++j) by_column_.offsets.push_back(j * per_column);
  auto& offsets = by_row_.offsets;
  offsets.assign(static_cast<std::size_t>(m) + 1, 0);
  for (index_t e = 0; e < count; ++e) ++offsets[static_cast<std::size_t>(rows[e]) + 1];
  for (index_t i = 0; i < m; ++i) {
    offsets[static_cast<std::size_t>(i) + 1] += offsets[static_cast<std::size_t>(i)];
  }
  std::vector<index_t> next(offsets.begin(), offsets.end() - 1);
  for (index_t e = 0; e < count; ++e) {
    const auto row = static_cast<std::size_t>(rows[e]);
    const std::uint32_t minus = signs[e] < 0;
    by_column_.entries[static_cast<std::size_t>(e)] = static_cast<std::uint32_t>(row) << 1 | minus;
    by_row_.entries[static_cast<std::size_t>(next[row]++)] =
        static_cast<std::uint32_t>(e / per_column) << 1 | minus;
  }
}

template <class T>
void SparseSignMatrix::multiply(const Table& lists, MatrixView<const T> x, bool carried,
                                MatrixView<T> out) {
  if (out.rows == 0 || out.cols == 0) return;
  const KernelTable<T>& table = kernels<T>(target());
  const SparseSigns signs{lists.entries.data(), lists.offsets.data()};
  const bool few = x.rows <= kFewRows;
  const index_t group = few ? 1 : table.panel_width;
  const auto entries = static_cast<double>(lists.entries.size() + lists.offsets.size());
  const index_t parts = threads_for(kCost * entries);
  StopFlag stop;
  AlignedBuffer buffer;
  T* panel = nullptr;
  if (!few) {
    panel = static_cast<T*>(buffer.reserve(static_cast<std::size_t>((x.cols + 16) * group) * sizeof(T)));
  }
  for (index_t b = 0; b < x.rows && !stop.poll(); b += group) {
    const index_t batch = std::min(group, x.rows - b);
    const T* const rows = x.data + b * x.row_stride;
    auto pack_part = [&](index_t part) {
      const index_t k = part_begin(x.cols, part, parts, 16), end = part_begin(x.cols, part + 1, parts, 16);
      if (k < end) {
        table.pack_elements(rows + k, x.row_stride, Layout::columns, end - k, {0, batch}, panel + k * group);
      }
    };
    if (!few) parallel_for(parts, pack_part);
    // More tasks than threads, for the interrupt and because rows differ in length.
    const index_t tasks = std::max(parts, std::min<index_t>(64, out.cols / 256));
    auto run_part = [&](index_t task) {
      if (stop.poll()) return;
      const Range range{part_begin(out.cols, task, tasks, 16), part_begin(out.cols, task + 1, tasks, 16)};
      T* const to = out.data + b * out.row_stride;
      if (few) {
        table.sparse_sign_row(signs, range, rows, carried, to);
      } else if (range.begin < range.end) {
        table.sparse_sign(signs, range, panel, batch, carried, {to, batch, out.cols, out.row_stride});
      }
    };
    auto run_all = [&](index_t) {
      for (index_t task = 0; task < tasks; ++task) run_part(task);
    };
    if (parts == 1) {
      parallel_for(1, run_all);
    } else {
      parallel_for(tasks, run_part);
    }
  }
  if (stop.stopped()) throw Interrupted();
}

template <class T>
void SparseSignMatrix::forward(MatrixView<const T> x, bool carried, MatrixView<T> out) const {
  multiply(by_row_, x, carried, out);
}

template <class T>
void SparseSignMatrix::adjoint(MatrixView<const T> x, bool carried, MatrixView<T> out) const {
  multiply(by_column_, x, carried, out);
}

#define HF_INSTANTIATE(T)                                                                          \
  template void SparseSignMatrix::forward<T>(MatrixView<const T>, bool, MatrixView<T>) const;      \
  template void SparseSignMatrix::adjoint<T>(MatrixView<const T>, bool, MatrixView<T>) const;
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast
