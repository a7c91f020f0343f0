// The loops that all codecs share: what goes in (error feedback, momentum) and what comes out
// (overwriting or adding). They work on blocks that stay in the first-level cache.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/simd.h"

namespace gradwire {

// Pointers at the first element of a block. Null: no residual, no momentum.
struct BlockSource {
  const float* x = nullptr;
  const float* residual = nullptr;
  const float* momentum = nullptr;
  float beta = 0.0F;
  float weight = 1.0F;
};

struct InputKernels {
  // c = weight * x [+ residual], or beta * momentum + (1 - beta) * weight * x + residual. False:
  // not all finite. Unless `norm1` is null it becomes norm1(c).
  bool (*load)(const BlockSource& source, std::int64_t n, float* c, double* norm1);
  // The sum of magnitudes, lane by lane (lanes.h); n padded to 64 with zeros.
  double (*norm1)(const float* c, std::int64_t n);
  // acc += weight * value
  void (*add)(float* acc, const float* value, float weight, std::int64_t n);
  // If bit i of `live` is set: acc[i] += weight * value[i], to[i] = value[i]. n padded to 64.
  void (*add_live)(float* acc, const float* value, float weight, const std::byte* live,
                   std::int64_t n);
  void (*set_live)(float* to, const float* value, const std::byte* live, std::int64_t n);
  // to = values, without the lines of `to` coming to the cache. Other threads may read them after
  // an sfence.
  void (*store_past_cache)(float* to, const float* values, std::int64_t n);
  // Zeros where bit i is clear.
  void (*zero_dead)(float* values, const std::byte* live, std::int64_t n);
};
GW_DECLARE_KERNELS(InputKernels, input_kernels);

}  // namespace gradwire
