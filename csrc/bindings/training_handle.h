// Forward passes that are remembered, and steps of training, as Python objects.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "bindings/gil.h"
#include "bindings/network_handle.h"
#include "bindings/object.h"
#include "core/fit_step.h"

namespace homfast {

// Plain gradient descent without coefficients, of which Adam has seven.
inline Optimizer optimizer_of(const std::vector<double>& c, double learning_rate,
                              double weight_decay) {
  if (c.empty()) return {false, {}, learning_rate, weight_decay};
  check(c.size() == 7, "coefficients: wanted seven");
  return {true, {c[0], c[1], c[2], c[3], c[4], c[5], c[6]}, learning_rate, weight_decay};
}

// The arrays of one layer but for its gradient; moments are given for Adam.
template <class T>
Trained<T> trained_layer(T* weight, index_t size, const py::array* first, const py::array* second) {
  return {weight, first ? elements<T>(*first, size, "first_moment", true) : nullptr,
          second ? elements<T>(*second, size, "second_moment", true) : nullptr, nullptr, size};
}

// Memory of a trace that is gone, for the next one of the same network: a training loop makes one a
// step, and fresh pages cost more than what is written to them.
template <class T>
struct SpareMemory {
  std::mutex mutex;
  std::unique_ptr<TraceMemory<T>> memory;

  std::unique_ptr<TraceMemory<T>> take() {
    const std::lock_guard<std::mutex> lock(mutex);
    return memory ? std::move(memory) : std::make_unique<TraceMemory<T>>();
  }
  void give(std::unique_ptr<TraceMemory<T>> used) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (!memory) memory = std::move(used);
  }
};

// What a forward pass kept: pulls gradients back, any number of times.
class TraceHandle {
 public:
  template <class T>
  struct Kept {
    std::shared_ptr<SpareMemory<T>> spare;
    std::unique_ptr<TraceMemory<T>> memory;
    Trace<T> trace;

    Kept(std::shared_ptr<SpareMemory<T>> from, std::unique_ptr<TraceMemory<T>> own, Trace<T> kept)
        : spare(std::move(from)), memory(std::move(own)), trace(std::move(kept)) {}
    Kept(Kept&&) = default;
    ~Kept() {
      if (memory) spare->give(std::move(memory));
    }
  };

  template <class T>
  TraceHandle(py::object network, const PlainArray& x, Kept<T> kept)
      : network_(std::move(network)),
        shape_(x.proxy->dimensions, x.proxy->dimensions + x.proxy->nd),
        kept_(std::move(kept)) {}

  // (grad_input or None, [grad_weight ...]); None if grad_output is not plain or has another shape.
  py::object pull_back(const py::object& grad_output, bool input_needed) const {
    const PlainArray grad(grad_output);
    if (!grad.proxy) return py::none();
    // Not std::visit: Clang 14 makes no function that only a generic lambda calls.
    if (const auto* kept = std::get_if<Kept<float>>(&kept_)) {
      return pull_back_as<float>(grad, kept->trace, input_needed);
    }
    return pull_back_as<double>(grad, std::get_if<Kept<double>>(&kept_)->trace, input_needed);
  }

 private:
  template <class T>
  py::object pull_back_as(const PlainArray& grad, const Trace<T>& trace, bool input_needed) const {
    const auto& network = network_.cast<const NetworkHandle&>();
    const auto weights = network.get<T>();
    MatrixView<const T> rows;
    if (grad.type != type_number<T>() || !grad.rows<T>(rows)) return py::none();
    if (!has_leading_axes(grad) || rows.cols != weights.back().view.rows) return py::none();
    py::object grad_input = py::none();
    MatrixView<T> input_target;
    if (input_needed) {
      const index_t width = weights.front().view.cols;
      py::array result = new_like<T>(grad, width);
      input_target = {static_cast<T*>(result.mutable_data()), rows.rows, width, width};
      grad_input = std::move(result);
    }
    py::list grad_weights;
    std::vector<MatrixView<T>> targets;
    for (const Weight<T>& weight : weights) {
      const auto& view = weight.view;
      py::array_t<T> result({view.rows, view.cols});
      targets.push_back({result.mutable_data(), view.rows, view.cols, view.cols});
      grad_weights.append(std::move(result));
    }
    {
      const WithoutGil released;
      auto& scratch = memory_of_thread<TraceMemory<T>, TraceMemory<T>>();
      scratch.reserve(weights, rows.rows, false, 1);
      run_backward<T>(weights, static_cast<T>(network.slope()), trace, rows, scratch.hidden(0),
                      input_target, targets);
    }
    return py::make_tuple(std::move(grad_input), std::move(grad_weights));
  }

