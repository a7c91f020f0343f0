// Merged into the weights, an adapter gives what it gave beside them; taken out, the weights are
// what they were.
#include "models/adapters/merge.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "models/decoder_lm.h"
#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

using test::expect_error;

DecoderConfig tiny(bool biases) {
  DecoderConfig c;
  c.vocab = 11;
  c.layers = 2;
  c.width = 8;
  c.heads = 2;
  c.kv_heads = 1;
  c.ffn_width = 12;
  c.qkv_bias = biases;
  return c;
}

AdapterConfig of(const std::string& method) {
  AdapterConfig c;
  c.method = adapter_method_named(method);
  c.rank = 3;
  return c;
}

void shake(Context& cx, Module& module, double stddev, std::uint64_t seed) {
  module.visit_params([&](Parameter& p) {
    fill_normal(cx, p.value, Rng{derive_seed(seed, p.name), 0}, stddev);
    ++p.version;
  });
}

class World {
 public:
  explicit World(const AdapterConfig& config, bool biases = false)
      : base_(cx(), tiny(biases)), set_(cx(), prepared(), config, {"a", "b"}) {
    shake(cx(), set_, 0.4, 3);
  }
  Context& cx() { return runtime_.context(); }
  DecoderLm& base() { return base_; }
  AdapterSet& set() { return set_; }

  std::vector<float> logits(const Adaptation& adapted) {
    Tape tape(false);
    const Tensor ids = Tensor::from(cx(), {2, 3}, std::vector<std::int32_t>{1, 2, 3, 9, 10, 0});
    return tape.value(base_.logits(cx(), tape, ids, adapted)).to_host<float>(cx());
  }
  std::vector<std::vector<float>> weights() {
    std::vector<std::vector<float>> all;
    base_.visit_params([&](Parameter& p) { all.push_back(p.value.to_host<float>(cx())); });
    return all;
  }

 private:
  std::vector<Site> prepared() {
    shake(cx(), base_, 0.5, 2);
    return base_.sites();
  }
  Runtime runtime_;
  DecoderLm base_;
  AdapterSet set_;
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return largest;
}

void expect_merged_is_the_same(const AdapterConfig& config, bool biases) {
  World world(config, biases);
  const auto weights = world.weights();
  const std::vector<float> plain = world.logits({});
  const std::vector<float> adapted = world.logits(Adaptation(world.set(), 1));
  EXPECT_GT(largest_difference(plain, adapted), 0.1);
  ParameterCopies before;
  merge_adapter(world.cx(), world.base(), world.set(), 1, &before);
  EXPECT_LT(largest_difference(world.logits({}), adapted), 1e-4);
  before.give_back(world.cx());
  EXPECT_EQ(world.weights(), weights);
  EXPECT_EQ(world.logits({}), plain);
}

TEST(Merge, GivesTheLogitsOfTheAdapter) {
  for (const char* method : {"lora", "dora", "ia3"}) {
    SCOPED_TRACE(method);
    expect_merged_is_the_same(of(method), false);
  }
  AdapterConfig rslora = of("lora");
  rslora.rslora = true;
  rslora.dropout = 0.5;  // of training alone
  expect_merged_is_the_same(rslora, false);
}

TEST(Merge, TakesBiasesIntoAccount) {
  for (const char* method : {"lora", "ia3"}) {
    SCOPED_TRACE(method);
    expect_merged_is_the_same(of(method), true);
  }
  AdapterConfig bitfit = of("bitfit");
  bitfit.targets = {"*.q_proj", "*.k_proj", "*.v_proj"};
  expect_merged_is_the_same(bitfit, true);
}

TEST(Merge, RefusesWhatNoWeightCanStandFor) {
  for (const char* method : {"houlsby", "pfeiffer", "parallel", "vlpet_large", "vlpet_middle_x",
                             "vlpet_middle_y", "vlpet_small"}) {
    World world(of(method));
    expect_error(ErrorKind::kConfig, "the adapter at model.layers.0.",
                 [&] { merge_adapter(world.cx(), world.base(), world.set(), 0); });
  }
  World bitfit(of("bitfit"));
  expect_error(ErrorKind::kConfig, "no weight of this model can stand for it",
               [&] { merge_adapter(bitfit.cx(), bitfit.base(), bitfit.set(), 0); });
}

TEST(Merge, RefusesWhatIsNotFinite) {
  World world(of("lora"));
  Parameter* const a = world.set().parameters_of_adapter(0).front();
  fill(world.cx(), a->value, std::numeric_limits<double>::infinity());
  const auto weights = world.weights();
  ParameterCopies before;
  expect_error(ErrorKind::kNumeric, "q_proj.weight: merged, it is not finite",
               [&] { merge_adapter(world.cx(), world.base(), world.set(), 0, &before); });
  before.give_back(world.cx());
  EXPECT_EQ(world.weights(), weights);
}

}  // namespace
}  // namespace gradwire
