// What both update rules promise beside their formula: names, frozen and untouched parameters,
// scaled gradients, threads, instruction sets, state by visitor.
#include "optim/optimizer.h"

#include <cmath>
#include <functional>
#include <map>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/parallel_for.h"
#include "optim/adamw.h"
#include "optim/adamw_kernels.h"
#include "optim/sgd.h"
#include "optim/sgd_kernels.h"
#include "tests/optim/parameters.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

std::vector<float> random_values(std::size_t n, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> v(n);
  for (float& x : v)
    x = normal(rng);
  return v;
}

// Keeps copies of the state by name, or puts them back.
class StateCopy final : public StateVisitor {
 public:
  explicit StateCopy(Context& cx) : cx_(cx) {}
  void tensor(std::string_view name, Tensor& t, Share share) override {
    EXPECT_EQ(share, Share::kReplicated);
    std::vector<float>& kept = tensors[std::string(name)];
    if (restoring) return copy(cx_, t, Tensor::from(cx_, t.shape(), kept));
    kept = t.to_host<float>(cx_);
  }
  void slice(std::string_view name, Tensor&, std::int64_t, std::int64_t) override {
    FAIL() << name;
  }
  void number(std::string_view name, std::int64_t& v, Share) override {
    std::int64_t& kept = numbers[std::string(name)];
    (restoring ? v : kept) = restoring ? kept : v;
  }
  void number(std::string_view name, double&, Share) override { FAIL() << name; }
  void text(std::string_view name, std::string&, Share) override { FAIL() << name; }

  std::map<std::string, std::vector<float>> tensors;
  std::map<std::string, std::int64_t> numbers;
  bool restoring = false;

 private:
  Context& cx_;
};

using Make = std::function<std::unique_ptr<Optimizer>(Context&, std::span<Parameter* const>)>;
struct Rule {
  const char* name;
  Make make;
};
void PrintTo(const Rule& rule, std::ostream* os) {
  *os << rule.name;
}

class EachRule : public testing::TestWithParam<Rule> {
 protected:
  std::unique_ptr<Optimizer> make() { return GetParam().make(cx, params.list()); }
  void step(Optimizer& o, int number, double grad_scale = 1.0) {
    o.apply(cx, {.step = number, .lr = 0.01, .grad_scale = grad_scale});
  }

  Runtime runtime;
  Context& cx = runtime.context();
  test::Parameters params{cx};
};

INSTANTIATE_TEST_SUITE_P(Rules, EachRule,
                         testing::Values(Rule{"adamw",
                                              [](Context& cx, std::span<Parameter* const> p) {
                                                return make_adamw(cx, p, {.weight_decay = 0.1});
                                              }},
                                         Rule{"sgd",
                                              [](Context& cx, std::span<Parameter* const> p) {
                                                return make_sgd(cx, p, {.weight_decay = 0.1});
                                              }},
                                         Rule{"momentum",
                                              [](Context& cx, std::span<Parameter* const> p) {
                                                return make_sgd(
                                                    cx, p, {.momentum = 0.9, .weight_decay = 0.1});
                                              }},
                                         Rule{"nesterov",
                                              [](Context& cx, std::span<Parameter* const> p) {
                                                return make_sgd(
                                                    cx, p, {.momentum = 0.9, .nesterov = true});
                                              }}),
                         [](const auto& rule) { return rule.param.name; });

TEST_P(EachRule, NeedsTheMeanOfTheGradientsAndNothingElse) {
  params.add("a", {1, 2});
  const auto o = make();
  EXPECT_TRUE(o->needs(false).gradients);
  EXPECT_FALSE(o->needs(true).exchange);
  EXPECT_THROW(o->exchange(cx, {}), Error);
  EXPECT_EQ(o->take_log_message(), "");
}

TEST_P(EachRule, FrozenParametersAreUntouchedAndHaveNoState) {
  Parameter& frozen = params.add("frozen", random_values(1000, 1));
  frozen.trainable = false;
  params.set_grad(frozen, random_values(1000, 2));
  const std::size_t before = runtime.allocator().stats().of(Segment::kOptim).live_bytes;
  const auto o = make();
  EXPECT_EQ(runtime.allocator().stats().of(Segment::kOptim).live_bytes, before);
  step(*o, 1);
  EXPECT_EQ(frozen.value.to_host<float>(cx), random_values(1000, 1));
  EXPECT_EQ(frozen.version, 0);
  StateCopy state(cx);
  o->visit_state(state);
  EXPECT_THAT(state.tensors, testing::IsEmpty());
}