  bool has_leading_axes(const PlainArray& grad) const {
    const auto* first = grad.proxy->dimensions;
    return static_cast<std::size_t>(grad.proxy->nd) == shape_.size() &&
           std::equal(shape_.begin(), shape_.end() - 1, first);
  }

  py::object network_;  // keeps the weights alive
  std::vector<py::ssize_t> shape_;
  std::variant<Kept<float>, Kept<double>> kept_;
};

// Traces and steps of one network, with the memory they use again.
class TrainingHandle {
 public:
  explicit TrainingHandle(py::object network) : network_(std::move(network)) {
    network_.cast<const NetworkHandle&>();
  }

  // (y, trace), or None if x is not plain.
  py::object trace(const py::object& x) const {
    const PlainArray input(x);
    if (!input.proxy) return py::none();
    if (input.type == type_number<float>()) return trace_as<float>(input, spare_float_);
    if (input.type == type_number<double>()) return trace_as<double>(input, spare_double_);
    return py::none();
  }

  // (y, J v), or None if x and v are not plain arrays of one shape.
  py::object jvp(const py::object& x, const py::object& v) const {
    const PlainArray point(x), direction(v);
    if (!point.proxy || !direction.proxy || point.type != direction.type) return py::none();
    if (!point.same_leading_axes(direction)) return py::none();
    if (point.type == type_number<float>()) return jvp_as<float>(point, direction, spare_float_);
    if (point.type == type_number<double>()) return jvp_as<double>(point, direction, spare_double_);
    return py::none();
  }

