#include "core/bfloat16.h"

#include <algorithm>
#include <cstring>

#include "core/parallel.h"

namespace homfast {
namespace {

// Multiply-adds in whose time an element is converted, and elements converted at a time.
constexpr double kConvertCost = 8;
constexpr index_t kChunk = 1 << 14;

template <class From, class To>
void convert_rows(MatrixView<const From> from, MatrixView<To> to,
                  void (*convert)(const From*, To*, index_t)) {
  const index_t rows = std::max<index_t>(1, kChunk / std::max<index_t>(1, from.cols));
  auto convert_chunk = [&](index_t chunk) {
    const index_t last = std::min(from.rows, (chunk + 1) * rows);
    for (index_t i = chunk * rows; i < last; ++i) {
      convert(from.data + i * from.row_stride, to.data + i * to.row_stride, from.cols);
    }
  };
  share_out((from.rows + rows - 1) / rows,
            kConvertCost * static_cast<double>(from.rows) * static_cast<double>(from.cols),
            convert_chunk);
}

}  // namespace

void widen_bfloat16(const std::uint16_t* __restrict from, float* __restrict to, index_t count) {
  for (index_t i = 0; i < count; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(from[i]) << 16;
    std::memcpy(to + i, &bits, sizeof bits);
  }
}

void round_to_bfloat16(const float* __restrict from, std::uint16_t* __restrict to, index_t count) {
  for (index_t i = 0; i < count; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, from + i, sizeof bits);
    const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const std::uint32_t quiet = (bits >> 16) | 0x40u;  // a NaN stays one
    to[i] = static_cast<std::uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
  }
}

void widen_bfloat16(MatrixView<const std::uint16_t> from, MatrixView<float> to) {
  convert_rows<std::uint16_t, float>(from, to, widen_bfloat16);
}

void round_to_bfloat16(MatrixView<const float> from, MatrixView<std::uint16_t> to) {
  convert_rows<float, std::uint16_t>(from, to, round_to_bfloat16);
}

}  // namespace homfast
