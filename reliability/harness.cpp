// The pool and the kernels under threads of their own, for a sanitizer to watch: no interpreter.
//
// Each op is computed once on one thread. Then callers compute all of them at the same time, while
// another thread changes the number of threads, and every result must have the bits of the first;
// but an error that is lost would be lost there too, and must come.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/bfloat16.h"
#include "core/dispatch.h"
#include "core/fit_step.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/passes.h"
#include "core/seeded_entries.h"
#include "core/seeded_gram.h"
#include "core/seeded_product.h"
#include "core/sparse_sign.h"
#include "core/walsh_hadamard.h"

namespace {

using namespace homfast;

thread_local std::uint64_t state = 1;  // results are written over other values in every thread
double next_value() {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<double>(state >> 40) / (1 << 23) - 1;
}

template <class T>
struct Matrix {
  std::vector<T> data;
  index_t rows, cols;
  Matrix(index_t r, index_t c) : data(static_cast<std::size_t>(r * c)), rows(r), cols(c) {
    for (T& value : data) value = static_cast<T>(next_value());
  }
  MatrixView<T> out() { return {data.data(), rows, cols, cols}; }
  MatrixView<const T> in() const { return {data.data(), rows, cols, cols}; }
};

std::vector<char> bytes_of(const void* data, std::size_t size) {
  const char* const begin = static_cast<const char*>(data);
  return {begin, begin + size};
}
template <class T>
std::vector<char> bytes_of(const std::vector<T>& values) {
  return bytes_of(values.data(), values.size() * sizeof(T));
}

struct Case {
  std::string name;
  std::function<std::vector<char>()> compute;
  std::string wanted{};  // known beforehand; without it, the bits of the first run
};

template <class T>
struct Cases {
  // Shared by all callers, as a program's weights are.
  Matrix<T> x{300, 130}, few{5, 130}, first{140, 130}, second{70, 140}, grad{300, 70};
  PackedWeight<T> packed_first{first.in(), Precision::highest};
  PackedWeight<T> packed_second{second.in(), Precision::highest};
  std::vector<Weight<T>> weights{{first.in(), &packed_first}, {second.in(), &packed_second}};
  Matrix<T> signal{3, 1000}, long_rows{6, 1 << 12};
  std::vector<std::int64_t> sparse_rows;
  std::vector<std::int8_t> sparse_signs;
  SparseSignMatrix sparse;

  Cases() : sparse(make_sparse()) {}

  SparseSignMatrix make_sparse() {
    for (index_t j = 0; j < 1000; ++j) {
      for (index_t t = 0; t < 4; ++t) {
        sparse_rows.push_back((j * 7 + t * 61) % 250);
        sparse_signs.push_back(static_cast<std::int8_t>(1 - 2 * ((j + t) % 2)));
      }
    }
    return {sparse_rows.data(), sparse_signs.data(), 250, 1000, 4};
  }

