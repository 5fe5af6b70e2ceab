// Kernels run in the default floating-point environment, whatever the caller's, and give it back:
// else a result would depend on which thread computed it (flush-to-zero is a thread's own).
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace homfast {

class FloatEnvironment {
 public:
#if defined(__x86_64__)
  FloatEnvironment() : saved_(_mm_getcsr()) {
    if (saved_ != kDefault) _mm_setcsr(kDefault);
  }
  ~FloatEnvironment() {
    if (_mm_getcsr() != saved_) _mm_setcsr(saved_);
  }

 private:
  static constexpr unsigned kDefault = 0x1f80;  // round to nearest, denormals kept, all masked
  unsigned saved_;
#elif defined(__aarch64__)
  FloatEnvironment() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
    if (saved_ != kDefault) set(kDefault);
  }
  ~FloatEnvironment() {
    if (saved_ != kDefault) set(saved_);
  }

 private:
  static void set(long value) { __asm__ volatile("msr fpcr, %0" : : "r"(value)); }
  static constexpr long kDefault = 0;  // round to nearest, denormals and NaN kept, no traps
  long saved_ = kDefault;
#else
  FloatEnvironment() {}
  ~FloatEnvironment() {}
#endif

 public:
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;
};

}  // namespace homfast
