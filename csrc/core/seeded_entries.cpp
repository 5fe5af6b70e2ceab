#include "core/seeded_entries.h"

#include <algorithm>

#include "core/dispatch.h"
#include "core/ops.h"
#include "core/parallel.h"

namespace homfast {
namespace {

// Multiply-adds that take as long as an entry, to share the threads' threshold.
constexpr double kNormalCost = 50, kSignCost = 5, kWordCost = 50;
// Entries between two looks at the interrupt flag, 30 us or so; also what a thread gets at least.
constexpr index_t kTileEntries = 1 << 14;

template <class T>
void fill_block(void (*fill)(const SeededBlock&, MatrixView<T>, Range, Range), double cost,
                const SeededBlock& from, MatrixView<T> out) {
  if (out.rows == 0 || out.cols == 0) return;
  const index_t width = std::min(out.cols, kTileEntries), height = kTileEntries / width;
  const index_t across = (out.cols + width - 1) / width;
  const index_t tiles = (out.rows + height - 1) / height * across;
  const double work = cost * static_cast<double>(out.rows) * static_cast<double>(out.cols);
  const index_t parts = std::min<index_t>(tiles, threads_for(work));
  StopFlag stop;
  auto run_part = [&](index_t part) {
    const index_t end = tiles * (part + 1) / parts;
    for (index_t tile = tiles * part / parts; tile < end && !stop.poll(); ++tile) {
      const index_t i = tile / across * height, j = tile % across * width;
      fill(from, out, {i, std::min(i + height, out.rows)}, {j, std::min(j + width, out.cols)});
    }
  };
  parallel_for(parts, run_part);
  if (stop.stopped()) throw Interrupted();
}

}  // namespace

template <class T>
void gaussian_block(const SeededBlock& from, MatrixView<T> out) {
  fill_block(kernels<T>(target()).gaussian_block, kNormalCost, from, out);
}

template <class T>
void rademacher_block(const SeededBlock& from, MatrixView<T> out) {
  fill_block(kernels<T>(target()).rademacher_block, kSignCost, from, out);
}

void rademacher_words(const SeededBlock& from, MatrixView<std::uint32_t> out) {
  fill_block(kernels<float>(target()).rademacher_words, kWordCost, from, out);
}

template void gaussian_block<float>(const SeededBlock&, MatrixView<float>);
template void gaussian_block<double>(const SeededBlock&, MatrixView<double>);
template void rademacher_block<float>(const SeededBlock&, MatrixView<float>);
template void rademacher_block<double>(const SeededBlock&, MatrixView<double>);

}  // namespace homfast
