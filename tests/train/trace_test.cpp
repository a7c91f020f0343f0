#include <array>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "train/trace/step_tracer.h"
#include "train/trace/trace_file.h"

namespace gradwire {
namespace {

using test::expect_error;

Schedule two_stages() {
  return with_messages(one_f_one_b(2, 2));
}

// Actions of rank `place` of the schedule, each a second long from `begin_s` on.
std::vector<TimelineEvent> one_second_each(int place, double begin_s) {
  const Schedule schedule = two_stages();
  std::vector<TimelineEvent> events;
  for (const Action& a : schedule.program(place)) {
    events.push_back({place, a, begin_s, begin_s + 1});
    begin_s += 1;
  }
  return events;
}

class TraceTest : public testing::Test {
 protected:
  TraceTest()
      : run_(testing::TempDir() + "trace_" +
             testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(run_);
  }
  ~TraceTest() override { std::filesystem::remove_all(run_); }

  // Both ranks trace steps 2 and 4 of 5; rank 1's clock is 100 s late.
  void write() {
    for (int rank : {0, 1}) {
      double now_s = 0.0;
      TraceOptions options;
      options.every = 2;
      options.path = trace_path(run_, rank);
      options.head = {rank, 2, rank, "alpha", two_stages()};
      options.now_s = [&] { return now_s; };
      options.offset = [rank] { return ClockOffset{100.0 * rank, 1e-5 * rank}; };
      StepTracer tracer(options);
      for (int step = 1; step <= 5; ++step) {
        tracer.step_begins(step);
        now_s = 20.0;
        tracer.part_begins(StepPart::kGradients);
        now_s = 22.0;
        tracer.part_begins(StepPart::kUpdate);
        now_s = 25.0;
        tracer.step_ends(one_second_each(rank, step - 100.0 * rank));
      }
    }
  }
  std::string text(int rank) const {
    std::ifstream in(trace_path(run_, rank));
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void put(int rank, const std::string& text) const {
    std::ofstream(trace_path(run_, rank)) << text;
  }

  std::string run_;
};

TEST_F(TraceTest, HasEveryActionOnOneClock) {
  write();
  const StepTrace trace = step_of(read_traces(run_), {});
  EXPECT_EQ(trace.schedule, two_stages());
  EXPECT_EQ(trace.all.step, 4);
  EXPECT_DOUBLE_EQ(trace.all.clock_error_s, 1e-5);
  const std::vector<TimelineEvent> first = one_second_each(0, 4.0),
                                   second = one_second_each(1, 4.0);
  ASSERT_EQ(trace.all.actions.size(), first.size() + second.size());
  for (std::size_t i = 0; i < trace.all.actions.size(); ++i) {
    const TimelineEvent& is = trace.all.actions[i];
    const TimelineEvent& should = i < first.size() ? first[i] : second[i - first.size()];
    EXPECT_EQ(is.rank, should.rank);
    EXPECT_EQ(is.action, should.action);
    EXPECT_DOUBLE_EQ(is.begin_s, should.begin_s);
    EXPECT_DOUBLE_EQ(is.end_s, should.end_s);
  }
  ASSERT_EQ(trace.all.parts.size(), 4u);
  EXPECT_EQ(trace.all.parts[0].name, "gradients");
  EXPECT_DOUBLE_EQ(trace.all.parts[0].end_s, 22.0);
  EXPECT_EQ(trace.all.parts[3].name, "update");
  EXPECT_EQ(trace.all.parts[3].rank, 1);
  EXPECT_DOUBLE_EQ(trace.all.parts[3].begin_s, 122.0);
  EXPECT_DOUBLE_EQ(trace.all.parts[3].end_s, 125.0);
}

TEST_F(TraceTest, GivesTheStepThatIsAskedFor) {
  write();
  const std::vector<RankTrace> traces = read_traces(run_);
  EXPECT_EQ(step_of(traces, 2).all.step, 2);
  expect_error(ErrorKind::kData, "step 3 is not there; those that all ranks have: 2, 4",
               [&] { step_of(traces, 3); });
}

// A killed process leaves a line that was cut off: that step is not there.
TEST_F(TraceTest, CutOffLineIsNone) {
  write();
  const std::string whole = text(1);
  put(1, whole.substr(0, whole.size() - 30));
  EXPECT_EQ(step_of(read_traces(run_), {}).all.step, 2);
}

TEST_F(TraceTest, SaysWhatIsMissingOrDamaged) {
  expect_error(ErrorKind::kData, "rank-00000.jsonl: missing: a run with log.trace_every",
               [&] { read_traces(run_); });
  write();
  const std::string whole = text(1);
  std::filesystem::remove(trace_path(run_, 1));
  expect_error(ErrorKind::kData, "rank-00001.jsonl: missing: the run has 2 ranks",
               [&] { read_traces(run_); });
  put(1, "");
  expect_error(ErrorKind::kData, "rank-00001.jsonl: empty", [&] { read_traces(run_); });
  std::string other = whole;
  other.replace(other.find("\"1F1\""), 5, "\"1F0\"");
  put(1, other);
  expect_error(ErrorKind::kData, " is \"1F0\", the schedule has 1F1", [&] { read_traces(run_); });
  put(1, whole.substr(0, 40) + "\n");
  expect_error(ErrorKind::kData, "rank-00001.jsonl:1: ", [&] { read_traces(run_); });
  put(1, to_line(TraceHead{1, 3, 1, "alpha", two_stages()}));
  expect_error(ErrorKind::kData, "rank-00001.jsonl: of another run", [&] { read_traces(run_); });
  put(1, to_line(TraceHead{1, 2, 1, "alpha", two_stages()}));
  expect_error(ErrorKind::kData, "no step that all ranks have",
               [&] { step_of(read_traces(run_), {}); });
}

TEST_F(TraceTest, WhatCannotBeIsRefused) {
  write();
  const std::string whole = text(1);
  for (const auto& [was, is, why] : std::vector<std::array<std::string, 3>>{
           {"\"ranks\":2", "\"ranks\":4294967298", "a whole number from 1 to 1048576 expected"},
           {"\"rank\":1", "\"rank\":-1", "-1 found"},
           {"\"step\":2", "\"step\":2.5", "2.5 found"},
           {"122.0", "-1e300", "a time out of range"},
           {"\"1F1\"", std::string(40, '[') + std::string(40, ']'), "nested too deeply"},
           {"\"1F1\"", "\"\\u001b\\n\"", "is \"\\u001b\\n\""}}) {
    std::string other = whole;
    other.replace(other.find(was), was.size(), is);
    put(1, other);
    expect_error(ErrorKind::kData, why, [&] { read_traces(run_); });
  }
}

TEST(MeasuredCosts, AreMeansByStageAndKind) {
  const Schedule s = gpipe(2, 2);
  std::vector<TimelineEvent> events = {{0, make_action(Act::kForward, 0, 0), 0, 1},
                                       {0, make_action(Act::kForward, 0, 1), 1, 4},
                                       {1, make_action(Act::kForward, 1, 0), 1, 2},
                                       {1, make_action(Act::kBackward, 1, 0), 2, 7},
                                       {0, make_action(Act::kBackwardInput, 0, 0), 7, 8},
                                       {0, make_action(Act::kBackwardWeight, 0, 0), 8, 10}};
  const Costs costs = measured_costs(s, events);
  EXPECT_EQ(costs.forward_s, (std::vector<double>{2, 1}));
  EXPECT_EQ(costs.backward_input_s, (std::vector<double>{1, 5}));
  EXPECT_EQ(costs.backward_weight_s, (std::vector<double>{2, 0}));
  EXPECT_EQ(costs.message_s, 0.0);
}

}  // namespace
}  // namespace gradwire
