// Replicas and stages together, against one rank and against replicas alone, with every schedule
// and every reducer.
#include <cmath>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "optim/onebit_adam.h"
#include "optim/onebit_lamb.h"
#include "optim/sgd.h"
#include "optim/zero_one_adam.h"
#include "tests/support/tolerance.h"
#include "tests/train/hybrid_run.h"

namespace gradwire {
namespace {

using test::HybridOutcome;
using test::HybridSetup;

struct Named {
  const char* name;
  Schedule (*make)(int ranks, int micros);
};
const Named kSchedules[] = {
    {"gpipe", gpipe},
    {"one_f_one_b", one_f_one_b},
    {"interleaved", [](int r, int m) { return interleaved(r, 2, m); }},
    {"zero_bubble", zero_bubble},
};

HybridSetup setup_of(int data, int pipeline, bool tied) {
  HybridSetup setup;
  setup.shape = {data, pipeline};
  setup.tied = tied;
  return setup;
}

HybridSetup with_sgd(HybridSetup setup) {
  setup.optimizer = [](Context& cx, const std::vector<Parameter*>& params, auto) {
    return make_sgd(cx, params, {.momentum = 0.9});
  };
  return setup;
}

// Of sums in another order: losses of a few steps, and parameters after them.
void expect_trained_alike(const HybridOutcome& got, const HybridOutcome& expected,
                          double tolerance) {
  ASSERT_EQ(got.losses.size(), expected.losses.size());
  for (std::size_t s = 0; s < expected.losses.size(); ++s)
    EXPECT_NEAR(got.losses[s], expected.losses[s], tolerance) << "step " << s;
  ASSERT_EQ(got.params.size(), expected.params.size());
  for (const auto& [name, values] : expected.params) {
    const std::vector<float>& found = got.params.at(name);
    ASSERT_EQ(found.size(), values.size());
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_NEAR(found[i], values[i], tolerance) << name << " " << i;
  }
}

// And the norms of the gradients, unless they are estimates.
void expect_close(const HybridOutcome& got, const HybridOutcome& expected, double tolerance) {
  expect_trained_alike(got, expected, tolerance);
  for (std::size_t s = 0; s < expected.norms.size(); ++s)
    EXPECT_NEAR(got.norms[s], expected.norms[s], tolerance * expected.norms[s]) << "step " << s;
}

struct Shaped {
  MeshShape shape;
  Named schedule;
};
// (1, 2, 4) x (1, 2, 4) up to eight ranks, with every schedule.
std::vector<Shaped> shapes() {
  std::vector<Shaped> all;
  for (const int data : {1, 2, 4}) {
    for (const int pipeline : {1, 2, 4}) {
      for (const Named& schedule : kSchedules)
        if (data * pipeline <= 8) all.push_back({{data, pipeline}, schedule});
    }
  }
  return all;
}

class HybridShape : public testing::TestWithParam<Shaped> {};
INSTANTIATE_TEST_SUITE_P(UpToEightRanks, HybridShape, testing::ValuesIn(shapes()),
                         [](const auto& p) {
                           return std::to_string(p.param.shape.data) + "x" +
                                  std::to_string(p.param.shape.pipeline) + p.param.schedule.name;
                         });

// SGD with clipping: an update is linear in the gradients, so that rounding stays what it is.
TEST_P(HybridShape, TrainsAsOneRankDoes) {
  for (const bool tied : {false, true}) {
    const auto with_clipping = [&](MeshShape shape) {
      HybridSetup setup = with_sgd(setup_of(shape.data, shape.pipeline, tied));
      setup.clip_norm = 0.5;
      return setup;
    };
    HybridSetup setup = with_clipping(GetParam().shape);
    setup.schedule = GetParam().schedule.make;
    const double tolerance = 16 * test::tolerance(DType::kF32, 8 * 10);
    expect_close(test::train(setup), test::train(with_clipping({1, 1})), tolerance);
  }
}

TEST_P(HybridShape, StagesChangeNoBitOfWhatReplicasAloneGive) {
  HybridSetup setup = setup_of(GetParam().shape.data, GetParam().shape.pipeline, false);
  setup.schedule = GetParam().schedule.make;
  const HybridOutcome got = test::train(setup);
  EXPECT_EQ(got.params, test::train(setup_of(GetParam().shape.data, 1, false)).params);
}

// Also the tied embedding, which both ends of each pipeline hold.
TEST(Hybrid, EveryReplicaAndEndBeginsWithTheWeightsOfTheFirst) {
  const HybridSetup setup = setup_of(2, 2, true);
  run_ranks(4, [&](Communicator& world) {
    Runtime runtime;
    Context& cx = runtime.context();
    test::HybridRank rank(cx, world, setup);
    std::map<std::string, std::vector<float>> first;
    for (Parameter* p : rank.params()) {
      first[p->name] = p->value.to_host<float>(cx);
      if (world.rank() > 0 && (p->name == kEmbeddingName || rank.mesh().here.data > 0)) {
        fill(cx, p->value, world.rank());
      }
    }
    rank.ranks().broadcast(cx);
    for (Parameter* p : rank.params())
      EXPECT_EQ(p->value.to_host<float>(cx), first[p->name]) << p->name;
  });
}

// What compresses in a setup.
struct Compression {
  const char* name;
  std::optional<CompressionConfig> config;
  std::optional<PowerSgdConfig> power_sgd{};
  void put_into(HybridSetup& setup) const {
    setup.compression = config;
    setup.power_sgd = power_sgd;
  }
};
CompressionConfig compression(Feedback method, const char* codec, double ratio = 0.1) {
  CompressionConfig config;
  config.method = method;
  config.codec = {.name = codec, .ratio = ratio};
  return config;
}
const Compression kCompressions[] = {
    {"ef_sign", compression(Feedback::kEf, "sign")},
    {"ef_topk", compression(Feedback::kEf, "topk")},
    {"ef_int8", compression(Feedback::kEf, "int8")},
    {"ef21_topk", compression(Feedback::kEf21, "topk")},
    {"ef21_sgdm_topk", compression(Feedback::kEf21Sgdm, "topk")},
    {"econtrol_topk", compression(Feedback::kEcontrol, "topk")},
    {"econtrol_sign", compression(Feedback::kEcontrol, "sign")},
    {"plain_int8", compression(Feedback::kPlain, "int8")},
    {"power_sgd", {}, PowerSgdConfig{.rank = 2}},
};

class HybridCompression : public testing::TestWithParam<Compression> {};
INSTANTIATE_TEST_SUITE_P(Reducers, HybridCompression, testing::ValuesIn(kCompressions),
                         [](const auto& p) { return std::string(p.param.name); });

// Residuals belong to parameters, so that it makes no difference where those live.
TEST_P(HybridCompression, StagesChangeNoBit) {
  for (const Named& schedule : kSchedules) {
    HybridSetup setup = setup_of(2, 2, false);
    GetParam().put_into(setup);
    setup.schedule = schedule.make;
    const HybridOutcome got = test::train(setup);
    setup.shape = {2, 1};
    setup.schedule = one_f_one_b;
    const HybridOutcome expected = test::train(setup);
    EXPECT_EQ(got.params, expected.params) << schedule.name;
    EXPECT_EQ(got.gradient_bytes, expected.gradient_bytes);
  }
}

// The replicas check in every step that both ends of the embedding are equal on all their ranks.
TEST_P(HybridCompression, TiedEndsStayEqual) {
  for (const MeshShape shape : {MeshShape{1, 2}, MeshShape{2, 2}, MeshShape{2, 4}}) {
    HybridSetup setup = with_sgd(setup_of(shape.data, shape.pipeline, true));
    GetParam().put_into(setup);
    setup.steps = 10;
    const HybridOutcome got = test::train(setup);
    EXPECT_LT(got.losses.back(), got.losses.front());
  }
}

TEST(Hybrid, IdentityCodecIsNoCompression) {
  for (const bool tied : {false, true}) {
    HybridSetup setup = setup_of(2, 2, tied);
    const HybridOutcome expected = test::train(setup);
    setup.compression = compression(Feedback::kEf, "identity");
    EXPECT_EQ(test::train(setup).params, expected.params);
  }
}

// How long the stages of a rule with compressed steps are.
struct RuleStages {
  std::int64_t dense = 30;    // steps before the freeze of v, or all in which it is refreshed
  std::int64_t one_bit = 0;   // of 0/1 Adam, before local ones
  std::int64_t doubles = 20;  // of 0/1 Adam: steps after which ranks agree half as often
  bool embedding_never_local = false;
};
struct Rule {
  const char* name;
  std::unique_ptr<Optimizer> (*make)(Context&, std::span<const FlatBucket>, const RuleStages&);
};
const Rule kRules[] = {
    {"onebit_adam",
     [](Context& cx, std::span<const FlatBucket> buckets, const RuleStages& stages) {
       OnebitAdamConfig config;
       config.freeze.freeze_step = stages.dense;
       return make_onebit_adam(cx, buckets, config);
     }},
    {"zero_one_adam",
     [](Context& cx, std::span<const FlatBucket> buckets, const RuleStages& stages) {
       ZeroOneAdamConfig config{.var_freeze_step = stages.dense,
                                .local_step_start = stages.dense + stages.one_bit,
                                .local_step_scaler = stages.doubles,
                                .local_step_clipper = 4};
       if (stages.embedding_never_local) config.never_local = {kEmbeddingName};
       return make_zero_one_adam(cx, buckets, config);
     }},
    {"onebit_lamb",
     [](Context& cx, std::span<const FlatBucket> buckets, const RuleStages& stages) {
       OnebitLambConfig config;
       config.freeze.freeze_step = stages.dense;
       return make_onebit_lamb(cx, buckets, config);
     }},
};

HybridSetup with_rule(HybridSetup setup, const Rule& rule, RuleStages stages, const char* codec) {
  if (setup.tied && setup.shape.pipeline > 1) stages.embedding_never_local = true;
  setup.compression = compression(Feedback::kEf, codec);
  setup.dense_steps = -1;
  setup.optimizer = [=](Context& cx, const auto&, std::span<const FlatBucket> buckets) {
    return rule.make(cx, buckets, stages);
  };
  return setup;
}

HybridOutcome train_onebit(const Rule& rule, MeshShape shape, bool tied) {
  HybridSetup setup = setup_of(shape.data, shape.pipeline, tied);
  setup.steps = 140;
  return test::train(with_rule(setup, rule, {.dense = 30, .one_bit = 30}, "sign"));
}

double mean_of_last(const std::vector<double>& losses, std::size_t n) {
  return std::accumulate(losses.end() - static_cast<std::ptrdiff_t>(n), losses.end(), 0.0) /
         static_cast<double>(n);
}

class HybridRule : public testing::TestWithParam<Rule> {};
INSTANTIATE_TEST_SUITE_P(Rules, HybridRule, testing::ValuesIn(kRules),
                         [](const auto& p) { return std::string(p.param.name); });

// A hundred and ten steps of the compressed stage.
TEST_P(HybridRule, UnderPipelinesIsThatWithoutThem) {
  const HybridOutcome staged = train_onebit(GetParam(), {2, 2}, false);
  const HybridOutcome flat = train_onebit(GetParam(), {2, 1}, false);
  EXPECT_EQ(staged.losses, flat.losses);
  EXPECT_EQ(staged.params, flat.params);
  EXPECT_EQ(staged.gradient_bytes, flat.gradient_bytes);
  EXPECT_LT(mean_of_last(flat.losses, 20), flat.losses.front() - 1.0);
}

// A tied embedding gets the gradient of both ends in every step, and the same at both. Through a
// codec that loses nothing it trains as in one stage, to rounding: also if steps are local, and if
// the parameters beside it are others at each end.
TEST_P(HybridRule, TrainsATiedEmbeddingAsOneStageDoes) {
  for (const MeshShape shape : {MeshShape{1, 2}, MeshShape{1, 4}}) {
    const auto train = [&](MeshShape of) {
      HybridSetup setup = setup_of(of.data, of.pipeline, true);
      setup.steps = 24;
      const RuleStages stages{
          .dense = 8, .one_bit = 4, .doubles = 2, .embedding_never_local = true};
      return test::train(with_rule(setup, GetParam(), stages, "identity"));
    };
    expect_trained_alike(train(shape), train({1, 1}), 1e-3);
  }
}

// Compressed, the two ends are workers of their own: the same quality.
TEST_P(HybridRule, TrainsTiedEmbeddingsUnderPipelinesAsWellAsWithout) {
  const HybridOutcome staged = train_onebit(GetParam(), {2, 2}, true);
  const HybridOutcome flat = train_onebit(GetParam(), {2, 1}, true);
  EXPECT_LT(mean_of_last(staged.losses, 20), staged.losses.front() - 1.0);
  EXPECT_NEAR(mean_of_last(staged.losses, 20), mean_of_last(flat.losses, 20), 0.1);
  // The embedding's gradient travels in as few bits as the others'.
  EXPECT_LT(staged.gradient_bytes, 2 * flat.gradient_bytes);
}

}  // namespace
}  // namespace gradwire
