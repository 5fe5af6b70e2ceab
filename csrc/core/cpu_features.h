// What this processor and operating system allow, by own cpuid and xgetbv, or the auxiliary vector.
#pragma once

#include <string>

namespace homfast {

// A feature that the operating system grants on demand: the contents of AMX tiles.
inline constexpr const char* kTilePermission = "amx-permission";

// The first of the space-separated feature names that is missing here, or an empty string.
std::string missing_cpu_feature(const char* names);

}  // namespace homfast
