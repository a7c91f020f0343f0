// What an exchange that resets residuals leaves of a reducer's past, for every method, codec and
// mask: nothing but the number of the step.
#include <gmock/gmock.h>

#include "comm/codec/codec.h"
#include "comm/reducer/power_sgd.h"
#include "core/codec_names.h"
#include "core/error.h"
#include "core/reducer_methods.h"
#include "tests/comm/reducer/reducer_world.h"

namespace gradwire {
namespace {

using test::Buckets;

constexpr int kRanks = 3;
constexpr std::int64_t kStepsBefore = 4, kStepsAfter = 3;

// "powersgd", or a method of feedback with a codec.
struct Kind {
  std::string method, codec;
};

std::unique_ptr<Reducer> make(Context& cx, Communicator& comm, const Buckets& buckets,
                              const Kind& kind) {
  if (kind.method == "powersgd") {
    return make_power_sgd_reducer(cx, comm, buckets.layout, {.rank = 2});
  }
  CompressionConfig config;
  config.method = feedback_named(kind.method);
  config.codec.name = kind.codec;
  config.codec.ratio = 0.1;
  if (config.method == Feedback::kEcontrol) config.eta = 0.1;
  return make_compressed_reducer(cx, comm, buckets.layout, config);
}

// With the gap behind it, which these masks let live.
const std::vector<Exchange::Range> kRangeOfA = {{0, 128}};

// Makes a new reducer count on from another's step, because codecs draw by the step.
class StepSetter final : public StateVisitor {
 public:
  explicit StepSetter(std::int64_t step) : step_(step) {}
  void tensor(std::string_view, Tensor&, Share) override {}
  void slice(std::string_view, Tensor&, std::int64_t, std::int64_t) override {}
  void number(std::string_view, std::int64_t& v, Share) override { v = step_; }
  void number(std::string_view, double&, Share) override {}
  void text(std::string_view, std::string&, Share) override {}

 private:
  std::int64_t step_;
};

// Exchanges of one kind of a reducer's own buckets, every second coordinate of which is dead if
// `masked`.
class Training {
 public:
  Training(Context& cx, Communicator& comm, const Kind& kind, bool masked,
           ExchangeKind what = ExchangeKind::kMomentum)
      : cx_(cx), comm_(comm), what_(what), buckets_(cx, {{{12, 10}, {17}}, {{50}}}) {
    reducer_ = make(cx, comm, buckets_, kind);
    for (const FlatBucket& b : buckets_.layout) {
      momenta_.push_back(Tensor::zeros(cx, {b.numel()}, DType::kF32));
      live_.push_back(masked ? Tensor::zeros(cx, {(b.numel() + 7) / 8}, DType::kU8) : Tensor());
      if (masked) fill(cx, live_.back(), 0x55);
    }
  }
  // `renewed` is whether what is carried over for parameter "a" starts anew.
  void step(std::int64_t step, bool reset, bool renewed = false) {
    // What the last exchange left there would be a gradient in the gaps, which these masks let
    // live.
    for (const FlatBucket& b : buckets_.layout)
      fill(cx_, b.flat, 0.0);
    buckets_.fill_values(comm_.rank(), step);
    for (std::size_t b = 0; b < momenta_.size(); ++b) {
      Exchange e = exchange(b);
      e.live = live_[b];
      e.reset_residuals = reset;
      if (renewed && b == 0) e.renewed = kRangeOfA;
      reducer_->submit(cx_, b, e);
    }
    reducer_->finish(cx_);
    for (std::size_t b = 0; b < momenta_.size() && what_ != ExchangeKind::kMomentum; ++b)
      copy(cx_, momenta_[b], buckets_.layout[b].flat);
  }
  void take_momenta(const Training& other) {
    for (std::size_t b = 0; b < momenta_.size(); ++b)
      copy(cx_, momenta_[b], other.momenta_[b]);
  }
  void forget_momenta() {
    for (const Tensor& m : momenta_)
      fill(cx_, m, 0.0);
  }
  std::vector<std::vector<float>> momenta() const {
    std::vector<std::vector<float>> all;
    for (const Tensor& m : momenta_)
      all.push_back(m.to_host<float>(cx_));
    return all;
  }
  test::SavedState state() {
    test::SavedState s;
    test::StateSaver saver(s);
    reducer_->visit_state(saver);
    return s;
  }
  Reducer& reducer() { return *reducer_; }

 private:
  Exchange exchange(std::size_t b) {
    const Tensor& value = buckets_.layout[b].flat;
    switch (what_) {
      case ExchangeKind::kGradient: return {Gradient{value}};
      case ExchangeKind::kMomentum: return {Momentum{value, 1.0F, momenta_[b], 0.9F}};
      case ExchangeKind::kDrift: return {Drift{value}};
      case ExchangeKind::kRecalledMomentum: break;
    }
    return {RecalledMomentum{value, 1.0F, 0.9F, [this, b](Context& cx, const Tensor& momentum) {
                               copy(cx, momentum, momenta_[b]);
                             }}};
  }

