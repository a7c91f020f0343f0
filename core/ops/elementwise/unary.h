// Names of the unary functions; what they compute is in elementwise_math.h.
#pragma once

namespace gradwire {

enum class Unary : int { kSilu, kGelu, kGeluTanh, kRelu, kTanh, kSigmoid, kExp, kSquare, kCount };
const char* name_of(Unary u);

}  // namespace gradwire
