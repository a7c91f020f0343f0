#include "parallel/pipeline/dry_run.h"

#include <map>
#include <random>

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

using test::expect_error;

std::string problem_of(std::string_view text, SendModel model) {
  return dry_run(parse_schedule(text), model).problem;
}

// Found whatever sends do.
void expect_problem(std::string_view text, std::string_view problem) {
  for (const SendModel model : {SendModel::kEager, SendModel::kRendezvous, SendModel::kGrouped})
    EXPECT_EQ(problem_of(text, model), problem) << text;
}

TEST(DryRun, TellsTimesOfASmallSchedule) {
  Costs costs;
  costs.forward_s = {1, 2};
  costs.backward_input_s = {3, 4};
  costs.backward_weight_s = {5, 6};
  costs.message_s = 0.5;
  const Schedule s = parse_schedule("0F0 0F0> >1B0 0B0 0R\n>0F0 1F0 1I0 1B0> 1W0 1R");
  for (const SendModel model : {SendModel::kEager, SendModel::kRendezvous, SendModel::kGrouped}) {
    const DryRun d = dry_run(s, model, costs);
    EXPECT_EQ(d.problem, "");
    // Rank 1 computes from 1.5 to 7.5, and rank 0 its backward from 8 to 16.
    EXPECT_DOUBLE_EQ(d.makespan_s, 16.0);
    EXPECT_EQ(d.busy_s, (std::vector<double>{9.0, 12.0}));
    EXPECT_DOUBLE_EQ(d.bubble_share, 1 - 21.0 / 32.0);
    EXPECT_EQ(d.peak_live, (std::vector<int>{1, 1}));
    EXPECT_EQ(d.peak_split, (std::vector<int>{0, 1}));
    EXPECT_EQ(d.timeline.size(), 11u);
    EXPECT_EQ(d.timeline[3].action, (Action{Act::kBackward, 0, 0}));
    EXPECT_DOUBLE_EQ(d.timeline[3].begin_s, 8.0);
    EXPECT_DOUBLE_EQ(d.timeline[3].end_s, 16.0);
  }
  // A send that waits holds up what follows it: here the weight gradient by half a second.
  EXPECT_DOUBLE_EQ(dry_run(s, SendModel::kEager, costs).timeline[9].end_s, 13.5);
  EXPECT_DOUBLE_EQ(dry_run(s, SendModel::kRendezvous, costs).timeline[9].end_s, 14.0);
}

// The longest path through what a rank does in order and what stages need of each other, by
// repeated relaxation.
double longest_path(const Schedule& compute, const Costs& c) {
  std::map<std::tuple<bool, int, int>, double> end;  // (forward?, stage, micro)
  double makespan = 0.0;
  for (bool changed = true; changed;) {
    changed = false;
    for (const Program& p : compute.ranks) {
      double clock = 0.0;
      for (const Action& a : p) {
        const auto stage = static_cast<std::size_t>(a.stage);
        const bool forward = a.act == Act::kForward, weight = a.act == Act::kBackwardWeight;
        const auto need = end.find({forward, a.stage + (forward ? -1 : 1), a.micro});
        if (!weight && need != end.end()) clock = std::max(clock, need->second + c.message_s);
        clock += forward  ? c.forward_s[stage]
                 : weight ? c.backward_weight_s[stage]
                          : c.backward_input_s[stage];
        if (a.act == Act::kBackward) clock += c.backward_weight_s[stage];
        makespan = std::max(makespan, clock);
        if (weight) continue;
        double& known = end[{forward, a.stage, a.micro}];
        changed = changed || known != clock;
        known = clock;
      }
    }
  }
  return makespan;
}

