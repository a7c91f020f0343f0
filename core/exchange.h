// What the ranks are to agree on, for one bucket: optimizers name it, reducers carry it out.
#pragma once

#include <cstdint>
#include <functional>

#include "core/tensor.h"

namespace gradwire {

struct Exchange {
  Tensor value;         // f32 [n], this rank's; becomes the mean over the ranks of weight * value
  float weight = 1.0F;  // clipping, loss scale; the same on all ranks
  // Where there is a momentum (f32 [n], the same on all ranks), the ranks agree on the mean of
  // beta * momentum + (1 - beta) * weight * value instead, which replaces the momentum; the value
  // is left as it is.
  Tensor momentum{};
  float beta = 0.0F;
  // u8 [ceil(n/8)], the same on all ranks, or empty: coordinates whose bit (little-endian) is clear
  // take no part; a momentum there must be zero, and stays so.
  Tensor live{};
  // The first of its kind after steps without: what was carried over before is owed no more.
  bool fresh = false;
  // Where the mean of each part of the value comes about on one rank, its owner: what that rank
  // makes of its part, the elements from `begin` on, in place, before all ranks get it. Called on
  // every rank, once. Where a clear bit of `live` says so, there is nothing to read.
  using Answer = std::function<void(Context& cx, const Tensor& mean, std::int64_t begin)>;
  Answer answer{};
};

}  // namespace gradwire
