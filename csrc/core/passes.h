// The passes through a network's layers: forward, along a tangent, and back.
#pragma once

#include <vector>

#include "core/network.h"
#include "core/workspace.h"

namespace homfast {

// What a forward pass keeps: each layer's input, and one bit a hidden unit.
template <class T>
struct Trace {
  MatrixView<const T> x;
  std::vector<MatrixView<T>> hidden;  // one a hidden layer, or empty: not kept
  std::vector<MaskView> masks;        // likewise
};

// Room for the hidden layers' outputs, `copies` times, and their masks, for so many rows.
template <class T>
class TraceMemory {
 public:
  void reserve(const std::vector<Weight<T>>& weights, index_t rows, bool copies_x, int copies);

  // x is copied if room for that was reserved.
  Trace<T> trace(MatrixView<const T> x);
  // A further copy of the hidden layers' shapes.
  const std::vector<MatrixView<T>>& hidden(int copy) const {
    return hidden_[static_cast<std::size_t>(copy)];
  }

 private:
  AlignedBuffer buffer_;
  MatrixView<T> x_;
  std::vector<std::vector<MatrixView<T>>> hidden_;
  std::vector<MaskView> masks_;
};

// out = the network at trace.x; what the trace has room for is kept.
template <class T>
void run_forward(const std::vector<Weight<T>>& weights, T slope, const Trace<T>& trace,
                 MatrixView<T> out);

// out = J v, the masks those of a trace.
template <class T>
void run_tangent(const std::vector<Weight<T>>& weights, T slope, const std::vector<MaskView>& masks,
                 MatrixView<const T> v, MatrixView<T> out);

// Gradients from that at the output; grad_input without data, or an empty list of grad_weights, is not
// computed. The weights' need of the trace what it kept, and in `masked` room for the gradients at the
// hidden layers; without them the masks are all that is read, and `masked` may be empty.
template <class T>
void run_backward(const std::vector<Weight<T>>& weights, T slope, const Trace<T>& trace,
                  MatrixView<const T> grad_output, const std::vector<MatrixView<T>>& masked,
                  MatrixView<T> grad_input, const std::vector<MatrixView<T>>& grad_weights);

}  // namespace homfast
