// Kernels of the `cupy` backend, compiled by NVRTC when they are first called: masks, updates,
// seeded entries, butterflies, sparse products, sums of places and weighted rows. Products are cuBLAS's.
//
// One thread does one item, found by its number alone, so that tests run the same text on the host.
// Compiled without contraction (--fmad=false): entries and updates have the bits of the reference.
// CONSTANTS, the polynomials of normal.py, are put in front.

typedef long long index_t;
typedef unsigned int word_t;
typedef unsigned long long long_t;

#define ITEM (static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x)
#define KERNEL extern "C" __global__ void

// Masks ------------------------------------------------------------------------------------------

template <class T>
__device__ void activate(index_t item, T* z, index_t stride, index_t rows, index_t features, T slope,
                         unsigned char* mask, index_t mask_stride) {
  const index_t bytes = (features + 7) / 8;
  if (item >= rows * bytes) return;
  const index_t row = item / bytes, byte = item % bytes;
  unsigned char bits = 0;
  for (int i = 0; i < 8 && 8 * byte + i < features; ++i) {
    T& value = z[row * stride + 8 * byte + i];
    if (!(value <= 0)) {
      bits |= static_cast<unsigned char>(1 << i);
    } else {
      value = slope == 0 ? T(0) : slope * value;
    }
  }
  if (mask) mask[row * mask_stride + byte] = bits;
}

template <class T>
__device__ void select(index_t item, const T* values, index_t stride, index_t rows, index_t features,
                       T slope, const unsigned char* mask, index_t mask_stride, T* out,
                       index_t out_stride) {
  if (item >= rows * features) return;
  const index_t row = item / features, unit = item % features;
  const T value = values[row * stride + unit];
  const bool keep = mask[row * mask_stride + unit / 8] >> unit % 8 & 1;
  out[row * out_stride + unit] = keep ? value : slope == 0 ? T(0) : slope * value;
}

// Updates ----------------------------------------------------------------------------------------

template <class T>
__device__ void adam(index_t item, index_t size, T* weight, const T* grad, T* first_moment,
                     T* second_moment, T step_size, T beta1, T other1, T beta2, T other2, T epsilon,
                     T root_correction, T weight_decay, T decay_factor, int decays, int shrinks) {
  if (item >= size) return;
  T w = weight[item], g = grad[item];
  if (shrinks) w = w * decay_factor;
  if (decays) g = g + weight_decay * w;
  const T m = first_moment[item] * beta1 + other1 * g;
  const T v = second_moment[item] * beta2 + other2 * (g * g);
  weight[item] = w - step_size * (m / (sqrt(v) * root_correction + epsilon));
  first_moment[item] = m;
  second_moment[item] = v;
}

template <class T>
__device__ void sgd(index_t item, index_t size, T* weight, const T* grad, T learning_rate,
                    T weight_decay) {
  if (item >= size) return;
  weight[item] = weight[item] - learning_rate * (grad[item] + weight_decay * weight[item]);
}

// Seeded entries ---------------------------------------------------------------------------------

struct Words {
  word_t w[4];
};

// Philox4x32-10, philox.py.
__device__ inline Words philox(word_t c0, word_t c1, word_t c2, word_t c3, long_t key) {
  word_t k0 = static_cast<word_t>(key), k1 = static_cast<word_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const long_t p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    c0 = static_cast<word_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<word_t>(p1);
    c2 = static_cast<word_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<word_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return Words{{c0, c1, c2, c3}};
}

__device__ inline Words words_at(long_t seed, word_t stream, long_t row, long_t block) {
  return philox(static_cast<word_t>(block), static_cast<word_t>(row),
                static_cast<word_t>(row >> 32), stream, seed);
}

template <class T>
__device__ T horner(const T* terms, int count, T x) {
  T result = terms[0] * x + terms[1];
  for (int i = 2; i < count; ++i) result = result * x + terms[i];
  return result;
}

