#pragma once

#include <string>

namespace gradwire {

// Of this machine, as the system gives it.
std::string host_name();

}  // namespace gradwire
