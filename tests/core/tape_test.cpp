#include "core/tape.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace gradwire {
namespace {

// y = a * x for a scalar a, the smallest op there is.
Var times(Context& cx, Tape& tape, Var x, double a) {
  Tensor y = Tensor::zeros(cx, tape.value(x).shape(), tape.value(x).dtype());
  add_scaled(cx, y, tape.value(x), a);
  return tape.record(y, {x}, [x, a](Context& c, Tape& t, const Tensor& dy) {
    Tensor dx = Tensor::zeros(c, dy.shape(), dy.dtype());
    add_scaled(c, dx, dy, a);
    t.accumulate(c, x, dx);
  });
}

Var plus(Context& cx, Tape& tape, Var x, Var y) {
  Tensor z = Tensor::zeros(cx, tape.value(x).shape(), tape.value(x).dtype());
  add_scaled(cx, z, tape.value(x));
  add_scaled(cx, z, tape.value(y));
  return tape.record(z, {x, y}, [x, y](Context& c, Tape& t, const Tensor& dy) {
    t.accumulate(c, x, dy);
    t.accumulate(c, y, dy);
  });
}

class TapeTest : public testing::Test {
 protected:
  Tensor vec(std::vector<float> v) {
    return Tensor::from(cx, {static_cast<std::int64_t>(v.size())}, v);
  }
  Runtime runtime;
  Context& cx = runtime.context();
};

TEST_F(TapeTest, GradientsOfSharedInputsAddUp) {
  Tape tape;
  const Var x = tape.input(vec({1, 2}));
  const Var twice = plus(cx, tape, x, x);                      // 2x
  const Var y = plus(cx, tape, twice, times(cx, tape, x, 3));  // 5x
  tape.backward(cx, y, vec({1, 10}));
  EXPECT_EQ(tape.grad(x).to_host<float>(cx), (std::vector<float>{5, 50}));
}

TEST_F(TapeTest, ParameterUsedTwiceIsOneLeafAndFiresOnce) {
  Parameter p;
  p.name = "p";
  p.value = vec({1});
  Tape tape;
  int fired = 0;
  tape.on_param_ready([&](Parameter& q) {
    EXPECT_EQ(&q, &p);
    EXPECT_EQ(q.grad.to_host<float>(cx)[0], 7.0F);
    ++fired;
  });
  EXPECT_EQ(tape.param(p).id, tape.param(p).id);
  const Var y =
      plus(cx, tape, times(cx, tape, tape.param(p), 3), times(cx, tape, tape.param(p), 4));
  tape.backward(cx, y, vec({1}));
  EXPECT_EQ(fired, 1);
}

// Overlap depends on it: the hook of the last layer comes before the first layer is differentiated.
TEST_F(TapeTest, HookFiresAtTheLastUseAndNotAtTheEndOfTheWalk) {
  Parameter first, last;
  first.name = "first";
  first.value = vec({1});
  last.name = "last";
  last.value = vec({1});
  Tape tape;
  std::vector<std::string> order;
  tape.on_param_ready([&](Parameter& p) { order.push_back(p.name); });
  const Var h = times(cx, tape, tape.param(first), 2);
  const Var spy = tape.record(tape.value(h), {h}, [&, h](Context& c, Tape& t, const Tensor& dy) {
    order.emplace_back("between");
    t.accumulate(c, h, dy);
  });
  const Var y = plus(cx, tape, spy, tape.param(last));
  tape.backward(cx, y, vec({1}));
  EXPECT_EQ(order, (std::vector<std::string>{"last", "between", "first"}));
}

TEST_F(TapeTest, GradientAccumulatesAcrossTapesUntilCleared) {
  Parameter p;
  p.value = vec({1, 1});
  for (int micro = 0; micro < 3; ++micro) {
    Tape tape;
    tape.backward(cx, times(cx, tape, tape.param(p), 2), vec({1, 1}));
  }
  EXPECT_EQ(p.grad.to_host<float>(cx), (std::vector<float>{6, 6}));
  clear_grad(p);
  Tape tape;
  tape.backward(cx, times(cx, tape, tape.param(p), 2), vec({1, 1}));
  EXPECT_EQ(p.grad.to_host<float>(cx), (std::vector<float>{2, 2}));
}

TEST_F(TapeTest, FrozenParameterGetsNoGradientAndNoHook) {
  Parameter p;
  p.value = vec({1});
  p.trainable = false;
  Tape tape;
  tape.on_param_ready([](Parameter&) { FAIL(); });
  const Var x = tape.input(vec({2}));
  tape.backward(cx, plus(cx, tape, x, tape.param(p)), vec({1}));
  EXPECT_FALSE(p.grad);
}

TEST_F(TapeTest, SecondBackwardAndWrongSeedAreErrors) {
  Tape tape;
  const Var x = tape.input(vec({1, 2}));
  const Var y = times(cx, tape, x, 2);
  EXPECT_THROW(tape.backward(cx, y, vec({1})), Error);
  Tape other;
  const Var z = times(cx, other, other.input(vec({1})), 2);
  other.backward(cx, z, vec({1}));
  EXPECT_THROW(other.backward(cx, z, vec({1})), Error);
}

TEST_F(TapeTest, DeepChainsNeitherOverflowNorLeak) {
  const std::size_t before = runtime.allocator().stats().live_bytes;
  {
    Tape tape;
    Var x = tape.input(vec({1}));
    for (int i = 0; i < 100000; ++i)
      x = times(cx, tape, x, 1);
    tape.backward(cx, x, vec({1}));
  }
  EXPECT_EQ(runtime.allocator().stats().live_bytes, before);
}

}  // namespace
}  // namespace gradwire
