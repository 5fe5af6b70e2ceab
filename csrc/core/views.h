// Non-owning views and plain argument types: the one vocabulary of bindings, core and kernels.
//
// Strides are in elements. Nothing here has a member function or includes more than fixed-width
// integers, so that a file compiled for one instruction set exports no inline symbol that the
// linker could hand to another (the ODR trap).
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "homfast's numerical contract needs IEEE arithmetic: build without -ffast-math"
#endif

namespace homfast {

using index_t = std::ptrdiff_t;

template <class T>
struct MatrixView {
  T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  index_t row_stride = 0;  // elements between rows; the last axis is contiguous
};

using MaskView = MatrixView<std::uint8_t>;  // (rows, ceil(features / 8)), bit i of byte j is 8 j + i

struct Range {
  index_t begin;
  index_t end;
};

// How the right operand B (k, n) of a product lies in memory.
enum class Layout {
  rows,     // B(k, j) = b[k * stride + j]
  columns,  // B(k, j) = b[j * stride + k]
  panels,   // packed by pack_panels: [j / panel_width][k][panel_width]
};

// Accuracy of float products (README, "The contract"): targets with a bf16 matrix unit compute in fewer
// planes for less; all others, and double, ignore it.
enum class Precision { highest, high, medium };

// What happens to a finished sum z before it is stored.
enum class Epilogue {
  none,
  relu,    // z if z > 0 or NaN, else +0 or slope z; the bits go to `mask` if that is set
  masked,  // z where the bit of `mask` is set, else +0 or slope z
};

// C (m, n) = A (m, k) B (k, n). Each element is summed in an order that k alone decides, whatever the
// tiling (one chain of multiply-adds; on a matrix unit, chains of products of a step): its bits depend
// on its row of A and column of B alone.
template <class T>
struct Product {
  index_t m, n, k;

  const T* a;
  index_t a_stride;
  bool a_transposed;            // A(i, k) = a[k * a_stride + i] instead of a[i * a_stride + k]
  const std::uint8_t* a_mask;   // bits laid out as a is; clear bits make A(i, k) +0 or slope times it
  index_t a_mask_stride;

  const T* b;
  index_t b_stride;
  Layout b_layout;

  T* c;
  index_t c_stride;
  Epilogue epilogue;
  std::uint8_t* mask;
  index_t mask_stride;

  T slope;
  Precision precision;  // panels were packed for it

  // Called between blocks on the thread that computes; true means leave as you are.
  bool (*stop)(void*);
  void* stop_context;

  bool carried;  // C holds the sums over an earlier part of k, which go on from there
};

// Scalars of one Adam step, in the order of homfast.training.AdamCoefficients.
struct AdamCoefficients {
  double step_size, beta1, beta2, epsilon, root_correction, weight_decay, decay_factor;
};

// A block of a seeded matrix: its entry (0, 0) is the one at (row, column).
struct SeededBlock {
  std::uint64_t seed, row, column;
  std::uint32_t stream;  // the last word of each counter, which tells kinds of entries apart
};

// A matrix of entries +1, -1 and few of them, row by row: entry e of row i, offsets[i] <= e <
// offsets[i + 1], is twice its column, plus 1 if it is -1.
struct SparseSigns {
  const std::uint32_t* entries;
  const index_t* offsets;
};

}  // namespace homfast