// Steps 4 to 8 of normal.py.
template <class T>
__device__ void on_circle(T f, T k, T y, bool negative, bool swap, const T* logarithm, int logs,
                          const T* sines, int sine_terms, const T* cosines, int cosine_terms, T scale,
                          T* out) {
  const T s = f / (T(2) + f), z = s * s;
  const T p = horner(logarithm, logs, z);
  T r = sqrt(k * scale + s * (p * z - T(4)));
  if (negative) r = -r;
  const T q = y * y;
  const T sine = horner(sines, sine_terms, q) * y;
  const T cosine = horner(cosines, cosine_terms, q) * q + T(1);
  out[0] = r * (swap ? sine : cosine);
  out[1] = r * (swap ? cosine : sine);
}

__device__ inline void normal_pair(word_t a, word_t c, float* out) {
  const float L[] = L32, S[] = S32, C[] = C32;
  const float unit = 0x1p-32f;
  const int t = static_cast<int>(a | 1u);
  const float x = static_cast<float>(t) * unit;
  const int bits = __float_as_int(t < 0 ? 1.0f + x : x);
  const int k = (bits - 0x3F3504F3) >> 23;
  const float m = __int_as_float(bits - static_cast<int>(static_cast<word_t>(k) << 23));
  const float y = static_cast<float>(static_cast<int>((c & ~3u) | 2u)) * unit;
  on_circle<float>(k == 0 ? x : m - 1.0f, static_cast<float>(k), y, c & 2u, c & 1u, L, 3, S, 4, C, 3,
                   MINUS_2_LN_2_32, out);
}

__device__ inline void normal_pair(long_t a, long_t c, double* out) {
  const double L[] = L64, S[] = S64, C[] = C64;
  const long_t one = 0x3FFull << 52;
  const double u = __longlong_as_double(static_cast<index_t>(one | a >> 12)) - (1 - 0x1p-53);
  const index_t bits = __double_as_longlong(u);
  const index_t k = (bits - 0x3FE6A09E667F3BCDll) >> 52;
  const double m = __longlong_as_double(bits - static_cast<index_t>(static_cast<long_t>(k) << 52));
  const double y = __longlong_as_double(static_cast<index_t>(one | c >> 12 | 1ull)) - 1.5;
  on_circle<double>(m - 1.0, static_cast<double>(k), y, c & 2ull, c & 1ull, L, 7, S, 7, C, 6,
                    MINUS_2_LN_2_64, out);
}

__device__ inline void normal_entries(const Words& x, float* out) {
  normal_pair(x.w[0], x.w[1], out);
  normal_pair(x.w[2], x.w[3], out + 2);
}

__device__ inline void normal_entries(const Words& x, double* out) {
  normal_pair(static_cast<long_t>(x.w[0]) << 32 | x.w[1], static_cast<long_t>(x.w[2]) << 32 | x.w[3],
              out);
}

// An item is a row and a counter's columns: 4 of float, 2 of double.
template <class T>
__device__ void gaussian(index_t item, long_t seed, word_t stream, long_t row, long_t column,
                         index_t rows, index_t columns, T* out, index_t stride) {
  const int width = 16 / sizeof(T);
  const long_t first = column / width, end = (column + columns + width - 1) / width;
  const index_t blocks = static_cast<index_t>(end - first);
  if (item >= rows * blocks) return;
  const index_t i = item / blocks;
  const long_t block = first + item % blocks;
  T entries[width];
  normal_entries(words_at(seed, stream, row + i, block), entries);
  for (int k = 0; k < width; ++k) {
    const index_t j = static_cast<index_t>(block * width + k - column);
    if (j >= 0 && j < columns) out[i * stride + j] = entries[k];
  }
}

