#include "train/metrics/progress.h"

#include <cmath>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace gradwire {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Progress, StyleTable) {
  struct Case {
    bool is_terminal;
    const char* no_color;
    const char* term;
    ProgressStyle style;
  };
  for (const Case& c : std::vector<Case>{
           {true, nullptr, "xterm-256color", ProgressStyle::kTerminal},
           {true, "", "xterm", ProgressStyle::kTerminal},  // no-color.org: set and not empty
           {true, "1", "xterm", ProgressStyle::kLines},
           {true, nullptr, "dumb", ProgressStyle::kLines},
           {true, nullptr, nullptr, ProgressStyle::kLines},
           {false, nullptr, "xterm", ProgressStyle::kLines},
       }) {
    EXPECT_EQ(progress_style(c.is_terminal, c.no_color, c.term), c.style)
        << (c.term ? c.term : "-");
  }
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_EQ(progress_style(ends[1]), ProgressStyle::kLines);
  close(ends[0]);
  close(ends[1]);
}

TEST(Progress, ShortNumbers) {
  EXPECT_EQ(short_count(0), "0");
  EXPECT_EQ(short_count(950), "950");
  EXPECT_EQ(short_count(999.96), "1.0k");
  EXPECT_EQ(short_count(41234), "41.2k");
  EXPECT_EQ(short_count(3.14e6), "3.1M");
  EXPECT_EQ(short_count(2e15), "2000.0T");
  EXPECT_EQ(short_bytes(512), "512 B");
  EXPECT_EQ(short_bytes(18.3e6), "18.3 MB");
  EXPECT_EQ(short_duration(0.4), "0s");
  EXPECT_EQ(short_duration(59.4), "59s");
  EXPECT_EQ(short_duration(59.6), "1m00");
  EXPECT_EQ(short_duration(723), "12m03");
  EXPECT_EQ(short_duration(6420), "1h47");
  EXPECT_EQ(short_duration(2 * 86400 + 4 * 3600 + 59), "2d04h");
  EXPECT_EQ(short_duration(std::nan("")), "?");
  EXPECT_EQ(short_duration(-1), "?");
}

// What a sink writes into a pipe.
class ProgressOutput : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(pipe(ends), 0); }
  void TearDown() override {
    if (ends[0] >= 0) close(ends[0]);
    close(ends[1]);
  }
  std::unique_ptr<MetricsSink> sink(ProgressStyle style, std::int64_t log_every = 1) {
    return make_progress_sink(
        {.fd = ends[1], .style = style, .columns = 200, .log_every = log_every},
        [this] { return now; });
  }
  std::string written() {
    std::string text(1 << 16, '\0');
    const ssize_t got = read(ends[0], text.data(), text.size());
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
  }
  static StepMetrics metrics(std::int64_t step) {
    StepMetrics m;
    m.step = step;
    m.total_steps = 20000;
    m.loss = 2.3141;
    m.grad_norm = 0.81;
    m.lr = 9.8e-5;
    m.speed = {{"tokens", "tok", 41200}};
    m.step_s = 0.34;
    m.wire_bytes = 18'300'000;
    m.wire_dense_bytes = 1'143'750'000;
    return m;
  }

  int ends[2] = {-1, -1};
  double now = 1'800'000'000.0;
};

TEST_F(ProgressOutput, TerminalLine) {
  const auto s = sink(ProgressStyle::kTerminal);
  s->checkpoint({.step = 1100, .committed = true, .path = "runs/a/step-00001100"});
  EXPECT_EQ(written(), "\rstep 1100: saved runs/a/step-00001100 (0 B, 0.00 s)\x1b[K\n");
  s->step(metrics(1200));
  EXPECT_EQ(
      written(),
      "\rstep 1200/20000 6% | loss 2.314 (avg 2.314) | gnorm 0.81 | lr 9.8e-05 | 41.2k tok/s | "
      "wire 18.3 MB/step (1.6% of raw) | 0.34 s/step | ETA 1h46 | ckpt 1100\x1b[K");
}

TEST_F(ProgressOutput, TerminalIsRedrawnAtMostTenTimesASecondButAlwaysAtTheEnd) {
  const auto s = sink(ProgressStyle::kTerminal);
  s->step(metrics(1));
  EXPECT_THAT(written(), HasSubstr("step 1/"));
  s->step(metrics(2));
  now += 0.05;
  s->step(metrics(20000));
  EXPECT_THAT(written(), testing::AllOf(HasSubstr("step 20000/"), Not(HasSubstr("step 2/"))));
}

