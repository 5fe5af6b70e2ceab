// One step of an optimizer, with the weights written in place.
#pragma once

#include <vector>

#include "core/views.h"

namespace homfast {

// What is written to of one layer, `size` elements each; moments only for Adam.
template <class T>
struct Trained {
  T* weight;
  T* first_moment;
  T* second_moment;
  const T* gradient;
  index_t size;
};

struct Optimizer {
  bool adam;
  AdamCoefficients coefficients;  // of Adam
  double learning_rate, weight_decay;  // of plain gradient descent
};

// Whether all weights, and second moments, are finite after it. It cannot be interrupted: all layers are
// updated, or none.
template <class T>
bool update(const std::vector<Trained<T>>& layers, const Optimizer& optimizer);

}  // namespace homfast
