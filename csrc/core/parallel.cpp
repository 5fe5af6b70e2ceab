#include "core/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

#include "core/float_environment.h"
#include "core/workspace.h"

namespace homfast {
namespace {

// A hint that this is a wait.
inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

using Clock = std::chrono::steady_clock;

// How long an idle worker looks for the next call before it sleeps. Longer steals time from other
// pools of the process; shorter makes a loop of calls pay a wake-up each.
constexpr std::chrono::microseconds kSpin{200};
constexpr std::chrono::milliseconds kInterruptPeriod{10};
// Below this a second thread costs more than it saves; measured with `homfast bench layers`.
constexpr double kMultiplyAddsPerThread = 400e3;

struct Job {
  void (*run)(void*, index_t);
  void* context;
  index_t tasks;
  std::atomic<index_t> next{0};
  std::mutex error_mutex;
  std::exception_ptr error;

  void work() noexcept {
    for (index_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) {
      try {
        run(context, task);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(error_mutex);
        if (!error) error = std::current_exception();
        next.store(tasks, std::memory_order_relaxed);
      }
    }
  }
};

thread_local bool in_parallel = false;
thread_local bool unasked = false;

// This thread's job runs on the pool; calls within it do not.
class InParallel {
 public:
  InParallel() { in_parallel = true; }
  ~InParallel() { in_parallel = false; }
  InParallel(const InParallel&) = delete;
  InParallel& operator=(const InParallel&) = delete;
};

class Pool {
 public:
  // Workers beyond those that the system gives are done without: any number computes the same bits.
  void run(Job& job, int threads) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      while (workers_ < threads - 1 && start_worker()) {
      }
      job_ = &job;
      allowed_ = threads - 1;
      const int limit = num_threads() - 1;
      if (limit > limit_) more_.notify_all();
      limit_ = limit;
    }
    epoch_.fetch_add(1, std::memory_order_release);
    // seq_cst with the worker's own order (count itself asleep, then look at the epoch).
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_relaxed) > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    job.work();
    if (abandoned()) {
      job.error = std::make_exception_ptr(Abandoned(
          "homfast: this process was forked within a call, by a signal handler, and has no thread that "
          "computes the rest of it; fork between calls, or leave the child by os._exit"));
      return;
    }
    std::unique_lock<std::mutex> lock(mutex_);
    job_ = nullptr;  // a worker that wakes late finds nothing
    if (active_ == 0) return;
    lock.unlock();
    const auto limit = Clock::now() + kSpin;
    while (active_count_.load(std::memory_order_acquire) > 0 && Clock::now() < limit) pause();
    lock.lock();
    done_.wait(lock, [this] { return active_ == 0; });
  }

  std::mutex busy;  // held by the thread whose job runs

 private:
  bool abandoned() const;  // after a fork, in the child

  bool start_worker() {
    // Signals belong to the interpreter's threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    try {
      std::thread([this, index = workers_] { serve(index); }).detach();
      ++workers_;
    } catch (...) {  // no thread, or no memory for one
      started = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
  }

  void serve(int index) {
    const FloatEnvironment environment;
    in_parallel = true;
    unsigned long seen = 0;
    for (;;) {
      wait_for_change(seen);
      std::unique_lock<std::mutex> lock(mutex_);
      // More than set_num_threads allows now: calls do not wake them, and they look for none.
      more_.wait(lock, [&] { return index < limit_; });
      seen = epoch_.load(std::memory_order_relaxed);
      Job* const job = job_;
      if (!job || index >= allowed_) continue;
      ++active_;
      active_count_.store(active_, std::memory_order_relaxed);
      lock.unlock();
      job->work();
      lock.lock();
      --active_;
      active_count_.store(active_, std::memory_order_release);
      if (active_ == 0) done_.notify_one();
    }
  }

  void wait_for_change(unsigned long seen) {
    const auto limit = Clock::now() + kSpin;
    do {
      for (int i = 0; i < 64; ++i) {
        if (epoch_.load(std::memory_order_acquire) != seen) return;
        pause();
      }
    } while (Clock::now() < limit);
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    wake_.wait(lock, [&] { return epoch_.load(std::memory_order_acquire) != seen; });
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_, more_;
  std::atomic<unsigned long> epoch_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<int> active_count_{0};  // active_, for a look without the lock
  Job* job_ = nullptr;
  int active_ = 0;               // workers at work
  int allowed_ = 0, limit_ = 0;  // that may work on this job, and on any
  int workers_ = 0;              // that there are
};

// Never destroyed: workers may outlive main. After fork the child has no workers, so it abandons the
// parent's pool, whose locks may be held, and starts its own when it needs one.
std::atomic<Pool*> pool{nullptr};

std::atomic<unsigned long> generation{0};

