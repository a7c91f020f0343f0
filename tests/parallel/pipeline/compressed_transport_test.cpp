// What compressed boundaries make of results and gradients, of whole steps, and of a restart.
#include "parallel/pipeline/compressed_transport.h"

#include <cmath>
#include <limits>
#include <mutex>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/error.h"
#include "parallel/pipeline/difference_code.h"
#include "tests/support/decoder_stages.h"

namespace gradwire {
namespace {

using test::DecoderStages;
constexpr int kMicros = 4;
const Shape kShape{3, 5, 40};  // two whole blocks and a part
using Values = std::vector<float>;

enum class Wire { kSame, kBf16, kInt8 };

std::unique_ptr<ActivationTransport> make(Wire wire, Context& cx, Communicator& comm,
                                          const Schedule& schedule, const Shape& shape) {
  switch (wire) {
    case Wire::kBf16: return make_bf16_transport(comm);
    case Wire::kInt8: return make_int8_transport(cx, comm, schedule, shape);
    case Wire::kSame: break;
  }
  return make_plain_transport(comm);
}

Tensor random_tensor(Context& cx, std::uint64_t seed, DType dtype = DType::kF32) {
  Tensor t = Tensor::empty(cx, kShape, dtype);
  fill_normal(cx, t, Rng{seed, 0}, 1.0);
  return t;
}

// Of rank 0 to rank 1; what arrives there, and nothing on rank 0.
Tensor carry(Context& cx, Communicator& comm, ActivationTransport& transport,
             const ActivationLink& link, const Tensor& t) {
  if (comm.rank() == 0) {
    transport.send(cx, link, 1, {&t, 1})->wait(cx.stream);
    return {};
  }
  const TensorSpec spec{t.shape(), t.dtype()};
  PendingReceive r = transport.receive(cx, link, 0, {&spec, 1});
  return transport.take(cx, link, r)[0];
}

class References final : public StateVisitor {
 public:
  explicit References(Context& cx) : cx_(cx) {}
  void tensor(std::string_view name, Tensor& t, Share share) override {
    EXPECT_EQ(share, Share::kPerLayout);
    if (restore) {
      copy(cx_, t, Tensor::from(cx_, t.shape(), values.at(std::string(name))));
    } else {
      EXPECT_TRUE(values.emplace(name, t.to_host<float>(cx_)).second) << name;
    }
  }
  void slice(std::string_view, Tensor&, std::int64_t, std::int64_t) override { ADD_FAILURE(); }
  void number(std::string_view, std::int64_t&, Share) override { ADD_FAILURE(); }
  void number(std::string_view, double&, Share) override { ADD_FAILURE(); }
  void text(std::string_view, std::string&, Share) override { ADD_FAILURE(); }

  std::map<std::string, Values> values;
  bool restore = false;

