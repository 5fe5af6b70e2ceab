// What this processor and operating system allow, by own cpuid and xgetbv, or the auxiliary vector.
#pragma once

#include <string>

namespace homfast {

// The first of the space-separated feature names that is missing here, or an empty string.
std::string missing_cpu_feature(const char* names);

}  // namespace homfast
