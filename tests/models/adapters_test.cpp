#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/ops/cross_entropy/cross_entropy.h"
#include "models/adapters/adapter_set.h"
#include "models/adapters/adapter_size.h"
#include "models/decoder_lm.h"
#include "tests/support/expect_error.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

DecoderConfig tiny() {
  DecoderConfig c;
  c.vocab = 11;
  c.layers = 2;
  c.width = 8;
  c.heads = 2;
  c.kv_heads = 1;
  c.ffn_width = 12;
  return c;
}

AdapterConfig of(const std::string& method) {
  AdapterConfig c;
  c.method = adapter_method_named(method);
  c.rank = 3;
  return c;
}

std::vector<std::string> all_methods() {
  return {adapter_method_names().begin(), adapter_method_names().end()};
}

void shake(Context& cx, const std::vector<Parameter*>& params, double stddev = 0.3) {
  for (Parameter* p : params) {
    fill_normal(cx, p->value, Rng{derive_seed(7, p->name), 0}, stddev);
    ++p->version;
  }
}

class AdaptersTest : public testing::Test {
 protected:
  AdaptersTest() {
    cx.rng.seed = 5;
    shake(cx, parameters_of(base), 0.5);  // so that attention has slopes to speak of
    set_trainable(base, {});
  }

  Tensor ids() {
    return Tensor::from(cx, {4, 3}, std::vector<std::int32_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 1});
  }
  std::vector<float> logits(const Adaptation& adapted) {
    Tape tape(false);
    return tape.value(base.logits(cx, tape, ids(), adapted)).to_host<float>(cx);
  }
  Var loss(Tape& tape, const Adaptation& adapted) {
    Context same = cx;
    const Var out = base.logits(same, tape, ids(), adapted);
    return cross_entropy(
        same, tape, out,
        Tensor::from(cx, {4, 3}, std::vector<std::int32_t>{2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 1, 2}));
  }
  double loss_of(const Adaptation& adapted) {
    Tape tape;
    return tape.value(loss(tape, adapted)).to_host<float>(cx)[0];
  }
  void backward(const Adaptation& adapted) {
    Tape tape;
    const Var l = loss(tape, adapted);
    tape.backward(cx, l, Tensor::from(cx, {}, std::vector<float>{1.0F}));
  }

  Runtime runtime;
  Context& cx = runtime.context();
  DecoderLm base{cx, tiny()};
};

// methods.md counts for width d = 8, key/value width 4, feed-forward 12, rank 3, 2 layers.
TEST_F(AdaptersTest, CountsOfTrainedElements) {
  const std::int64_t pairs = (8 + 8) + (8 + 4) + (8 + 4) + (8 + 8) + 3 * (8 + 12);
  const std::int64_t rows = 8 + 4 + 4 + 8 + 12 + 12 + 8;
  const std::int64_t bottleneck = 2 * 3 * 8 + 3 + 8;
  const std::map<std::string, std::int64_t> want = {
      {"lora", 2 * 3 * pairs},
      {"dora", 2 * (3 * pairs + rows)},
      {"ia3", 2 * (4 + 4 + 12)},
      {"bitfit", 2 * rows},
      {"houlsby", 2 * 2 * bottleneck},
      {"pfeiffer", 2 * bottleneck},
      {"parallel", 2 * bottleneck},
      {"vlpet_large", 2 * 2 * 2 * bottleneck},
      {"vlpet_middle_x", 2 * 2 * (bottleneck + 8 + 1)},
      {"vlpet_middle_y", 2 * 2 * (bottleneck + 8)},
      {"vlpet_small", 2 * 2 * (bottleneck + 16 + 1)},
  };
  for (const std::string& method : all_methods()) {
    AdapterSet set(cx, base.sites(), of(method), {"default"});
    EXPECT_EQ(count_elements(trainable_parameters_of(set)), want.at(method)) << method;
    std::int64_t planned = 0;
    for (const Site& site : decoder_sites(tiny()))
      if (is_target(site, of(method))) planned += adapter_elements(site, of(method));
    EXPECT_EQ(planned, want.at(method)) << method;
  }
}

TEST_F(AdaptersTest, SitesAreKnownBeforeTheModelIsMade) {
  const auto described = [](const std::vector<Site>& sites) {
    std::set<std::string> all;
    for (const Site& s : sites)
      all.insert(fmt::format("{} {} {} {}", s.name, static_cast<int>(s.kind), s.in, s.out));
    return all;
  };
  EXPECT_EQ(described(decoder_sites(tiny())), described(base.sites()));
}

