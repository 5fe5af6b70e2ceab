// Entries of seeded matrices, and products with them.
#include "cuda/bindings.h"

namespace homfast::cuda {
namespace {

template <class Fill>
void seeded_block(std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row,
                  std::uint64_t column, const Object& out, Handle stream, Fill fill) {
  for_dtype(out, "out", [&](auto zero) {
    using T = decltype(zero);
    Call call(stream);
    const auto to = call.matrix<T>(out, "out");
    call.run([&](Stream on) { fill(SeededBlock{seed, row, column, stream_word}, to, on); });
  });
}

template <class Product>
bool seeded_product(std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row, const Object& x,
                    const Object& out, Handle stream, Product product) {
  for_dtype(out, "out", [&](auto zero) {
    using T = decltype(zero);
    Call call(stream);
    const auto to = call.matrix<T>(out, "out");
    const auto from = call.matrix<const T>(x, "x");
    check(from.rows == to.rows, "x, out: shapes do not match");
    call.run([&](Stream on) { product(SeededBlock{seed, row, 0, stream_word}, from, to, on); });
  });
  return true;
}

}  // namespace

void bind_seeded(py::module_& m) {
  m.def(
      "gaussian_block",
      [](std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row, std::uint64_t column,
         const Object& out, Handle stream) {
        seeded_block(seed, stream_word, row, column, out, stream,
                     [](const SeededBlock& from, auto to, Stream on) { gaussian_block(from, to, on); });
      },
      py::arg("seed"), py::arg("stream_word"), py::arg("row"), py::arg("column"), py::arg("out"),
      py::arg("stream"));
  m.def(
      "rademacher_block",
      [](std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row, std::uint64_t column,
         const Object& out, Handle stream) {
        seeded_block(seed, stream_word, row, column, out, stream,
                     [](const SeededBlock& from, auto to, Stream on) { rademacher_block(from, to, on); });
      },
      py::arg("seed"), py::arg("stream_word"), py::arg("row"), py::arg("column"), py::arg("out"),
      py::arg("stream"));
  m.def(
      "rademacher_words",
      [](std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row, std::uint64_t column,
         const Object& out, Handle stream) {
        Call call(stream);
        const auto to = call.matrix<std::uint32_t>(out, "out");
        call.run([&](Stream on) {
          rademacher_words(SeededBlock{seed, row, column, stream_word}, to, on);
        });
      },
      py::arg("seed"), py::arg("stream_word"), py::arg("row"), py::arg("column"), py::arg("out"),
      py::arg("stream"));
  m.def(
      "gaussian_product",
      [](std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row, const Object& x, bool adjoint,
         const Object& out, Handle stream) {
        return seeded_product(seed, stream_word, row, x, out, stream,
                              [&](const SeededBlock& from, auto left, auto to, Stream on) {
                                gaussian_product(from, left, adjoint, to, on);
                              });
      },
      py::arg("seed"), py::arg("stream_word"), py::arg("row"), py::arg("x"), py::arg("adjoint"),
      py::arg("out"), py::arg("stream"));
  m.def(
      "rademacher_product",
      [](std::uint64_t seed, std::uint32_t stream_word, std::uint64_t row, const Object& x, bool adjoint,
         const Object& out, Handle stream) {
        return seeded_product(seed, stream_word, row, x, out, stream,
                              [&](const SeededBlock& from, auto left, auto to, Stream on) {
                                rademacher_product(from, left, adjoint, to, on);
                              });
      },
      py::arg("seed"), py::arg("stream_word"), py::arg("row"), py::arg("x"), py::arg("adjoint"),
      py::arg("out"), py::arg("stream"));
}

}  // namespace homfast::cuda
