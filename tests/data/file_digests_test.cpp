#include "data/file_digests.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "core/hash.h"
#include "tests/data/temp_folder.h"

namespace gradwire {
namespace {

class FileDigestsTest : public ::testing::Test {
 protected:
  // As another process would ask. Gives how many files were read.
  int ask(const std::string& path, double settle_s = 0.0) {
    FileDigests digests(memo_, settle_s);
    EXPECT_EQ(digests.digest(path), to_hex(hash_of_file(path)));
    digests.keep();
    return digests.files_read();
  }

  testing_data::TempFolder folder_;
  std::string memo_ = folder_.file("digests.json");
};

TEST_F(FileDigestsTest, AFileIsReadOnceUntilItChanges) {
  const std::string path = folder_.write("a.txt", "one");
  EXPECT_EQ(ask(path), 1);
  EXPECT_EQ(ask(path), 0);
  EXPECT_EQ(ask(folder_.path().string() + "/./a.txt"), 0) << "the same file";
  folder_.write("a.txt", "other");
  EXPECT_EQ(ask(path), 1);
  EXPECT_EQ(ask(path), 0);
}

TEST_F(FileDigestsTest, TheSameSizeAndTimeOfModificationAreNotEnough) {
  const std::string path = folder_.write("a.txt", "one");
  const auto time = std::filesystem::last_write_time(path);
  ask(path);
  folder_.write("a.txt", "two");
  std::filesystem::last_write_time(path, time);
  EXPECT_EQ(ask(path), 1);
  std::filesystem::rename(folder_.write("b.txt", "six"), path);
  EXPECT_EQ(ask(path), 1);
}

TEST_F(FileDigestsTest, AFileThatHasJustChangedIsNotRemembered) {
  const std::string path = folder_.write("a.txt", "one");
  EXPECT_EQ(ask(path, 3600.0), 1);
  EXPECT_EQ(ask(path, 3600.0), 1);
}

TEST_F(FileDigestsTest, AMemoThatIsDamagedOrCannotBeWrittenCostsTheMemoAlone) {
  const std::string path = folder_.write("a.txt", "one");
  for (const char* text : {"", "{\"", "[1]", "{\"a\": 3}", "{\"a\": {\"state\": 1}}"}) {
    folder_.write("digests.json", text);
    EXPECT_EQ(ask(path), 1) << text;
    EXPECT_EQ(ask(path), 0) << text;
  }
  memo_ = folder_.file("no/such/folder/digests.json");
  EXPECT_EQ(ask(path), 1);
}

}  // namespace
}  // namespace gradwire