TEST_F(AdaptersTest, NamesAreUniqueAndSaySiteAndAdapter) {
  for (const std::string& method : all_methods()) {
    AdapterSet set(cx, base.sites(), of(method), {"es", "fr"});
    std::set<std::string> names;
    for (Parameter* p : parameters_of(set)) {
      EXPECT_TRUE(names.insert(p->name).second) << p->name;
      EXPECT_TRUE(p->name.find(".es.") != std::string::npos ||
                  p->name.find(".fr.") != std::string::npos)
          << p->name;
    }
  }
  AdapterConfig one = of("lora");
  one.targets = {"*.1.*.q_proj"};
  AdapterSet set(cx, base.sites(), one, {"default"});
  EXPECT_THAT(parameters_of(set).front()->name,
              "model.layers.1.self_attn.q_proj.lora_A.default.weight");
  EXPECT_EQ(parameters_of(set).size(), 2U);
}

TEST_F(AdaptersTest, BeforeTheFirstUpdateTheModelIsTheBaseBitForBit) {
  const std::vector<float> want = logits({});
  for (const std::string& method : all_methods()) {
    AdapterSet set(cx, base.sites(), of(method), {"default"});
    const std::vector<float> got = logits({set, 0});
    if (method.starts_with("vlpet")) {
      EXPECT_NE(got, want) << method;
    } else {
      EXPECT_EQ(got, want) << method;
    }
  }
}

TEST_F(AdaptersTest, LoraGivesNoGradientToAAtFirst) {
  AdapterSet set(cx, base.sites(), of("lora"), {"default"});
  backward({set, 0});
  for (Parameter* p : parameters_of(set)) {
    const bool is_a = p->name.find("lora_A") != std::string::npos;
    double square = 0.0;
    for (const float g : p->grad.to_host<float>(cx))
      square += static_cast<double>(g) * g;
    EXPECT_EQ(square == 0.0, is_a) << p->name;
  }
}

// The slope of the loss along each parameter's gradient, by central differences; of DoRA only
// along its lengths, since it takes the norm for a constant.
TEST_F(AdaptersTest, GradientIsTheSlopeOfTheLoss) {
  constexpr double kMoved = 1e-3;
  for (const std::string& method : all_methods()) {
    AdapterSet set(cx, base.sites(), of(method), {"default"});
    const Adaptation adapted(set, 0);
    shake(cx, parameters_of(set));
    backward(adapted);
    for (Parameter* p : parameters_of(set)) {
      if (method == "dora" && p->name.find("magnitude") == std::string::npos) continue;
      double square = 0.0;
      for (const float g : p->grad.to_host<float>(cx))
        square += static_cast<double>(g) * g;
      const double size = std::sqrt(square), step = kMoved / size;
      const auto at = [&](double t) {
        const Tensor before = Tensor::empty(cx, p->value.shape(), DType::kF32);
        copy(cx, before, p->value);
        add_scaled(cx, p->value, p->grad, t);
        ++p->version;
        const double value = loss_of(adapted);
        copy(cx, p->value, before);
        ++p->version;
        return value;
      };
      // Rounding of two losses, beside the curvature over so short a way.
      const double rounding =
          8 * test::epsilon(DType::kF32) * loss_of(adapted) / (2 * kMoved * size);
      EXPECT_NEAR((at(step) - at(-step)) / (2 * step) / square, 1.0, 0.02 + rounding) << p->name;
    }
    for (Parameter* p : parameters_of(base))
      EXPECT_FALSE(p->grad) << p->name;
  }
}

TEST_F(AdaptersTest, RecomputationGivesTheSameGradients) {
  DecoderConfig config = tiny();
  config.recompute = true;
  DecoderLm again(cx, config);
  shake(cx, parameters_of(again), 0.5);
  set_trainable(again, {});
  for (const std::string& method : all_methods()) {
    AdapterConfig c = of(method);
    c.dropout = 0.3;
    AdapterSet kept(cx, base.sites(), c, {"a", "b"}), rerun(cx, again.sites(), c, {"a", "b"});
    shake(cx, parameters_of(kept));
    shake(cx, parameters_of(rerun));
    const std::vector<SampleGroup> groups{{0, 1, 1}, {1, 4, 0}};
    backward({kept, groups});
    Tape tape;
    Context same = cx;
    const Var out = again.logits(same, tape, ids(), {rerun, groups});
    const Var l = cross_entropy(
        same, tape, out,
        Tensor::from(cx, {4, 3}, std::vector<std::int32_t>{2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 1, 2}));
    tape.backward(cx, l, Tensor::from(cx, {}, std::vector<float>{1.0F}));
    const auto left = parameters_of(kept), right = parameters_of(rerun);
    for (std::size_t i = 0; i < left.size(); ++i)
      EXPECT_EQ(left[i]->grad.to_host<float>(cx), right[i]->grad.to_host<float>(cx))
          << left[i]->name;
  }
}

