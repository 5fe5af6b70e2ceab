// Products with a sparse matrix of entries +1 and -1.
#pragma once

#include <vector>

#include "core/views.h"

namespace homfast {

// An m x n matrix with `per_column` entries in each column, and its transpose, by rows.
class SparseSignMatrix {
 public:
  // Entry t of column j is in row rows[j * per_column + t], -1 if signs of it is negative, else +1. Rows
  // are below m, m and n below 2^31. std::bad_alloc.
  SparseSignMatrix(const std::int64_t* rows, const std::int8_t* signs, index_t m, index_t n,
                   index_t per_column);

  index_t m() const { return m_; }
  index_t n() const { return n_; }

  // out (batch, m) = x A^T, columns in ascending order; out (batch, n) = x A, in the order of the
  // table. Sums start at +0, or go on from out if `carried`. They may throw std::bad_alloc or
  // Interrupted (parallel.h).
  template <class T>
  void forward(MatrixView<const T> x, bool carried, MatrixView<T> out) const;
  template <class T>
  void adjoint(MatrixView<const T> x, bool carried, MatrixView<T> out) const;

 private:
  struct Table {
    std::vector<std::uint32_t> entries;
    std::vector<index_t> offsets;
  };
  template <class T>
  static void multiply(const Table& table, MatrixView<const T> x, bool carried, MatrixView<T> out);

  index_t m_, n_;
  Table by_row_, by_column_;
};

}  // namespace homfast
