#include "parallel/pipeline/activation_memory.h"

#include <gtest/gtest.h>

#include "parallel/pipeline/dry_run.h"

namespace gradwire {
namespace {

TEST(ActivationMemory, ByHand) {
  const std::vector<StageMemory> stages{{10, 15, 17, 12}};
  const auto peak = [&](const char* text) {
    return peak_activations(parse_schedule(text).program(0), stages);
  };
  EXPECT_EQ(peak("0F0 0B0"), 15);
  EXPECT_EQ(peak("0F0 0F1 0B0 0B1"), 25);
  EXPECT_EQ(peak("0F0 0I0 0W0"), 17);
  EXPECT_EQ(peak("0F0 0F1 0I0 0I1 0W0 0W1"), 29);  // 12 kept and 17
  EXPECT_EQ(peak("0F0 0I0 0F1 0W0 0B1"), 22);      // 12 kept and 10
}

// If all micro-batches of all stages keep one byte, it is the dry run's count.
TEST(ActivationMemory, IsThePeakOfLiveMicroBatches) {
  const std::vector<StageMemory> ones(8, {1, 1, 1, 1});
  for (const int micros : {1, 4, 9}) {
    for (const Schedule& s : {gpipe(4, micros), one_f_one_b(4, micros), interleaved(4, 2, micros),
                              zero_bubble(4, micros)}) {
      const DryRun dry = dry_run(with_messages(s), SendModel::kEager);
      ASSERT_EQ(dry.problem, "");
      for (std::size_t r = 0; r < s.ranks.size(); ++r)
        EXPECT_EQ(peak_activations(s.ranks[r], ones), dry.peak_live[r]) << to_text(s);
    }
  }
}

}  // namespace
}  // namespace gradwire
