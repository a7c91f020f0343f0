#include "train/compression_switch.h"

#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/state.h"

namespace gradwire {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Notes = std::vector<std::string>;

// What a probe of a slow or a fast network would give.
ExchangeProbe slow() {
  return {{.dense_s = 9.0, .compressed_s = 0.5, .codec_s = 0.5}, "a slow network"};
}
ExchangeProbe fast() {
  return {{.dense_s = 0.01, .compressed_s = 0.01, .codec_s = 0.5}, "a fast network"};
}

CompressionSwitch make(Communicator& comm, const ExchangeProbe& probe, double least_gain = 0.05) {
  return {comm, least_gain, [probe](Context&) { return probe; }};
}

// A step of one second of computing, beside what exchanging takes.
TimedStep dense_step(std::int64_t step, double exchange_s = 9.0) {
  return {step, 1.0 + exchange_s, exchange_s, true};
}

// Two ranks that each do the same.
template <class F>
void on_two_ranks(const F& f) {
  run_ranks(2, [&](Communicator& comm) {
    Runtime runtime;
    f(runtime.context(), comm);
  });
}

// Keeps what a switch saves, and gives them back to another.
class Saved final : public StateVisitor {
 public:
  void tensor(std::string_view, Tensor&, Share) override { FAIL(); }
  void slice(std::string_view, Tensor&, std::int64_t, std::int64_t) override { FAIL(); }
  void number(std::string_view name, std::int64_t& v, Share) override {
    std::int64_t& kept = kept_[std::string(name)];
    (restoring_ ? v : kept) = restoring_ ? kept : v;
  }
  void number(std::string_view, double&, Share) override { FAIL() << "a time"; }
  void text(std::string_view, std::string&, Share) override { FAIL(); }
  void restore_into(CompressionSwitch& s) {
    restoring_ = true;
    s.visit_state(*this);
  }

