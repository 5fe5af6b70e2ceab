// Scratch memory of a thread: it grows to what the largest call needed and is reused.
#pragma once

#include <cstdlib>
#include <new>

#include "core/views.h"

namespace homfast {

class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;

  AlignedBuffer() = default;
  ~AlignedBuffer() { std::free(data_); }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  // At least `bytes`, contents undefined. std::bad_alloc leaves the old memory in place.
  void* reserve(std::size_t bytes) {
    if (bytes <= size_) return data_;
    const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    void* fresh = std::aligned_alloc(kAlignment, rounded);
    if (!fresh) throw std::bad_alloc();
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

template <class T>
T* thread_workspace(index_t elements) {
  static thread_local AlignedBuffer buffer;
  return static_cast<T*>(buffer.reserve(static_cast<std::size_t>(elements) * sizeof(T)));
}

}  // namespace homfast
