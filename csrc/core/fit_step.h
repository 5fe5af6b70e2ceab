// One step of training: forward, loss, backward, optimizer, with the weights written in place.
#pragma once

#include <vector>

#include "core/backward.h"

namespace homfast {

// What is written to of one layer; moments only for Adam.
template <class T>
struct Trained {
  T* weight;
  T* first_moment;
  T* second_moment;
};

struct Optimizer {
  bool adam;
  AdamCoefficients coefficients;  // of Adam
  double learning_rate, weight_decay;  // of plain gradient descent
};

// Memory of a network's steps, kept from one to the next.
template <class T>
struct StepMemory {
  TraceMemory<T> trace;
  AlignedBuffer gradients;
};

// The mean squared error of the batch before the step; if it is not finite, nothing is updated. The
// packed weights are refreshed. Bits do not depend on the number of threads.
template <class T>
double fit_step(const std::vector<Weight<T>>& weights, T slope, MatrixView<const T> x,
                MatrixView<const T> target, const Optimizer& optimizer,
                const std::vector<Trained<T>>& trained, StepMemory<T>& memory);

}  // namespace homfast