 private:
  Context& cx_;
};

std::map<std::string, Values> references_of(Context& cx, ActivationTransport& transport) {
  References seen(cx);
  transport.visit_state(seen);
  return seen.values;
}

TEST(Bf16Boundary, RoundsAndWidens) {
  run_ranks(2, [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    const auto transport = make_bf16_transport(comm);
    for (const DType dtype : {DType::kF32, DType::kBf16}) {
      for (const bool gradient : {false, true}) {
        Tensor t = random_tensor(cx, 1, dtype);
        if (dtype == DType::kF32) t.host<float>()[3] = std::numeric_limits<float>::infinity();
        const Tensor got = carry(cx, comm, *transport, {0, 2, gradient}, t);
        if (!got) continue;
        EXPECT_EQ(got.dtype(), dtype);
        EXPECT_EQ(got.shape(), kShape);
        Values want = t.to_host<float>(cx);
        for (float& x : want)
          x = static_cast<float>(Bf16(x));
        EXPECT_EQ(got.to_host<float>(cx), want);
      }
    }
    EXPECT_TRUE(references_of(cx, *transport).empty());
  });
}

// The ledger, exactly: of f32 a half, and a quarter with five bytes for each 256 elements.
TEST(CompressedBoundary, CountsWhatItSends) {
  const std::int64_t n = kShape.numel();
  for (const Wire wire : {Wire::kBf16, Wire::kInt8}) {
    for (const DType dtype : {DType::kF32, DType::kBf16}) {
      run_ranks(2, [&](Communicator& comm) {
        Runtime runtime;
        Context& cx = runtime.context();
        const Schedule schedule = with_messages(gpipe(2, kMicros));
        const auto transport = make(wire, cx, comm, schedule, kShape);
        carry(cx, comm, *transport, {0, 1, false}, random_tensor(cx, 1, dtype));
        carry(cx, comm, *transport, {1, 1, true}, random_tensor(cx, 2, dtype));
        const WireCount sent = comm.ledger().total(Traffic::kActivation);
        const std::int64_t one = wire == Wire::kBf16 ? 2 * n : n + 5 * ((n + 255) / 256);
        EXPECT_EQ(sent.sent_bytes, comm.rank() == 0 ? 2 * one : 0);
        EXPECT_EQ(sent.dense_bytes,
                  comm.rank() == 0 ? 2 * n * static_cast<std::int64_t>(size_of(dtype)) : 0);
        EXPECT_EQ(comm.ledger().total().sent_bytes, sent.sent_bytes);
      });
    }
  }
}

TEST(Int8Boundary, BothEndsHaveTheSameReferencesAndUseThem) {
  std::map<std::string, Values> at[2];
  run_ranks(2, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    const auto transport = make_int8_transport(cx, comm, with_messages(gpipe(2, kMicros)), kShape);
    for (std::uint64_t step = 0; step < 25; ++step) {
      for (int micro = 0; micro < kMicros; ++micro) {
        const std::uint64_t seed = 100 * step + static_cast<std::uint64_t>(micro);
        Tensor t = random_tensor(cx, micro == 0 ? 7 : seed);
        if (step == 11) t.host<float>()[300] = std::nanf("");
        const Tensor got = carry(cx, comm, *transport, {0, micro, false}, t);
        if (!got || step == 11) continue;
        EXPECT_EQ(got.to_host<float>(cx),
                  references_of(cx, *transport).at(fmt::format("boundary/stage0/micro{}", micro)));
        // What comes back step after step arrives as it is.
        if (micro == 0 && step > 4) {
          EXPECT_LE(std::abs(got.host<float>()[9] - t.host<float>()[9]), 0x1p-20);
        }
      }
    }
    at[comm.rank()] = references_of(cx, *transport);
  });
  EXPECT_EQ(at[0].size(), static_cast<std::size_t>(kMicros));
  EXPECT_EQ(at[0], at[1]);
}

TEST(Int8Boundary, GradientsAreSentByThemselves) {
  run_ranks(2, [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    const auto transport = make_int8_transport(cx, comm, with_messages(gpipe(2, kMicros)), kShape);
    const auto before = references_of(cx, *transport);
    const Tensor t = random_tensor(cx, 1);
    const Tensor first = carry(cx, comm, *transport, {1, 0, true}, t);
    const Tensor second = carry(cx, comm, *transport, {1, 0, true}, t);
    EXPECT_EQ(references_of(cx, *transport), before);
    if (first) {
      EXPECT_EQ(first.to_host<float>(cx), second.to_host<float>(cx));
    }
    t.host<float>()[0] = std::nanf("");
    const Tensor lost = carry(cx, comm, *transport, {1, 0, true}, t);
    if (lost) {
      EXPECT_TRUE(std::isnan(lost.host<float>()[5]));
      EXPECT_FALSE(std::isnan(lost.host<float>()[DifferenceCode::kBlock]));
    }
  });
}

// A step that is skipped because an activation was not finite leaves no trace after the next.
TEST(Int8Boundary, GoesOnAfterNan) {
  run_ranks(2, [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    const auto transport = make_int8_transport(cx, comm, with_messages(gpipe(2, kMicros)), kShape);
    const ActivationLink link{0, 0, false};
    const Tensor t = random_tensor(cx, 1);
    carry(cx, comm, *transport, link, t);
    const auto before = references_of(cx, *transport);
    const Tensor bad = Tensor::empty(cx, kShape, DType::kF32);
    fill(cx, bad, std::nan(""));
    const Tensor lost = carry(cx, comm, *transport, link, bad);
    EXPECT_EQ(references_of(cx, *transport), before);
    const Tensor good = carry(cx, comm, *transport, link, t);
    if (!good) return;
    for (std::size_t i = 0; i < t.host<float>().size(); ++i) {
      EXPECT_TRUE(std::isnan(lost.host<float>()[i]));
      EXPECT_NEAR(good.host<float>()[i], t.host<float>()[i], 1e-4);
    }
  });
}

TEST(Int8Boundary, AnotherShapeIsAnError) {
  run_ranks(1, [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    const auto transport = make_int8_transport(cx, comm, gpipe(1, 2), {2, 2});
    const TensorSpec other{{4}, DType::kF32};
    EXPECT_THROW(transport->receive(cx, {0, 1, false}, 0, {&other, 1}), Error);
  });
}

// Whole steps of a decoder.

DecoderConfig untied() {
  DecoderConfig config = test::small_decoder();
  config.tie_embeddings = false;
  return config;
}

// Passes messages on as they are, and adds up what compressing them may change of the losses: an
// error d of a result changes its micro-batch's loss by g.d and no more than |g| |d|, where
// |d| <= sqrt(n) max|a| step / 2; gradients here are of the mean over the micro-batches.
class Bounding final : public ActivationTransport {
 public:
  Bounding(Communicator& comm, double half_step)
      : plain_(make_plain_transport(comm)), half_step_(half_step) {}
  WorkPtr send(Context& cx, const ActivationLink& link, int peer,
               std::span<const Tensor> tensors) override {
    const Tensor& t = tensors[0];
    double largest = 0.0, squares = 0.0;
    for (const double x : t.to_host<double>(cx)) {
      largest = std::max(largest, std::abs(x));
      squares += x * x;
    }
    if (link.gradient) {
      norm_[{link.from_stage - 1, link.micro}] = kMicros * std::sqrt(squares);
    } else {
      error_[{link.from_stage, link.micro}] =
          half_step_ * largest * std::sqrt(static_cast<double>(t.numel()));
    }
    return plain_->send(cx, link, peer, tensors);
  }
  PendingReceive receive(Context& cx, const ActivationLink& link, int peer,
                         std::span<const TensorSpec> specs) override {
    return plain_->receive(cx, link, peer, specs);
  }
  std::vector<Tensor> take(Context& cx, const ActivationLink& link, PendingReceive& r) override {
    return plain_->take(cx, link, r);
  }
  std::map<std::pair<int, int>, double> norm_, error_;  // by stage that sends results and micro