  void list(std::vector<Case>& cases, const std::string& type) {
    const auto layer = [this](const Matrix<T>& input, bool packed) {
      Matrix<T> y(input.rows, 140);
      std::vector<std::uint8_t> mask(static_cast<std::size_t>(input.rows * 18));
      linear<T>(input.in(), {first.in(), packed ? &packed_first : nullptr}, Epilogue::relu, T(0.1),
                {mask.data(), input.rows, 18, 18}, y.out(), Precision::highest);
      auto result = bytes_of(y.data);
      const auto bits = bytes_of(mask);
      result.insert(result.end(), bits.begin(), bits.end());
      return result;
    };
    cases.push_back({type + " layer", [=] { return layer(x, false); }});
    cases.push_back({type + " layer, packed", [=] { return layer(x, true); }});
    cases.push_back({type + " layer, few rows", [=] { return layer(few, false); }});
    cases.push_back({type + " network, forward and backward", [this] {
      TraceMemory<T> memory;
      memory.reserve(weights, x.rows, true, 2);
      const Trace<T> trace = memory.trace(x.in());
      Matrix<T> y(300, 70), grad_x(300, 130), grad_first(140, 130), grad_second(70, 140);
      run_forward<T>(weights, T(0), trace, y.out());
      run_backward<T>(weights, T(0), trace, grad.in(), memory.hidden(1), grad_x.out(),
                      {grad_first.out(), grad_second.out()});
      auto result = bytes_of(y.data);
      for (const auto* part : {&grad_x, &grad_first, &grad_second}) {
        const auto more = bytes_of(part->data);
        result.insert(result.end(), more.begin(), more.end());
      }
      return result;
    }});
    cases.push_back({type + " training step", [this] {
      std::vector<T> w1 = first.data, w2 = second.data, m1(w1.size()), v1(w1.size()), m2(w2.size()),
                     v2(w2.size());
      PackedWeight<T> p1({w1.data(), 140, 130, 130}, Precision::highest);
      PackedWeight<T> p2({w2.data(), 70, 140, 140}, Precision::highest);
      const std::vector<Weight<T>> own{{p1.view(), &p1}, {p2.view(), &p2}};
      StepMemory<T> memory;
      const Optimizer adam{true, {1e-3, 0.9, 0.999, 1e-8, 1, 0, 1}, 0, 0};
      for (int step = 0; step < 2; ++step) {
        fit_step<T>(own, T(0), x.in(), grad.in(), adam,
                    {{w1.data(), m1.data(), v1.data(), nullptr, 140 * 130},
                     {w2.data(), m2.data(), v2.data(), nullptr, 70 * 140}},
                    memory);
      }
      auto result = bytes_of(w1);
      const auto more = bytes_of(w2);
      result.insert(result.end(), more.begin(), more.end());
      return result;
    }});
    for (const bool adjoint : {false, true}) {
      for (const auto ensemble : {Ensemble::gaussian, Ensemble::rademacher}) {
        cases.push_back({type + " seeded product", [=] {
          Matrix<T> y(3, 700);
          // A target may have no such product (the matrix unit); then it has none for every caller.
          const bool done =
              seeded_product<T>(ensemble, {7, 1, 128, 3}, signal.in(), adjoint, y.out());
          return done ? bytes_of(y.data) : std::vector<char>{};
        }});
      }
    }
    cases.push_back({type + " gram", [this] {
      Matrix<T> y(3, 1000);
      gaussian_gram<T>({7, 1, 128, 3}, 400, T(0.05), signal.in(), y.out());
      return bytes_of(y.data);
    }});
    cases.push_back({type + " sparse signs", [this] {
      Matrix<T> y(3, 250), back(3, 1000);
      sparse.forward<T>(signal.in(), false, y.out());
      sparse.adjoint<T>(y.in(), false, back.out());
      return bytes_of(back.data);
    }});
    cases.push_back({type + " Walsh-Hadamard", [this] {
      Matrix<T> y(6, 1 << 12);
      walsh_hadamard<T>(long_rows.in(), y.out());
      return bytes_of(y.data);
    }});
  }
};

// All cases by `callers` threads, `rounds` times each, on the target in use; how many had other bits.
long compute_all(const std::vector<Case>& cases, int callers, int rounds) {
  set_num_threads(1);
  std::vector<std::vector<char>> wanted;
  for (const Case& one : cases) {
    wanted.push_back(one.wanted.empty() ? one.compute()
                                        : bytes_of(one.wanted.data(), one.wanted.size()));
  }

  std::atomic<bool> done{false};
  std::atomic<long> wrong{0}, calls{0};
  std::thread changer([&] {
    for (int n = 1; !done; n = n % 5 + 1) {
      set_num_threads(n);
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
  });
  std::vector<std::thread> threads;
  for (int caller = 0; caller < callers; ++caller) {
    threads.emplace_back([&, caller] {
      for (int round = 0; round < rounds; ++round) {
        for (std::size_t i = 0; i < cases.size(); ++i) {
          const std::size_t which = (i * 7 + static_cast<std::size_t>(caller) * 5) % cases.size();
          ++calls;
          if (cases[which].compute() == wanted[which]) continue;
          ++wrong;
          std::fprintf(stderr, "%s: other bits\n", cases[which].name.c_str());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  done = true;
  changer.join();
  std::printf("%ld calls of %zu ops on %s, %ld with other bits\n", calls.load(), cases.size(),
              target().name, wrong.load());
  std::fflush(stdout);
  return wrong;
}

}  // namespace

// On every target of this machine. sanitizers.py reads the lines that are printed.
int main(int count, char** words) {
  const int rounds = count > 1 ? std::atoi(words[1]) : 20;
  Cases<float> singles;
  Cases<double> doubles;
  std::vector<Case> cases;
  singles.list(cases, "float32");
  doubles.list(cases, "float64");
  cases.push_back({"an error of a task", [] {
    auto fail = [](index_t task) {
      if (task == 3) throw std::runtime_error("task 3");
    };
    try {
      parallel_for(8, fail);
    } catch (const std::runtime_error& error) {
      return bytes_of(error.what(), std::strlen(error.what()));
    }
    return std::vector<char>{};
  }, "task 3"});
  long wrong = 0;
  for (const Target& one : targets()) {
    if (!one.why_not.empty()) continue;
    set_target(one.name);
    wrong += compute_all(cases, 4, rounds);
  }
  return wrong ? 1 : 0;
}
