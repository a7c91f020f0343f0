// Micro-batches of unequal size, some of them empty, with several tensors between stages: however
// they are spread over replicas, stages and micro-batches, the gradients are those of one rank that
// has everything in one batch.
#include <map>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/error.h"
#include "parallel/agreement.h"
#include "parallel/data_parallel.h"
#include "parallel/mesh.h"
#include "parallel/pipeline/compressed_transport.h"
#include "parallel/pipeline/pipeline.h"
#include "tests/support/expect_error.h"
#include "tests/support/ragged_stages.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

using test::RaggedStages;

struct Outcome {
  double loss = 0.0;
  double weight = 0.0;
  std::map<std::string, std::vector<float>> gradients;
  std::int64_t activation_bytes = 0, expected_bytes = 0;
};

struct Split {
  int replicas = 1, ranks = 1, micros = 1;
  Schedule (*schedule)(int ranks, int micros) = gpipe;
  const char* name = "gpipe";
};

std::int64_t bytes_between(const Schedule& schedule, const RaggedStages& stages) {
  std::int64_t bytes = 0;
  for (int s = 0; s + 1 < schedule.stages(); ++s) {
    if (schedule.rank_of(s) == schedule.rank_of(s + 1)) continue;
    for (int micro = 0; micro < schedule.micros; ++micro)
      bytes += stages.bytes_forward(micro) + stages.bytes_backward(micro);
  }
  return bytes;
}

Outcome train(const Split& split) {
  Outcome outcome;
  std::mutex lock;
  run_ranks(split.replicas * split.ranks, [&](Communicator& world) {
    Runtime runtime;
    Context& cx = runtime.context();
    const Mesh mesh = make_mesh(world, {split.replicas, split.ranks});
    Pipeline pipeline(*mesh.pipeline, with_messages(split.schedule(split.ranks, split.micros)));
    const int stages = pipeline.schedule().stages();
    RaggedStages model(cx, stages, split.micros, split.replicas, mesh.here.data);
    const std::vector<Parameter*> params = model.params_of(pipeline.stages_here());
    DataParallel replicas(cx, *mesh.data, make_dense_reducer(*mesh.data), params);
    StepWeight whole(cx, *mesh.data, model, split.micros);
    ExecutorHooks hooks;
    const int passes = computed_micros(model, split.micros);
    hooks.recorded = [&](Tape& tape) { replicas.overlap(cx, tape, passes); };
    LossSum sum;
    sum.add(model, pipeline.train(cx, model, whole, hooks));
    replicas.finish_gradients(cx);
    const double loss = sum_over_ranks(cx, world, sum.loss);
    const double weight = sum_over_ranks(cx, world, sum.weight);
    EXPECT_EQ(weight, whole.total(cx));
    const std::scoped_lock guard(lock);
    outcome.loss = loss / weight;
    outcome.weight = weight;
    for (const Parameter* p : params)
      outcome.gradients[p->name] = p->grad.to_host<float>(cx);
    outcome.activation_bytes += world.ledger().total(Traffic::kActivation).sent_bytes;
    if (mesh.here.pipeline == 0)
      outcome.expected_bytes += bytes_between(pipeline.schedule(), model);
  });
  return outcome;
}

std::vector<Split> splits() {
  struct Named {
    const char* name;
    Schedule (*make)(int ranks, int micros);
  };
  const Named schedules[] = {
      {"gpipe", gpipe},
      {"one_f_one_b", one_f_one_b},
      {"interleaved", [](int r, int m) { return interleaved(r, 2, m); }},
      {"zero_bubble", zero_bubble},
  };
  std::vector<Split> all;
  for (const int replicas : {1, 2, 4}) {
    for (const int ranks : {1, 2}) {
      for (const int micros : {1, 2, 4, 8, 16}) {
        if (replicas * micros > RaggedStages::kSamples) continue;
        for (const Named& s : schedules)
          all.push_back({replicas, ranks, micros, s.make, s.name});
      }
    }
  }
  return all;
}

class RaggedSplit : public testing::TestWithParam<Split> {};
INSTANTIATE_TEST_SUITE_P(EverySchedule, RaggedSplit, testing::ValuesIn(splits()),
                         [](const auto& p) {
                           const Split& s = p.param;
                           return std::to_string(s.replicas) + "x" + std::to_string(s.ranks) + "x" +
                                  std::to_string(s.micros) + s.name;
                         });

