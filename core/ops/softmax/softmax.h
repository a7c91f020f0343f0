// Softmax over the last dimension, with the row maximum taken out first.
#pragma once

#include "core/tape.h"

namespace gradwire {

Var softmax(Context& cx, Tape& tape, Var x);
Var log_softmax(Context& cx, Tape& tape, Var x);

}  // namespace gradwire