// An item is a row and 128 columns.
template <class T>
__device__ void rademacher(index_t item, long_t seed, word_t stream, long_t row, long_t column,
                           index_t rows, index_t columns, T* out, index_t stride) {
  const long_t first = column / 128, end = (column + columns + 127) / 128;
  const index_t blocks = static_cast<index_t>(end - first);
  if (item >= rows * blocks) return;
  const index_t i = item / blocks;
  const long_t block = first + item % blocks;
  const Words x = words_at(seed, stream, row + i, block);
  for (int k = 0; k < 128; ++k) {
    const index_t j = static_cast<index_t>(block * 128 + k - column);
    if (j >= 0 && j < columns) out[i * stride + j] = x.w[k / 32] >> k % 32 & 1 ? T(-1) : T(1);
  }
}

// An item is a row and 4 words of 32 signs.
KERNEL rademacher_words(long_t seed, word_t stream, long_t row, long_t column, index_t rows,
                        index_t columns, word_t* out, index_t stride) {
  const index_t item = ITEM;
  const long_t first = column / 4, end = (column + columns + 3) / 4;
  const index_t blocks = static_cast<index_t>(end - first);
  if (item >= rows * blocks) return;
  const index_t i = item / blocks;
  const long_t block = first + item % blocks;
  const Words x = words_at(seed, stream, row + i, block);
  for (int k = 0; k < 4; ++k) {
    const index_t j = static_cast<index_t>(block * 4 + k - column);
    if (j >= 0 && j < columns) out[i * stride + j] = x.w[k];
  }
}

// The keys 2 i and 2 i + 1 of permutation.py.
KERNEL permutation_keys(long_t seed, word_t stream, index_t count, long_t* keys) {
  const index_t item = ITEM;
  if (2 * item >= count) return;
  const Words x = words_at(seed, stream, 0, item);
  keys[2 * item] = static_cast<long_t>(x.w[0]) << 32 | x.w[1];
  if (2 * item + 1 < count) keys[2 * item + 1] = static_cast<long_t>(x.w[2]) << 32 | x.w[3];
}

// An item is a column of sparse_sign.py: Floyd's algorithm, then the rows in order.
KERNEL sparse_sign_columns(long_t seed, word_t stream, long_t m, index_t nonzeros, long_t column,
                           index_t columns, index_t* rows, signed char* signs) {
  const index_t item = ITEM;
  if (item >= columns) return;
  index_t* const own = rows + item * nonzeros;
  signed char* const sign = signs + item * nonzeros;
  Words x{};
  for (index_t k = 0; k < nonzeros; ++k) {
    if (k % 128 == 0) x = words_at(seed, stream, column + item, k / 128);
    sign[k] = x.w[k / 32 % 4] >> k % 32 & 1 ? -1 : 1;
  }
  index_t next = (nonzeros + 31) / 32;
  if (next % 4) x = words_at(seed, stream, column + item, next / 4);
  for (index_t k = 0; k < nonzeros; ++k) {
    const long_t bound = m - nonzeros + 1 + k, least = (1ull << 32) % bound;
    long_t product;
    do {
      if (next % 4 == 0) x = words_at(seed, stream, column + item, next / 4);
      product = x.w[next++ % 4] * bound;
    } while ((product & 0xFFFFFFFFull) < least);
    index_t drawn = static_cast<index_t>(product >> 32);
    for (index_t i = 0; i < k; ++i) {
      if (own[i] == drawn) {
        drawn = static_cast<index_t>(bound) - 1;
        break;
      }
    }
    own[k] = drawn;
  }
  for (index_t k = 1; k < nonzeros; ++k) {
    const index_t row = own[k];
    index_t i = k;
    for (; i > 0 && own[i - 1] > row; --i) own[i] = own[i - 1];
    own[i] = row;
  }
}

// Transforms and sparse products -----------------------------------------------------------------

// A step of distance h in each row of n; integers wrap.
template <class T>
__device__ void butterfly(index_t item, T* values, index_t stride, index_t rows, index_t n, index_t h) {
  if (item >= rows * (n / 2)) return;
  const index_t row = item / (n / 2), pair = item % (n / 2);
  T* const first = values + row * stride + pair / h * 2 * h + pair % h;
  const T a = first[0], b = first[h];
  first[0] = a + b;
  first[h] = a - b;
}

