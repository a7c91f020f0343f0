// Drawn damage in everything that a run leaves for others to read: checkpoints, traces, status
// boards and leases. (metrics.jsonl is written and never read.)
#include "tests/support/damage.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/hash.h"
#include "parallel/pipeline/dry_run.h"
#include "tests/data/temp_folder.h"
#include "tests/train/checkpoint_run.h"
#include "train/checkpoint/manifest.h"
#include "train/run_lease.h"
#include "train/stall/stall_report.h"
#include "train/stall/status_board.h"
#include "train/trace/trace_file.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;
using test::Outcomes;
using test::read_damaged;
using test::SmallRun;
using testing_data::slurp;

class DamageTest : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& bytes) const {
    std::ofstream(path, std::ios::binary) << bytes;
  }

  testing_data::TempFolder folder;
};

class DamagedCheckpointTest : public DamageTest {
 protected:
  void SetUp() override {
    SmallRun run(2);
    save_checkpoint(run.cx, {.dir = dir, .run = {"tiny", ""}}, 2, run.state(), one);
  }
  // All of it, or nothing.
  void load() {
    SmallRun run(99);
    const auto untouched = run.bytes();
    try {
      load_checkpoint(run.cx, {path}, {.model = "tiny"}, run.state(), one);
    } catch (const Error&) {
      EXPECT_EQ(run.bytes(), untouched);
      throw;
    }
    EXPECT_EQ(run.bytes(), good);
  }

  std::string dir = folder.file("checkpoints"), path = dir + "/step-00000002";
  std::string shard = path + "/rank-00000.h5", manifest = path + "/manifest.json";
  SingleRank one;
  std::map<std::string, std::vector<std::byte>> good = SmallRun(2).bytes();
};

TEST_F(DamagedCheckpointTest, Manifest) {
  const std::string whole = slurp(manifest);
  read_damaged(whole, 2000, 1, [&](const std::string& bytes) {
    write(manifest, bytes);
    EXPECT_NO_THROW(verify_checkpoint(path));
    load();
  });
}

TEST_F(DamagedCheckpointTest, Shard) {
  const std::string whole = slurp(shard);
  const Outcomes outcomes = read_damaged(whole, 1000, 2, [&](const std::string& bytes) {
    write(shard, bytes);
    EXPECT_NO_THROW(verify_checkpoint(path));
    load();
  });
  EXPECT_LT(outcomes.read, 20);  // changes that change nothing
}

// A manifest that was made anew for what it names: the checksums keep nothing out.
TEST_F(DamagedCheckpointTest, SealedManifest) {
  const std::string whole = slurp(manifest);
  int sealed = 0;
  read_damaged(whole, 2000, 3, [&](const std::string& bytes) {
    nlohmann::json j = nlohmann::json::parse(bytes, nullptr, false);
    if (!j.is_object()) return;
    j.erase("xxh3");
    std::string text = j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    text.back() = ',';
    text += '\n';
    write(manifest, text + "\"xxh3\":\"" + to_hex(hash_of(text)) + "\"}\n");
    ++sealed;
    SmallRun run(99);
    EXPECT_NO_THROW(verify_checkpoint(path));
    load_checkpoint(run.cx, {path}, {.model = "tiny"}, run.state(), one);
  });
  EXPECT_GT(sealed, 100);
}

TEST_F(DamageTest, Trace) {
  const Schedule schedule = with_messages(one_f_one_b(1, 4));
  const std::string run = folder.file("run");
  fs::create_directories(run + "/trace");
  TraceStep step{7, 0.0, {}, {{0, "gradients", 20, 21}, {0, "update", 21, 22}}};
  for (const Action& a : schedule.program(0))
    step.actions.push_back({0, a, 1.5, 2.5});
  const std::string whole = to_line(TraceHead{0, 1, 0, "alpha", schedule}) + to_line(step);
  const Outcomes outcomes = read_damaged(whole, 3000, 4, [&](const std::string& bytes) {
    write(trace_path(run, 0), bytes);
    const StepTrace trace = step_of(read_traces(run), {});
    to_chrome_trace(trace.all.actions, trace.all.parts);
    to_svg(trace.all.actions, "a run");
    dry_run(trace.schedule, SendModel::kGrouped, measured_costs(trace.schedule, trace.all.actions));
  });
  EXPECT_GT(outcomes.read, 0);
  EXPECT_GT(outcomes.refused, 1000);
}

TEST_F(DamageTest, StatusBoard) {
  RankStatus status;
  status.group_count = 1;
  std::int64_t now_ms = 5000;
  {
    StatusBoard board(folder.file("rank-00000"), status, [&] { return now_ms; });
  }
  const std::string whole = slurp(folder.file("rank-00000"));
  int seen = 0;
  read_damaged(whole, 3000, 5, [&](const std::string& bytes) {
    write(folder.file("rank-00001"), bytes);
    std::vector<SeenRank> ranks{{status, 0, 'S'}, {read_status(folder.file("rank-00001")), 0, 'T'}};
    seen += ranks[1].status ? 1 : 0;
    EXPECT_FALSE(stall_report({ranks}).empty());
  });
  EXPECT_GT(seen, 0);
}

TEST_F(DamageTest, Lease) {
  RunLease lease(folder.file("run"));
  ASSERT_EQ(lease.take(), RunLease::Answer::kTaken);
  const std::string whole = slurp(folder.file("run/lease"));
  read_damaged(whole, 2000, 6, [&](const std::string& bytes) {
    write(folder.file("run/lease"), bytes);
    const std::optional<LeaseHolder> holder = lease_in(folder.file("run"));
    ASSERT_TRUE(holder);
    EXPECT_EQ(to_text(*holder).find('\n'), std::string::npos);
    RunLease other(folder.file("run"), {.silence = std::chrono::hours(1)});
    other.take();
  });
}

}  // namespace
}  // namespace gradwire
