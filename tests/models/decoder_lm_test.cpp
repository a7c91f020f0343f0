#include "models/decoder_lm.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/ops/cross_entropy/cross_entropy.h"

namespace gradwire {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

DecoderConfig tiny() {
  DecoderConfig c;
  c.vocab = 11;
  c.layers = 1;
  c.width = 8;
  c.heads = 2;
  c.kv_heads = 1;
  c.ffn_width = 12;
  return c;
}

class DecoderTest : public testing::Test {
 protected:
  double loss(DecoderLm& model, Tape& tape, Var* out = nullptr) {
    const std::vector<std::int32_t> ids{1, 2, 3, 4, 5, 6};
    const std::vector<std::int32_t> next{2, 3, 4, 5, 6, 7};
    const Var logits = model.logits(cx, tape, Tensor::from(cx, {2, 3}, ids));
    const Var l = cross_entropy(cx, tape, logits, Tensor::from(cx, {2, 3}, next));
    if (out != nullptr) *out = l;
    return tape.value(l).to_host<float>(cx)[0];
  }
  Runtime runtime;
  Context& cx = runtime.context();
};

TEST_F(DecoderTest, NamesAndShapesAreThoseOfLlama) {
  DecoderConfig config = tiny();
  config.tie_embeddings = false;
  DecoderLm model(cx, config);
  std::vector<std::string> names;
  std::int64_t elements = 0;
  model.visit_params([&](Parameter& p) {
    names.push_back(p.name + to_string(p.value.shape()));
    elements += p.value.numel();
  });
  EXPECT_THAT(names, ElementsAre("model.embed_tokens.weight[11, 8]",
                                 "model.layers.0.input_layernorm.weight[8]",
                                 "model.layers.0.self_attn.q_proj.weight[8, 8]",
                                 "model.layers.0.self_attn.k_proj.weight[4, 8]",
                                 "model.layers.0.self_attn.v_proj.weight[4, 8]",
                                 "model.layers.0.self_attn.o_proj.weight[8, 8]",
                                 "model.layers.0.post_attention_layernorm.weight[8]",
                                 "model.layers.0.mlp.gate_proj.weight[12, 8]",
                                 "model.layers.0.mlp.up_proj.weight[12, 8]",
                                 "model.layers.0.mlp.down_proj.weight[8, 12]",
                                 "model.norm.weight[8]", "lm_head.weight[11, 8]"));
  EXPECT_EQ(elements, parameter_count(config));
}

TEST_F(DecoderTest, UntrainedLossIsThatOfAUniformGuess) {
  DecoderLm model(cx, tiny());
  Tape tape(false);
  EXPECT_NEAR(loss(model, tape), std::log(11.0), 0.05);
}

// Directional derivative along the gradient itself, by central differences.
TEST_F(DecoderTest, GradientIsTheSlopeOfTheLoss) {
  DecoderLm model(cx, tiny());
  for (Parameter* p : parameters_of(model)) {  // away from the flat start, so that slopes are large
    fill_normal(cx, p->value, Rng{derive_seed(7, p->name), 0}, 0.3);
  }
  Tape tape;
  Var l;
  loss(model, tape, &l);
  tape.backward(cx, l, Tensor::from(cx, {}, std::vector<float>{1.0F}));
  for (Parameter* p : parameters_of(model)) {
    const std::vector<float> grad = p->grad.to_host<float>(cx);
    double square = 0.0;
    for (const float g : grad)
      square += static_cast<double>(g) * g;
    const double step = 1e-2 / std::sqrt(square);
    const auto at = [&](double t) {
      Tape forward(false);
      add_scaled(cx, p->value, p->grad, t);
      ++p->version;
      const double value = loss(model, forward);
      add_scaled(cx, p->value, p->grad, -t);
      ++p->version;
      return value;
    };
    const double slope = (at(step) - at(-step)) / (2 * step);
    EXPECT_NEAR(slope / square, 1.0, 0.02) << p->name;
  }
}

// Three samples in one row against each in a row of its own: the same logits, and the same
// gradients of their sum.
TEST_F(DecoderTest, SamplesInARowDoNotSeeEachOther) {
  for (const bool recomputes : {false, true}) {
    DecoderConfig config = tiny();
    config.layers = 2;
    config.qk_norm = config.qkv_bias = true;
    config.recompute = recomputes;
    DecoderLm model(cx, config);
    const UnitRange all{0, unit_count(config)};
    const std::vector<std::vector<std::int32_t>> samples{{1, 2, 3}, {4}, {5, 6, 7, 8, 9}};
    std::vector<std::int32_t> ids, starts;
    for (const auto& sample : samples) {
      starts.insert(starts.end(), sample.size(), static_cast<std::int32_t>(ids.size()));
      ids.insert(ids.end(), sample.begin(), sample.end());
    }
    const auto gradients = [&] {
      std::vector<double> out;
      model.visit_params([&](Parameter& p) {
        const std::vector<double> values = p.grad.to_host<double>(cx);
        out.insert(out.end(), values.begin(), values.end());
        p.grad_empty = true;
      });
      return out;
    };
    const auto run = [&](const std::vector<std::int32_t>& row, const Tensor& begins) {
      const auto tokens = std::ssize(row);
      Tape tape;
      const Var y =
          model.forward(cx, tape, all, Tensor::from(cx, {1, tokens}, row), {}, nullptr, {}, begins);
      Tensor seed = Tensor::empty(cx, tape.value(y).shape(), DType::kF32);
      fill(cx, seed, 1.0);
      const std::vector<double> logits = tape.value(y).to_host<double>(cx);
      tape.backward(cx, y, seed);
      return logits;
    };
    const std::vector<double> packed = run(ids, Tensor::from(cx, {1, std::ssize(ids)}, starts));
    const std::vector<double> packed_gradients = gradients();
    std::vector<double> alone;
    for (const auto& sample : samples) {
      const std::vector<double> logits = run(sample, {});
      alone.insert(alone.end(), logits.begin(), logits.end());
    }
    EXPECT_THAT(packed, testing::Pointwise(testing::DoubleNear(1e-6), alone));
    EXPECT_THAT(packed_gradients, testing::Pointwise(testing::DoubleNear(1e-5), gradients()));
  }
}

TEST_F(DecoderTest, FrozenParametersHaveNoGradient) {
  DecoderLm model(cx, tiny());
  set_trainable(model, {"*q_proj*"});
  Tape tape;
  Var l;
  loss(model, tape, &l);
  tape.backward(cx, l, Tensor::from(cx, {}, std::vector<float>{1.0F}));
  for (Parameter* p : parameters_of(model)) {
    EXPECT_EQ(static_cast<bool>(p->grad), p->name.find("q_proj") != std::string::npos) << p->name;
  }
}

TEST_F(DecoderTest, PatternThatMatchesNothingIsNamed) {
  DecoderLm model(cx, tiny());
  try {
    set_trainable(model, {"*", "*.lora_A"});
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kConfig);
    EXPECT_THAT(e.what(), HasSubstr("'*.lora_A' matches no parameter"));
  }
}

TEST_F(DecoderTest, ConfigurationsThatDoNotFitAreRefused) {
  for (const auto& spoil : std::vector<std::function<void(DecoderConfig&)>>{
           [](DecoderConfig& c) { c.heads = 3; }, [](DecoderConfig& c) { c.heads = 8; },
           [](DecoderConfig& c) { c.kv_heads = 3; }, [](DecoderConfig& c) { c.vocab = 0; }}) {
    DecoderConfig config = tiny();
    spoil(config);
    EXPECT_THROW(DecoderLm(cx, config), Error);
  }
}

TEST_F(DecoderTest, Bf16FollowsF32) {
  DecoderConfig config = tiny();
  config.width = 64;
  config.ffn_width = 96;
  DecoderLm exact(cx, config);
  config.compute = DType::kBf16;
  DecoderLm rounded(cx, config);
  Tape a(false), b(false);
  // A few units in the eighth bit of bf16 through the layers, on a loss of about 2.4.
  EXPECT_NEAR(loss(exact, a), loss(rounded, b), 4 * 0.00390625 * std::log(11.0));
}

}  // namespace
}  // namespace gradwire
