// How two shapes stretch to one, as NumPy does it, with dimensions that behave alike merged: the
// innermost one is then as long a run as there is.
#pragma once

#include <array>
#include <cstdint>

#include "core/tensor.h"

namespace gradwire {

struct Broadcast {
  struct Dim {
    std::int64_t size = 1;
    bool in_a = true, in_b = true;  // false: the operand is stretched along it
  };
  Shape shape;
  std::array<Dim, Shape::kMaxRank> dims{};
  int rank = 0;  // of dims; those of size 1 are left out

  // The innermost dimension, and where its r-th run begins in an operand.
  Dim inner() const { return rank == 0 ? Dim{} : dims[static_cast<std::size_t>(rank) - 1]; }
  std::int64_t start_in_a(std::int64_t run) const { return start(run, &Dim::in_a); }
  std::int64_t start_in_b(std::int64_t run) const { return start(run, &Dim::in_b); }

 private:
  std::int64_t start(std::int64_t run, bool Dim::*in) const;
};

// Errors: kShape if the shapes do not fit.
Broadcast broadcast(const char* op, const Shape& a, const Shape& b);

// The gradient of a stretched operand: dy of `plan.shape` summed over the dimensions along which a
// (or b) is stretched, in a's shape and dy's type. dy itself if nothing is stretched.
Tensor sum_to_a(Context& cx, const Tensor& dy, const Broadcast& plan, const Shape& a);
Tensor sum_to_b(Context& cx, const Tensor& dy, const Broadcast& plan, const Shape& b);

}  // namespace gradwire
