// The targets, best first, and the one in use. Dispatch happens once a call, outside every loop.
#pragma once

#include <string>
#include <vector>

#include "core/kernel_table.h"

namespace homfast {

struct Target {
  const char* name;
  const TargetKernels* kernels;
  std::string why_not;  // empty if it can be used here
};

const std::vector<Target>& targets();

// The target in use. The first call honours HOMFAST_TARGET. std::invalid_argument if that names a
// target that is unknown or cannot be used here.
const Target& target();

void set_target(const std::string& name);
// Back to the default: that of HOMFAST_TARGET, else the best.
void reset_target();

template <class T>
const KernelTable<T>& kernels(const Target& target);
template <>
inline const KernelTable<float>& kernels<float>(const Target& target) {
  return target.kernels->f32;
}
template <>
inline const KernelTable<double>& kernels<double>(const Target& target) {
  return target.kernels->f64;
}

}  // namespace homfast