TEST_F(ProgressOutput, EventsStandAboveTheLineWhichIsDrawnAgain) {
  const auto s = sink(ProgressStyle::kTerminal);
  s->step(metrics(10));
  written();
  s->warning("rank 3 is slow");
  EXPECT_THAT(written(), testing::StartsWith("\rwarning: rank 3 is slow\x1b[K\n\rstep 10/20000"));
  s->note("second moment frozen");
  EXPECT_THAT(written(), testing::StartsWith("\rsecond moment frozen\x1b[K\n\rstep 10/20000"));
  s->checkpoint({.step = 10, .committed = false, .why = "no space left"});
  EXPECT_THAT(written(), HasSubstr("step 10: NOT saved: no space left"));
  s->evaluation({.step = 10, .values = {{"loss", 1.0}, {"perplexity", 2.718, 2}}, .seconds = 1.0});
  EXPECT_THAT(written(), HasSubstr("step 10: validation loss 1.0000, perplexity 2.72"));
}

TEST_F(ProgressOutput, ALineIsNeverWiderThanTheTerminal) {
  const auto narrow = make_progress_sink(
      {.fd = ends[1], .style = ProgressStyle::kTerminal, .columns = 40}, [this] { return now; });
  narrow->step(metrics(10));
  EXPECT_EQ(written().size(), std::string("\r\x1b[K").size() + 39);
}

TEST_F(ProgressOutput, LinesAreKeysAndValuesInAFixedOrder) {
  const auto s = sink(ProgressStyle::kLines);
  s->started(1199);
  s->step(metrics(1200));
  s->evaluation({.step = 1200, .values = {{"loss", 0.0}, {"perplexity", 1.0}}, .seconds = 1.5});
  s->checkpoint({.step = 1200, .committed = true, .path = "a b", .bytes = 5, .seconds = 0.5});
  s->checkpoint({.step = 1201, .committed = false, .why = "it said \"no\"\n"});
  s->warning("one\ntwo");
  s->note("three");
  EXPECT_EQ(
      written(),
      "time=2027-01-15T08:00:00Z event=start step=1199\n"
      "time=2027-01-15T08:00:00Z event=step step=1200 of=20000 loss=2.3141 loss_avg=2.3141 "
      "grad_norm=0.81 lr=9.8e-05 epoch=0 tokens_per_s=41200 step_s=0.34 data_wait_s=0 "
      "comm_wait_s=0 wire_bytes=18300000 wire_dense_bytes=1143750000 memory_peak_bytes=0 "
      "nonfinite_steps=0 eta_s=6392\n"
      "time=2027-01-15T08:00:00Z event=evaluation step=1200 loss=0 perplexity=1 seconds=1.5\n"
      "time=2027-01-15T08:00:00Z event=checkpoint step=1200 committed=true bytes=5 seconds=0.5 "
      "path=\"a b\"\n"
      "time=2027-01-15T08:00:00Z event=checkpoint step=1201 committed=false "
      "why=\"it said \\\"no\\\" \"\n"
      "time=2027-01-15T08:00:00Z event=warning text=\"one two\"\n"
      "time=2027-01-15T08:00:00Z event=note text=\"three\"\n");
}

TEST_F(ProgressOutput, OneLineInNAndTheFirstAndTheLast) {
  const auto s = sink(ProgressStyle::kLines, 100);
  for (std::int64_t step = 150; step <= 350; ++step)
    s->step(metrics(step));
  s->step(metrics(20000));
  std::istringstream in(written());
  std::vector<std::string> steps;
  for (std::string line; std::getline(in, line);) {
    steps.push_back(
        line.substr(line.find(" step=") + 6, line.find(" of=") - line.find(" step=") - 6));
  }
  EXPECT_THAT(steps, testing::ElementsAre("150", "200", "300", "20000"));
}

TEST_F(ProgressOutput, NonFiniteLossesStayOutOfTheAverage) {
  const auto s = sink(ProgressStyle::kLines);
  s->step(metrics(1));
  StepMetrics bad = metrics(2);
  bad.loss = std::nan("");
  s->step(bad);
  EXPECT_THAT(written(), HasSubstr("loss=nan loss_avg=2.3141"));
}

TEST_F(ProgressOutput, ALogThatNobodyReadsAnyMoreIsNoError) {
  const auto s = sink(ProgressStyle::kLines);
  close(ends[0]);
  ends[0] = -1;
  for (int i = 1; i < 5; ++i)
    s->step(metrics(i));
}

}  // namespace
}  // namespace gradwire
