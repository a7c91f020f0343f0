// Passes over a bucket whose second moment is frozen.
#pragma once

#include <cstdint>

#include "core/device.h"
#include "core/simd.h"
#include "optim/onebit_math.h"

namespace gradwire {

struct FrozenArrays {
  float* value = nullptr;
  const float* m = nullptr;
  const float* v = nullptr;
};

struct LiveArrays {
  std::uint8_t* live = nullptr;  // [ceil(n/8)]: bit i % 8 of byte i / 8 is v[i] != 0
  float* m = nullptr;            // cleared where v is 0
  const float* v = nullptr;
  std::int64_t n = 0;
};

struct PreconditionArrays {
  float* x = nullptr;  // in: what is added to beta m; out: the update
  float* m = nullptr;
  const float* v = nullptr;
};

struct FollowArrays {
  float* value = nullptr;
  const float* update = nullptr;
  const std::uint8_t* live = nullptr;  // [ceil(n/8)]: where the update is to be read
  std::int64_t n = 0;
};

struct OnebitKernels {
  // One pass: value is read and written, m and v are read.
  void (*step)(const FrozenMath& math, const FrozenArrays& a, std::int64_t begin, std::int64_t end);
  // Bytes [begin, end) of live and their coordinates.
  void (*mark_live)(const LiveArrays& a, std::int64_t begin, std::int64_t end);
  void (*precondition)(const PreconditionMath& math, const PreconditionArrays& a,
                       std::int64_t begin, std::int64_t end);
  // value = keep value - step_size update, for bytes [begin, end) of live and their coordinates.
  void (*follow)(const FrozenMath& math, const FollowArrays& a, std::int64_t begin,
                 std::int64_t end);
};
GW_DECLARE_KERNELS(OnebitKernels, onebit_kernels);

namespace cuda {
void frozen_step(Stream s, const FrozenMath& math, const FrozenArrays& a, std::int64_t n);
void mark_live(Stream s, const LiveArrays& a);
}  // namespace cuda

}  // namespace gradwire
