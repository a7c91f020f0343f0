#include "train/metrics/metrics.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/data/temp_folder.h"
#include "train/metrics/metrics_file.h"

namespace gradwire {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing_data::slurp;

std::vector<json> lines_of(const std::string& path) {
  std::vector<json> lines;
  std::istringstream in(slurp(path));
  for (std::string line; std::getline(in, line);)
    lines.push_back(json::parse(line));
  return lines;
}

class JsonLines : public testing::Test {
 protected:
  std::unique_ptr<MetricsSink> sink() {
    return make_json_lines_sink(
        path, [this](const std::string& what) { troubles.push_back(what); }, [] { return 12.5; });
  }

  testing_data::TempFolder folder;
  std::string path = folder.file("run/metrics.jsonl");
  std::vector<std::string> troubles;
};

TEST_F(JsonLines, EveryEventIsAnObjectOfItsOwnLine) {
  StepMetrics step;
  step.step = 7;
  step.loss = 1.5;
  step.wire_bytes = std::int64_t{1} << 40;
  step.nonfinite_steps = 2;
  {
    const auto s = sink();
    s->started(0);
    s->step(step);
    s->evaluation({.step = 7, .values = {{"loss", 0.0}, {"perplexity", 1.0}}, .seconds = 2.0});
    s->checkpoint({.step = 7, .committed = false, .why = "disk\nfull"});
    s->warning("careful \"now\"");
    s->note("all well");
  }
  const std::vector<json> lines = lines_of(path);
  ASSERT_EQ(lines.size(), 6U);
  for (const json& line : lines) {
    EXPECT_EQ(line["schema"], kMetricsSchema);
    EXPECT_EQ(line["time"], 12.5);
  }
  EXPECT_EQ(lines[0], json({{"schema", 1}, {"time", 12.5}, {"event", "start"}, {"step", 0}}));
  EXPECT_EQ(lines[1]["event"], "step");
  EXPECT_EQ(lines[1]["loss"], 1.5);
  EXPECT_EQ(lines[1]["wire_bytes"], std::int64_t{1} << 40);
  EXPECT_EQ(lines[1]["nonfinite_steps"], 2);
  EXPECT_EQ(lines[2]["perplexity"], 1.0);
  EXPECT_EQ(lines[3]["why"], "disk\nfull");
  EXPECT_EQ(lines[4]["text"], "careful \"now\"");
  EXPECT_EQ(lines[5]["event"], "note");
  EXPECT_THAT(troubles, testing::IsEmpty());
}

TEST_F(JsonLines, NumbersThatAreNotFiniteAreNullAndBadTextIsReplaced) {
  StepMetrics step;
  step.loss = std::numeric_limits<double>::quiet_NaN();
  step.grad_norm = std::numeric_limits<double>::infinity();
  sink()->step(step);
  sink()->warning("name \xff\xfe");
  const std::vector<json> lines = lines_of(path);
  EXPECT_TRUE(lines[0]["loss"].is_null());
  EXPECT_TRUE(lines[0]["grad_norm"].is_null());
  EXPECT_THAT(lines[1]["text"].get<std::string>(), HasSubstr("name "));
}

TEST_F(JsonLines, GoesOnBelowALineTornByACrash) {
  sink()->started(0);
  std::ofstream(path, std::ios::app) << "{\"schema\":1,\"ev";
  sink()->started(100);
  sink()->started(101);
  std::istringstream in(slurp(path));
  std::string first, torn, third, fourth;
  std::getline(in, first);
  std::getline(in, torn);
  std::getline(in, third);
  std::getline(in, fourth);
  EXPECT_EQ(json::parse(first)["step"], 0);
  EXPECT_EQ(torn, "{\"schema\":1,\"ev");
  EXPECT_EQ(json::parse(third)["step"], 100);
  EXPECT_EQ(json::parse(fourth)["step"], 101);
}

TEST_F(JsonLines, PathThatCannotBeOpenedIsOneTroubleAndNoError) {
  path = "/proc/no/such/metrics.jsonl";
  const auto s = sink();
  for (int i = 0; i < 10; ++i)
    s->started(i);
  ASSERT_EQ(troubles.size(), 1U);
  EXPECT_THAT(troubles[0],
              HasSubstr("/proc/no/such/metrics.jsonl: cannot be written: No such file"));
}

// A file size limit stands for the full disk. What is written before and after it is whole.
TEST_F(JsonLines, FullDiskLosesLinesButTearsNone) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit full = {1000, RLIM_INFINITY};
    const rlimit room = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &full);
    const auto s = sink();
    for (int i = 0; i < 50; ++i)
      s->started(i);
    setrlimit(RLIMIT_FSIZE, &room);
    s->started(1000);
    setrlimit(RLIMIT_FSIZE, &full);
    s->started(1001);
    _exit(static_cast<int>(troubles.size()));
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 2);  // two outages, each said once
  const std::vector<json> lines = lines_of(path);
  EXPECT_GT(lines.size(), 6U);
  EXPECT_LT(lines.size(), 50U);
  EXPECT_EQ(lines.back()["step"], 1000);
}

TEST(MetricsFile, AReaderThatWentAwayIsTroubleAndNoSignal) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::vector<std::string> troubles;
  MetricsFile file(ends[1], "log", [&](const std::string& what) { troubles.push_back(what); });
  file.append("heard\n");
  char heard[6];
  EXPECT_EQ(read(ends[0], heard, 6), 6);
  close(ends[0]);
  for (int i = 0; i < 3; ++i)
    file.append("lost\n");
  EXPECT_EQ(troubles, (std::vector<std::string>{"log: cannot be written: Broken pipe"}));
  sigset_t pending;
  sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
  close(ends[1]);
  file.append("closed\n");
  EXPECT_EQ(troubles.size(), 1U);
}

}  // namespace
}  // namespace gradwire
