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

// Of sums in another order: losses and norms of a few steps, and parameters after them.
void expect_close(const HybridOutcome& got, const HybridOutcome& expected, double tolerance) {
  ASSERT_EQ(got.losses.size(), expected.losses.size());
  for (std::size_t s = 0; s < expected.losses.size(); ++s) {
    EXPECT_NEAR(got.losses[s], expected.losses[s], tolerance) << "step " << s;
    EXPECT_NEAR(got.norms[s], expected.norms[s], tolerance * expected.norms[s]) << "step " << s;
  }
  ASSERT_EQ(got.params.size(), expected.params.size());
  for (const auto& [name, values] : expected.params) {
    const std::vector<float>& found = got.params.at(name);
    ASSERT_EQ(found.size(), values.size());
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_NEAR(found[i], values[i], tolerance) << name << " " << i;
  }
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

struct Rule {
  const char* name;
  std::unique_ptr<Optimizer> (*make)(Context&, std::span<const FlatBucket>);
};
const Rule kRules[] = {
    {"onebit_adam",
     [](Context& cx, std::span<const FlatBucket> buckets) {
       OnebitAdamConfig config;
       config.freeze.freeze_step = 30;
       return make_onebit_adam(cx, buckets, config);
     }},
    {"zero_one_adam",
     [](Context& cx, std::span<const FlatBucket> buckets) {
       return make_zero_one_adam(cx, buckets,
                                 {.var_freeze_step = 60,
                                  .local_step_start = 60,
                                  .local_step_scaler = 20,
                                  .local_step_clipper = 4});
     }},
    {"onebit_lamb",
     [](Context& cx, std::span<const FlatBucket> buckets) {
       OnebitLambConfig config;
       config.freeze.freeze_step = 30;
       return make_onebit_lamb(cx, buckets, config);
     }},
};

HybridOutcome train_onebit(const Rule& rule, MeshShape shape, bool tied) {
  HybridSetup setup = setup_of(shape.data, shape.pipeline, tied);
  setup.steps = 140;
  setup.compression = compression(Feedback::kEf, "sign");
  setup.optimizer = [&](Context& cx, const auto&, std::span<const FlatBucket> buckets) {
    return rule.make(cx, buckets);
  };
  return test::train(setup);
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

// With a tied embedding, whose two ends are workers of their own: the same quality, and its
// gradient travels in as few bits as the others'.
TEST(Hybrid, OneBitAdamTrainsTiedEmbeddingsUnderPipelines) {
  const HybridOutcome staged = train_onebit(kRules[0], {2, 2}, true);
  const HybridOutcome flat = train_onebit(kRules[0], {2, 1}, true);
  EXPECT_LT(mean_of_last(staged.losses, 20), staged.losses.front() - 1.0);
  EXPECT_NEAR(mean_of_last(staged.losses, 20), mean_of_last(flat.losses, 20), 0.1);
  EXPECT_LT(staged.gradient_bytes, 2 * flat.gradient_bytes);
}

}  // namespace
}  // namespace gradwire
