// A frozen base is not copied into checkpoints, and is the same one when the run goes on.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/data/temp_folder.h"
#include "tests/support/expect_error.h"
#include "tests/train/checkpoint_run.h"
#include "tests/train/square_task.h"
#include "train/checkpoint/manifest.h"

namespace gradwire {
namespace {

using test::SmallRun;
using test::ThreadRanks;
using testing::HasSubstr;

// A run whose state is small, on a base that is not.
struct Adapter {
  explicit Adapter(const std::vector<std::string>& base_names, double base_value = 0.5)
      : run(1), base(base_names.size()) {
    for (std::size_t i = 0; i < base.size(); ++i) {
      base[i] = std::make_unique<Parameter>();
      base[i]->name = base_names[i];
      base[i]->value = Tensor::zeros(run.cx, {64, 64}, DType::kBf16);
      base[i]->trainable = false;
      fill(run.cx, base[i]->value, base_value);
    }
  }
  CheckpointState state() {
    CheckpointState s = run.state();
    std::vector<Parameter*> params;
    for (const auto& p : base)
      params.push_back(p.get());
    s.frozen = digests_of(run.cx, params);
    return s;
  }

  SmallRun run;
  std::vector<std::unique_ptr<Parameter>> base;
};

class FrozenBase : public testing::Test {
 protected:
  void save(Adapter& a, Coordinator& ranks) {
    const SaveResult saved =
        save_checkpoint(a.run.cx, {.dir = dir, .run = {"m", "r"}}, 1, a.state(), ranks);
    ASSERT_TRUE(saved.committed) << saved.why;
  }
  void load(Adapter& a, Coordinator& ranks) {
    load_checkpoint(a.run.cx, paths_of(list_checkpoints(dir)), {.model = "m"}, a.state(), ranks);
  }
  void expect_refused(Adapter& a, std::string_view why) {
    test::expect_error(ErrorKind::kCheckpoint, why, [&] { load(a, one); });
  }

  testing_data::TempFolder folder;
  std::string dir = folder.file("checkpoints");
  SingleRank one;
};

TEST_F(FrozenBase, IsNotCopiedAndIsRecognised) {
  Adapter a({"base.0", "base.1"});
  save(a, one);
  const Manifest manifest = read_manifest(dir + "/step-00000001");
  EXPECT_EQ(manifest.frozen, a.state().frozen);
  EXPECT_EQ(parse_manifest(to_text(manifest)).frozen, manifest.frozen);
  for (const ManifestEntry& e : manifest.entries)
    EXPECT_THAT(e.name, testing::Not(HasSubstr("base")));
  Adapter again({"base.1", "base.0"});
  load(again, one);
}

TEST_F(FrozenBase, AnotherOneIsRefusedByName) {
  Adapter a({"base.0", "base.1"});
  save(a, one);
  Adapter changed({"base.0", "base.1"});
  changed.base[1]->value.host<Bf16>()[4095] = Bf16(0.25F);
  expect_refused(changed,
                 "of another base model: the frozen 'base.1' is not what it was when it was saved");
  Adapter all_changed({"base.0", "base.1"}, 0.75);
  expect_refused(all_changed, "the frozen 'base.0' and 1 more are not what they were");
  Adapter narrower({"base.0", "base.1"});
  narrower.base[0]->value = narrower.base[0]->value.view({32, 128});
  expect_refused(narrower, "the frozen 'base.0' is not");
  Adapter more({"base.0", "base.1", "base.2"});
  expect_refused(more, "frozen here, but not when it was saved: 'base.2'");
  Adapter less({"base.0"});
  expect_refused(less, "not of this run: frozen base.1");
}

// Stages have parts of the base, in other cuts too; replicas have the same.
TEST_F(FrozenBase, IsSpreadOverRanks) {
  const std::vector<std::string> parts[] = {{"base.0", "both"}, {"base.1", "both"}};
  ThreadRanks::run(2, [&](Coordinator& ranks) {
    Adapter a(parts[ranks.rank()]);
    a.run.with_residual = false;
    save(a, ranks);
  });
  EXPECT_EQ(read_manifest(dir + "/step-00000001").frozen.size(), 3U);
  Adapter whole({"base.0", "base.1", "both"});
  whole.run.with_residual = false;
  load(whole, one);
}

TEST_F(FrozenBase, ThatDiffersBetweenRanksIsNotSaved) {
  ThreadRanks::run(2, [&](Coordinator& ranks) {
    Adapter a({"base"}, ranks.rank());
    const SaveResult saved =
        save_checkpoint(a.run.cx, {.dir = dir, .run = {"m", "r"}}, 1, a.state(), ranks);
    EXPECT_FALSE(saved.committed);
    EXPECT_THAT(saved.why, HasSubstr("the frozen parameter 'base' differs between ranks"));
  });
}

TEST(TaskSets, TrainedAndSavedAreTheTasksToSay) {
  class AdapterTask final : public test::SquareTask {
   public:
    explicit AdapterTask(Context& cx) : SquareTask(cx) {}
    ParameterSet saved() override { return trained(); }
  };
  Runtime runtime;
  test::SquareTask whole(runtime.context());
  EXPECT_EQ(whole.saved(), whole.parameters());
  EXPECT_TRUE(known_by_digest_in(whole).empty());
  EXPECT_EQ(frozen_in(whole).size(), 1U);
  AdapterTask adapter(runtime.context());
  EXPECT_EQ(adapter.saved(), adapter.trained());
  EXPECT_EQ(known_by_digest_in(adapter), frozen_in(adapter));
}

}  // namespace
}  // namespace gradwire
