// The loss of a step over samples: the mean over the answers of all ranks and micro-batches,
// however the step is cut into them.
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/pipeline/step_weight.h"
#include "tests/support/temp_folder.h"

#include "jobs/language_model/task.h"

namespace gradwire {
namespace {

constexpr std::int64_t kContext = 24, kVocabulary = 50, kRowsOfAStep = 8;

DecoderConfig tiny() {
  DecoderConfig c;
  c.vocab = kVocabulary;
  c.layers = 2;
  c.width = 16;
  c.heads = 2;
  c.kv_heads = 1;
  c.ffn_width = 24;
  return c;
}

class FineTuning : public testing::Test {
 protected:
  FineTuning() {
    TokenFileWriter out(folder_.file("s.h5"), {kVocabulary, 7, true});
    for (std::int32_t i = 0; i < 60; ++i) {
      std::vector<std::int32_t> ids(static_cast<std::size_t>(3 + i * 7 % 19));
      std::iota(ids.begin(), ids.end(), i * 3 % 20);
      std::vector<std::uint8_t> answers(ids.size(), 0);
      const auto count = static_cast<std::ptrdiff_t>(1 + i * 5 % (std::ssize(ids) - 1));
      std::fill_n(answers.rbegin(), count, std::uint8_t{1});
      out.add_sample(ids, answers);
    }
    out.finish();
    file_.emplace(TokenFile::open(folder_.file("s.h5")));
  }
  std::unique_ptr<LanguageModelTask> task(int rank, int ranks, std::int64_t batch, bool packs) {
    TaskData data;
    data.train = data.valid = &*file_;
    data.sampler = {.sequence = kContext, .batch = batch, .seed = 3, .rank = rank, .ranks = ranks};
    data.packs = packs;
    Context init = cx;
    init.rng = Rng{11, 0};
    return std::make_unique<LanguageModelTask>(cx, std::make_unique<DecoderLm>(init, tiny()),
                                               std::vector<UnitRange>{{0, unit_count(tiny())}},
                                               data);
  }
  // Gradients of the n-th step of so many ranks, as the program adds them up.
  std::vector<double> gradients(int ranks, std::int64_t batch, bool packs, int steps) {
    const int micros = static_cast<int>(kRowsOfAStep / (ranks * batch));
    std::vector<std::unique_ptr<LanguageModelTask>> tasks;
    for (int r = 0; r < ranks; ++r)
      tasks.push_back(task(r, ranks, batch, packs));
    std::vector<double> sum;
    for (int step = 0; step < steps; ++step) {
      std::vector<StageModel*> models;
      double total = 0.0;
      for (const auto& t : tasks) {
        models.push_back(&t->next_step());
        EXPECT_FALSE(models.back()->total_weight(micros).has_value());
        for (int m = 0; m < micros; ++m)
          total += models.back()->weight(m);
      }
      sum.clear();
      for (std::size_t r = 0; r < tasks.size(); ++r)
        add(sum, step_of(*tasks[r], *models[r], micros, StepWeight(total, ranks)), ranks);
    }
    return sum;
  }
  static void add(std::vector<double>& sum, const std::vector<double>& part, int ranks) {
    sum.resize(part.size());
    for (std::size_t i = 0; i < part.size(); ++i)
      sum[i] += part[i] / ranks;
  }
  std::vector<double> step_of(LanguageModelTask& task, StageModel& model, int micros,
                              StepWeight whole) {
    for (int m = 0; m < micros; ++m) {
      Tape tape;
      const Var loss = model.forward(cx, tape, 0, m, {}).front();
      const auto seed = static_cast<float>(whole.seed(cx, model.weight(m)));
      tape.backward(cx, loss, Tensor::from(cx, {}, std::vector<float>{seed}));
    }
    std::vector<double> all;
    for (Parameter* p : task.parameters()) {
      const std::vector<double> g = p->grad.to_host<double>(cx);
      all.insert(all.end(), g.begin(), g.end());
      p->grad_empty = true;
    }
    return all;
  }
  test::TempFolder folder_;
  std::optional<TokenFile> file_;
  Runtime runtime_;
  Context& cx = runtime_.context();
};

TEST_F(FineTuning, AnySplitOfAStepGivesTheSameGradient) {
  for (const bool packs : {true, false}) {
    const std::vector<double> whole = gradients(1, kRowsOfAStep, packs, 2);
    double largest = 0.0;
    for (const double g : whole)
      largest = std::max(largest, std::abs(g));
    ASSERT_GT(largest, 1e-3);
    for (const auto& [ranks, batch] : {std::pair{1, 1}, {1, 4}, {2, 4}, {2, 1}, {4, 2}, {8, 1}}) {
      EXPECT_THAT(gradients(ranks, batch, packs, 2),
                  testing::Pointwise(testing::DoubleNear(1e-5 * largest), whole))
          << ranks << " ranks, batches of " << batch;
    }
  }
}

// What lies beside a sample in its row does not change what it is worth: over an epoch, packed or
// not, the sums of losses over all answers are the same.
TEST_F(FineTuning, PackingDoesNotChangeTheLossOfAnEpoch) {
  const auto loss_of_an_epoch = [&](bool packs) {
    const auto all = task(0, 1, 1, packs);
    double sum = 0.0, weight = 0.0;
    while (all->epoch() < 1.0) {
      StageModel& model = all->next_step();
      Tape tape(false);
      const Var loss = model.forward(cx, tape, 0, 0, {}).front();
      sum += model.weight(0) * static_cast<double>(tape.value(loss).to_host<float>(cx)[0]);
      weight += model.weight(0);
    }
    EXPECT_EQ(weight, static_cast<double>(file_->answer_tokens()));
    return sum / weight;
  };
  EXPECT_NEAR(loss_of_an_epoch(true), loss_of_an_epoch(false), 1e-5);
}

TEST_F(FineTuning, CountersLeavePaddingOut) {
  const auto all = task(0, 1, 1, false);
  double tokens = 0.0;
  while (all->epoch() < 1.0) {
    Tape tape(false);
    all->next_step().forward(cx, tape, 0, 0, {});
    tokens += all->counters()[0].amount;
  }
  EXPECT_EQ(tokens, static_cast<double>(file_->tokens() - file_->documents()));
}

}  // namespace
}  // namespace gradwire
