// The loops of compressed reducers around their codec.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/simd.h"

namespace gradwire {

// What a rank keeps of a bucket, at the first element of a range; e is null if a method has
// none.
struct FeedbackArrays {
  float* e = nullptr;
  float* h = nullptr;
  FeedbackArrays from(std::int64_t i) const { return {e == nullptr ? e : e + i, h + i}; }
};

struct FeedbackKernels {
  // u = weight * x, or beta * momentum + (1 - beta) * weight * x if there is a momentum.
  void (*contribution)(const float* x, const float* momentum, float weight, float beta,
                       std::int64_t n, float* u);
  // v = (1 - b) v + b u; u = v.
  void (*smooth)(float b, std::int64_t n, float* v, float* u);
  // u -= h; c = u + eta e (without e: c = u).
  void (*target)(const FeedbackArrays& a, float eta, std::int64_t n, float* u, float* c);
  // With d what was sent of u: e += u - d, h += d.
  void (*settle)(const FeedbackArrays& a, const float* u, const float* d, std::int64_t n);
  // x = 0 at each clear bit of `live`.
  void (*zero_dead)(const std::byte* live, std::int64_t n, float* x);
  // Whether |x| is above `least` anywhere where the bit in `live` is clear.
  bool (*wakes)(const std::byte* live, std::int64_t n, float least, const float* x);
  // Bytes of bits: news[i] = the elements of x that are not zero and whose bit in `known` is clear.
  // Elements of x after n count as zero. True: there are some.
  bool (*find_news)(const float* x, const std::byte* known, std::int64_t n, std::byte* news);
};
GW_DECLARE_KERNELS(FeedbackKernels, feedback_kernels);

}  // namespace gradwire
