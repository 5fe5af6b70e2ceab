#include "core/passes.h"

#include <algorithm>
#include <cstring>

#include "core/run_product.h"

namespace homfast {
namespace {

// Elements between rows of a kept matrix: whole cache lines, and not a multiple of 2 KiB, for rows
// that far apart would share a few sets of L1.
template <class T>
index_t padded_stride(index_t cols) {
  constexpr index_t line = 64 / sizeof(T);
  const index_t stride = std::max<index_t>(1, (cols + line - 1) / line) * line;
  return stride % (32 * line) == 0 ? stride + line : stride;
}

// Addresses in one block of memory, taken in turn.
class Cursor {
 public:
  explicit Cursor(void* base) : base_(static_cast<std::uint8_t*>(base)) {}
  template <class T>
  T* take(index_t count) {
    std::uint8_t* const here = base_ ? base_ + used_ : nullptr;
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return reinterpret_cast<T*>(here);
  }
  std::size_t used() const { return used_; }

 private:
  std::uint8_t* base_;
  std::size_t used_ = 0;
};

template <class T>
MatrixView<T> take_matrix(Cursor& cursor, index_t rows, index_t cols) {
  const index_t stride = padded_stride<T>(cols);
  return {cursor.take<T>(rows * stride), rows, cols, stride};
}

// All weights' gradients in one go: the parts of all products are shared out together.
template <class T>
void run_weight_gradients(const std::vector<Product<T>>& products, const Target& target) {
  struct Part {
    std::size_t product;
    Range rows, cols;
  };
  const KernelTable<T>& table = kernels<T>(target);
  std::vector<Part> parts;
  double work = 0;
  for (const Product<T>& p : products) work += multiply_adds(p);
  const int threads = threads_for(work);
  for (std::size_t i = 0; i < products.size(); ++i) {
    const Product<T>& p = products[i];
    const Grid grid = choose_grid(p, table.panel_width, threads);
    for (index_t part = 0; part < grid.row_parts * grid.col_parts; ++part) {
      const Range rows = part_rows(p, grid, part), cols = part_cols(p, grid, part, table);
      if (rows.begin < rows.end && cols.begin < cols.end) parts.push_back({i, rows, cols});
    }
  }
  StopFlag stop;
  auto run_part = [&](index_t index) {
    const Part& part = parts[static_cast<std::size_t>(index)];
    Product<T> p = products[part.product];
    p.stop = &StopFlag::poll_context;
    p.stop_context = &stop;
    if (!stop.poll()) run_part_of_product(p, table, part.rows, part.cols);
  };
  share_out(static_cast<index_t>(parts.size()), work, run_part);
  if (stop.stopped()) throw Interrupted();
}

template <class T>
std::vector<ChainStep<T>> forward_steps(const std::vector<Weight<T>>& weights, Epilogue epilogue,
                                        const std::vector<MaskView>& masks, const Target& here) {
  std::vector<ChainStep<T>> steps(weights.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto& view = weights[i].view;
    const bool last = i + 1 == steps.size();
    steps[i] = {weights[i].packed->forward_panels(here), view.cols, view.rows,
                last ? Epilogue::none : epilogue, last || masks.empty() ? MaskView{} : masks[i], {},
                weights[i].packed->precision()};
  }
  return steps;
}

template <class T>
MatrixView<const T> read_only(const MatrixView<T>& view) {
  return {view.data, view.rows, view.cols, view.row_stride};
}

}  // namespace

template <class T>
void TraceMemory<T>::reserve(const std::vector<Weight<T>>& weights, index_t rows, bool copies_x,
                             int copies) {
  const auto lay_out = [&](Cursor cursor) {
    x_ = {};
    masks_.clear();
    hidden_.assign(static_cast<std::size_t>(copies), {});
    if (copies_x) x_ = take_matrix<T>(cursor, rows, weights.front().view.cols);
    for (auto& matrices : hidden_) {
      for (std::size_t i = 0; i + 1 < weights.size(); ++i) {
        matrices.push_back(take_matrix<T>(cursor, rows, weights[i].view.rows));
      }
    }
    for (std::size_t i = 0; i + 1 < weights.size(); ++i) {
      const index_t bytes = (weights[i].view.rows + 7) / 8;
      masks_.push_back({cursor.take<std::uint8_t>(rows * bytes), rows, bytes, bytes});
    }
    return cursor.used();
  };
  const std::size_t bytes = lay_out(Cursor(nullptr));
  lay_out(Cursor(buffer_.reserve(std::max<std::size_t>(bytes, 64))));
}

template <class T>
Trace<T> TraceMemory<T>::trace(MatrixView<const T> x) {
  if (x_.data) {
    auto copy = [&](index_t part) {
      for (index_t i = part * x.rows / 8; i < (part + 1) * x.rows / 8; ++i) {
        std::memcpy(x_.data + i * x_.row_stride, x.data + i * x.row_stride,
                    static_cast<std::size_t>(x.cols) * sizeof(T));
      }
    };
    share_out(8, 4.0 * static_cast<double>(x.rows) * static_cast<double>(x.cols), copy);
    x = read_only(x_);
  }
  return {x, hidden_.empty() ? std::vector<MatrixView<T>>() : hidden_.front(), masks_};
}

template <class T>
void run_forward(const std::vector<Weight<T>>& weights, T slope, const Trace<T>& trace,
                 MatrixView<T> out) {
  const Target& here = target();
  auto steps = forward_steps(weights, Epilogue::relu, trace.masks, here);
  for (std::size_t i = 0; i < trace.hidden.size(); ++i) steps[i].keep = trace.hidden[i];
  run_chain<T>(trace.x, steps, slope, out, here);
}

template <class T>
void run_tangent(const std::vector<Weight<T>>& weights, T slope, const std::vector<MaskView>& masks,
                 MatrixView<const T> v, MatrixView<T> out) {
  const Target& here = target();
  run_chain<T>(v, forward_steps(weights, Epilogue::masked, masks, here), slope, out, here);
}

template <class T>
void run_backward(const std::vector<Weight<T>>& weights, T slope, const Trace<T>& trace,
                  MatrixView<const T> grad_output, const std::vector<MatrixView<T>>& masked,
                  MatrixView<T> grad_input, const std::vector<MatrixView<T>>& grad_weights) {
  const Target& here = target();
  const std::size_t layers = weights.size();
  // From the last layer down, each gradient is masked in the epilogue of the product that makes it,
  // so that the products that read it need not.
  std::vector<ChainStep<T>> steps;
  for (std::size_t layer = layers - 1; layer > 0; --layer) {
    const auto& view = weights[layer].view;
    steps.push_back({weights[layer].packed->backward_panels(here), view.rows, view.cols,
                     Epilogue::masked, trace.masks[layer - 1],
                     masked.empty() ? MatrixView<T>{} : masked[layer - 1],
                     weights[layer].packed->precision()});
  }
  if (grad_input.data) {
    const auto& view = weights.front().view;
    steps.push_back({weights.front().packed->backward_panels(here), view.rows, view.cols,
                     Epilogue::none, {}, {}, weights.front().packed->precision()});
  }
  if (!steps.empty()) {
    run_chain<T>(grad_output, steps, slope, grad_input.data ? grad_input : masked.front(), here);
  }
  if (grad_weights.empty()) return;
  std::vector<Product<T>> products(layers);
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const auto grad = layer + 1 == layers ? grad_output : read_only(masked[layer]);
    const auto input = layer == 0 ? trace.x : read_only(trace.hidden[layer - 1]);
    products[layer] = weight_gradient(grad, input, grad_weights[layer]);
    products[layer].precision = weights[layer].packed->precision();
  }
  run_weight_gradients(products, here);
}

#define HF_INSTANTIATE(T)                                                                      \
  template class TraceMemory<T>;                                                               \
  template void run_forward<T>(const std::vector<Weight<T>>&, T, const Trace<T>&,              \
                               MatrixView<T>);                                                 \
  template void run_tangent<T>(const std::vector<Weight<T>>&, T, const std::vector<MaskView>&, \
                               MatrixView<const T>, MatrixView<T>);                            \
  template void run_backward<T>(const std::vector<Weight<T>>&, T, const Trace<T>&,             \
                                MatrixView<const T>, const std::vector<MatrixView<T>>&,        \
                                MatrixView<T>, const std::vector<MatrixView<T>>&);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast
