#include "core/network.h"

#include <algorithm>

#include "core/run_product.h"

namespace homfast {
namespace {

// Activations of a tile of the batch, in and out of a layer, should take no more than this of L2; but
// a tile of fewer rows than the least would read the weights too often.
constexpr index_t kTileBytes = 256 << 10;
constexpr index_t kLeastTileRows = 96, kMostTileRows = 192;
// Weights beyond this do not stay in L2 from one tile to the next.
constexpr double kCachedWeightBytes = 1 << 20;

// Where a layer's output goes: kept, or to one of two buffers in turn.
template <class T>
struct Scratch {
  T* buffers[2];
  index_t row_stride;

  MatrixView<T> of(std::size_t step, index_t rows, index_t cols) const {
    return {buffers[step % 2], rows, cols, row_stride};
  }
};

template <class T>
Scratch<T> reserve_scratch(index_t rows, index_t widest) {
  const index_t stride = std::max<index_t>(1, (widest + 15) / 16 * 16);
  T* const memory = thread_workspace<T, Workspace::activations>(2 * rows * stride);
  return {{memory, memory + rows * stride}, stride};
}

// Rows first .. first + rows of the batch through all layers; run(product) computes one layer.
template <class T, class Run>
void run_rows(MatrixView<const T> x, const std::vector<ChainStep<T>>& steps, T slope,
              MatrixView<T> out, index_t first, index_t rows, const Scratch<T>& scratch, Run run) {
  const T* input = x.data + first * x.row_stride;
  index_t input_stride = x.row_stride;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const ChainStep<T>& step = steps[i];
    MatrixView<T> target = scratch.of(i, rows, step.out_features);
    const MatrixView<T> keep = i + 1 == steps.size() ? out : step.keep;
    if (keep.data) {
      target.data = keep.data + first * keep.row_stride;
      target.row_stride = keep.row_stride;
    }
    Product<T> p{};
    p.m = rows;
    p.n = step.out_features;
    p.k = step.in_features;
    p.a = input;
    p.a_stride = input_stride;
    p.b = step.panels;
    p.b_layout = Layout::panels;
    p.c = target.data;
    p.c_stride = target.row_stride;
    p.epilogue = step.epilogue;
    p.mask = step.mask.data ? step.mask.data + first * step.mask.row_stride : nullptr;
    p.mask_stride = step.mask.row_stride;
    p.slope = slope;
    p.precision = step.precision;
    run(p);
    input = target.data;
    input_stride = target.row_stride;
  }
}

}  // namespace

template <class T>
void run_chain(MatrixView<const T> x, const std::vector<ChainStep<T>>& steps, T slope,
               MatrixView<T> out, const Target& here) {
  if (x.rows == 0) return;
  double work = 0;
  index_t widest = 0;
  for (const ChainStep<T>& step : steps) {
    work += static_cast<double>(step.in_features) * static_cast<double>(step.out_features);
    widest = std::max(widest, step.out_features);
  }
  const KernelTable<T>& table = kernels<T>(here);
  const index_t threads = threads_for(work * static_cast<double>(x.rows));

  const bool large = work * static_cast<double>(sizeof(T)) > kCachedWeightBytes;
  if (threads > 1 && x.rows < (large ? kLeastTileRows / 2 : 8) * threads) {
    // Too few rows to share out: each layer's columns are, and each weight is read by one thread.
    const Scratch<T> scratch = reserve_scratch<T>(x.rows, widest);
    run_rows(x, steps, slope, out, 0, x.rows, scratch,
             [&](const Product<T>& p) { run_product(p, here); });
    return;
  }

  const index_t row_bytes = 2 * std::max<index_t>(1, widest) * static_cast<index_t>(sizeof(T));
  const index_t cached = kTileBytes / row_bytes;
  index_t tile = std::clamp<index_t>(cached / 8 * 8, kLeastTileRows, kMostTileRows);
  tile = std::min(tile, ((x.rows + threads - 1) / threads + 7) / 8 * 8);
  const index_t tiles = (x.rows + tile - 1) / tile;
  StopFlag stop;
  auto run_tile = [&](index_t t) {
    const index_t first = t * tile, rows = std::min(tile, x.rows - first);
    const Scratch<T> scratch = reserve_scratch<T>(rows, widest);
    run_rows(x, steps, slope, out, first, rows, scratch, [&](Product<T> p) {
      if (stop.poll() || p.n == 0) return;
      p.stop = &StopFlag::poll_context;
      p.stop_context = &stop;
      run_part_of_product(p, table, Range{0, p.m}, Range{0, p.n});
    });
  };
  share_out(tiles, work * static_cast<double>(x.rows), run_tile);
  if (stop.stopped()) throw Interrupted();
}

template void run_chain<float>(MatrixView<const float>, const std::vector<ChainStep<float>>&, float,
                               MatrixView<float>, const Target&);
template void run_chain<double>(MatrixView<const double>, const std::vector<ChainStep<double>>&,
                                double, MatrixView<double>, const Target&);

}  // namespace homfast
