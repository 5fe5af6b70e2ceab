// Products of measurement operators.
#include "cuda/bindings.h"

namespace homfast::cuda {
namespace {

bool is_power_of_two(index_t n) { return n > 0 && (n & (n - 1)) == 0; }

template <class T>
void walsh_hadamard_call(const Object& x, const Object& out, Handle stream) {
  Call call(stream);
  const auto to = call.matrix<T>(out, "out");
  const auto from = call.matrix<const T>(x, "x");
  check(from.rows == to.rows && from.cols == to.cols && is_power_of_two(to.cols),
        "x, out: wanted one shape, whose last axis is a power of two");
  call.run([&](Stream on) { walsh_hadamard<T>(from, to, on); });
}

}  // namespace

void bind_operators(py::module_& m) {
  m.def(
      "walsh_hadamard",
      [](const Object& x, const Object& out, Handle stream) {
        if (holds<std::int32_t>(DeviceArray(out, "out"))) {
          return walsh_hadamard_call<std::int32_t>(x, out, stream);
        }
        for_dtype(out, "out", [&](auto zero) { walsh_hadamard_call<decltype(zero)>(x, out, stream); });
      },
      py::arg("x"), py::arg("out"), py::arg("stream"));
  m.def("subsampled_hadamard_scratch", [](index_t batch, index_t size, int itemsize) {
    return itemsize == 4 ? subsampled_hadamard_scratch<float>(batch, size)
                         : subsampled_hadamard_scratch<double>(batch, size);
  });
  m.def(
      "subsampled_hadamard",
      [](const Object& x, const Object& signs, const Object& rows, index_t size, double scale,
         bool adjoint, const Object& out, const Optional& scratch, Handle stream) {
        for_dtype(out, "out", [&](auto zero) {
          using T = decltype(zero);
          Call call(stream);
          const auto to = call.matrix<T>(out, "out");
          const auto from = call.matrix<const T>(x, "x");
          const index_t n = adjoint ? to.cols : from.cols;
          index_t m = adjoint ? from.cols : to.cols, words = (n + 31) / 32;
          const auto* const flips = call.elements<const std::uint32_t>(signs, "signs", words);
          const auto* const picked = call.elements<const std::int64_t>(rows, "rows", m);
          check(from.rows == to.rows && is_power_of_two(size) && n <= size && m <= size,
                "x, out, size: shapes do not match");
          const auto memory = call.scratch(scratch, subsampled_hadamard_scratch<T>(to.rows, size));
          call.run([&](Stream on) {
            subsampled_hadamard<T>(from, flips, picked, size, static_cast<T>(scale), adjoint, to, memory,
                                   on);
          });
        });
      },
      py::arg("x"), py::arg("signs"), py::arg("rows"), py::arg("size"), py::arg("scale"),
      py::arg("adjoint"), py::arg("out"), py::arg("scratch"), py::arg("stream"));
  m.def(
      "sparse_sign",
      [](const Object& entries, const Object& offsets, const Object& x, const Object& out,
         Handle stream) {
        for_dtype(out, "out", [&](auto zero) {
          using T = decltype(zero);
          Call call(stream);
          const auto to = call.matrix<T>(out, "out");
          const auto from = call.matrix<const T>(x, "x");
          check(from.rows == to.rows, "x, out: shapes do not match");
          index_t any = -1, ends = to.cols + 1;
          const auto* const table = call.elements<const std::uint32_t>(entries, "entries", any);
          static_assert(sizeof(index_t) == sizeof(std::int64_t), "offsets are int64");
          const auto* const at = call.elements<const std::int64_t>(offsets, "offsets", ends);
          const SparseSigns signs{table, reinterpret_cast<const index_t*>(at)};
          call.run([&](Stream on) { sparse_sign<T>(signs, from, to, on); });
        });
      },
      py::arg("entries"), py::arg("offsets"), py::arg("x"), py::arg("out"), py::arg("stream"));
  m.def(
      "scale",
      [](const Object& values, double factor, Handle stream) {
        for_number(values, "values", [&](auto zero) {
          using E = decltype(zero);
          Call call(stream);
          const auto to = call.matrix<E>(values, "values");
          call.run([&](Stream on) { scale<E>(to, static_cast<RealOf<E>>(factor), on); });
        });
      },
      py::arg("values"), py::arg("factor"), py::arg("stream"));
}

namespace {

// Offsets come with targets, both for sums, or neither.
void sum_places_call(const Object& x, const Object& places, const Optional& offsets,
                     const Optional& targets, double start, const Object& out, Handle stream) {
  for_number(out, "out", [&](auto zero) {
    using E = decltype(zero);
    Call call(stream);
    const auto to = call.matrix<E>(out, "out");
    const auto from = call.matrix<const E>(x, "x");
    check(from.rows == to.rows, "x, out: shapes do not match");
    check(offsets.has_value() == targets.has_value(), "offsets, targets: wanted both, or none");
    index_t count = offsets ? -1 : to.cols;
    Places table{};
    if (offsets) {
      table.targets = call.elements<const std::int64_t>(*targets, "targets", count);
      index_t ends = count + 1;
      static_assert(sizeof(index_t) == sizeof(std::int64_t), "offsets are int64");
      table.offsets =
          reinterpret_cast<const index_t*>(call.elements<const std::int64_t>(*offsets, "offsets", ends));
    }
    index_t size = offsets ? -1 : count;
    table.places = call.elements<const std::int64_t>(places, "places", size);
    table.count = count;
    call.run([&](Stream on) { sum_places<E>(table, from, static_cast<RealOf<E>>(start), to, on); });
  });
}

}  // namespace

void bind_matrix_measurements(py::module_& m) {
  m.def("sum_places", &sum_places_call, py::arg("x"), py::arg("places"), py::arg("offsets"),
        py::arg("targets"), py::arg("start"), py::arg("out"), py::arg("stream"));
  m.def(
      "weigh_rows",
      [](const Object& x, const Object& weights, const Object& out, Handle stream) {
        for_number(out, "out", [&](auto zero) {
          using E = decltype(zero);
          Call call(stream);
          const auto to = call.matrix<E>(out, "out");
          const auto from = call.matrix<const E>(x, "x"), w = call.matrix<const E>(weights, "weights");
          const index_t per_group = from.rows ? to.rows / from.rows : 0;
          check(from.cols == to.cols && w.cols == to.cols && per_group * from.rows == to.rows &&
                    (w.rows == to.rows || w.rows == per_group),
                "x, weights, out: shapes do not match");
          call.run([&](Stream on) { weigh_rows<E>(from, w, to, on); });
        });
      },
      py::arg("x"), py::arg("weights"), py::arg("out"), py::arg("stream"));
  m.def(
      "sum_weighted_rows",
      [](const Object& x, const Object& weights, bool accumulate, const Object& out, Handle stream) {
        for_number(out, "out", [&](auto zero) {
          using E = decltype(zero);
          Call call(stream);
          const auto to = call.matrix<E>(out, "out");
          const auto from = call.matrix<const E>(x, "x"), w = call.matrix<const E>(weights, "weights");
          const index_t per_group = to.rows ? from.rows / to.rows : 0;
          check(from.cols == to.cols && w.cols == to.cols && per_group * to.rows == from.rows &&
                    (w.rows == from.rows || w.rows == per_group),
                "x, weights, out: shapes do not match");
          call.run([&](Stream on) { sum_weighted_rows<E>(from, w, accumulate, to, on); });
        });
      },
      py::arg("x"), py::arg("weights"), py::arg("accumulate"), py::arg("out"), py::arg("stream"));
}

namespace {

Modulus modulus_named(const std::string& kind) {
  return kind == "magnitude" ? Modulus::magnitude : Modulus::intensity;
}

}  // namespace

void bind_modulus(py::module_& m) {
  m.def(
      "modulus",
      [](const std::string& kind, const Object& z, const Object& out, Handle stream) {
        for_number(z, "z", [&](auto zero) {
          using E = decltype(zero);
          Call call(stream);
          index_t size = -1;
          auto* const to = call.elements<RealOf<E>>(out, "out", size);
          const E* const from = call.elements<const E>(z, "z", size);
          call.run([&](Stream on) { modulus<E>(modulus_named(kind), from, size, to, on); });
        });
      },
      py::arg("kind"), py::arg("z"), py::arg("out"), py::arg("stream"));
  m.def(
      "modulus_gradient",
      [](const std::string& kind, const Object& z, const Object& g, const Object& out, Handle stream) {
        for_number(z, "z", [&](auto zero) {
          using E = decltype(zero);
          Call call(stream);
          index_t size = -1;
          const auto* const grad = call.elements<const RealOf<E>>(g, "g", size);
          const E* const from = call.elements<const E>(z, "z", size);
          E* const to = call.elements<E>(out, "out", size);
          call.run([&](Stream on) { modulus_gradient<E>(modulus_named(kind), from, grad, size, to, on); });
        });
      },
      py::arg("kind"), py::arg("z"), py::arg("g"), py::arg("out"), py::arg("stream"));
}

}  // namespace homfast::cuda
