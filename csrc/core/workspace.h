// Scratch memory of a thread: it grows to what the largest call needed and is reused.
// Between blocks of a call the interpreter may run a signal handler, which may call again on the same
// thread: each level of calls has memory of its own.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdlib>
#include <map>
#include <new>

#include "core/views.h"

namespace homfast {

class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;
  static constexpr std::size_t kHugePage = std::size_t{2} << 20;

  AlignedBuffer() = default;
  ~AlignedBuffer() { std::free(data_); }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  // At least `bytes`, contents undefined. std::bad_alloc leaves the old memory in place.
  void* reserve(std::size_t bytes) {
    if (bytes <= size_) return data_;
    const std::size_t unit = bytes < kHugePage ? kAlignment : kHugePage;
    if (bytes > SIZE_MAX - unit) throw std::bad_alloc();
    const std::size_t rounded = (bytes + unit - 1) / unit * unit;
    void* fresh = std::aligned_alloc(unit, rounded);
    if (!fresh) throw std::bad_alloc();
#if defined(__linux__)
    // Panels are walked with large steps: fewer, larger pages cost fewer misses of the TLB.
    if (unit == kHugePage) madvise(fresh, rounded, MADV_HUGEPAGE);
#endif
    std::free(data_);
    data_ = fresh;
    size_ = rounded;
    return data_;
  }

  const void* data() const { return data_; }

  void release() {
    std::free(data_);
    data_ = nullptr;
    size_ = 0;
  }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// Calls of this thread that wait while others run.
inline thread_local int calls_below = 0;

class CallsAbove {
 public:
  CallsAbove() { ++calls_below; }
  ~CallsAbove() { --calls_below; }
  CallsAbove(const CallsAbove&) = delete;
  CallsAbove& operator=(const CallsAbove&) = delete;
};

// What this thread keeps for User, on this level of calls.
template <class Memory, class User>
Memory& memory_of_thread() {
  static thread_local Memory memory;
  if (calls_below == 0) return memory;
  static thread_local std::map<int, Memory> above;
  return above[calls_below];
}

// What a thread uses at the same time has names of its own.
enum class Workspace { product, activations, generated, transform, transformed_row, widened };
template <class T, Workspace name>
struct WorkspaceOf {};

template <class T, Workspace name = Workspace::product>
T* thread_workspace(index_t elements) {
  AlignedBuffer& buffer = memory_of_thread<AlignedBuffer, WorkspaceOf<T, name>>();
  return static_cast<T*>(buffer.reserve(static_cast<std::size_t>(elements) * sizeof(T)));
}

}  // namespace homfast
