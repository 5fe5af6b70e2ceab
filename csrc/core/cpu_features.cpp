#include "core/cpu_features.h"

#include <map>
#include <sstream>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace homfast {
namespace {

using Features = std::map<std::string, bool>;

#if defined(__x86_64__)
unsigned long long enabled_state() {
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<unsigned long long>(high) << 32) | low;
}

bool bit(unsigned word, int position) { return (word >> position) & 1u; }

Features detect() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return {};
  Features found{{"sse3", bit(c, 0)},
                 {"ssse3", bit(c, 9)},
                 {"sse4.1", bit(c, 19)},
                 {"sse4.2", bit(c, 20)},
                 {"popcnt", bit(c, 23)}};
  if (!bit(c, 27)) return found;  // no OSXSAVE: no xgetbv
  // Registers count only if the operating system saves them: bits 1 and 2 are XMM and YMM, 5 to 7
  // the masks and registers of AVX-512.
  const unsigned long long state = enabled_state();
  const bool ymm = (state & 0x6) == 0x6 && bit(c, 28);
  const bool zmm = ymm && (state & 0xe0) == 0xe0;
  found["fma"] = ymm && bit(c, 12);
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  found["avx2"] = ymm && bit(b, 5);
  found["avx512f"] = zmm && bit(b, 16);
  found["avx512dq"] = zmm && bit(b, 17);
  found["avx512bw"] = zmm && bit(b, 30);
  found["avx512vl"] = zmm && bit(b, 31);
  // Bits 17 and 18: the shapes and the contents of tiles.
  const bool tiles = (state & 0x60000) == 0x60000;
  found["amx-tile"] = tiles && bit(d, 24);
  found["amx-bf16"] = tiles && bit(d, 22);
  return found;
}
#elif defined(__aarch64__) && defined(__linux__)
Features detect() {
  constexpr unsigned long asimd = 1ul << 1;  // HWCAP_ASIMD of asm/hwcap.h
  return {{"simd", (getauxval(AT_HWCAP) & asimd) != 0}};
}
#else
Features detect() { return {}; }
#endif

// Linux lets a process use the contents of tiles when it has asked; it may refuse, as where a signal
// stack is too small for them. Asked once, when the targets are first listed.
bool may_use_tiles() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA
  static const bool granted = syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  return granted;
#else
  return false;
#endif
}

}  // namespace

std::string missing_cpu_feature(const char* names) {
  const Features found = detect();
  std::istringstream words(names);
  bool asks = false;
  for (std::string word; words >> word;) {
    if (word == kTilePermission) {
      asks = true;  // of a processor that has all else
      continue;
    }
    const auto entry = found.find(word);
    if (entry == found.end() || !entry->second) return word;
  }
  return asks && !may_use_tiles() ? kTilePermission : std::string();
}

}  // namespace homfast
