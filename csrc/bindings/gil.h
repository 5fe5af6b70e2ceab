// Without the GIL while kernels compute, and back.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif

namespace homfast {

// ask() asks for the GIL. While the interpreter ends, CPython before 3.14 ends a daemon thread that asks,
// by unwinding its stack; C++ functions that nothing may leave would abort the process then. Such a
// thread waits here until the process has ended, as CPython 3.14 has it.
template <class Ask>
auto ask_for_gil(Ask ask) {
#if defined(__GLIBCXX__)
  try {
    return ask();
  } catch (const abi::__forced_unwind&) {
    for (;;) ::pause();
  }
#else
  return ask();
#endif
}

class WithoutGil {
 public:
  WithoutGil() : thread_(PyEval_SaveThread()) {}
  ~WithoutGil() {
    ask_for_gil([&] { PyEval_RestoreThread(thread_); });
  }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* thread_;
};

// Has it within such a scope, or if it was never without.
class WithGil {
 public:
  WithGil() : state_(ask_for_gil([] { return PyGILState_Ensure(); })) {}
  ~WithGil() { PyGILState_Release(state_); }
  WithGil(const WithGil&) = delete;
  WithGil& operator=(const WithGil&) = delete;

 private:
  PyGILState_STATE state_;
};

}  // namespace homfast