TEST(DryRun, EagerTakesTheLongestPath) {
  std::mt19937 random(11);
  const auto times = [&](int stages) {
    std::vector<double> t(static_cast<std::size_t>(stages));
    for (double& one : t)
      one = static_cast<double>(random() % 100);
    return t;
  };
  for (int round = 0; round < 20; ++round) {
    for (const Schedule& s :
         {gpipe(4, 5), one_f_one_b(5, 9), interleaved(3, 2, 7), zero_bubble(4, 10)}) {
      const Costs costs{times(s.stages()), times(s.stages()), times(s.stages()), 0.0};
      EXPECT_DOUBLE_EQ(dry_run(with_messages(s), SendModel::kEager, costs).makespan_s,
                       longest_path(s, costs));
    }
  }
}

TEST(DryRun, FindsWhatARankDoesWrong) {
  expect_problem("0F0 0F0 0B0 0R", "rank 0: 0F0 comes twice");
  expect_problem("0F0 0B0 0I0 0W0 0R", "rank 0: 0I0 is the second backward");
  expect_problem("0F0 0W0 0I0 0R", "rank 0: 0W0 comes before its input gradient");
  expect_problem("0B0 0F0 0R", "rank 0: 0B0 comes before its forward");
  expect_problem("0F0 0I0 0R", "rank 0: 0R comes after 0 of 1 gradients of its weights");
  expect_problem("0F0 0F1 0B0 0R 0B1", "rank 0: 0R comes after 1 of 2 gradients of its weights");
  expect_problem("0F0 0F1 0B1", "rank 0: 0B0 is missing");
  expect_problem("0F1 0B1", "rank 0: 0F0 is missing");
  expect_problem("0F0 0B0", "rank 0: 0R is missing");
  expect_problem("0F0 0B0 0T 0R", "rank 0: 0T has its twin on the same rank");
  expect_problem("0F0 0F0> 0B0 0R", "rank 0: 0F0> goes to no other rank");
  expect_problem("0F0 1F0 1B0 0B0 0R", "rank 0: 1R is missing");
  expect_problem("1F0 0F0 1B0 0B0 0R 1R", "rank 0: 1F0 comes before the result of stage 0");
  expect_problem("0F0 1F0 0B0 1B0 0R 1R", "rank 0: 0B0 comes before the gradient of stage 1");
}

TEST(DryRun, FindsWhatRanksDoWrongTogether) {
  // A receive that is missing, of a result and of a gradient.
  expect_problem("0F0 0F0> >1B0 0B0 0R\n1F0 1B0 1B0> 1R",
                 "rank 1: 1F0 comes before the result of stage 0");
  expect_problem("0F0 0F0> 0B0 0R\n>0F0 1F0 1B0 1B0> 1R",
                 "rank 0: 0B0 comes before the gradient of stage 1");
  expect_problem("0F0> 0F0 >1B0 0B0 0R\n>0F0 1F0 1B0 1B0> 1R",
                 "rank 0: 0F0> comes before its forward");
  // Sends in another order than receives.
  expect_problem("0F0 0F1 0F0> 0F1> >1B0 0B0 >1B1 0B1 0R\n>0F1 >0F0 1F0 1F1 1B0 1B0> 1B1 1B1> 1R",
                 "rank 1 receives >0F1 where rank 0 sends 0F0>");
  // One side of the pair is not there.
  EXPECT_EQ(problem_of("0F0 0F0> >1B0 0B0 0R\n>0F0 1F0 1B0 1R", SendModel::kGrouped),
            "deadlock: rank 0 waits in >1B0 for rank 1, which has ended");
  EXPECT_EQ(problem_of("0F0 0F0> >1B0 0B0 0R\n>0F0 1F0 1B0 1R", SendModel::kEager),
            "deadlock: rank 0 waits in 0B0 for rank 1, which has ended");
  EXPECT_EQ(problem_of("0F0 0F0> >1B0 0B0 0R 0T\n>0F0 1F0 1B0 1B0> 1R", SendModel::kEager),
            "rank 0: 0T comes after the stage is reduced");
  EXPECT_EQ(problem_of("0F0 0F0> >1B0 0B0 0T 0R\n>0F0 1F0 1B0 1B0> 1R", SendModel::kEager),
            "deadlock: rank 0 waits in 0T for rank 1, which has ended");
}

