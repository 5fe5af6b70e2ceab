#include "core/packed_weight.h"

#include <algorithm>
#include <memory>

#include "core/parallel.h"

namespace homfast {

// Multiply-adds in whose time an element is packed, to share the threads' threshold.
constexpr double kPackCost = 16;
// Elements that a thread takes at a time, and that are packed between two looks at the stop flag.
constexpr index_t kPackedAtOnce = 1 << 16, kPackedUnasked = 1 << 22;

template <class T>
const T* PackedWeight<T>::forward_panels(const Target& target) {
  return pack(&Kept::forward, Layout::columns, weight_.cols, weight_.rows, target);
}

template <class T>
const T* PackedWeight<T>::backward_panels(const Target& target) {
  return pack(&Kept::backward, Layout::rows, weight_.rows, weight_.cols, target);
}

template <class T>
typename PackedWeight<T>::Kept& PackedWeight<T>::kept() {
  Kept* found = kept_.load(std::memory_order_acquire);
  const unsigned long now = fork_generation();
  if (found->generation == now) return *found;
  if (const std::unique_lock<std::mutex> lock(found->mutex, std::try_to_lock); lock.owns_lock()) {
    found->generation = now;  // nobody was packing: the parent's panels serve
    return *found;
  }
  auto fresh = std::make_unique<Kept>();
  if (kept_.compare_exchange_strong(found, fresh.get(), std::memory_order_acq_rel)) {
    return *fresh.release();
  }
  return *found;
}

template <class T>
void PackedWeight<T>::refresh() {
  Kept& here = kept();
  const std::lock_guard<std::mutex> lock(here.mutex);
  for (PanelsOfTargets* own : {&here.forward, &here.backward}) {
    for (auto& [target, panels] : *own) {
      panels.packed = 0;
      panels.whole = false;
    }
  }
}

template <class T>
const T* PackedWeight<T>::pack(PanelsOfTargets Kept::*own, Layout layout, index_t depth, index_t cols,
                               const Target& target) {
  Kept& here = kept();
  std::unique_lock<std::mutex> lock(here.mutex);
  Panels& panels = (here.*own)[&target];
  if (panels.whole) return static_cast<const T*>(panels.buffer.data());
  const KernelTable<T>& table = kernels<T>(target);
  const index_t width = table.panel_width;
  const index_t count = (cols + width - 1) / width;
  const index_t panel_size = table.packed_size(depth, width, precision_);
  const index_t size = std::max<index_t>(1, count * panel_size);
  const auto panels_of = [&](index_t elements) {
    return std::max<index_t>(1, elements / std::max<index_t>(1, panel_size));
  };
  const index_t at_once = panels_of(kPackedAtOnce), unasked = panels_of(kPackedUnasked);
  T* const out = static_cast<T*>(panels.buffer.reserve(static_cast<std::size_t>(size) * sizeof(T)));
  StopFlag stop;
  for (;;) {
    const index_t first = panels.packed, last = std::min(count, first + unasked);
    auto pack_part = [&](index_t part) {
      const index_t begin = first + part * at_once, end = std::min(last, begin + at_once);
      const Range range{begin * width, std::min(cols, end * width)};
      table.pack_panels(weight_.data, weight_.row_stride, layout, depth, range, precision_,
                        out + begin * panel_size);
    };
    share_out((last - first + at_once - 1) / at_once,
              kPackCost * static_cast<double>((last - first) * panel_size), pack_part);
    panels.packed = last;
    panels.whole = last == count;
    if (panels.whole) return out;
    lock.unlock();  // a handler that runs now may call with this weight, and go on where this stopped
    if (stop.poll()) throw Interrupted();
    if (here.generation != fork_generation()) return pack(own, layout, depth, cols, target);
    lock.lock();
  }
}

template class PackedWeight<float>;
template class PackedWeight<double>;

}  // namespace homfast
