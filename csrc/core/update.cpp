#include "core/update.h"

#include <algorithm>

#include "core/dispatch.h"
#include "core/parallel.h"

namespace homfast {
namespace {

// Elements updated at a time, and the multiply-adds in whose time one of them is.
constexpr index_t kUpdateChunk = 16384;
constexpr double kUpdateCost = 16;

}  // namespace

template <class T>
bool update(const std::vector<Trained<T>>& layers, const Optimizer& optimizer) {
  struct Part {
    std::size_t layer;
    Range range;
  };
  const KernelTable<T>& table = kernels<T>(target());
  std::vector<Part> parts;
  double elements = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const index_t size = layers[i].size;
    elements += static_cast<double>(size);
    for (index_t begin = 0; begin < size; begin += kUpdateChunk) {
      parts.push_back({i, {begin, std::min(size, begin + kUpdateChunk)}});
    }
  }
  bool finite = true;
  auto update_part = [&](index_t index) {
    const Part& part = parts[static_cast<std::size_t>(index)];
    const Trained<T>& layer = layers[part.layer];
    const bool good =
        optimizer.adam
            ? table.adam_update(layer.weight, layer.gradient, layer.first_moment,
                                layer.second_moment, part.range, optimizer.coefficients)
            : table.sgd_update(layer.weight, layer.gradient, part.range,
                               static_cast<T>(optimizer.learning_rate),
                               static_cast<T>(optimizer.weight_decay));
    if (!good) __atomic_store_n(&finite, false, __ATOMIC_RELAXED);
  };
  share_out(static_cast<index_t>(parts.size()), kUpdateCost * elements, update_part);
  return finite;
}

template bool update<float>(const std::vector<Trained<float>>&, const Optimizer&);
template bool update<double>(const std::vector<Trained<double>>&, const Optimizer&);

}  // namespace homfast