// What no text can say.
TEST(DryRun, FindsActionsOutsideTheSchedule) {
  Schedule s = with_messages(gpipe(2, 2));
  s.micros = 1;
  EXPECT_EQ(dry_run(s, SendModel::kEager).problem, "rank 0: 0F1 is of none of 1 micro-batches");
  std::swap(s.ranks[0], s.ranks[1]);
  EXPECT_EQ(dry_run(s, SendModel::kEager).problem, "rank 0: >0F0 comes from no other rank");
  EXPECT_EQ(dry_run({}, SendModel::kEager).problem, "no ranks");
}

// Both send before they receive: only buffers, or one exchange, let that through.
TEST(DryRun, FindsDeadlocksOfSendsThatWait) {
  const std::string_view text =
      "0F0 0F0> 0F1 0F1> >1B0 0B0 >1B1 0B1 0R\n"
      ">0F0 1F0 1B0 1B0> >0F1 1F1 1B1 1B1> 1R";
  EXPECT_EQ(problem_of(text, SendModel::kEager), "");
  EXPECT_EQ(problem_of(text, SendModel::kGrouped), "");
  EXPECT_EQ(problem_of(text, SendModel::kRendezvous),
            "deadlock: rank 0 waits in 0F1> for rank 1; rank 1 waits in 1B0> for rank 0");
  EXPECT_NO_THROW(check_schedule(parse_schedule(text)));
}

// The computing itself is out of order: no way of sending helps.
TEST(DryRun, FindsDeadlocksOfComputing) {
  const Schedule s = parse_schedule(
      "0F0 0F0> >1B0 0B0 0F1 0F1> >1B1 0B1 0R\n"
      ">0F0 1F0 >0F1 1F1 1B0 1B0> 1B1 1B1> 1R");
  EXPECT_EQ(dry_run(s, SendModel::kEager).problem,
            "deadlock: rank 0 waits in 0B0 for rank 1; rank 1 waits in 1F1 for rank 0");
  expect_error(ErrorKind::kConfig,
               "schedule: deadlock: rank 0 waits in >1B0 for rank 1; rank 1 waits in >0F1",
               [&] { check_schedule(s); });
}

// Each planted fault in a schedule that is otherwise right is found under every model.
TEST(DryRun, FindsEveryActionThatIsTakenAway) {
  for (const Schedule& good : {with_messages(interleaved(3, 2, 4), true),
                               with_messages(zero_bubble(4, 6)), with_messages(gpipe(2, 3))}) {
    for (std::size_t r = 0; r < good.ranks.size(); ++r) {
      for (std::size_t i = 0; i < good.ranks[r].size(); ++i) {
        Schedule bad = good;
        bad.ranks[r].erase(bad.ranks[r].begin() + static_cast<std::ptrdiff_t>(i));
        for (const SendModel model :
             {SendModel::kEager, SendModel::kRendezvous, SendModel::kGrouped}) {
          const DryRun d = dry_run(bad, model);
          EXPECT_NE(d.problem, "") << to_text(good.ranks[r][i]);
          EXPECT_TRUE(d.timeline.empty() && d.makespan_s == 0);
        }
      }
    }
  }
}

TEST(DryRun, RefusesCostsThatDoNotFit) {
  const Schedule s = with_messages(gpipe(2, 1));
  Costs costs;
  costs.forward_s = {1, 2, 3};
  expect_error(ErrorKind::kUsage, "3 costs for 2 stages",
               [&] { dry_run(s, SendModel::kEager, costs); });
  costs.forward_s = {-1};
  expect_error(ErrorKind::kUsage, "negative", [&] { dry_run(s, SendModel::kEager, costs); });
}

}  // namespace
}  // namespace gradwire
