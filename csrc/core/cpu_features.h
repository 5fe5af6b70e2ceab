// What this processor and operating system allow, by own cpuid and xgetbv, or the auxiliary vector.
#pragma once

#include <string>

namespace homfast {

// A feature that the operating system grants on demand: the contents of AMX tiles.
inline constexpr const char* kTilePermission = "amx-permission";

// What the flags of setup.py let every file use but those that ask for it: on x86-64, x86-64-v2.
#if defined(__x86_64__)
inline constexpr const char* kBaseline = "sse3 ssse3 sse4.1 sse4.2 popcnt";
#else
inline constexpr const char* kBaseline = "";
#endif

// The first of the space-separated feature names that is missing here, or an empty string.
std::string missing_cpu_feature(const char* names);

}  // namespace homfast
