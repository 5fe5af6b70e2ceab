// The only code that knows threads: a small pool, started at the first call that is worth it.
#pragma once

#include <exception>
#include <stdexcept>

#include "core/views.h"

namespace homfast {

// Runs run(context, task) for task = 0 .. tasks - 1 on the pool and the calling thread, and returns
// when all have finished. The first exception that a task throws is thrown again here. Nested calls,
// and calls while another thread uses the pool, run all their tasks on the calling thread.
void parallel_for(index_t tasks, void (*run)(void*, index_t), void* context);

template <class Function>
void parallel_for(index_t tasks, Function& function) {
  parallel_for(
      tasks, [](void* context, index_t task) { (*static_cast<Function*>(context))(task); },
      static_cast<void*>(&function));
}

// HOMFAST_NUM_THREADS, else OMP_NUM_THREADS, else the affinity mask; std::invalid_argument for a bad
// HOMFAST_NUM_THREADS. A bad OMP_NUM_THREADS, which is not ours, is passed over, and named in the source.
int num_threads();
void set_num_threads(int n);
const char* num_threads_source();

// Work of so many multiply-adds runs on at most this many threads: a thread that gets less than its
// wake-up costs is not woken.
int threads_for(double multiply_adds);

// Runs function(task) for each task, on as many threads as the work is worth, taken as they come free.
template <class Function>
void share_out(index_t tasks, double multiply_adds, Function& function) {
  const index_t threads = threads_for(multiply_adds);
  index_t next = 0;
  auto take = [&](index_t) {
    for (index_t task; (task = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < tasks;) function(task);
  };
  parallel_for(threads < tasks ? threads : tasks, take);
}

// A question asked between blocks of long calls, on the calling thread, at most every few
// milliseconds: true means give up. Installed by the bindings, which ask the interpreter.
void set_interrupt_check(bool (*check)());

// The check said to give up; results are incomplete.
struct Interrupted : std::exception {};

// Within this scope this thread is not asked: for calls of microseconds on memory that the user's code,
// which the interpreter may run when it is asked, could take away.
class Unasked {
 public:
  Unasked();
  ~Unasked();
  Unasked(const Unasked&) = delete;
  Unasked& operator=(const Unasked&) = delete;
};

// The process was forked within a call, which cannot be completed in the child.
struct Abandoned : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// How many forks lie between this process and the one that loaded the library: what threads held then,
// nobody holds in the child. Counts from the first call of watch_forks on.
unsigned long fork_generation();
void watch_forks();

// To be called by kernels through Product::stop. The context is a StopFlag of the call.
class StopFlag {
 public:
  StopFlag();
  bool poll();  // the first one only starts the clock
  static bool poll_context(void* flag) { return static_cast<StopFlag*>(flag)->poll(); }
  bool stopped() const { return __atomic_load_n(&stopped_, __ATOMIC_RELAXED); }

 private:
  bool stopped_ = false;
  long long next_check_ = 0;
  unsigned long owner_;
};

}  // namespace homfast
