#pragma once

#include <vector>

#include "core/tape.h"

namespace gradwire {

// Some parameters, each once: those of a model that are trained, saved or frozen.
using ParameterSet = std::vector<Parameter*>;

}  // namespace gradwire