// An item is a row and an element of the result, the sum over its entries, in order: those of
// element j are entries[offsets[j]] and on, a place in a row of x each.
template <class T>
__device__ void sparse_product(index_t item, const T* x, index_t stride, index_t rows, index_t columns,
                               const index_t* offsets, const index_t* places,
                               const signed char* signs, int accumulate, T* out, index_t out_stride) {
  if (item >= rows * columns) return;
  const index_t row = item / columns, j = item % columns;
  T& result = out[row * out_stride + j];
  T sum = accumulate ? result : T(0);
  for (index_t e = offsets[j]; e < offsets[j + 1]; ++e) {
    const T value = x[row * stride + places[e]];
    sum = sum + (signs[e] < 0 ? -value : value);
  }
  result = sum;
}

// Measurements of matrices ------------------------------------------------------------------------

// A complex number as it is in memory.
template <class T>
struct Complex {
  T re, im;
  __device__ Complex() : re(0), im(0) {}
  __device__ explicit Complex(double value) : re(static_cast<T>(value)), im(static_cast<T>(value)) {}
  __device__ Complex(T real, T imaginary) : re(real), im(imaginary) {}
};
template <class T>
__device__ inline Complex<T> operator+(Complex<T> a, Complex<T> b) {
  return {a.re + b.re, a.im + b.im};
}
template <class T>
__device__ inline Complex<T> operator*(Complex<T> a, Complex<T> b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

// An item is a row and a target: the start and the elements at its places, in order.
template <class E>
__device__ void sum_places(index_t item, const E* x, index_t stride, index_t rows, index_t count,
                           const index_t* places, const index_t* offsets, const index_t* targets,
                           double start, E* out, index_t out_stride) {
  if (item >= rows * count) return;
  const index_t row = item / count, t = item % count;
  const index_t last = offsets ? offsets[t + 1] : t + 1;
  E sum = static_cast<E>(start);
  for (index_t e = offsets ? offsets[t] : t; e < last; ++e) sum = sum + x[row * stride + places[e]];
  out[row * out_stride + (targets ? targets[t] : t)] = sum;
}

// An item is an element of out (rows, m), d rows for each of x.
template <class E>
__device__ void weigh_rows(index_t item, const E* x, index_t stride, const E* weights, index_t weight_stride,
                           index_t weight_rows, index_t rows, index_t m, index_t d, E* out,
                           index_t out_stride) {
  if (item >= rows * m) return;
  const index_t row = item / m, i = item % m;
  const E weight = weights[row % weight_rows * weight_stride + i];
  out[row * out_stride + i] = x[row / d * stride + i] * weight;
}

// An item is an element of out (rows, m), the sum over d rows of x, in order.
template <class E>
__device__ void sum_weighted_rows(index_t item, const E* x, index_t stride, const E* weights,
                                  index_t weight_stride, index_t weight_rows, index_t rows, index_t m,
                                  index_t d, int accumulate, E* out, index_t out_stride) {
  if (item >= rows * m) return;
  const index_t group = item / m, i = item % m;
  E& result = out[group * out_stride + i];
  E sum = accumulate ? result : E();
  for (index_t row = group * d; row < (group + 1) * d; ++row) {
    sum = sum + x[row * stride + i] * weights[row % weight_rows * weight_stride + i];
  }
  result = sum;
}

#define FOR_EACH_TYPE(DEFINE) DEFINE(float, float32) DEFINE(double, float64)
#define FOR_EACH_NUMBER(DEFINE) \
  FOR_EACH_TYPE(DEFINE) DEFINE(Complex<float>, complex64) DEFINE(Complex<double>, complex128)

#define DEFINE(T, NAME)                                                                              \
  KERNEL activate_##NAME(T* z, index_t stride, index_t rows, index_t features, T slope,              \
                         unsigned char* mask, index_t mask_stride) {                                 \
    activate<T>(ITEM, z, stride, rows, features, slope, mask, mask_stride);                          \
  }                                                                                                  \
  KERNEL select_##NAME(const T* values, index_t stride, index_t rows, index_t features, T slope,     \
                       const unsigned char* mask, index_t mask_stride, T* out, index_t out_stride) { \
    select<T>(ITEM, values, stride, rows, features, slope, mask, mask_stride, out, out_stride);      \
  }                                                                                                  \
  KERNEL adam_##NAME(index_t size, T* weight, const T* grad, T* first_moment, T* second_moment,      \
                     T step_size, T beta1, T other1, T beta2, T other2, T epsilon,                   \
                     T root_correction, T weight_decay, T decay_factor, int decays, int shrinks) {   \
    adam<T>(ITEM, size, weight, grad, first_moment, second_moment, step_size, beta1, other1, beta2,  \
            other2, epsilon, root_correction, weight_decay, decay_factor, decays, shrinks);          \
  }                                                                                                  \
  KERNEL sgd_##NAME(index_t size, T* weight, const T* grad, T learning_rate, T weight_decay) {       \
    sgd<T>(ITEM, size, weight, grad, learning_rate, weight_decay);                                   \
  }                                                                                                  \
  KERNEL gaussian_##NAME(long_t seed, word_t stream, long_t row, long_t column, index_t rows,        \
                         index_t columns, T* out, index_t stride) {                                  \
    gaussian<T>(ITEM, seed, stream, row, column, rows, columns, out, stride);                        \
  }                                                                                                  \
  KERNEL rademacher_##NAME(long_t seed, word_t stream, long_t row, long_t column, index_t rows,      \
                           index_t columns, T* out, index_t stride) {                                \
    rademacher<T>(ITEM, seed, stream, row, column, rows, columns, out, stride);                      \
  }                                                                                                  \
  KERNEL butterfly_##NAME(T* values, index_t stride, index_t rows, index_t n, index_t h) {           \
    butterfly<T>(ITEM, values, stride, rows, n, h);                                                  \
  }                                                                                                  \
  KERNEL sparse_product_##NAME(const T* x, index_t stride, index_t rows, index_t columns,            \
                               const index_t* offsets, const index_t* places,                        \
                               const signed char* signs, int accumulate, T* out,                     \
                               index_t out_stride) {                                                 \
    sparse_product<T>(ITEM, x, stride, rows, columns, offsets, places, signs, accumulate, out,       \
                      out_stride);                                                                   \
  }

