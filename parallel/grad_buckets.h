// The gradients of a set of parameters in one flat f32 buffer, in the reverse of their order of
// declaration (about the order in which backward finishes them), cut into buckets that travel as
// one message. Owns the buffer; binds each Parameter::grad to its slice. Does not communicate.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/flat_bucket.h"
#include "core/parameter_set.h"

namespace gradwire {

class GradBuckets {
 public:
  // A bucket holds at most `bucket_bytes`, or one parameter that is larger than that. Slices begin
  // on 64-byte boundaries. Parameters whose names match `uncompressed` (core/glob.h) share no
  // bucket with others, and the one named `alone`, if any, shares none at all. Buckets end with a
  // gap that lets them be cut into `slices` equal parts, at multiples of 64 bytes. Each of the sets
  // in `conditional` has buckets of its own, after all others. The parameters must outlive this
  // object. Errors: kUsage for a frozen parameter, a bucket size below one byte, or a set that has
  // the parameter `alone`, or one of another set.
  GradBuckets(Context& cx, std::span<Parameter* const> params, std::int64_t bucket_bytes,
              std::span<const std::string> uncompressed = {}, int slices = 1,
              const std::string& alone = {}, std::span<const ParameterSet> conditional = {});
  ~GradBuckets();
  GradBuckets(const GradBuckets&) = delete;
  GradBuckets& operator=(const GradBuckets&) = delete;

  std::size_t size() const { return buckets_.size(); }
  const FlatBucket& operator[](std::size_t i) const { return buckets_[i]; }
  std::span<const FlatBucket> all() const { return buckets_; }
  // The number of the conditional set that the bucket is of, or kNoSet.
  static constexpr std::size_t kNoSet = static_cast<std::size_t>(-1);
  std::size_t set_of(std::size_t i) const { return sets_[i]; }
  // Of the parameter's bucket. Errors: kUsage for a parameter that is in none.
  std::size_t bucket_of(const Parameter& p) const;
  std::int64_t elements() const { return elements_; }  // of gradients, without gaps
  // Zeros for those gradients that nothing was accumulated into.
  void fill_empty(Context& cx, std::size_t bucket);

 private:
  std::vector<FlatBucket> buckets_;
  std::vector<std::size_t> sets_;  // by bucket
  std::unordered_map<const Parameter*, std::size_t> bucket_of_;
  std::int64_t elements_ = 0;
};

}  // namespace gradwire