 private:
  std::unique_ptr<ActivationTransport> plain_;
  double half_step_;
};

struct Outcome {
  std::vector<double> losses;
  std::map<std::string, Values> gradients;  // of the last step
  std::vector<double> bound;                // by micro-batch
};

struct Setting {
  Wire wire = Wire::kSame;
  int steps = 1;
  int restart_after = -1;  // a step after which a new transport takes over from the old
  bool forget = false;     // the state of the old
  double half_step = 0.0;  // not zero: work out the bounds
};

// The same step over and over, so that references matter.
Outcome run(const Schedule& compute, const Setting& setting) {
  const Schedule schedule = with_messages(compute);
  Outcome outcome;
  std::mutex lock;
  std::map<std::pair<int, int>, double> norms, errors;
  run_ranks(static_cast<int>(schedule.ranks.size()), [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    DecoderStages stages(cx, untied(), test::even_cut(8, schedule.stages()), schedule, comm.rank());
    const auto transport = [&] {
      return make(setting.wire, cx, comm, schedule, stages.boundary_shape());
    };
    std::unique_ptr<ActivationTransport> used = transport();
    Bounding bounding(comm, setting.half_step);
    std::vector<double> losses;
    std::int64_t allocations = 0;
    for (int step = 0; step < setting.steps; ++step) {
      for (Parameter* p : parameters_of(stages.model()))
        clear_grad(*p);
      Executor executor(comm, schedule, setting.half_step > 0.0 ? bounding : *used);
      StepWeight whole(kMicros);
      losses = executor.train(cx, stages, whole, {});
      if (step == 1) allocations = runtime.allocator().stats().system_allocations;
      if (step > 1 && setting.restart_after < 0) {
        EXPECT_EQ(runtime.allocator().stats().system_allocations, allocations);
      }
      if (step != setting.restart_after) continue;
      References state(cx);
      used->visit_state(state);
      used = transport();
      state.restore = true;
      if (!setting.forget) used->visit_state(state);
    }
    const std::scoped_lock guard(lock);
    if (!losses.empty()) outcome.losses = losses;
    for (const Parameter* p : parameters_of(stages.model()))
      outcome.gradients.emplace(p->name, p->grad.to_host<float>(cx));
    norms.merge(bounding.norm_);
    errors.merge(bounding.error_);
  });
  outcome.bound.resize(kMicros);
  for (const auto& [key, norm] : norms)
    outcome.bound[static_cast<std::size_t>(key.second)] += norm * errors.at(key);
  return outcome;
}

struct Named {
  const char* name;
  Schedule (*make)(int ranks);
};

class Schedules : public testing::TestWithParam<Named> {};
INSTANTIATE_TEST_SUITE_P(
    CompressedBoundary, Schedules,
    testing::Values(Named{"gpipe", [](int r) { return gpipe(r, kMicros); }},
                    Named{"one_f_one_b", [](int r) { return one_f_one_b(r, kMicros); }},
                    Named{"interleaved", [](int r) { return interleaved(r, 2, kMicros); }},
                    Named{"zero_bubble", [](int r) { return zero_bubble(r, kMicros); }}),
    [](const auto& p) { return std::string(p.param.name); });

TEST_P(Schedules, LossesAreAsCloseAsTheGradientsSay) {
  for (const int ranks : {2, 4}) {
    const Schedule schedule = GetParam().make(ranks);
    const Outcome same = run(schedule, {});
    for (const auto& [wire, half_step] :
         {std::pair(Wire::kBf16, 0x1p-8), std::pair(Wire::kInt8, 1.0 / 254.0)}) {
      const Outcome bounds = run(schedule, {.half_step = half_step});
      EXPECT_EQ(bounds.losses, same.losses);
      const Outcome got = run(schedule, {.wire = wire});
      EXPECT_NE(got.losses, same.losses);
      for (std::size_t m = 0; m < kMicros; ++m)
        EXPECT_LE(std::abs(got.losses[m] - same.losses[m]), bounds.bound[m]) << ranks << ' ' << m;
    }
  }
}

TEST_P(Schedules, GoesOnBitForBitWithItsReferences) {
  const Schedule schedule = GetParam().make(2);
  const Outcome straight = run(schedule, {.wire = Wire::kInt8, .steps = 5});
  const Outcome restarted = run(schedule, {.wire = Wire::kInt8, .steps = 5, .restart_after = 2});
  EXPECT_EQ(restarted.losses, straight.losses);
  EXPECT_EQ(restarted.gradients, straight.gradients);
  const Outcome forgetful =
      run(schedule, {.wire = Wire::kInt8, .steps = 5, .restart_after = 3, .forget = true});
  EXPECT_NE(forgetful.gradients, straight.gradients);
}

}  // namespace
}  // namespace gradwire
