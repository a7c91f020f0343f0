// How fast this processor is at the matrix products of training, measured in some milliseconds.
#pragma once

#include "core/ops/linear/bf16_unit.h"

namespace gradwire::cpu {

// Seconds of a pair of linear layers like those of a decoder's MLP, forward and backward, the best
// of a few, with the calling thread's number of threads. Memory is taken from the system for as
// long as it lasts.
double seconds_in_f32();
double seconds_in_bf16(Bf16Path path);

}  // namespace gradwire::cpu