  // (loss, whether the update left finite numbers) of one step that updates the weights, and the moments
  // where there are any.
  py::tuple fit_step(const py::array& x, const py::array& target, const std::vector<double>& adam,
                  double learning_rate, double weight_decay, const std::vector<py::array>& first,
                  const std::vector<py::array>& second) {
    StepResult result{};
    for_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      const auto& network = network_.cast<const NetworkHandle&>();
      const auto rows = matrix<const T>(x, "x"), wanted = matrix<const T>(target, "target");
      const auto weights = network.get<T>();
      check(rows.cols == weights.front().view.cols, "x: in_features do not match the first layer");
      check(wanted.rows == rows.rows && wanted.cols == weights.back().view.rows,
            "target: shape does not match");
      const Optimizer optimizer = optimizer_of(adam, learning_rate, weight_decay);
      check(!optimizer.adam || (first.size() == weights.size() && second.size() == weights.size()),
            "moments: wanted one a layer");
      std::vector<Trained<T>> trained;
      for (std::size_t i = 0; i < weights.size(); ++i) {
        const index_t size = weights[i].view.rows * weights[i].view.cols;
        trained.push_back(trained_layer<T>(network.writable_weight<T>(i), size,
                                           optimizer.adam ? &first[i] : nullptr,
                                           optimizer.adam ? &second[i] : nullptr));
      }
      const auto who = stepping_.load();
      if (who != std::thread::id() && generation_ != fork_generation()) {
        throw std::runtime_error(
            "fit: got a network that was being fitted when this process was forked, by a thread that is "
            "not here; wanted a network made since");
      }
      if (who == std::this_thread::get_id()) {
        throw std::runtime_error(
            "fit: got a network that is being fitted, by the call that this signal handler interrupted; "
            "wanted another network, or a handler that sets a flag for later");
      }
      const WithoutGil released;
      const std::lock_guard<std::mutex> lock(step_mutex_);
      generation_ = fork_generation();
      const Stepping here(stepping_);
      result = homfast::fit_step<T>(weights, static_cast<T>(network.slope()), rows, wanted, optimizer,
                                    std::move(trained), std::get<StepMemory<T>>(step_memory_));
    });
    return py::make_tuple(result.loss, result.finite);
  }

 private:
  template <class T>
  py::object trace_as(const PlainArray& input,
                      const std::shared_ptr<SpareMemory<T>>& spare) const {
    const auto& network = network_.cast<const NetworkHandle&>();
    MatrixView<const T> rows;
    if (!network.holds<T>() || !input.rows<T>(rows)) return py::none();
    const auto weights = network.get<T>();
    if (rows.cols != weights.front().view.cols) return py::none();
    const index_t width = weights.back().view.rows;
    py::array out = new_like<T>(input, width);
    const MatrixView<T> target{static_cast<T*>(out.mutable_data()), rows.rows, width, width};
    auto memory = spare->take();
    Trace<T> trace;
    {
      const WithoutGil released;
      memory->reserve(weights, rows.rows, true, 1);
      trace = memory->trace(rows);
      run_forward<T>(weights, static_cast<T>(network.slope()), trace, target);
    }
    TraceHandle::Kept<T> kept(spare, std::move(memory), std::move(trace));
    return py::make_tuple(std::move(out), make_object<TraceHandle>(network_, input, std::move(kept)));
  }

  template <class T>
  py::object jvp_as(const PlainArray& x, const PlainArray& v,
                    const std::shared_ptr<SpareMemory<T>>& spare) const {
    const auto& network = network_.cast<const NetworkHandle&>();
    MatrixView<const T> rows, directions;
    if (!network.holds<T>() || !x.rows<T>(rows) || !v.rows<T>(directions)) return py::none();
    const auto weights = network.get<T>();
    const index_t features = weights.front().view.cols, width = weights.back().view.rows;
    if (rows.cols != features || directions.cols != features) return py::none();
    py::array y = new_like<T>(x, width), dy = new_like<T>(x, width);
    const MatrixView<T> y_rows{static_cast<T*>(y.mutable_data()), rows.rows, width, width};
    const MatrixView<T> dy_rows{static_cast<T*>(dy.mutable_data()), rows.rows, width, width};
    auto memory = spare->take();
    {
      const WithoutGil released;
      memory->reserve(weights, rows.rows, false, 0);
      const Trace<T> trace = memory->trace(rows);
      const T slope = static_cast<T>(network.slope());
      run_forward<T>(weights, slope, trace, y_rows);
      run_tangent<T>(weights, slope, trace.masks, directions, dy_rows);
    }
    spare->give(std::move(memory));
    return py::make_tuple(std::move(y), std::move(dy));
  }

  py::object network_;
  std::shared_ptr<SpareMemory<float>> spare_float_ = std::make_shared<SpareMemory<float>>();
  std::shared_ptr<SpareMemory<double>> spare_double_ = std::make_shared<SpareMemory<double>>();
  // The thread that is in a step.
  using Who = std::atomic<std::thread::id>;
  class Stepping {
   public:
    explicit Stepping(Who& who) : who_(who) { who_ = std::this_thread::get_id(); }
    ~Stepping() { who_ = std::thread::id(); }
    Stepping(const Stepping&) = delete;
    Stepping& operator=(const Stepping&) = delete;

   private:
    Who& who_;
  };

  std::mutex step_mutex_;
  Who stepping_{std::thread::id()};
  std::atomic<unsigned long> generation_{0};  // of the process that it is in
  std::tuple<StepMemory<float>, StepMemory<double>> step_memory_;
};

}  // namespace homfast
