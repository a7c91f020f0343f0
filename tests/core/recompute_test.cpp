// Backward in two parts, and backward that runs a part of the forward pass again: both give the
// gradients of an ordinary backward, bit for bit.
#include "core/recompute.h"

#include <set>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/ops/dropout/dropout.h"
#include "core/ops/elementwise/elementwise.h"
#include "core/ops/linear/linear.h"
#include "core/ops/norm/norm.h"

namespace gradwire {
namespace {

constexpr std::int64_t kWidth = 24;

struct Layer {
  Parameter norm, weight, bias;
  std::vector<Parameter*> all() { return {&norm, &weight, &bias}; }
};

class TwoLayers : public testing::Test {
 protected:
  TwoLayers() {
    int seed = 0;
    for (Layer& layer : layers) {
      for (Parameter* p : layer.all()) {
        p->name = std::string(1, static_cast<char>('a' + seed));
        p->value = random(p == &layer.weight ? Shape{kWidth, kWidth} : Shape{kWidth}, seed++);
      }
    }
    cx.rng = Rng{5, 0};
  }

  Tensor random(const Shape& shape, int seed) {
    Tensor t = Tensor::empty(cx, shape, DType::kF32);
    fill_normal(cx, t, Rng{static_cast<std::uint64_t>(seed), 0}, 1.0);
    return t;
  }
  static Var layer(Context& cx, Tape& tape, Layer& l, Var x) {
    const Var h = rmsnorm(cx, tape, x, tape.param(l.norm), 1e-5);
    const Var y = linear(cx, tape, h, tape.param(l.weight), tape.param(l.bias));
    return add(cx, tape, x, dropout(cx, tape, unary(cx, tape, Unary::kSilu, y), 0.25));
  }
  Var forward(Tape& tape, Var x, bool recomputed) {
    for (Layer& l : layers) {
      const auto part = [&l](Context& c, Tape& t, Var in) { return layer(c, t, l, in); };
      x = recomputed ? recompute(cx, tape, x, l.all(), part) : part(cx, tape, x);
    }
    return x;
  }

  // The gradients of the input and of all parameters, two micro-batches added up.
  std::vector<std::vector<float>> gradients(bool recomputed, bool split) {
    cx.rng = Rng{5, 0};
    std::vector<std::vector<float>> found;
    for (Layer& l : layers)
      for (Parameter* p : l.all())
        clear_grad(*p);
    for (int micro = 0; micro < 2; ++micro) {
      Tape tape;
      const Var x = tape.input(random({3, 5, kWidth}, 100 + micro));
      const Var y = forward(tape, x, recomputed);
      const Tensor seed = random({3, 5, kWidth}, 200 + micro);
      if (split) {
        tape.backward_inputs(cx, y, seed);
        found.push_back(tape.grad(x).to_host<float>(cx));
        tape.backward_weights(cx);
      } else {
        tape.backward(cx, y, seed);
        found.push_back(tape.grad(x).to_host<float>(cx));
      }
    }
    for (Layer& l : layers)
      for (Parameter* p : l.all())
        found.push_back(p->grad.to_host<float>(cx));
    return found;
  }

  Runtime runtime;
  Context& cx = runtime.context();
  Layer layers[2];
};

TEST_F(TwoLayers, SplitBackwardGivesTheSameGradients) {
  EXPECT_EQ(gradients(false, true), gradients(false, false));
}

TEST_F(TwoLayers, RecomputedPartsGiveTheSameGradientsWithDropout) {
  EXPECT_EQ(gradients(true, false), gradients(false, false));
}

TEST_F(TwoLayers, BothTogether) {
  EXPECT_EQ(gradients(true, true), gradients(false, false));
}

TEST_F(TwoLayers, TheFirstPassKeepsOnlyInputs) {
  const auto bytes_after_forward = [&](bool recomputed) {
    Tape tape;
    const auto before = cx.alloc->stats().live_bytes;
    forward(tape, tape.input(random({8, 64, kWidth}, 1)), recomputed);
    return cx.alloc->stats().live_bytes - before;
  };
  // Of each layer: its input, against that, the norm's and the product's outputs, dropout's mask.
  EXPECT_LT(2 * bytes_after_forward(true), bytes_after_forward(false));
}

// A pipeline submits gradients when they are final: with a split backward those of the products
// are only after its second part.
TEST_F(TwoLayers, ParametersAreReadyWhenTheirLastPartIsDone) {
  for (const bool recomputed : {false, true}) {
    Tape tape;
    std::multiset<std::string> ready;
    tape.on_param_ready([&](Parameter& p) { ready.insert(p.name); });
    const Var y = forward(tape, tape.input(random({2, kWidth}, 1)), recomputed);
    tape.backward_inputs(cx, y, random({2, kWidth}, 2));
    for (Layer& l : layers)
      EXPECT_EQ(ready.count(l.weight.name), 0U);
    tape.backward_weights(cx);
    EXPECT_EQ(ready, (std::multiset<std::string>{"a", "b", "c", "d", "e", "f"}));
  }
}

TEST_F(TwoLayers, FrozenWeightsComputeNoGradient) {
  layers[1].weight.trainable = false;
  for (const bool recomputed : {false, true}) {
    Tape tape;
    const Var y = forward(tape, tape.input(random({2, kWidth}, 1)), recomputed);
    tape.backward_inputs(cx, y, random({2, kWidth}, 2));
    tape.backward_weights(cx);
    EXPECT_FALSE(layers[1].weight.grad);
    EXPECT_TRUE(layers[0].weight.grad);
  }
}

TEST_F(TwoLayers, WeightsBeforeInputsIsAnError) {
  Tape tape;
  EXPECT_THROW(tape.backward_weights(cx), Error);
}

}  // namespace
}  // namespace gradwire
