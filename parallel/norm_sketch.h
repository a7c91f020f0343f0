// The norm of the mean gradient, estimated before the gradients meet: what clipping and the watch
// over Adam's second moment need in steps that exchange something else than gradients. Each rank
// folds its gradient into a few thousand sums with random signs; sketches are linear, so their mean
// is the sketch of the mean, and the expectation of its squared norm is that of the mean gradient
// (Alon, Matias & Szegedy, "The space complexity of approximating the frequency moments", STOC
// 1996; Charikar, Chen & Farach-Colton, "Finding frequent items in data streams", ICALP 2002).
#pragma once

#include <cstdint>
#include <span>

#include "comm/communicator.h"
#include "core/tensor.h"

namespace gradwire {

class NormSketch {
 public:
  static constexpr std::int64_t kWidth = 4096;  // sums: a standard error of about 1.1 % of the norm

  explicit NormSketch(Context& cx);
  // What a rank sends for one norm.
  static std::int64_t sent_bytes(int ranks) {
    return 2 * (ranks - 1) * kWidth * static_cast<std::int64_t>(sizeof(float)) / ranks;
  }
  // The same on all ranks, whatever their number of threads. Another `step` gives other signs, so
  // that errors of several steps average out. NaN or infinite if a gradient is. Collective;
  // sends one tensor of kWidth floats. The gradients are flat f32 tensors.
  double mean_norm(Context& cx, Communicator& comm, std::span<const Tensor> gradients,
                   std::uint64_t step);

 private:
  Tensor partial_;  // f32 [kPartials, kWidth]: summed up in this order, whoever computes them
  Tensor sums_;     // f32 [kWidth]
};

}  // namespace gradwire