 private:
  std::map<std::string, std::int64_t> kept_;
  bool restoring_ = false;
};

TEST(CompressionSwitch, HoldsDenseUntilItHasMeasuredThenKeepsASlowNetworkCompressed) {
  on_two_ranks([](Context& cx, Communicator& comm) {
    CompressionSwitch s = make(comm, slow());
    EXPECT_THAT(s.start(cx, 0), ElementsAre("a slow network"));
    for (std::int64_t step = 1; step < CompressionSwitch::kMeasuredSteps; ++step) {
      EXPECT_TRUE(s.holds_dense());
      EXPECT_THAT(s.observe(cx, dense_step(step)), IsEmpty());
    }
    EXPECT_TRUE(s.holds_dense());
    EXPECT_THAT(s.observe(cx, dense_step(4)),
                ElementsAre("step 4: compression on: a step is predicted to take 2 s compressed "
                            "and 10 s as it is, a gain of 80 % (5 % asked for)"));
    EXPECT_FALSE(s.holds_dense());
    EXPECT_THAT(s.observe(cx, {5, 2.5, 1.5, false}),
                ElementsAre("compressed from step 5 on; a dense step took 10 s on average (3 of "
                            "them), 10 s were predicted"));
    EXPECT_THAT(s.observe(cx, {6, 1.5, 0.5, false}), IsEmpty());
    EXPECT_THAT(
        s.summary(),
        ElementsAre("a dense step took 10 s on average (3 of them), 10 s were predicted",
                    "a compressed step took 2 s on average (2 of them), 2 s were predicted"));
  });
}

TEST(CompressionSwitch, SwitchesAFastNetworkOffForGood) {
  on_two_ranks([](Context& cx, Communicator& comm) {
    CompressionSwitch s = make(comm, fast());
    s.start(cx, 0);
    Notes notes;
    for (std::int64_t step = 1; step <= 10; ++step) {
      for (std::string& n : s.observe(cx, dense_step(step, 0.01)))
        notes.push_back(std::move(n));
      EXPECT_TRUE(s.holds_dense());
    }
    EXPECT_THAT(notes, ElementsAre(HasSubstr("step 4: compression off: ")));
  });
}

TEST(CompressionSwitch, TheSlowestRanksComputingDecidesOnAll) {
  on_two_ranks([](Context& cx, Communicator& comm) {
    // 10 s of exchange against 100 s of computing on rank 1 alone: a gain below 10 %.
    CompressionSwitch s = make(comm, slow(), 0.1);
    s.start(cx, 0);
    for (std::int64_t step = 1; step <= 4; ++step)
      s.observe(cx, {step, comm.rank() == 1 ? 109.0 : 10.0, 9.0, true});
    EXPECT_TRUE(s.holds_dense());
  });
}

TEST(CompressionSwitch, WithoutALeastGainItCompressesFromTheFirstStepAndStillPredicts) {
  on_two_ranks([](Context& cx, Communicator& comm) {
    CompressionSwitch s = make(comm, fast(), 0.0);
    EXPECT_THAT(s.start(cx, 0), ElementsAre("a fast network"));
    EXPECT_FALSE(s.holds_dense());
    for (std::int64_t step = 1; step < 4; ++step)
      EXPECT_THAT(s.observe(cx, {step, 1.5, 0.5, false}), IsEmpty());
    EXPECT_THAT(s.observe(cx, {4, 1.5, 0.5, false}),
                ElementsAre(HasSubstr("step 4: compression on: ")));
    EXPECT_FALSE(s.holds_dense());
  });
}

TEST(CompressionSwitch, AResumedRunKeepsTheDecision) {
  on_two_ranks([](Context& cx, Communicator& comm) {
    CompressionSwitch first = make(comm, fast());
    first.start(cx, 0);
    for (std::int64_t step = 1; step <= 4; ++step)
      first.observe(cx, dense_step(step, 0.01));
    Saved saved;
    first.visit_state(saved);
    CompressionSwitch second = make(comm, slow());  // which would decide otherwise
    saved.restore_into(second);
    EXPECT_THAT(second.start(cx, 4),
                ElementsAre("compression off, as decided before", "a slow network"));
    Notes notes;
    for (std::int64_t step = 5; step <= 20; ++step) {
      EXPECT_TRUE(second.holds_dense());
      for (std::string& n : second.observe(cx, dense_step(step)))
        notes.push_back(std::move(n));
    }
    EXPECT_THAT(notes, ElementsAre("step 8: a step is predicted to take 2 s compressed and 10 s as "
                                   "it is, a gain of 80 %"));
    EXPECT_THAT(second.summary(), ElementsAre(HasSubstr("10 s were predicted")));
  });
}

// The held steps are counted from the start of the run, or resuming among them would change bits.
TEST(CompressionSwitch, ARunResumedWhileMeasuringDecidesAfterTheSameStep) {
  on_two_ranks([](Context& cx, Communicator& comm) {
    CompressionSwitch first = make(comm, slow());
    first.start(cx, 0);
    for (std::int64_t step = 1; step <= 3; ++step)
      first.observe(cx, dense_step(step));
    Saved saved;
    first.visit_state(saved);
    CompressionSwitch second = make(comm, slow());
    saved.restore_into(second);
    second.start(cx, 3);
    EXPECT_TRUE(second.holds_dense());
    EXPECT_THAT(second.observe(cx, dense_step(4)), ElementsAre(HasSubstr("compression on")));
  });
}

TEST(CompressionSwitch, AnotherNumberOfRanksDecidesAnewAndSaysSo) {
  Saved saved;
  run_ranks(3, [&](Communicator& comm) {
    Runtime runtime;
    CompressionSwitch s = make(comm, fast());
    s.start(runtime.context(), 0);
    for (std::int64_t step = 1; step <= 4; ++step)
      s.observe(runtime.context(), dense_step(step, 0.01));
    if (comm.rank() == 0) s.visit_state(saved);
  });
  on_two_ranks([&](Context& cx, Communicator& comm) {
    CompressionSwitch s = make(comm, slow());
    Saved mine = saved;
    mine.restore_into(s);
    EXPECT_THAT(s.start(cx, 100),
                ElementsAre("whether to compress is decided anew: it was for 3 ranks, this run "
                            "has 2",
                            "a slow network"));
    for (std::int64_t step = 101; step <= 104; ++step) {
      EXPECT_TRUE(s.holds_dense());  // as decided before
      s.observe(cx, dense_step(step));
    }
    EXPECT_FALSE(s.holds_dense());
  });
}

TEST(CompressionSwitch, OneRankMeasuresNothing) {
  run_ranks(1, [](Communicator& comm) {
    Runtime runtime;
    CompressionSwitch s(comm, 0.05, [](Context&) -> ExchangeProbe { throw "probed"; });
    EXPECT_THAT(s.start(runtime.context(), 0), IsEmpty());
    EXPECT_FALSE(s.holds_dense());
    for (std::int64_t step = 1; step <= 9; ++step)
      EXPECT_THAT(s.observe(runtime.context(), dense_step(step)), IsEmpty());
    EXPECT_FALSE(s.holds_dense());
  });
}

}  // namespace
}  // namespace gradwire
