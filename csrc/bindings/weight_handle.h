// Weights packed for many calls, as Python objects.
#pragma once

#include <memory>
#include <utility>
#include <variant>

#include "bindings/array_view.h"
#include "core/ops.h"

namespace homfast {

// A weight packed for many calls; it keeps the array alive.
class WeightHandle {
 public:
  WeightHandle(py::array weight, const std::string& precision) : array_(std::move(weight)) {
    const Precision wanted = precision_of(precision);
    if (holds_float(array_)) {
      packed_ = std::make_unique<PackedWeight<float>>(matrix<const float>(array_, "weight"), wanted);
    } else {
      packed_ = std::make_unique<PackedWeight<double>>(matrix<const double>(array_, "weight"), wanted);
    }
  }

  template <class T>
  Weight<T> get() const {
    const auto* packed = std::get_if<std::unique_ptr<PackedWeight<T>>>(&packed_);
    if (!packed) throw py::type_error("weight: wrong dtype");
    return {(*packed)->view(), packed->get()};
  }

  template <class T>
  bool holds() const {
    return std::holds_alternative<std::unique_ptr<PackedWeight<T>>>(packed_);
  }

  // The elements, to be written to; `refresh` has to follow.
  template <class T>
  T* writable() const {
    return elements<T>(array_, array_.size(), "weight", true);
  }

  void refresh() {
    std::visit([](auto& packed) { packed->refresh(); }, packed_);
  }

 private:
  py::array array_;
  std::variant<std::unique_ptr<PackedWeight<float>>, std::unique_ptr<PackedWeight<double>>> packed_;
};

template <class T>
Weight<T> weight_view(const py::object& weight) {
  if (py::isinstance<WeightHandle>(weight)) return weight.cast<const WeightHandle&>().get<T>();
  return {matrix<const T>(weight.cast<py::array>(), "weight"), nullptr};
}

}  // namespace homfast