TEST_F(AdaptersTest, EverySampleGetsItsOwnAdapter) {
  for (const std::string& method : all_methods()) {
    AdapterSet set(cx, base.sites(), of(method), {"a", "b", "c"});
    shake(cx, parameters_of(set));
    const std::vector<float> mixed =
        logits({set, {{0, 1, 2}, {1, 3, SampleGroup::kNone}, {3, 4, 0}}});
    const std::vector<float> none = logits({}), a = logits({set, 0}), c = logits({set, 2});
    const std::size_t sample = mixed.size() / 4;
    const auto expect = [&](std::size_t i, const std::vector<float>& want) {
      for (std::size_t k = i * sample; k < (i + 1) * sample; ++k)
        ASSERT_NEAR(mixed[k], want[k], 1e-5 * (1 + std::abs(want[k]))) << method << ' ' << i;
    };
    expect(0, c);
    expect(1, none);
    expect(2, none);
    expect(3, a);
    backward({set, {{0, 2, 2}, {2, 4, 0}}});
    for (Parameter* p : parameters_of(set))
      EXPECT_EQ(static_cast<bool>(p->grad), p->name.find(".b.") == std::string::npos) << p->name;
  }
}

TEST_F(AdaptersTest, PatternsAndNamesThatDoNotFitAreRefused) {
  AdapterConfig c = of("lora");
  c.targets = {"*.q_proj", "*.query"};
  test::expect_error(ErrorKind::kConfig, "'*.query' matches no linear layer",
                     [&] { AdapterSet(cx, base.sites(), c, {"default"}); });
  c = of("houlsby");
  c.targets = {"*.q_proj"};
  test::expect_error(ErrorKind::kConfig, "'*.q_proj' matches no sublayer",
                     [&] { AdapterSet(cx, base.sites(), c, {"default"}); });
  test::expect_error(ErrorKind::kConfig, "'es' twice", [&] {
    AdapterSet(cx, base.sites(), of("lora"), {"es", "es"});
  });
}

TEST_F(AdaptersTest, Bf16FollowsF32) {
  DecoderConfig config = tiny();
  config.compute = DType::kBf16;
  DecoderLm rounded(cx, config);
  shake(cx, parameters_of(rounded), 0.1);
  shake(cx, parameters_of(base), 0.1);
  for (const std::string& method : all_methods()) {
    AdapterSet exact(cx, base.sites(), of(method), {"default"}),
        near(cx, rounded.sites(), of(method), {"default"});
    shake(cx, parameters_of(exact), 0.1);
    shake(cx, parameters_of(near), 0.1);
    Tape tape(false);
    const std::vector<float> got =
        tape.value(rounded.logits(cx, tape, ids(), {near, 0})).to_host<float>(cx);
    const std::vector<float> want = logits({exact, 0});
    for (std::size_t i = 0; i < want.size(); ++i)
      ASSERT_NEAR(got[i], want[i], 0.03) << method;
  }
}

// One linear site: y and the gradients against loops in double.
class SiteTest : public testing::Test {
 protected:
  static constexpr std::int64_t kIn = 4, kOut = 5, kRows = 6, kRank = 3;
  using Matrix = std::vector<double>;

