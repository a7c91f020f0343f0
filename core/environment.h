#pragma once

#include <functional>

namespace gradwire {

// The value of an environment variable, or null if it is not set: std::getenv, or a test's own.
using EnvironmentLookup = std::function<const char*(const char* name)>;

}  // namespace gradwire