void forget_pool() {
  pool.store(nullptr, std::memory_order_relaxed);
  generation.fetch_add(1, std::memory_order_relaxed);
}

bool Pool::abandoned() const { return pool.load(std::memory_order_relaxed) != this; }

Pool& get_pool() {
  Pool* current = pool.load(std::memory_order_acquire);
  if (current) return *current;
  watch_forks();
  auto fresh = std::make_unique<Pool>();
  if (pool.compare_exchange_strong(current, fresh.get(), std::memory_order_acq_rel)) {
    return *fresh.release();
  }
  return *current;
}

struct ThreadCount {
  int count;
  std::string source;
};

// A whole number from 1 to 4096, or 0. Of a list, one count a level of nesting as OpenMP has it, the first.
int parse_count(const char* text, bool list) {
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (end == text || value < 1 || value > 4096) return 0;
  while (*end == ' ') ++end;
  return *end == '\0' || (list && *end == ',') ? static_cast<int>(value) : 0;
}

ThreadCount default_count() {
  if (const char* own = std::getenv("HOMFAST_NUM_THREADS"); own && *own) {
    const int count = parse_count(own, false);
    if (!count) {
      throw std::invalid_argument("HOMFAST_NUM_THREADS: got '" + std::string(own) +
                                  "', wanted an integer from 1 to 4096");
    }
    return {count, "HOMFAST_NUM_THREADS"};
  }
  std::string ignored;
  if (const char* omp = std::getenv("OMP_NUM_THREADS"); omp && *omp) {
    if (const int count = parse_count(omp, true)) return {count, "OMP_NUM_THREADS"};
    ignored = ", for OMP_NUM_THREADS is '" + std::string(omp) + "'";
  }
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    return {std::max(1, CPU_COUNT(&set)), "the affinity mask" + ignored};
  }
  return {static_cast<int>(std::max(1u, std::thread::hardware_concurrency())),
          "the processors" + ignored};
}

// That of the process; what is in the environment is looked at once.
const ThreadCount& found_count() {
  static const ThreadCount found = default_count();
  return found;
}

std::atomic<int> thread_count{0};  // that of set_num_threads
std::atomic<bool (*)()> interrupt_check{nullptr};

}  // namespace

int num_threads() {
  const int count = thread_count.load(std::memory_order_relaxed);
  return count ? count : found_count().count;
}

void set_num_threads(int n) {
  if (n < 1 || n > 4096) throw std::invalid_argument("n: wanted 1 to 4096 threads");
  thread_count.store(n, std::memory_order_relaxed);
}

const char* num_threads_source() {
  return thread_count.load(std::memory_order_relaxed) ? "set_num_threads"
                                                      : found_count().source.c_str();
}

int threads_for(double multiply_adds) {
  const double worth = multiply_adds / kMultiplyAddsPerThread;
  return static_cast<int>(std::max(1.0, std::min<double>(num_threads(), worth)));
}

void parallel_for(index_t tasks, void (*run)(void*, index_t), void* context) {
  const FloatEnvironment environment;
  Job job;
  job.run = run;
  job.context = context;
  job.tasks = tasks;
  const index_t threads = std::min<index_t>(tasks, num_threads());
  if (threads > 1 && !in_parallel) {
    Pool& shared = get_pool();
    const std::unique_lock<std::mutex> busy(shared.busy, std::try_to_lock);
    if (busy.owns_lock()) {
      const InParallel inside;
      shared.run(job, static_cast<int>(threads));
    }
  }
  job.work();  // what is left: all, if there was no pool to use
  if (job.error) std::rethrow_exception(job.error);
}

void set_interrupt_check(bool (*check)()) { interrupt_check.store(check); }

Unasked::Unasked() { unasked = true; }
Unasked::~Unasked() { unasked = false; }

unsigned long fork_generation() { return generation.load(std::memory_order_relaxed); }

void watch_forks() {
  static const int registered = pthread_atfork(nullptr, nullptr, forget_pool);
  (void)registered;
}

StopFlag::StopFlag() : owner_(static_cast<unsigned long>(pthread_self())) {}

bool StopFlag::poll() {
  if (stopped()) return true;
  if (unasked) return false;
  if (static_cast<unsigned long>(pthread_self()) != owner_) return false;
  const auto now = Clock::now();
  if (now.time_since_epoch().count() < next_check_) return false;
  const bool first = next_check_ == 0;
  next_check_ = (now + kInterruptPeriod).time_since_epoch().count();
  if (first) return false;
  bool (*const check)() = interrupt_check.load();
  const CallsAbove may_come;
  const FloatEnvironment kernels;  // a handler may set another, and what is left of the call keeps its own
  if (check && check()) __atomic_store_n(&stopped_, true, __ATOMIC_RELAXED);
  return stopped();
}

}  // namespace homfast
