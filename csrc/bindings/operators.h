// What measurement operators need: seeded entries, and products that never store them.
#pragma once

#include <algorithm>
#include <memory>

#include "bindings/array_view.h"
#include "bindings/gil.h"
#include "bindings/object.h"
#include "core/seeded_entries.h"
#include "core/seeded_gram.h"
#include "core/seeded_product.h"
#include "core/sparse_sign.h"
#include "core/walsh_hadamard.h"

namespace homfast {

#define HF_HOLDS(T)                                   \
  template <>                                         \
  inline bool holds<T>(const py::array& array) {      \
    return py::isinstance<py::array_t<T>>(array);     \
  }
HF_HOLDS(std::uint32_t)
HF_HOLDS(std::int32_t)
HF_HOLDS(std::int64_t)
HF_HOLDS(std::int8_t)
#undef HF_HOLDS

inline void bind_entries(py::module_& m) {
  const auto block = [&m](const char* name, auto fill) {
    m.def(
        name,
        [fill](std::uint64_t seed, std::uint32_t stream, std::uint64_t row, std::uint64_t column,
               const py::array& out) { fill(SeededBlock{seed, row, column, stream}, out); },
        py::arg("seed"), py::arg("stream"), py::arg("row"), py::arg("column"),
        py::arg("out").noconvert());
  };
  block("gaussian_block", [](const SeededBlock& from, const py::array& out) {
    for_dtype(out, [&](auto zero) {
      const auto target = matrix<decltype(zero)>(out, "out");
      const WithoutGil released;
      gaussian_block(from, target);
    });
  });
  block("rademacher_block", [](const SeededBlock& from, const py::array& out) {
    for_dtype(out, [&](auto zero) {
      const auto target = matrix<decltype(zero)>(out, "out");
      const WithoutGil released;
      rademacher_block(from, target);
    });
  });
  block("rademacher_words", [](const SeededBlock& from, const py::array& out) {
    const auto target = matrix<std::uint32_t>(out, "out");
    const WithoutGil released;
    rademacher_words(from, target);
  });
}

inline void bind_seeded_products(py::module_& m) {
  const auto product = [&m](const char* name, Ensemble ensemble) {
    m.def(
        name,
        [ensemble](std::uint64_t seed, std::uint32_t stream, std::uint64_t row, const py::array& x,
                   bool adjoint, const py::array& out) {
          bool done = false;
          for_dtype(x, [&](auto zero) {
            using T = decltype(zero);
            const auto rows = matrix<const T>(x, "x");
            const auto target = matrix<T>(out, "out");
            check(target.rows == rows.rows, "out: rows do not match x");
            const WithoutGil released;
            done = seeded_product<T>(ensemble, {seed, row, 0, stream}, rows, adjoint, target);
          });
          return done;
        },
        py::arg("seed"), py::arg("stream"), py::arg("row"), py::arg("x").noconvert(),
        py::arg("adjoint"), py::arg("out").noconvert());
  };
  product("gaussian_product", Ensemble::gaussian);
  product("rademacher_product", Ensemble::rademacher);
  m.def(
      "gaussian_gram",
      [](std::uint64_t seed, std::uint32_t stream, std::uint64_t row, std::int64_t rows, double scale,
         const py::array& x, const py::array& out) {
        bool done = false;
        for_dtype(x, [&](auto zero) {
          using T = decltype(zero);
          const auto from = matrix<const T>(x, "x");
          const auto target = matrix<T>(out, "out");
          check(target.rows == from.rows && target.cols == from.cols, "out: shape does not match x");
          const WithoutGil released;
          done = gaussian_gram<T>({seed, row, 0, stream}, rows, static_cast<T>(scale), from, target);
        });
        return done;
      },
      py::arg("seed"), py::arg("stream"), py::arg("row"), py::arg("m"), py::arg("scale"),
      py::arg("x").noconvert(), py::arg("out").noconvert());
}

inline bool is_power_of_two(index_t n) { return n > 0 && (n & (n - 1)) == 0; }

// Whether each of `count` indices is below `limit`.
inline bool all_below(const std::int64_t* indices, index_t count, index_t limit) {
  return std::all_of(indices, indices + count, [&](std::int64_t i) { return i >= 0 && i < limit; });
}

template <class T>
void transform(const py::array& x, const py::array& out) {
  const auto rows = matrix<const T>(x, "x");
  const auto target = matrix<T>(out, "out");
  check(is_power_of_two(rows.cols), "x: wanted a power of two as the last axis");
  check(target.rows == rows.rows && target.cols == rows.cols, "out: shape does not match");
  const WithoutGil released;
  walsh_hadamard(rows, target);
}

// scale R H D, or its adjoint: n inputs, padded to `size`, and len(rows) outputs.
inline void subsampled_hadamard(const py::array& x, const py::array& signs, const py::array& rows,
                                std::int64_t size, double scale, bool adjoint, const py::array& out) {
  for_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    const auto from = matrix<const T>(x, "x");
    const auto to = matrix<T>(out, "out");
    const index_t m = adjoint ? from.cols : to.cols, n = adjoint ? to.cols : from.cols;
    check(is_power_of_two(size) && n <= size, "size: wanted a power of two that x fits into");
    check(to.rows == from.rows, "out: rows do not match x");
    const auto* bits = elements<std::uint32_t>(signs, (n + 31) / 32, "signs", false);
    const auto* picked = elements<std::int64_t>(rows, m, "rows", false);
    check(all_below(picked, m, size), "rows: wanted indices below size");
    const SubsampledHadamard<T> op{bits, picked, size, static_cast<T>(scale)};
    const WithoutGil released;
    adjoint ? hadamard_adjoint<T>(op, from, to) : hadamard_forward<T>(op, from, to);
  });
}

