// Every builder for 1 to 8 ranks, 1 to 3 chunks and 1 to 32 micro-batches, under every way of
// sending, against closed forms.
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "parallel/pipeline/dry_run.h"

namespace gradwire {
namespace {

constexpr int kRanks = 8, kChunks = 3, kMicros = 32;
constexpr SendModel kModels[] = {SendModel::kEager, SendModel::kRendezvous, SendModel::kGrouped};

// A forward and a whole backward of one unit each: halves are exact in binary.
Costs even_costs() {
  Costs costs;
  costs.backward_input_s = costs.backward_weight_s = {0.5};
  return costs;
}

std::string label(const char* name, int ranks, int chunks, int micros) {
  return fmt::format("{} of {} ranks, {} chunks, {} micro-batches", name, ranks, chunks, micros);
}

// Valid under all models, tied or not, and not slowed by sends that wait if actions take equally
// long. Gives what the eager one found.
DryRun expect_valid(const Schedule& compute, const Costs& costs) {
  DryRun first;
  for (const bool tied : {false, true}) {
    const Schedule s = with_messages(compute, tied);
    for (const SendModel model : kModels) {
      const DryRun d = dry_run(s, model, costs);
      EXPECT_EQ(d.problem, "");
      if (first.timeline.empty()) first = d;
      EXPECT_DOUBLE_EQ(d.makespan_s, first.makespan_s) << static_cast<int>(model);
    }
  }
  return first;
}

template <class F>
void for_shapes(const F& f) {
  for (int ranks = 1; ranks <= kRanks; ++ranks)
    for (int micros = 1; micros <= kMicros; ++micros)
      f(ranks, micros);
}

TEST(ScheduleProperty, GpipeHoldsEveryMicroBatch) {
  for_shapes([](int ranks, int micros) {
    SCOPED_TRACE(label("gpipe", ranks, 1, micros));
    expect_valid(gpipe(ranks, micros), even_costs());
    const DryRun d = expect_valid(gpipe(ranks, micros), {});
    EXPECT_DOUBLE_EQ(d.makespan_s, 3.0 * (micros + ranks - 1));
    EXPECT_EQ(d.peak_live, std::vector<int>(static_cast<std::size_t>(ranks), micros));
  });
}

TEST(ScheduleProperty, OneForwardOneBackwardHoldsAsManyAsStagesFollow) {
  for_shapes([](int ranks, int micros) {
    SCOPED_TRACE(label("1F1B", ranks, 1, micros));
    expect_valid(one_f_one_b(ranks, micros), even_costs());
    const DryRun d = expect_valid(one_f_one_b(ranks, micros), {});
    EXPECT_DOUBLE_EQ(d.makespan_s, 3.0 * (micros + ranks - 1));
    EXPECT_NEAR(d.bubble_share, (ranks - 1.0) / (micros + ranks - 1.0), 1e-12);
    for (int r = 0; r < ranks; ++r) {
      EXPECT_EQ(d.peak_live[static_cast<std::size_t>(r)], std::min(ranks - r, micros));
      EXPECT_EQ(d.peak_split[static_cast<std::size_t>(r)], 0);
    }
  });
}

// Bubble (ranks - 1) (forward + input - weight) if there are as many micro-batches as ranks (Qi
// et al., table 1), and at most the first rank's memory of 1F1B. Fewer micro-batches go to the last
// rank and back, 2 (ranks + micros - 1) steps, and a weight gradient ends it.
TEST(ScheduleProperty, ZeroBubbleHasAThirdOfTheBubble) {
  for_shapes([](int ranks, int micros) {
    SCOPED_TRACE(label("zero bubble", ranks, 1, micros));
    const DryRun d = expect_valid(zero_bubble(ranks, micros), {});
    EXPECT_DOUBLE_EQ(d.makespan_s, 3.0 * micros + ranks - 1 + std::max(0, ranks - micros));
    EXPECT_EQ(d.peak_live,
              std::vector<int>(static_cast<std::size_t>(ranks), std::min(ranks, micros)));
  });
}

TEST(ScheduleProperty, InterleavedDividesTheBubbleByChunks) {
  for (int chunks = 2; chunks <= kChunks; ++chunks) {
    for_shapes([&](int ranks, int micros) {
      SCOPED_TRACE(label("interleaved", ranks, chunks, micros));
      const Schedule s = interleaved(ranks, chunks, micros);
      const DryRun even = expect_valid(s, even_costs());
      const DryRun d = dry_run(with_messages(s), SendModel::kEager);
      // Stages are 1/chunks as long as those of 1F1B, which it never falls behind.
      EXPECT_LE(d.makespan_s, 3.0 * chunks * (micros + ranks - 1));
      if (micros % ranks != 0) return;
      EXPECT_DOUBLE_EQ(d.makespan_s, 3.0 * (chunks * micros + ranks - 1));
      EXPECT_DOUBLE_EQ(even.makespan_s, 2.0 * (chunks * micros + ranks - 1));
      for (int r = 0; r < ranks; ++r) {
        const int ahead = 2 * (ranks - r) - 1 + (chunks - 1) * ranks;
        EXPECT_EQ(d.peak_live[static_cast<std::size_t>(r)], std::min(ahead, chunks * micros));
      }
    });
  }
}

// Sends that wait for less end no later, whatever things cost, and never deadlock.
TEST(ScheduleProperty, AnyCostsRunUnderEveryModel) {
  std::mt19937 random(3);
  const auto times = [&](int stages) {
    std::vector<double> t(static_cast<std::size_t>(stages));
    for (double& one : t)
      one = 1 + static_cast<double>(random() % 1000) / 1000;
    return t;
  };
  for (int ranks = 1; ranks <= kRanks; ++ranks) {
    for (int micros = 1; micros <= kMicros; micros += 3) {
      for (const Schedule& s : {gpipe(ranks, micros), one_f_one_b(ranks, micros),
                                interleaved(ranks, 2, micros), zero_bubble(ranks, micros)}) {
        const Schedule full = with_messages(s);
        const Costs costs{times(s.stages()), times(s.stages()), times(s.stages()), 0.125};
        const DryRun eager = dry_run(full, SendModel::kEager, costs);
        const DryRun grouped = dry_run(full, SendModel::kGrouped, costs);
        const DryRun rendezvous = dry_run(full, SendModel::kRendezvous, costs);
        EXPECT_EQ(eager.problem + grouped.problem + rendezvous.problem, "");
        EXPECT_LE(eager.makespan_s, grouped.makespan_s + 1e-9);
        EXPECT_LE(grouped.makespan_s, rendezvous.makespan_s + 1e-9);
      }
    }
  }
}

// Any order in which computing can be: ranks take turns at random, each with any action that it has
// all for.
Schedule random_schedule(int ranks, int chunks, int micros, bool split, std::mt19937& random) {
  Schedule s = empty_schedule(ranks, chunks, micros);
  std::vector<Action> left;
  for (int stage = 0; stage < s.stages(); ++stage) {
    for (int m = 0; m < micros; ++m) {
      left.push_back(make_action(Act::kForward, stage, m));
      left.push_back(make_action(split ? Act::kBackwardInput : Act::kBackward, stage, m));
      if (split) left.push_back(make_action(Act::kBackwardWeight, stage, m));
    }
  }
  const auto open = [&](Act act, int stage, int m) {
    return std::find(left.begin(), left.end(), make_action(act, stage, m)) != left.end();
  };
  const auto blocked = [&](const Action& a) {
    const Act back = split ? Act::kBackwardInput : Act::kBackward;
    if (a.act == Act::kForward) return open(Act::kForward, a.stage - 1, a.micro);
    if (a.act == Act::kBackwardWeight) return open(back, a.stage, a.micro);
    return open(Act::kForward, a.stage, a.micro) || open(back, a.stage + 1, a.micro);
  };
  while (!left.empty()) {
    const std::size_t i = random() % left.size();
    if (blocked(left[i])) continue;
    s.program(s.rank_of(left[i].stage)).push_back(left[i]);
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return s;
}

TEST(ScheduleProperty, MessagesLetNoOrderOfComputingDeadlock) {
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    const int ranks = 1 + round % 5, chunks = 1 + round % 3, micros = 1 + round % 7;
    const Schedule s =
        with_messages(random_schedule(ranks, chunks, micros, round % 2, random), round % 4 < 2);
    for (const SendModel model : kModels)
      EXPECT_EQ(dry_run(s, model).problem, "") << to_text(s);
  }
}

// What the interleaved schedule loses if a send waits and backward takes twice as long as
// forward. The plan of messages takes them as equal.
TEST(ScheduleProperty, WaitingSendsCostInterleavedLittle) {
  for_shapes([](int ranks, int micros) {
    SCOPED_TRACE(label("interleaved", ranks, 2, micros));
    const Schedule s = with_messages(interleaved(ranks, 2, micros));
    EXPECT_LE(dry_run(s, SendModel::kRendezvous).makespan_s,
              1.25 * dry_run(s, SendModel::kEager).makespan_s);
  });
}

}  // namespace
}  // namespace gradwire
