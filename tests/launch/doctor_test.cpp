#include "launch/doctor/doctor.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/support/recipe_files.h"

namespace gradwire {
namespace {

using ::testing::HasSubstr;

Verdict worst(const Findings& all) {
  return std::ranges::max(all, {}, &Finding::verdict).verdict;
}

const Finding& named(const Findings& all, const std::string& what) {
  const auto found = std::ranges::find(all, what, &Finding::what);
  if (found == all.end()) throw std::runtime_error("no finding '" + what + "'");
  return *found;
}

TEST(Finding, AsText) {
  EXPECT_EQ(to_text({Verdict::kOk, "cores", "2", ""}), "ok    cores           2");
  EXPECT_EQ(to_text({Verdict::kFail, "disk", "full", "empty it"}),
            "FAIL  disk            full\n                      -> empty it");
}

TEST(Finding, TextOfTheSystemIsOneLine) {
  EXPECT_EQ(to_text({Verdict::kWarn, "network", "eth\x1b[2J\nok", "x\n"}),
            "warn  network         eth\\x1b[2J\\x0aok\n                      -> x\\x0a");
}

class Storage : public RecipeFiles {};

TEST_F(Storage, FolderThatCanBeWrittenToIsLeftAsItWas) {
  const Findings all = check_storage(folder_.path().string());
  EXPECT_EQ(named(all, "run folder").verdict, Verdict::kOk);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(Storage, FolderThatIsNotThereFails) {
  const Findings all = check_storage(path("none"));
  EXPECT_EQ(worst(all), Verdict::kFail);
  EXPECT_THAT(all.front().found, HasSubstr("cannot create a file: No such file or directory"));
  EXPECT_FALSE(all.front().fix.empty());
}

TEST_F(Storage, FileInPlaceOfAFolderFails) {
  EXPECT_EQ(worst(check_storage(write("file", "x"))), Verdict::kFail);
}

TEST(Doctor, EveryWarningSaysWhatToDo) {
  for (const Findings& all : {check_processor(), check_libraries(), check_gpus(), check_memory()}) {
    EXPECT_FALSE(all.empty());
    for (const Finding& f : all) {
      EXPECT_FALSE(f.found.empty()) << f.what;
      EXPECT_TRUE(f.verdict == Verdict::kOk || !f.fix.empty()) << f.what;
    }
  }
}

// In a process of its own: a hard limit cannot be raised again.
TEST(DoctorDeathTest, OpenFilesAreJudgedByTheHardLimitAndTheRanksItAllows) {
  const auto open_files = [](rlim_t soft, rlim_t hard) {
    const rlimit files{soft, hard};
    setrlimit(RLIMIT_NOFILE, &files);
    return named(check_memory(), "open files");
  };
  const auto judge = [&] {
    const Finding enough = open_files(256, 4096), few = open_files(1024, 1024);
    std::fputs(fmt::format("{}|{}", to_text(enough), to_text(few)).c_str(), stderr);
    std::exit(0);
  };
  EXPECT_EXIT(judge(), testing::ExitedWithCode(0),
              "ok    open files      4096\\|warn  open files      1024, for 4[67][0-9] ranks over "
              "TCP\n.*for 1000 ranks `ulimit -Hn 2100`");
}

TEST(Doctor, MpiStartsAlone) {
  const Findings all = check_mpi([](const char*) { return nullptr; });
  EXPECT_EQ(named(all, "MPI starts").verdict, Verdict::kOk) << named(all, "MPI starts").found;
  EXPECT_THAT(named(all, "MPI").found, HasSubstr("MPI"));
}

}  // namespace
}  // namespace gradwire
