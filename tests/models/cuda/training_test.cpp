// A decoder trained on CUDA against the same on the CPU: losses step by step.
#include <cmath>

#include "core/ops/cross_entropy/cross_entropy.h"
#include "models/decoder_lm.h"
#include "optim/adamw.h"
#include "tests/core/cuda/fixture.h"

namespace gradwire::test {
namespace {

constexpr int kSteps = 12;
constexpr std::int64_t kRows = 3, kLength = 70;

DecoderConfig small(DType compute) {
  DecoderConfig c;
  c.vocab = 300;
  c.layers = 2;
  c.width = 128;
  c.heads = 4;
  c.kv_heads = 2;
  c.ffn_width = 256;
  c.compute = compute;
  return c;
}

// Tokens that can be predicted: each row counts up by a step of its own.
std::vector<std::int32_t> counting(std::int64_t vocabulary, std::int64_t step, std::int64_t shift) {
  std::vector<std::int32_t> ids;
  for (std::int64_t row = 0; row < kRows; ++row)
    for (std::int64_t t = 0; t < kLength; ++t)
      ids.push_back(static_cast<std::int32_t>((step + (row + 1) * (t + shift)) % vocabulary));
  return ids;
}

std::vector<double> losses(Context& cx, const DecoderConfig& config,
                           bool frozen_embedding = false) {
  cx.rng = Rng{5, 0};
  DecoderLm model(cx, config);
  if (frozen_embedding) set_trainable(model, {"model.layers.*"});
  const auto params = trainable_parameters_of(model);
  const auto optimizer = make_adamw(cx, params, {.weight_decay = 0.1, .no_decay = {}});
  std::vector<double> all;
  for (int step = 1; step <= kSteps; ++step) {
    Tape tape;
    const Var logits =
        model.logits(cx, tape, Tensor::from(cx, {kRows, kLength}, counting(config.vocab, step, 0)));
    const Var loss = cross_entropy(
        cx, tape, logits, Tensor::from(cx, {kRows, kLength}, counting(config.vocab, step, 1)));
    all.push_back(tape.value(loss).to_host<double>(cx)[0]);
    for (Parameter* p : params)
      p->grad_empty = true;
    const Tensor one = Tensor::empty(cx, {}, tape.value(loss).dtype());
    fill(cx, one, 1.0);
    tape.backward(cx, loss, one);
    optimizer->apply(cx, {.step = step, .lr = 3e-3});
  }
  return all;
}

class CudaTraining : public CudaTest {
 protected:
  void expect_same_losses(const DecoderConfig& config, double relative,
                          bool frozen_embedding = false) {
    const std::vector<double> want = losses(cpu, config, frozen_embedding);
    const std::vector<double> got = losses(cuda, config, frozen_embedding);
    EXPECT_LT(want.back(), want.front() - 0.5) << "nothing was learned";
    for (std::size_t i = 0; i < want.size(); ++i)
      EXPECT_LE(std::abs(got[i] - want[i]), relative * want[i])
          << "step " << i + 1 << ": " << got[i] << " instead of " << want[i];
  }
};

TEST_F(CudaTraining, LossesAreTheCpus) {
  expect_same_losses(small(DType::kF32), 2e-4);
}

TEST_F(CudaTraining, LossesInBf16AreTheCpus) {
  expect_same_losses(small(DType::kBf16), 1e-2);
}

TEST_F(CudaTraining, RecomputingBlocksChangesNoBit) {
  DecoderConfig config = small(DType::kBf16);
  const std::vector<double> kept = losses(cuda, config);
  config.recompute = true;
  EXPECT_EQ(losses(cuda, config), kept);
}

TEST_F(CudaTraining, ARunRepeatsBitForBit) {
  DecoderConfig config = small(DType::kBf16);
  config.dropout = 0.1;
  EXPECT_EQ(losses(cuda, config), losses(cuda, config));
}

TEST_F(CudaTraining, FrozenParametersStayOutOfIt) {
  expect_same_losses(small(DType::kF32), 2e-4, true);
}

}  // namespace
}  // namespace gradwire::test
