// What a recipe is expected to cost, before anything is made.
#include "launch/assemble/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/context.h"
#include "core/error.h"
#include "launch/assemble/stages.h"
#include "tests/support/recipes.h"

#include "jobs/language_model/measure_units.h"

namespace gradwire {
namespace {

Recipe small() {
  Recipe r = lm_recipe();
  lm(r).model.layers = 4;
  lm(r).model.width = 64;
  lm(r).model.ffn_width = 128;
  lm(r).model.tie_embeddings = false;
  lm(r).data.context = 32;
  r.batch = {.global = 32, .micro = 2};
  r.parallel.stages = "even";
  return r;
}

ModelOutline outline_of(const Recipe& r) {
  return decoder_outline(r, decoder_config(r, 300));
}

std::vector<UnitCost> measured(Context& cx, const Recipe& r) {
  return measure_units(cx, decoder_config(r, 300), {r.batch.micro, lm(r).data.context});
}

// Stage by stage against the parameters of the model that a rank would make.
TEST(Plan, CountsTheParametersOfTheLargestRank) {
  for (const int pipeline : {1, 2, 3}) {
    Recipe r = small();
    r.parallel.pipeline = pipeline;
    r.batch = {.global = 2, .micro = 1};
    lm(r).data.context = 1;  // activations are nothing beside the parameters
    Runtime runtime;
    const DecoderConfig config = decoder_config(r, 300);
    const Stages stages = stages_without_measuring(r, outline_of(r), 2);
    std::int64_t most = 0;
    for (int rank = 0; rank < pipeline; ++rank) {
      DecoderLm model(runtime.context(), config, stages.of_rank(rank));
      most = std::max(most, count_elements(parameters_of(model)));
    }
    const Plan plan = make_plan(r, outline_of(r), {2, pipeline});
    EXPECT_EQ(plan.memory.params, 4 * most) << pipeline;
    EXPECT_EQ(plan.memory.optim, 8 * most);
    r.parallel.shard_optimizer = true;
    EXPECT_EQ(make_plan(r, outline_of(r), {2, pipeline}).memory.optim, 4 * most);
    r.optim.name = "onebit_adam";
    EXPECT_EQ(make_plan(r, outline_of(r), {2, pipeline}).memory.optim, 5 * most);
  }
}

// Gradients, state and exchange are those of what is trained, whatever is frozen beside it.
TEST(Plan, CountsGradientsOfWhatIsTrained) {
  Recipe r = small();
  lm(r).adapters.method = "lora";
  lm(r).adapters.rank = 3;
  lm(r).adapters.also_train = {"*norm*"};
  for (const bool tied : {true, false}) {
    lm(r).model.tie_embeddings = tied;
    for (const int pipeline : {1, 2}) {
      r.parallel.pipeline = pipeline;
      Runtime runtime;
      const Stages stages = stages_without_measuring(r, outline_of(r), 2);
      std::int64_t most = 0;
      for (int rank = 0; rank < pipeline; ++rank) {
        DecoderLm model(runtime.context(), decoder_config(r, 300), stages.of_rank(rank));
        set_trainable(model, lm(r).adapters.also_train, pipeline > 1);
        AdapterSet set(runtime.context(), model.sites(), lm(r).adapters.config(), {"default"});
        most = std::max(most, count_elements(trainable_parameters_of(model)) +
                                  count_elements(trainable_parameters_of(set)));
      }
      const Plan plan = make_plan(r, outline_of(r), {2, pipeline});
      EXPECT_EQ(plan.wire_bytes_per_step, 4 * most) << tied << pipeline;
      EXPECT_EQ(plan.memory.optim, 2 * plan.memory.grads);
      EXPECT_LT(plan.memory.grads, plan.memory.params / 4);
      EXPECT_TRUE(pipeline > 1 || plan.trained == most);
    }
  }
  EXPECT_THAT(to_text(make_plan(r, outline_of(r), {2, 2}), r, outline_of(r), {2, 2}),
              testing::HasSubstr(" are trained\n"));
}

TEST(Plan, ActivationsAreThoseThatTheScheduleHolds) {
  Recipe r = small();
  r.parallel.pipeline = 2;
  const auto activations = [&](const char* schedule) {
    r.parallel.schedule = schedule;
    return make_plan(r, outline_of(r), {1, 2}).memory.activations;
  };
  EXPECT_GT(activations("gpipe"), 4 * activations("1f1b"));  // of 16 micro-batches against 2
  r.parallel.recompute = true;
  const std::int64_t recomputed = activations("1f1b");
  r.parallel.recompute = false;
  EXPECT_LT(recomputed, activations("1f1b"));
}

TEST(Plan, RefusesWhatTheHostCannotHold) {
  Plan plan;
  plan.memory.params = 600'000'000;
  EXPECT_NO_THROW(check_fits(plan, {2, 1'200'000'000}));
  try {
    check_fits(plan, {2, 1'000'000'000});
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kConfig);
    EXPECT_THAT(e.what(),
                testing::HasSubstr("about 1200 MB for 2 ranks on this host, where they may use "
                                   "1000 MB"));
  }
}

TEST(Stages, CutsBalanceTheCostliest) {
  const std::vector<double> costs{1, 2, 2, 2, 2, 5};
  EXPECT_EQ(to_text(balanced_cut(costs, 1)), "6");
  EXPECT_EQ(to_text(balanced_cut(costs, 2)), "4 2");
  EXPECT_EQ(to_text(balanced_cut(costs, 3)), "3 2 1");
  EXPECT_EQ(to_text(balanced_cut(costs, 6)), "1 1 1 1 1 1");
  EXPECT_THROW(balanced_cut(costs, 7), Error);
}

// Against every other cut.
TEST(Stages, NoOtherCutIsBetter) {
  const std::vector<double> costs{3, 1, 4, 1, 5, 9, 2, 6};
  const auto worst = [&](const std::vector<UnitRange>& cut) {
    double most = 0.0;
    for (const UnitRange& r : cut) {
      double sum = 0.0;
      for (int u = r.begin; u < r.end; ++u)
        sum += costs[static_cast<std::size_t>(u)];
      most = std::max(most, sum);
    }
    return most;
  };
  double best = 1e9;
  for (int a = 1; a < 7; ++a)
    for (int b = a + 1; b < 8; ++b)
      best = std::min(best, worst({{0, a}, {a, b}, {b, 8}}));
  EXPECT_EQ(worst(balanced_cut(costs, 3)), best);
}

TEST(Stages, UnitsThatCostTheSameAreCutAlike) {
  for (int units = 1; units <= 24; ++units) {
    const std::vector<double> costs(static_cast<std::size_t>(units), 1.0);
    for (int stages = 1; stages <= units; ++stages)
      EXPECT_EQ(even_cut(units, stages), balanced_cut(costs, stages)) << units << ' ' << stages;
  }
  EXPECT_EQ(even_cut(2'000'000'000, 2).back().end, 2'000'000'000);
  EXPECT_THROW(even_cut(3, 4), Error);
}

TEST(Stages, CutsAsWritten) {
  EXPECT_EQ(parse_cut("3 3 2", 8, 3), (std::vector<UnitRange>{{0, 3}, {3, 6}, {6, 8}}));
  for (const char* wrong : {"", "3 3", "3 3 3", "4 4", "0 4 4", "3 x 2", "-1 7 2", "3,3,2"})
    EXPECT_THROW(parse_cut(wrong, 8, 3), Error) << wrong;
}

// A block that is computed again is for a while what it would have been all along.
TEST(Stages, RecomputedBlocksKeepLessAndAreWholeAgainInBackward) {
  Runtime runtime;
  Recipe r = small();
  const UnitCost whole = measured(runtime.context(), r)[1];
  EXPECT_EQ(whole.rerun_bytes, 0);
  r.parallel.recompute = true;
  const auto costs = measured(runtime.context(), r);
  EXPECT_LT(costs[1].bytes, whole.bytes / 2);
  EXPECT_EQ(costs[1].bytes + costs[1].rerun_bytes, whole.bytes);
  EXPECT_GE(costs[1].working_bytes, costs[1].rerun_bytes);
  EXPECT_EQ(costs.front().rerun_bytes, 0);
  EXPECT_EQ(costs.back().rerun_bytes, 0);
}

TEST(Stages, MeasuredUnitsCostSomething) {
  Runtime runtime;
  const Recipe r = small();
  const auto costs = measured(runtime.context(), r);
  ASSERT_EQ(costs.size(), 6U);
  for (const UnitCost& c : costs) {
    EXPECT_GT(c.seconds, 0.0);
    EXPECT_GT(c.bytes, 0);
    EXPECT_GT(c.working_bytes, 0);
  }
}

}  // namespace
}  // namespace gradwire