TEST_P(EachRule, RaisesTheVersionOfWhatItUpdates) {
  Parameter& p = params.add("p", {1});
  params.set_grad(p, {1});
  const auto o = make();
  step(*o, 1);
  step(*o, 2);
  EXPECT_EQ(p.version, 2);
}

TEST_P(EachRule, AnEmptyGradientCountsAsZeroWhateverTheBufferHolds) {
  Parameter& empty = params.add("empty", random_values(100, 1));
  Parameter& zero = params.add("zero", random_values(100, 1));
  const auto o = make();
  for (int i = 1; i <= 3; ++i) {
    params.set_grad(zero, i == 1 ? random_values(100, 9) : std::vector<float>(100, 0.0F));
    params.set_grad(empty, random_values(100, 9));
    if (i > 1) clear_grad(empty);
    step(*o, i);
  }
  EXPECT_EQ(empty.value.to_host<float>(cx), zero.value.to_host<float>(cx));
  EXPECT_NE(empty.value.to_host<float>(cx), random_values(100, 1));
}

TEST_P(EachRule, GradScaleMultipliesTheGradient) {
  Parameter& scaled = params.add("scaled", random_values(100, 1));
  const auto o = make();
  params.set_grad(scaled, random_values(100, 2));
  step(*o, 1, 0.25);

  test::Parameters others(cx);
  Parameter& plain = others.add("scaled", random_values(100, 1));
  std::vector<float> quarter = random_values(100, 2);
  for (float& g : quarter)
    g *= 0.25F;
  others.set_grad(plain, quarter);
  const auto other = GetParam().make(cx, others.list());
  step(*other, 1);
  EXPECT_EQ(scaled.value.to_host<float>(cx), plain.value.to_host<float>(cx));
}

