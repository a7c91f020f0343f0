#include "models/generate.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace gradwire {
namespace {

TEST(SampleToken, GreedyTakesTheLargestAndTheSmallerIdOnATie) {
  SamplingOptions greedy;
  greedy.temperature = 0.0;
  const std::vector<float> logits{0.5F, 2.0F, 2.0F, -1.0F};
  EXPECT_EQ(sample_token(logits, greedy, 0.99), 1);
}

TEST(SampleToken, FollowsTheSoftmaxAtEveryQuantile) {
  SamplingOptions options;
  options.temperature = 1.0;
  options.top_k = 0;
  // exp: 4, 2, 1, 1 of 8, in order of size: id 2, id 0, id 1, id 3.
  const std::vector<float> logits{std::log(2.0F), 0.0F, std::log(4.0F), 0.0F};
  EXPECT_EQ(sample_token(logits, options, 0.0), 2);
  EXPECT_EQ(sample_token(logits, options, 0.49), 2);
  EXPECT_EQ(sample_token(logits, options, 0.51), 0);
  EXPECT_EQ(sample_token(logits, options, 0.76), 1);
  EXPECT_EQ(sample_token(logits, options, 0.99), 3);
}

TEST(SampleToken, TopKLeavesTheRestOut) {
  SamplingOptions options;
  options.temperature = 1.0;
  options.top_k = 2;
  const std::vector<float> logits{std::log(2.0F), 0.0F, std::log(4.0F), 0.0F};
  EXPECT_EQ(sample_token(logits, options, 0.99), 0);
}

DecoderConfig tiny() {
  DecoderConfig c;
  c.vocab = 17;
  c.layers = 2;
  c.width = 16;
  c.heads = 4;
  c.kv_heads = 2;
  c.ffn_width = 24;
  return c;
}

// The independent reference of decoding with a cache is the full forward pass over all tokens.
TEST(Generate, CacheGivesWhatAFullForwardGives) {
  Runtime runtime;
  Context& cx = runtime.context();
  DecoderLm model(cx, tiny());
  SamplingOptions greedy;
  greedy.temperature = 0.0;
  greedy.max_tokens = 6;
  const std::vector<std::int32_t> prompt{3, 1, 4, 1, 5};
  const std::vector<std::int32_t> fast = generate(cx, model, prompt, greedy);

  std::vector<std::int32_t> all = prompt;
  for (std::int64_t i = 0; i < greedy.max_tokens; ++i) {
    Tape tape(false);
    const Var logits = model.logits(cx, tape, Tensor::from(cx, {1, std::ssize(all)}, all));
    const std::vector<float> rows = tape.value(logits).to_host<float>(cx);
    all.push_back(sample_token(std::span(rows).last(17), greedy, 0.0));
  }
  EXPECT_EQ(fast, std::vector<std::int32_t>(all.begin() + 5, all.end()));
}

TEST(Generate, StopsAtTheStopTokenAndNeedsAPrompt) {
  Runtime runtime;
  Context& cx = runtime.context();
  DecoderLm model(cx, tiny());
  SamplingOptions greedy;
  greedy.temperature = 0.0;
  greedy.max_tokens = 4;
  const std::vector<std::int32_t> prompt{3};
  const std::vector<std::int32_t> free_run = generate(cx, model, prompt, greedy);
  ASSERT_EQ(free_run.size(), 4U);
  greedy.stop_id = free_run[0];
  EXPECT_TRUE(generate(cx, model, prompt, greedy).empty());
  EXPECT_THROW(generate(cx, model, {}, greedy), Error);
}

}  // namespace
}  // namespace gradwire
