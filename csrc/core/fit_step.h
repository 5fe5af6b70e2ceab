// One step of training: forward, loss, backward, optimizer, with the weights written in place.
#pragma once

#include <vector>

#include "core/passes.h"
#include "core/update.h"

namespace homfast {

// Memory of a network's steps, kept from one to the next.
template <class T>
struct StepMemory {
  TraceMemory<T> trace;
  AlignedBuffer gradients;
};

struct StepResult {
  double loss;  // the mean squared error of the batch before the step; not finite: nothing was updated
  bool finite;  // what the update left is
};

// The gradients of `trained` are set here, and the packed weights refreshed. Bits do not depend on the
// number of threads.
template <class T>
StepResult fit_step(const std::vector<Weight<T>>& weights, T slope, MatrixView<const T> x,
                MatrixView<const T> target, const Optimizer& optimizer,
                std::vector<Trained<T>> trained, StepMemory<T>& memory);

}  // namespace homfast
