#include "core/bfloat16_layers.h"

#include <algorithm>

#include "core/bfloat16.h"
#include "core/ops.h"
#include "core/run_product.h"

namespace homfast {
namespace {

// Room for matrices of float32, one behind the other. A few MiB are kept for the thread's next call:
// memory that is fetched and given back costs as much as a layer of middle size, in page faults.
class Room {
 public:
  explicit Room(index_t elements) {
    constexpr index_t kept = 1 << 22;
    const std::size_t bytes = static_cast<std::size_t>(elements) * sizeof(float);
    next_ = elements <= kept ? thread_workspace<float, Workspace::widened>(elements)
                             : static_cast<float*>(own_.reserve(bytes));
  }

  // What `matrix` takes.
  static index_t size(index_t rows, index_t cols) { return (rows * cols + 15) / 16 * 16; }

  MatrixView<float> matrix(index_t rows, index_t cols) {
    const MatrixView<float> view{next_, rows, cols, cols};
    next_ += size(rows, cols);
    return view;
  }

  MatrixView<const float> widened(Halves values) {
    const MatrixView<float> wide = matrix(values.rows, values.cols);
    widen_bfloat16(values, wide);
    return {wide.data, wide.rows, wide.cols, wide.row_stride};
  }

  // Where the next one goes; and to go on from there, over what was put there since.
  float* next() const { return next_; }
  void go_on_from(float* next) { next_ = next; }

 private:
  AlignedBuffer own_;
  float* next_;
};

index_t size_of(Halves values) { return Room::size(values.rows, values.cols); }

MatrixView<const float> read_only(MatrixView<float> v) { return {v.data, v.rows, v.cols, v.row_stride}; }

// For rows that take dot_rows.
void linear_few_rows(Halves x, Halves weight, Epilogue epilogue, float slope, MaskView mask,
                     MatrixView<std::uint16_t> out) {
  if (out.rows == 0 || out.cols == 0) return;
  const KernelTable<float>& table = kernels<float>(target());
  Room room(size_of(x));
  Product<float> p = make_product<float>({nullptr, out.rows, out.cols, 0}, x.cols, epilogue, slope,
                                         Precision::medium);
  set_a<float>(p, room.widened(x), false, {});
  p.b_stride = weight.row_stride;
  p.mask_stride = mask.row_stride;
  read_by_columns(p, [&](Range columns) {
    const index_t first = columns.begin, count = columns.end - columns.begin;
    Product<float> own = p;
    own.c = thread_workspace<float>(out.rows * count);
    own.c_stride = count;
    own.mask = mask.data ? mask.data + first / 8 : nullptr;
    table.dot_rows_bfloat16(own, weight.data + first * weight.row_stride, Range{0, count});
    for (index_t i = 0; i < out.rows; ++i) {
      round_to_bfloat16(own.c + i * own.c_stride, out.data + i * out.row_stride + first, count);
    }
  });
}

}  // namespace

void linear_bfloat16(Halves x, Halves weight, Epilogue epilogue, float slope, MaskView mask,
                     MatrixView<std::uint16_t> out) {
  if (takes_dot_rows(x.rows)) return linear_few_rows(x, weight, epilogue, slope, mask, out);
  Room room(size_of(x) + size_of(weight) + Room::size(out.rows, out.cols));
  const auto rows = room.widened(x);
  const Weight<float> wide{room.widened(weight)};
  const auto sums = room.matrix(out.rows, out.cols);
  linear<float>(rows, wide, epilogue, slope, mask, sums, Precision::medium);
  round_to_bfloat16(read_only(sums), out);
}

void linear_backward_bfloat16(Halves grad_output, Halves x, Halves weight, MaskView mask, float slope,
                              const MatrixView<std::uint16_t>* grad_input,
                              const MatrixView<std::uint16_t>* grad_weight) {
  index_t for_input = 0, for_weight = 0;  // one after the other, in the same room
  if (grad_input) for_input = size_of(weight) + Room::size(grad_input->rows, grad_input->cols);
  if (grad_weight) for_weight = size_of(x) + Room::size(grad_weight->rows, grad_weight->cols);
  Room room(size_of(grad_output) + std::max(for_input, for_weight));
  const auto grad = room.widened(grad_output);
  float* const behind_grad = room.next();
  if (grad_input) {
    const Weight<float> wide{room.widened(weight)};
    const auto sums = room.matrix(grad_input->rows, grad_input->cols);
    homfast::grad_input<float>(grad, wide, mask, slope, sums, Precision::medium);
    round_to_bfloat16(read_only(sums), *grad_input);
  }
  if (grad_weight) {
    room.go_on_from(behind_grad);
    const auto rows = room.widened(x);
    const auto sums = room.matrix(grad_weight->rows, grad_weight->cols);
    homfast::grad_weight<float>(grad, rows, mask, slope, sums, Precision::medium);
    round_to_bfloat16(read_only(sums), *grad_weight);
  }
}

}  // namespace homfast
