// Every schedule on several ranks computes what one rank computes by itself, bit for bit.
#include "parallel/pipeline/executor.h"

#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/error.h"
#include "tests/support/decoder_stages.h"

namespace gradwire {
namespace {

using test::DecoderStages;
constexpr int kMicros = 6;
using Gradients = std::map<std::string, std::vector<float>>;

struct Outcome {
  std::vector<double> losses;
  Gradients gradients;
  std::vector<TimelineEvent> timeline;  // of all ranks
};

DecoderConfig untied(bool recompute) {
  DecoderConfig config = test::small_decoder();
  config.tie_embeddings = false;
  config.recompute = recompute;
  return config;
}

// An ordinary loop over micro-batches.
Outcome reference() {
  Runtime runtime;
  Context& cx = runtime.context();
  const Schedule one = gpipe(1, kMicros);
  DecoderStages stages(cx, untied(false), {{0, 8}}, one, 0);
  Outcome outcome;
  for (int micro = 0; micro < kMicros; ++micro) {
    Tape tape;
    const Var loss = stages.forward(cx, tape, 0, micro, {})[0];
    outcome.losses.push_back(tape.value(loss).to_host<float>(cx)[0]);
    Tensor seed = Tensor::empty(cx, {}, DType::kF32);
    fill(cx, seed, 1.0 / kMicros);
    tape.backward(cx, loss, seed);
  }
  for (const Parameter* p : parameters_of(stages.model()))
    outcome.gradients[p->name] = p->grad.to_host<float>(cx);
  return outcome;
}

Outcome pipelined(const Schedule& compute, bool recompute) {
  const Schedule schedule = with_messages(compute);
  Outcome outcome;
  std::mutex lock;
  run_ranks(static_cast<int>(schedule.ranks.size()), [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    DecoderStages stages(cx, untied(recompute), test::even_cut(8, schedule.stages()), schedule,
                         comm.rank());
    const auto boundary = make_plain_transport(comm);
    Executor executor(comm, schedule, *boundary);
    std::vector<int> reduced;
    ExecutorHooks hooks;
    hooks.reduce = [&](int stage) { reduced.push_back(stage); };
    StepWeight whole(kMicros);
    const std::vector<double> losses = executor.train(cx, stages, whole, hooks);
    const std::scoped_lock guard(lock);
    EXPECT_EQ(static_cast<int>(reduced.size()), schedule.chunks);
    EXPECT_EQ(executor.timeline().size(),
              schedule.ranks[static_cast<std::size_t>(comm.rank())].size());
    outcome.timeline.insert(outcome.timeline.end(), executor.timeline().begin(),
                            executor.timeline().end());
    if (!losses.empty()) outcome.losses = losses;
    for (const Parameter* p : parameters_of(stages.model())) {
      EXPECT_TRUE(outcome.gradients.emplace(p->name, p->grad.to_host<float>(cx)).second);
    }
  });
  return outcome;
}

struct Named {
  const char* name;
  Schedule (*make)(int ranks);
};

class ExecutorTest : public testing::TestWithParam<std::tuple<Named, int, bool>> {};
INSTANTIATE_TEST_SUITE_P(
    Schedules, ExecutorTest,
    testing::Combine(
        testing::Values(Named{"gpipe", [](int r) { return gpipe(r, kMicros); }},
                        Named{"one_f_one_b", [](int r) { return one_f_one_b(r, kMicros); }},
                        Named{"interleaved", [](int r) { return interleaved(r, 2, kMicros); }},
                        Named{"zero_bubble", [](int r) { return zero_bubble(r, kMicros); }}),
        testing::Values(1, 2, 3, 4), testing::Bool()),
    [](const auto& p) {
      return std::string(std::get<0>(p.param).name) + std::to_string(std::get<1>(p.param)) +
             (std::get<2>(p.param) ? "recomputed" : "");
    });

TEST_P(ExecutorTest, IsOneRankBitForBit) {
  const auto& [schedule, ranks, recompute] = GetParam();
  static const Outcome expected = reference();
  const Outcome got = pipelined(schedule.make(ranks), recompute);
  EXPECT_EQ(got.losses, expected.losses);
  ASSERT_EQ(got.gradients.size(), expected.gradients.size());
  for (const auto& [name, values] : expected.gradients)
    EXPECT_EQ(got.gradients.at(name), values) << name;
}

// What is waited for is no computing: a receive ends after its send began, and what uses it begins
// after that.
TEST(Executor, TimelineKeepsWaitingAndComputingApart) {
  const Outcome got = pipelined(zero_bubble(3, kMicros), false);
  const auto event = [&](Act act, int stage, int micro) {
    const Action wanted = make_action(act, stage, micro);
    const auto is = [&](const TimelineEvent& e) { return e.action == wanted; };
    const auto found = std::find_if(got.timeline.begin(), got.timeline.end(), is);
    if (found == got.timeline.end()) throw Error(ErrorKind::kInternal, to_text(wanted));
    return *found;
  };
  for (int micro = 0; micro < kMicros; ++micro) {
    for (int stage = 0; stage < 2; ++stage) {
      const TimelineEvent result = event(Act::kReceiveResult, stage, micro);
      EXPECT_GE(result.end_s, event(Act::kSendResult, stage, micro).begin_s);
      EXPECT_LE(result.end_s, event(Act::kForward, stage + 1, micro).begin_s);
      const TimelineEvent gradient = event(Act::kReceiveGradient, stage + 1, micro);
      EXPECT_GE(gradient.end_s, event(Act::kSendGradient, stage + 1, micro).begin_s);
      EXPECT_LE(gradient.end_s, event(Act::kBackwardInput, stage, micro).begin_s);
    }
  }
  for (const TimelineEvent& e : got.timeline)
    EXPECT_LE(e.begin_s, e.end_s) << to_text(e.action);
}

TEST(Executor, EvaluatesWithoutKeepingAnything) {
  Schedule schedule = gpipe(2, kMicros);
  for (Program& p : schedule.ranks)
    p.resize(kMicros);
  schedule = with_messages(schedule);
  run_ranks(2, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    DecoderStages stages(cx, untied(false), test::even_cut(8, 2), schedule, comm.rank());
    const auto boundary = make_plain_transport(comm);
    Executor executor(comm, schedule, *boundary);
    const std::vector<double> losses = executor.evaluate(cx, stages);
    EXPECT_EQ(losses.size(), comm.rank() == 1 ? kMicros : 0U);
    for (const double loss : losses)
      EXPECT_NEAR(loss, std::log(31.0), 0.1);
  });
}

TEST(Executor, OtherNumberOfRanksIsAnError) {
  run_ranks(2, [](Communicator& comm) {
    const auto boundary = make_plain_transport(comm);
    EXPECT_THROW(Executor(comm, with_messages(gpipe(3, 2)), *boundary), Error);
  });
}

TEST(Executor, AFailingStageFailsTheOthersWithItsCause) {
  class Failing final : public StageModel {
   public:
    explicit Failing(int rank) : rank_(rank) {}
    std::vector<Var> forward(Context& cx, Tape& tape, int, int micro,
                             std::span<const Var>) override {
      if (rank_ == 1 && micro == 2) throw Error(ErrorKind::kData, "no such token");
      return {tape.constant(Tensor::zeros(cx, rank_ == 2 ? Shape{} : Shape{4}, DType::kF32))};
    }
    std::vector<TensorSpec> activations(int, int) const override { return {{{4}, DType::kF32}}; }
    double weight(int) const override { return 1.0; }

   private:
    int rank_;
  };
  try {
    run_ranks(3, [](Communicator& comm) {
      Runtime runtime;
      Failing model(comm.rank());
      const auto boundary = make_plain_transport(comm);
      Executor executor(comm, with_messages(one_f_one_b(3, 4)), *boundary);
      StepWeight whole(4.0);
      executor.train(runtime.context(), model, whole, {});
    });
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kData);
    EXPECT_THAT(e.what(), testing::HasSubstr("no such token"));
  }
}

}  // namespace
}  // namespace gradwire