  Context& cx_;
  Communicator& comm_;
  ExchangeKind what_;
  Buckets buckets_;
  std::unique_ptr<Reducer> reducer_;
  std::vector<Tensor> momenta_, live_;  // momenta: what was agreed on last
};

std::vector<Kind> all_kinds() {
  std::vector<Kind> kinds;
  for (const ReducerMethod& method : kReducerMethods) {
    if (method.name == "powersgd") {
      kinds.push_back({"powersgd", "none"});
      continue;
    }
    for (const std::string_view codec : kCodecNames)
      kinds.push_back({std::string(method.name), std::string(codec)});
  }
  return kinds;
}

void expect_new_after_reset(const Kind& kind, bool masked, ExchangeKind what) {
  SCOPED_TRACE(name_of(what));
  run_ranks(kRanks, [&](Communicator& comm) {
    Runtime runtime;
    Training used(runtime.context(), comm, kind, masked, what),
        unused(runtime.context(), comm, kind, masked, what);
    for (std::int64_t s = 0; s < kStepsBefore; ++s)
      used.step(s, false);
    // PowerSGD goes on from the directions that it has found: they owe nothing.
    if (kind.method == "powersgd") {
      const std::vector<test::SavedState> alike(kRanks, used.state());
      test::StateLoader loader(alike, comm.rank(), kRanks);
      unused.reducer().visit_state(loader);
    }
    StepSetter setter(kStepsBefore);
    unused.reducer().visit_state(setter);
    used.forget_momenta();
    for (std::int64_t s = 0; s < kStepsAfter; ++s) {
      used.step(9 + s, s == 0);
      unused.step(9 + s, s == 0);
      ASSERT_EQ(used.momenta(), unused.momenta()) << "step " << s;
    }
    const test::SavedState got = used.state(), want = unused.state();
    EXPECT_EQ(got.means, want.means);
    EXPECT_EQ(got.replicated, want.replicated);
    EXPECT_EQ(got.bytes, want.bytes);
    for (const auto& [name, slice] : want.slices)
      EXPECT_EQ(got.slices.at(name).elements, slice.elements) << name;
  });
}

class ResetResiduals : public testing::TestWithParam<std::tuple<Kind, bool>> {};

TEST_P(ResetResiduals, LeavesWhatANewReducerHas) {
  const Kind& kind = std::get<0>(GetParam());
  const bool masked = std::get<1>(GetParam());
  for (const ExchangeKind what : {ExchangeKind::kGradient, ExchangeKind::kMomentum,
                                  ExchangeKind::kRecalledMomentum, ExchangeKind::kDrift}) {
    // Who recalls names the coordinates that take part: nobody has the others.
    if (what == ExchangeKind::kRecalledMomentum && !masked) continue;
    if (supported_by(kind.method).contains(what)) expect_new_after_reset(kind, masked, what);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryKind, ResetResiduals,
                         testing::Combine(testing::ValuesIn(all_kinds()), testing::Bool()),
                         [](const auto& of) {
                           const Kind& kind = std::get<0>(of.param);
                           return kind.method + "_" + kind.codec +
                                  (std::get<1>(of.param) ? "_masked" : "_whole");
                         });

// One parameter starts anew, as in a new reducer, and the others go on.
class RenewedPart : public testing::TestWithParam<Kind> {};

TEST_P(RenewedPart, StartsAnewAndTheOthersGoOn) {
  run_ranks(kRanks, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Training used(cx, comm, GetParam(), true), unused(cx, comm, GetParam(), true),
        undisturbed(cx, comm, GetParam(), true);
    for (std::int64_t s = 0; s < kStepsBefore; ++s) {
      used.step(s, false);
      undisturbed.step(s, false);
    }
    StepSetter setter(kStepsBefore);
    unused.reducer().visit_state(setter);
    unused.take_momenta(used);
    used.step(9, false, true);
    unused.step(9, false);
    undisturbed.step(9, false);
    const test::SavedState got = used.state(), anew = unused.state(), on = undisturbed.state();
    for (const auto& [name, values] : got.means) {
      const bool renewed = name.ends_with("/a");
      EXPECT_EQ(values, (renewed ? anew : on).means.at(name)) << name;
      EXPECT_NE(values, (renewed ? on : anew).means.at(name)) << name;
    }
    for (const auto& [name, slice] : got.slices) {
      const bool renewed = name.ends_with("/a");
      EXPECT_EQ(slice.elements, (renewed ? anew : on).slices.at(name).elements) << name;
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Residuals, RenewedPart,
                         testing::Values(Kind{"ef", "sign"}, Kind{"ef", "int8"}),
                         [](const auto& of) { return of.param.method + "_" + of.param.codec; });

// What estimators rely on, after a reset as before: the sum of all answers and what owners still
// owe are the mean of the ranks' estimates.
TEST(Estimators, SumsStayTheMeanOfTheEstimates) {
  for (const char* method : {"ef21", "ef21_sgdm", "econtrol"}) {
    for (const char* codec : {"sign", "topk", "int8"}) {
      std::vector<test::SavedState> states(kRanks);
      run_ranks(kRanks, [&](Communicator& comm) {
        Runtime runtime;
        Training run(runtime.context(), comm, {method, codec}, false);
        for (std::int64_t s = 0; s < 9; ++s)
          run.step(s, s == 4, s == 6);
        states[static_cast<std::size_t>(comm.rank())] = run.state();
      });
      for (const std::string name : {"a", "b", "c"}) {
        const std::string prefix = method + std::string("/");
        const std::vector<float>& sum = states[0].replicated.at(prefix + "sum/" + name);
        std::vector<double> owed(sum.size());
        for (const test::SavedState& state : states) {
          const test::SavedState::Slice& part = state.slices.at(prefix + "server/" + name);
          for (std::size_t i = 0; i < part.elements.size(); ++i)
            owed[static_cast<std::size_t>(part.begin) + i] += static_cast<double>(part.elements[i]);
        }
        for (std::size_t i = 0; i < sum.size(); ++i) {
          double mean = 0.0;
          for (const test::SavedState& state : states)
            mean += static_cast<double>(state.means.at(prefix + "h/" + name)[i]) / kRanks;
          ASSERT_NEAR(static_cast<double>(sum[i]) + owed[i], mean, 2e-5)
              << method << ", " << codec << ", " << name << " " << i;
        }
      }
    }
  }
}

// Of 100 coordinates every fifth is dead and has a gradient ten times that of the others: an
// estimator that spends its picks on those never learns the momentum of the live ones.
TEST(Estimators, SpendNoPicksOnDeadCoordinates) {
  for (const char* method : {"ef21", "econtrol"}) {
    for (const char* codec : {"topk", "randk"}) {
      run_ranks(2, [&](Communicator& comm) {
        Runtime runtime;
        Context& cx = runtime.context();
        Buckets buckets(cx, {{{100}}});
        const auto reducer = make(cx, comm, buckets, {method, codec});
        const Tensor momentum = Tensor::zeros(cx, {100}, DType::kF32);
        const Tensor live = Tensor::zeros(cx, {13}, DType::kU8);
        const auto is_live = [](std::size_t i) { return i % 5 != 0; };
        for (std::size_t i = 0; i < 100; ++i)
          if (is_live(i))
            live.data<std::uint8_t>()[i / 8] |= static_cast<std::uint8_t>(1U << i % 8);
        std::vector<float> gradient;
        for (std::int64_t s = 0; s < 400; ++s) {
          buckets.fill_values(comm.rank(), 0);
          gradient = buckets.values(0);
          for (std::size_t i = 0; i < 100; i += 5)
            buckets.layout[0].flat.data<float>()[i] *= 10.0F;
          reducer->submit(
              cx, 0,
              {.what = Momentum{buckets.layout[0].flat, 1.0F, momentum, 0.9F}, .live = live});
          reducer->finish(cx);
        }
        const Tensor mean = Tensor::from(cx, {100}, gradient);
        comm.all_reduce(mean, ReduceOp::kMean, cx.stream)->wait(cx.stream);
        test::SavedState state;
        test::StateSaver saver(state);
        reducer->visit_state(saver);
        double squares = 0.0;
        for (std::size_t i = 0; i < 100; ++i) {
          const float got = momentum.data<float>()[i], error = got - mean.data<float>()[i];
          if (is_live(i)) {
            squares += static_cast<double>(error * error);
            continue;
          }
          ASSERT_EQ(got, 0.0F) << method << " " << codec << " " << i;
          if (method == std::string("ef21")) continue;
          ASSERT_EQ(state.means.at("econtrol/e/a")[i], 0.0F) << codec << " " << i;
        }
        EXPECT_LT(std::sqrt(squares / 80.0), 0.1) << method << " " << codec;
      });
    }
  }
}

TEST(Config, EcontrolNeedsAStrengthForACodecThatKeepsNoSurePart) {
  run_ranks(1, [](Communicator& comm) {
    Runtime runtime;
    Buckets buckets(runtime.context(), 64);
    CompressionConfig config;
    config.method = Feedback::kEcontrol;
    config.codec.name = "qsgd";
    try {
      make_compressed_reducer(runtime.context(), comm, buckets.layout, config);
      ADD_FAILURE() << "taken";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kConfig);
      EXPECT_THAT(e.what(), testing::HasSubstr("set eta"));
    }
    config.eta = 0.1;
    EXPECT_NE(make_compressed_reducer(runtime.context(), comm, buckets.layout, config), nullptr);
  });
}

}  // namespace
}  // namespace gradwire
