#include "core/dispatch.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "core/cpu_features.h"

// Weak references: the table of a target that the compiler could not build is absent, and null.
#define HF_TARGET(name, flags, features) \
  extern "C" __attribute__((weak)) const homfast::TargetKernels homfast_kernels_##name;
#include "targets/targets.def"
#undef HF_TARGET

namespace homfast {
namespace {

std::string why_not(const TargetKernels* kernels, const char* features) {
  if (!kernels) return "not compiled: the compiler lacked this instruction set";
  const std::string missing = missing_cpu_feature(features);
  if (missing == kTilePermission) return "the system refused this process the use of AMX tiles";
  return missing.empty() ? missing : "this processor or system lacks " + missing;
}

const Target& find(const std::string& name, const std::string& what) {
  std::string usable, why = "unknown";
  for (const Target& target : targets()) {
    if (target.name == name) {
      if (target.why_not.empty()) return target;
      why = target.why_not;
    }
    if (target.why_not.empty()) usable += (usable.empty() ? "" : ", ") + std::string(target.name);
  }
  throw std::invalid_argument(what + ": got '" + name + "' (" + why + "), wanted one of " + usable);
}

// Tested by emulation only: taken by name, not chosen, until it has run on a processor that has it.
bool by_name_only(const Target& target) { return std::string(target.name) == "amx"; }

const Target& default_target() {
  const char* forced = std::getenv("HOMFAST_TARGET");
  if (forced && *forced) return find(forced, "HOMFAST_TARGET");
  for (const Target& target : targets()) {
    if (target.why_not.empty() && !by_name_only(target)) return target;
  }
  throw std::runtime_error("homfast has no kernels for this processor");
}

std::atomic<const Target*> chosen{nullptr};

}  // namespace

const std::vector<Target>& targets() {
  static const std::vector<Target> list = {
#define HF_TARGET(name, flags, features) \
  {#name, &homfast_kernels_##name, why_not(&homfast_kernels_##name, features)},
#include "targets/targets.def"
#undef HF_TARGET
  };
  return list;
}

const Target& target() {
  const Target* current = chosen.load(std::memory_order_acquire);
  if (!current) {
    current = &default_target();
    chosen.store(current, std::memory_order_release);
  }
  return *current;
}

void set_target(const std::string& name) {
  chosen.store(&find(name, "name"), std::memory_order_release);
}

void reset_target() { chosen.store(&default_target(), std::memory_order_release); }

}  // namespace homfast