FOR_EACH_TYPE(DEFINE)
#undef DEFINE

#define DEFINE(E, NAME)                                                                             \
  KERNEL sum_places_##NAME(const E* x, index_t stride, index_t rows, index_t count,                 \
                           const index_t* places, const index_t* offsets, const index_t* targets,   \
                           double start, E* out, index_t out_stride) {                              \
    sum_places<E>(ITEM, x, stride, rows, count, places, offsets, targets, start, out, out_stride);  \
  }                                                                                                 \
  KERNEL weigh_rows_##NAME(const E* x, index_t stride, const E* weights, index_t weight_stride,     \
                           index_t weight_rows, index_t rows, index_t m, index_t d, E* out,         \
                           index_t out_stride) {                                                    \
    weigh_rows<E>(ITEM, x, stride, weights, weight_stride, weight_rows, rows, m, d, out,            \
                  out_stride);                                                                      \
  }                                                                                                 \
  KERNEL sum_weighted_rows_##NAME(const E* x, index_t stride, const E* weights,                     \
                                  index_t weight_stride, index_t weight_rows, index_t rows,         \
                                  index_t m, index_t d, int accumulate, E* out,                     \
                                  index_t out_stride) {                                             \
    sum_weighted_rows<E>(ITEM, x, stride, weights, weight_stride, weight_rows, rows, m, d,          \
                         accumulate, out, out_stride);                                              \
  }

FOR_EACH_NUMBER(DEFINE)

KERNEL butterfly_int32(word_t* values, index_t stride, index_t rows, index_t n, index_t h) {
  butterfly<word_t>(ITEM, values, stride, rows, n, h);
}