inline void bind_walsh_hadamard(py::module_& m) {
  m.def(
      "walsh_hadamard",
      [](const py::array& x, const py::array& out) {
        if (holds<std::int32_t>(x)) return transform<std::int32_t>(x, out);
        for_dtype(x, [&](auto zero) { transform<decltype(zero)>(x, out); });
      },
      py::arg("x").noconvert(), py::arg("out").noconvert());
  m.def("subsampled_hadamard", &subsampled_hadamard, py::arg("x").noconvert(),
        py::arg("signs").noconvert(), py::arg("rows").noconvert(), py::arg("size"), py::arg("scale"),
        py::arg("adjoint"), py::arg("out").noconvert());
}

inline py::object make_sparse_sign(const py::array& rows, const py::array& signs, std::int64_t m) {
  const auto where = matrix<const std::int64_t>(rows, "rows");
  const auto* at = elements<std::int64_t>(rows, rows.size(), "rows", false);
  const auto* minus = elements<std::int8_t>(signs, rows.size(), "signs", false);
  constexpr std::int64_t limit = std::int64_t{1} << 31;
  check(m >= 0 && m <= limit && where.rows <= limit, "m, n: wanted at most 2^31");
  check(all_below(at, rows.size(), m), "rows: wanted indices below m");
  return make_object<SparseSignMatrix>(at, minus, m, where.rows, where.cols);
}

inline void sparse_sign_product(const SparseSignMatrix& op, const py::array& x, bool adjoint,
                                const py::array& out, bool accumulate) {
  for_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    const auto from = matrix<const T>(x, "x");
    const auto to = matrix<T>(out, "out");
    check(from.cols == (adjoint ? op.m() : op.n()), "x: columns do not match");
    check(to.rows == from.rows && to.cols == (adjoint ? op.n() : op.m()), "out: shape does not match");
    const WithoutGil released;
    adjoint ? op.adjoint<T>(from, accumulate, to) : op.forward<T>(from, accumulate, to);
  });
}

inline void bind_sparse_sign(py::module_& m) {
  py::class_<SparseSignMatrix>(m, "PackedSparseSign")
      .def("product", &sparse_sign_product, py::arg("x").noconvert(), py::arg("adjoint"),
           py::arg("out").noconvert(), py::arg("accumulate") = false);
  m.def("pack_sparse_sign", &make_sparse_sign, py::arg("rows").noconvert(),
        py::arg("signs").noconvert(), py::arg("m"));
}

inline void bind_operators(py::module_& m) {
  bind_entries(m);
  bind_walsh_hadamard(m);
  bind_sparse_sign(m);
  bind_seeded_products(m);
}

}  // namespace homfast
