// A shape as one of its dimensions sees it: [outer, length, inner]. Owns nothing.
#pragma once

#include "core/tensor.h"

namespace gradwire {

struct Axis {
  std::int64_t outer = 1, length = 1, inner = 1;
};

// Dimension `dim` of the shape, counted from the end if negative. Errors: kShape.
int checked_dim(const char* op, const Shape& shape, int dim);
Axis axis_of(const char* op, const Shape& shape, int dim);

}  // namespace gradwire
