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
  float* m = nullptr;            // cleared if v is 0
  const float* v = nullptr;
  std::int64_t n = 0;
};

// A byte for each element: v in steps of a quarter octave (CoarseSquare), and 0 if it is 0.
struct CoarseArrays {
  std::uint8_t* code = nullptr;
  float* m = nullptr;  // cleared if v is 0
  const float* v = nullptr;
};

struct FollowArrays {
  float* value = nullptr;
  const float* m = nullptr;  // read if the code is not 0
  const std::uint8_t* code = nullptr;
};

struct OnebitKernels {
  // One pass: value is read and written, m and v are read.
  void (*step)(const FrozenMath& math, const FrozenArrays& a, std::int64_t begin, std::int64_t end);
  // Bytes [begin, end) of live and their coordinates.
  void (*mark_live)(const LiveArrays& a, std::int64_t begin, std::int64_t end);
  // The largest CoarseSquare::level() of v.
  std::int32_t (*top_level)(const float* v, std::int64_t begin, std::int64_t end);
  void (*make_coarse)(const CoarseSquare& coarse, const CoarseArrays& a, std::int64_t begin,
                      std::int64_t end);
  // As step(), with what the codes tell of v.
  void (*follow)(const FrozenMath& math, const CoarseSquare& coarse, const FollowArrays& a,
                 std::int64_t begin, std::int64_t end);
};
GW_DECLARE_KERNELS(OnebitKernels, onebit_kernels);

namespace cuda {
void frozen_step(Stream s, const FrozenMath& math, const FrozenArrays& a, std::int64_t n);
void mark_live(Stream s, const LiveArrays& a);
}  // namespace cuda

}  // namespace gradwire