TEST_P(RaggedSplit, GivesTheGradientsOfOneBatch) {
  static const Outcome expected = train({});
  const Outcome got = train(GetParam());
  ASSERT_GT(expected.weight, 20.0);
  EXPECT_EQ(got.weight, expected.weight);
  const double rounding = test::tolerance(DType::kF32, 100);
  EXPECT_NEAR(got.loss, expected.loss, rounding);
  ASSERT_EQ(got.gradients.size(), expected.gradients.size());
  for (const auto& [name, values] : expected.gradients) {
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_NEAR(got.gradients.at(name)[i], values[i], rounding) << name << " " << i;
  }
  EXPECT_EQ(got.activation_bytes, got.expected_bytes);
}

using MakeBoundary = std::unique_ptr<ActivationTransport> (*)(Context&, Communicator&,
                                                              const Schedule&);

std::unique_ptr<ActivationTransport> plain(Context&, Communicator& comm, const Schedule&) {
  return make_plain_transport(comm);
}

// Of four micro-batches on two stages.
std::vector<double> losses_over(MakeBoundary boundary, bool empty = false) {
  std::vector<double> losses;
  run_ranks(2, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    const Schedule schedule = with_messages(one_f_one_b(2, 4));
    Pipeline pipeline(comm, schedule, boundary(cx, comm, schedule));
    RaggedStages model(cx, 2, 4, 1, 0);
    if (empty) model.forget_samples();
    StepWeight whole(100.0);
    const std::vector<double> got = pipeline.train(cx, model, whole, {});
    if (comm.rank() == 1) losses = got;
  });
  return losses;
}

TEST(Ragged, EvaluatesWhatTrainingSees) {
  run_ranks(2, [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Pipeline pipeline(comm, with_messages(gpipe(2, 16)));
    RaggedStages model(cx, 2, 16, 1, 0);
    LossSum sum;
    sum.add(model, pipeline.evaluate(cx, model, 16));
    if (comm.rank() == 0) return;
    const Outcome expected = train({});
    EXPECT_EQ(sum.weight, expected.weight);
    EXPECT_NEAR(sum.loss / sum.weight, expected.loss, test::tolerance(DType::kF32, 100));
  });
}

// All of a step is empty: nothing is computed, nothing is sent, and nothing waits.
TEST(Ragged, AStepWithoutWeightIsPassedOver) {
  EXPECT_EQ(losses_over(plain, /*empty=*/true), std::vector<double>(4, 0.0));
}

TEST(Ragged, Bf16BoundaryNarrowsFloatsAndLeavesIntegers) {
  const std::vector<double> same = losses_over(plain);
  const std::vector<double> narrow = losses_over(
      [](Context&, Communicator& comm, const Schedule&) { return make_bf16_transport(comm); });
  ASSERT_EQ(narrow.size(), same.size());
  EXPECT_NE(narrow, same);
  for (std::size_t m = 0; m < same.size(); ++m)
    EXPECT_NEAR(narrow[m], same[m], 0.05);
}

// References are of one tensor and one shape; which setting to change is said.
TEST(Ragged, Int8BoundaryRefusesSeveralTensors) {
  const auto int8 = [](Context& cx, Communicator& comm, const Schedule& schedule) {
    return make_int8_transport(cx, comm, schedule, {5, RaggedStages::kWidth});
  };
  // Of several tensors travel 4 from one stage and 3 from another; either rank may be first.
  test::expect_error(ErrorKind::kConfig, "tensors of floats: set it to \"bf16\" or \"same\"",
                     [&] { losses_over(int8); });
}

// Tensors as model::activations() has not said.
TEST(Ragged, AnotherTensorThanAnnouncedIsAnError) {
  class Liar final : public StageModel {
   public:
    std::vector<Var> forward(Context& cx, Tape& tape, int, int, std::span<const Var>) override {
      return {tape.constant(Tensor::zeros(cx, {3}, DType::kF32))};
    }
    std::vector<TensorSpec> activations(int, int) const override { return {{{4}, DType::kF32}}; }
    double weight(int) const override { return weight_; }
    double weight_ = 1.0;
  };
  run_ranks(1, [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Pipeline pipeline(comm, with_messages(interleaved(1, 2, 1)));
    Liar model;
    StepWeight whole(1.0);
    test::expect_error(ErrorKind::kShape,
                       "stage 0 of micro-batch 0 gave (f32 [3]), not (f32 [4]) as announced",
                       [&] { pipeline.train(cx, model, whole, {}); });
    model.weight_ = -1.0;
    test::expect_error(ErrorKind::kUsage, "micro-batch 0: a weight of -1",
                       [&] { pipeline.train(cx, model, whole, {}); });
  });
}

}  // namespace
}  // namespace gradwire
