#include "core/gaussian.h"

#include <algorithm>

#include "core/dispatch.h"
#include "core/ops.h"
#include "core/parallel.h"

namespace homfast {
namespace {

// Multiply-adds that take as long as an entry, to share the threads' threshold.
constexpr double kEntryCost = 50;
// Entries between two looks at the interrupt flag, 30 us or so; also what a thread gets at least.
constexpr index_t kTileEntries = 1 << 14;

}  // namespace

template <class T>
void gaussian_block(const SeededBlock& from, MatrixView<T> out) {
  if (out.rows == 0 || out.cols == 0) return;
  const KernelTable<T>& table = kernels<T>(target());
  const index_t width = std::min(out.cols, kTileEntries), height = kTileEntries / width;
  const index_t across = (out.cols + width - 1) / width;
  const index_t tiles = (out.rows + height - 1) / height * across;
  const double work = kEntryCost * static_cast<double>(out.rows) * static_cast<double>(out.cols);
  const index_t parts = std::min<index_t>(tiles, threads_for(work));
  StopFlag stop;
  auto run_part = [&](index_t part) {
    const index_t end = tiles * (part + 1) / parts;
    for (index_t tile = tiles * part / parts; tile < end && !stop.poll(); ++tile) {
      const index_t i = tile / across * height, j = tile % across * width;
      table.gaussian_block(from, out, {i, std::min(i + height, out.rows)},
                           {j, std::min(j + width, out.cols)});
    }
  };
  parallel_for(parts, run_part);
  if (stop.stopped()) throw Interrupted();
}

template void gaussian_block<float>(const SeededBlock&, MatrixView<float>);
template void gaussian_block<double>(const SeededBlock&, MatrixView<double>);

}  // namespace homfast