  SiteTest() {
    init_normal(cx, weight, "site.weight", {kOut, kIn}, 1.0);
    weight.trainable = false;
    x = random({2, 3, kIn}, 1);
    dy = random({2, 3, kOut}, 2);
  }
  Tensor random(const Shape& shape, std::uint64_t seed) {
    const Tensor t = Tensor::empty(cx, shape, DType::kF32);
    fill_normal(cx, t, Rng{seed, 0}, 1.0);
    return t;
  }
  // a [m, k] times b [n, k] transposed
  static Matrix product(const Matrix& a, const Matrix& b, std::int64_t m, std::int64_t n,
                        std::int64_t k) {
    Matrix c(static_cast<std::size_t>(m * n));
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        for (std::int64_t l = 0; l < k; ++l)
          c[static_cast<std::size_t>(i * n + j)] +=
              a[static_cast<std::size_t>(i * k + l)] * b[static_cast<std::size_t>(j * k + l)];
    return c;
  }
  static Matrix transposed(const Matrix& a, std::int64_t m, std::int64_t n) {
    Matrix c(a.size());
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        c[static_cast<std::size_t>(j * m + i)] = a[static_cast<std::size_t>(i * n + j)];
    return c;
  }
  void expect_near(const Tensor& got, const Matrix& want, const std::string& what) {
    const std::vector<double> values = got.to_host<double>(cx);
    ASSERT_EQ(values.size(), want.size()) << what;
    for (std::size_t i = 0; i < want.size(); ++i)
      EXPECT_PRED4(test::agrees, values[i], want[i], 4 * test::tolerance(DType::kF32, 16), 1.0)
          << what << ' ' << i;
  }

  Runtime runtime;
  Context& cx = runtime.context();
  Parameter weight;
  Tensor x, dy;
};

TEST_F(SiteTest, LoraAndDoraAreThoseOfThePapers) {
  for (const std::string method : {"lora", "rslora", "dora"}) {
    AdapterConfig config = of(method == "rslora" ? "lora" : method);
    config.rslora = method == "rslora";
    config.alpha = 6.0;
    AdapterConfig all = config;
    all.targets = {"*"};
    AdapterSet made(cx, {linear_site(weight)}, all, {"n"});
    const std::vector<Parameter*> params = parameters_of(made);
    shake(cx, params, 0.5);
    Tape tape;
    const Var in = tape.input(x);
    const Var out = Adaptation(made, 0).linear(cx, tape, in, weight);
    const Tensor y = tape.value(out);
    tape.backward(cx, out, dy);

    const double s = config.rslora ? 6.0 / std::sqrt(3.0) : 2.0;
    const Matrix w = weight.value.to_host<double>(cx), a = params[0]->value.to_host<double>(cx),
                 b = params[1]->value.to_host<double>(cx), xs = x.to_host<double>(cx);
    Matrix full = product(b, transposed(a, kRank, kIn), kOut, kIn, kRank);
    Matrix factor(kOut, 1.0);
    for (std::size_t i = 0; i < full.size(); ++i)
      full[i] = w[i] + s * full[i];
    if (method == "dora") {
      const Matrix m = params[2]->value.to_host<double>(cx);
      for (std::size_t i = 0; i < kOut; ++i) {
        double square = 0.0;
        for (std::size_t k = 0; k < kIn; ++k)
          square += full[i * kIn + k] * full[i * kIn + k];
        factor[i] = m[i] / std::sqrt(square);
      }
    }
    Matrix plain = product(xs, full, kRows, kOut, kIn), want = plain, g = dy.to_host<double>(cx);
    Matrix dm(kOut);
    for (std::size_t r = 0; r < kRows; ++r)
      for (std::size_t i = 0; i < kOut; ++i) {
        if (method == "dora")
          dm[i] += g[r * kOut + i] * plain[r * kOut + i] * factor[i] /
                   params[2]->value.to_host<double>(cx)[i];
        want[r * kOut + i] *= factor[i];
        g[r * kOut + i] *= factor[i];
      }
    expect_near(y, want, method);
    // dB = s dy^T (x A^T), dA = s (dy B)^T x, dx = dy (W + s B A), dy times the row's factor.
    Matrix xa = product(xs, a, kRows, kRank, kIn),
           gb = product(g, transposed(b, kOut, kRank), kRows, kRank, kOut);
    Matrix db =
        product(transposed(g, kRows, kOut), transposed(xa, kRows, kRank), kOut, kRank, kRows);
    Matrix da =
        product(transposed(gb, kRows, kRank), transposed(xs, kRows, kIn), kRank, kIn, kRows);
    for (double& v : db)
      v *= s;
    for (double& v : da)
      v *= s;
    expect_near(params[0]->grad, da, method + " A");
    expect_near(params[1]->grad, db, method + " B");
    expect_near(tape.grad(in), product(g, transposed(full, kOut, kIn), kRows, kIn, kOut),
                method + " x");
    if (method == "dora") expect_near(params[2]->grad, dm, "m");
    EXPECT_FALSE(weight.grad);
  }
}

}  // namespace
}  // namespace gradwire
