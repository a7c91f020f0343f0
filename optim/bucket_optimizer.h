// What the optimizers with compressed stages have in common: Adam's two moments of every bucket,
// flat in the bucket's layout, so that a momentum travels as one message, and the passes over them.
// The state is named by parameter and fits any other cut into buckets. Holds the buckets' tensors
// and parameters: they outlive it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/flat_bucket.h"
#include "optim/adamw.h"
#include "optim/adamw_math.h"
#include "optim/gradient_optimizer.h"
#include "optim/onebit_math.h"

namespace gradwire {

// By bucket: whether it holds parameters that opt out of compression, those whose names match a
// pattern (core/glob.h). Buckets travel whole: who cuts them gives such parameters buckets of their
// own. Errors: kUsage for a bucket that holds both kinds.
std::vector<bool> dense_buckets(std::span<const FlatBucket> buckets,
                                std::span<const std::string> dense);

// For the log: "'a', 'b', 'c' or 4 others".
std::string few_names(std::span<const std::string> names);

// kLeastPartOfSquare of the mean of those second moments that are not zero.
float floor_of_squares(std::span<const float> v);

class BucketOptimizer : public GradientOptimizer {
 protected:
  struct Bucket {
    FlatBucket layout;
    bool dense = false;  // opted out
    Tensor m, v;         // f32 [n], 0 in the gaps
    std::size_t first_slot = 0;
    Tensor live;                // u8 [ceil(n/8)], if v is not 0; see live_in()
    std::vector<float> floors;  // by parameter, of v in frozen steps; made with `live`
    bool live_is_made = false;
    // By parameter: its second moment moves while the others stand still; frozen steps pass it
    // over.
    std::vector<bool> awake;
  };
  // Updates that the moments have seen, this one included: for their bias corrections.
  struct Age {
    std::int64_t m = 0, v = 0;
  };

  // Moments are charged to Segment::kOptim. Errors: kConfig for numbers out of range; kUsage,
  // kShape as make_adamw() and dense_buckets(); kUsage for a conditional parameter in a bucket that
  // did not opt out: what is agreed on compressed is changed by every step.
  BucketOptimizer(Context& cx, std::string_view rule, std::span<const FlatBucket> buckets,
                  AdamWConfig adam, std::span<const std::string> dense = {});

  std::vector<Bucket>& buckets() { return buckets_; }
  const std::vector<Bucket>& buckets() const { return buckets_; }
  const AdamWConfig& adam() const { return adam_; }
  AdamWMath math_of(const StepInfo& step, Age age, double weight_decay) const;
  const Slot& slot(const Bucket& b, std::size_t i) const { return slots()[b.first_slot + i]; }

  // AdamW's step from the gradients, the same bits as AdamW's; parameters that the step leaves out
  // get none, and are younger by it from then on.
  void adamw_step(Context& cx, Bucket& b, const StepInfo& step, Age age);
  // That of parameter i alone.
  void adamw_step(Context& cx, Bucket& b, std::size_t i, const StepInfo& step, Age age);
  // AdamW's step from the momentum as it is, with v standing still.
  void frozen_step(Context& cx, Bucket& b, const StepInfo& step, Age age);
  // The same of the elements [begin, end) of a bucket in main memory, without Parameter::version;
  // by several threads at once.
  struct FrozenStep {
    FrozenMath decayed, plain;
    FrozenMath of(const Slot& slot, float floor) const {
      FrozenMath math = slot.decays ? decayed : plain;
      math.floor = floor;
      return math;
    }
  };
  FrozenStep frozen_math(const StepInfo& step, Age age) const;
  // Of elements [begin, end) of the bucket; m[0] is the momentum of element `begin`.
  void frozen_step(const Bucket& b, const FrozenStep& step, std::int64_t begin, std::int64_t end,
                   const float* m);
  // The coordinates that have ever had a gradient. No other can be agreed on in one bit, which has
  // no zero; and what is left of their momentum, if v has underflowed, is cleared. Valid while v
  // stands still. Makes the floors of v as well (kLeastPartOfSquare).
  const Tensor& live_in(Context& cx, Bucket& b);
  // For the log: "first gradients within 'a', 'b'", the parameters of a bucket that are marked
  // (Exchange::woken).
  static std::string waking_text(const FlatBucket& layout, std::span<const std::uint8_t> woken);
  // <rule>/<parameter>/m and /v, and /left_out as AdamW's.
  void visit_moments(StateVisitor& visitor);

 private:
  AdamWConfig adam_;
  std::vector<Bucket> buckets_;
  std::vector<std::int64_t> left_out_;  // by slot: updates that it had no part in
};

}  // namespace gradwire
