// The allocator of a machine without memory, to be preloaded: while armed, the n-th allocation through
// operator new or aligned_alloc fails. It counts them all. The extension asks no other one during calls
// (a test looks at its symbols); NumPy's arrays and Python's objects are not its own.
#include <atomic>
#include <cstdlib>
#include <dlfcn.h>
#include <new>

namespace {

std::atomic<long> until{-1}, seen{0};

bool fails() {
  if (until.load() < 0) return false;
  return ++seen == until.load();
}

}  // namespace

extern "C" {

void failing_memory_arm(long n) {
  seen = 0;
  until = n;
}
long failing_memory_disarm() {
  until = -1;
  return seen;
}

void* aligned_alloc(std::size_t alignment, std::size_t size) {
  using Function = void* (*)(std::size_t, std::size_t);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "aligned_alloc"));
  return fails() ? nullptr : real(alignment, size);
}

}  // extern "C"

void* operator new(std::size_t size) {
  void* const memory = fails() ? nullptr : std::malloc(size ? size : 1);
  if (!memory) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
