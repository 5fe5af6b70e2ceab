// A weight in the order in which the product kernel reads it, for callers that use it many times.
#pragma once

#include <atomic>
#include <map>
#include <mutex>

#include "core/dispatch.h"
#include "core/parallel.h"
#include "core/workspace.h"

namespace homfast {

// Keeps the view it is made from, which must outlive it; packs for a product of its precision when that
// is first asked for, and again after `refresh` or a change of target.
template <class T>
class PackedWeight {
 public:
  PackedWeight(MatrixView<const T> weight, Precision precision)
      : weight_(weight), precision_(precision), kept_(new Kept) {}
  ~PackedWeight() { delete kept_.load(); }
  PackedWeight(const PackedWeight&) = delete;
  PackedWeight& operator=(const PackedWeight&) = delete;

  const MatrixView<const T>& view() const { return weight_; }
  Precision precision() const { return precision_; }

  // Panels of weight^T, for x weight^T.
  const T* forward_panels(const Target& target);
  // Panels of weight, for grad_output weight.
  const T* backward_panels(const Target& target);

  // The weight was written to.
  void refresh();

 private:
  struct Panels {
    AlignedBuffer buffer;  // stays where it is: calls read it without the lock
    index_t packed = 0;    // panels
    bool whole = false;
  };
  using PanelsOfTargets = std::map<const Target*, Panels>;

  struct Kept {
    std::atomic<unsigned long> generation{fork_generation()};
    std::mutex mutex;
    PanelsOfTargets forward, backward;
  };

  // In a forked child a new one, if a thread that is not there holds the lock; the old one stays, unused,
  // for a call that waits below a handler may read its panels.
  Kept& kept();
  const T* pack(PanelsOfTargets Kept::*own, Layout layout, index_t depth, index_t cols,
                const Target& target);

  MatrixView<const T> weight_;
  Precision precision_;
  std::atomic<Kept*> kept_;
};

}  // namespace homfast