TEST_P(EachRule, DoesNotDependOnTheNumberOfThreads) {
  const auto run = [&](int threads) {
    const int before = thread_count();
    set_thread_count(threads);
    test::Parameters mine(cx);
    Parameter& p = mine.add("p", random_values(300'007, 3));
    const auto o = GetParam().make(cx, mine.list());
    for (int i = 1; i <= 3; ++i) {
      mine.set_grad(p, random_values(300'007, 4 + static_cast<unsigned>(i)));
      step(*o, i);
    }
    set_thread_count(before);
    return p.value.to_host<float>(cx);
  };
  const std::vector<float> one = run(1);
  EXPECT_EQ(one, run(2));
  EXPECT_EQ(one, run(5));
}

// Six steps at once against three, state carried into a new optimizer, three: the same bits.
TEST_P(EachRule, StateByVisitorContinuesARun) {
  const auto grads = [](int i) { return random_values(257, 40 + static_cast<unsigned>(i)); };
  Parameter& p = params.add("p", random_values(257, 1));
  const auto whole = make();
  StateCopy half(cx);
  std::vector<float> half_value;
  for (int i = 1; i <= 6; ++i) {
    params.set_grad(p, grads(i));
    step(*whole, i);
    if (i != 3) continue;
    whole->visit_state(half);
    half_value = p.value.to_host<float>(cx);
  }
  test::Parameters fresh(cx);
  Parameter& q = fresh.add("p", half_value);
  const auto resumed = GetParam().make(cx, fresh.list());
  half.restoring = true;
  resumed->visit_state(half);
  for (int i = 4; i <= 6; ++i) {
    fresh.set_grad(q, grads(i));
    step(*resumed, i);
  }
  EXPECT_EQ(p.value.to_host<float>(cx), q.value.to_host<float>(cx));
}

TEST_P(EachRule, RefusesWhatItCannotUpdate) {
  Parameter& p = params.add("p", {1, 2});
  const auto o = make();
  params.set_grad(p, {1, 2});
  p.grad = p.grad.view({2, 1});
  try {
    step(*o, 1);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kShape);
    EXPECT_THAT(e.what(), testing::HasSubstr("gradient of p is [2, 1] f32, the value [2] f32"));
  }
  Parameter& twice = params.add("p", {1});
  EXPECT_THROW(make(), Error);
  twice.name = "q";
  twice.value = Tensor::zeros(cx, {3}, DType::kBf16);
  EXPECT_THROW(make(), Error);
  twice.trainable = false;
  EXPECT_NO_THROW(make());
}

TEST(OptimizerState, IsNamedAndExistsFromConstruction) {
  Runtime runtime;
  Context& cx = runtime.context();
  test::Parameters params(cx);
  params.add("blocks.0.w", std::vector<float>(10));
  StateCopy adamw(cx), sgd(cx), plain(cx);
  make_adamw(cx, params.list(), {})->visit_state(adamw);
  make_sgd(cx, params.list(), {.momentum = 0.5})->visit_state(sgd);
  make_sgd(cx, params.list(), {})->visit_state(plain);
  using testing::ElementsAre;
  using testing::Key;
  EXPECT_THAT(adamw.tensors, ElementsAre(Key("adamw/blocks.0.w/m"), Key("adamw/blocks.0.w/v")));
  EXPECT_THAT(adamw.numbers, ElementsAre(testing::Pair("adamw/step", 0)));
  EXPECT_THAT(sgd.tensors, ElementsAre(Key("sgd/blocks.0.w/momentum")));
  EXPECT_THAT(plain.tensors, testing::IsEmpty());
  EXPECT_EQ(adamw.tensors["adamw/blocks.0.w/v"], std::vector<float>(10, 0.0F));
}

TEST(OptimizerConfig, OutOfRangeIsAConfigError) {
  Runtime runtime;
  Context& cx = runtime.context();
  const auto kind = [](auto&& make) {
    try {
      make();
    } catch (const Error& e) {
      return e.kind();
    }
    return ErrorKind::kInternal;
  };
  const auto adamw = [&](AdamWConfig c) { return kind([&] { make_adamw(cx, {}, c); }); };
  const auto sgd = [&](SgdConfig c) { return kind([&] { make_sgd(cx, {}, c); }); };
  EXPECT_EQ(adamw({.beta1 = 1.0}), ErrorKind::kConfig);
  EXPECT_EQ(adamw({.beta2 = -0.1}), ErrorKind::kConfig);
  EXPECT_EQ(adamw({.eps = 0.0}), ErrorKind::kConfig);
  EXPECT_EQ(adamw({.weight_decay = std::nan("")}), ErrorKind::kConfig);
  EXPECT_EQ(sgd({.momentum = 1.0}), ErrorKind::kConfig);
  EXPECT_EQ(sgd({.nesterov = true}), ErrorKind::kConfig);
  EXPECT_EQ(sgd({.weight_decay = -1.0}), ErrorKind::kConfig);
}

// Every instruction set this processor has gives the same step, but for the rounding that fused
// multiply-add saves, also if the range is no multiple of a vector.
TEST(OptimizerKernels, InstructionSetsAgree) {
  constexpr std::size_t kSize = 1003;
  const AdamWMath adamw{.beta1 = 0.9F,
                        .one_minus_beta1 = 0.1F,
                        .beta2 = 0.99F,
                        .one_minus_beta2 = 0.01F,
                        .keep = 0.999F,
                        .step_size = 0.01F,
                        .inv_sqrt_bc2 = 2.0F,
                        .eps = 1e-8F,
                        .grad_scale = 0.5F};
  const SgdMath sgd{
      .lr = 0.1F, .momentum = 0.9F, .weight_decay = 0.01F, .grad_scale = 0.5F, .nesterov = true};
  const std::vector<float> grad = random_values(kSize, 1);
  const auto run = [&](const AdamWKernels& a, const SgdKernels& s) {
    std::vector<float> w = random_values(kSize, 2), m(kSize), v(kSize), momentum(kSize);
    for (int i = 0; i < 5; ++i) {
      a.step(adamw, {w.data(), grad.data(), m.data(), v.data()}, 1, kSize - 1);
      s.step(sgd, {w.data(), grad.data(), momentum.data()}, 1, kSize - 1);
    }
    return w;
  };
  const std::vector<float> v2 = run(isa_v2::adamw_kernels, isa_v2::sgd_kernels);
  EXPECT_EQ(v2.front(), random_values(kSize, 2).front());
  EXPECT_EQ(v2.back(), random_values(kSize, 2).back());
  const auto expect_near_v2 = [&](const std::vector<float>& other) {
    for (std::size_t i = 0; i < kSize; ++i) {
      EXPECT_TRUE(test::agrees(other[i], v2[i], test::tolerance(DType::kF32, 10))) << i;
    }
  };
  if (detect_isa() >= Isa::kV3) expect_near_v2(run(isa_v3::adamw_kernels, isa_v3::sgd_kernels));
  if (detect_isa() >= Isa::kV4) expect_near_v2(run(isa_v4::adamw_kernels, isa_v4::sgd_kernels));
}

}  // namespace
}  // namespace gradwire
