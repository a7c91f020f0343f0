#include "core/ops/axis.h"

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

int checked_dim(const char* op, const Shape& shape, int dim) {
  const int d = dim < 0 ? dim + shape.rank() : dim;
  if (d < 0 || d >= shape.rank()) {
    throw Error(ErrorKind::kShape,
                fmt::format("{}: no dimension {} in {}", op, dim, to_string(shape)));
  }
  return d;
}

Axis axis_of(const char* op, const Shape& shape, int dim) {
  const int d = checked_dim(op, shape, dim);
  Axis axis;
  for (int i = 0; i < d; ++i)
    axis.outer *= shape[i];
  axis.length = shape[d];
  for (int i = d + 1; i < shape.rank(); ++i)
    axis.inner *= shape[i];
  return axis;
}

}  // namespace gradwire
