#include "core/packed_weight.h"

#include <algorithm>

#include "core/parallel.h"

namespace homfast {

// Multiply-adds in whose time an element is packed, to share the threads' threshold.
constexpr double kPackCost = 16;
// Elements packed between two looks at the stop flag, and taken at a time by a thread.
constexpr index_t kPackedAtOnce = 1 << 16;

template <class T>
const T* PackedWeight<T>::forward_panels(const Target& target) {
  return pack(forward_, Layout::columns, weight_.cols, weight_.rows, target);
}

template <class T>
const T* PackedWeight<T>::backward_panels(const Target& target) {
  return pack(backward_, Layout::rows, weight_.rows, weight_.cols, target);
}

template <class T>
void PackedWeight<T>::refresh() {
  const std::lock_guard<std::mutex> lock(mutex_);
  forward_.target = backward_.target = nullptr;
}

template <class T>
const T* PackedWeight<T>::pack(Panels& panels, Layout layout, index_t depth, index_t cols,
                               const Target& target) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (panels.target != &target) {
    const KernelTable<T>& table = kernels<T>(target);
    const index_t width = table.panel_width;
    const index_t count = (cols + width - 1) / width;
    const index_t panel_size = table.packed_size(depth, width, precision_);
    const index_t size = std::max<index_t>(1, count * panel_size);
    T* const out = static_cast<T*>(panels.buffer.reserve(static_cast<std::size_t>(size) * sizeof(T)));
    const index_t at_once = std::max<index_t>(1, kPackedAtOnce / std::max<index_t>(1, panel_size));
    StopFlag stop;
    auto pack_part = [&](index_t part) {
      if (stop.poll()) return;
      const index_t begin = part * at_once, end = std::min(count, begin + at_once);
      const Range range{begin * width, std::min(cols, end * width)};
      table.pack_panels(weight_.data, weight_.row_stride, layout, depth, range, precision_,
                        out + begin * panel_size);
    };
    share_out((count + at_once - 1) / at_once, kPackCost * static_cast<double>(size), pack_part);
    if (stop.stopped()) throw Interrupted();
    panels.target = &target;
  }
  return static_cast<const T*>(panels.buffer.data());
}

template class PackedWeight<float>;
template class PackedWeight<double>;

}  // namespace homfast
