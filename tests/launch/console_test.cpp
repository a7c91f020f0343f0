#include "launch/start/console.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/recipe_files.h"

namespace gradwire {
namespace {

using ::testing::ElementsAre;
using ::testing::MatchesRegex;

const char* const kStart =
    "=== ....-..-..T..:..:..Z gradwire .* starts as process [0-9]+ on .* ===";

class ConsoleTest : public RecipeFiles {
 protected:
  void SetUp() override { fd_ = ::open(path("err").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600); }
  void TearDown() override { ::close(fd_); }
  std::vector<std::string> lines(const std::string& name) const {
    std::istringstream in(content(path(name)));
    std::vector<std::string> all;
    for (std::string line; std::getline(in, line);)
      all.push_back(line);
    return all;
  }

  int fd_ = -1;
};

TEST_F(ConsoleTest, LinesGoToBothFromTheFirstOn) {
  Console console(fd_);
  console.say("before");
  console.keep_in(path("log"));
  console.say("after");
  console.log("in the log alone");
  EXPECT_THAT(lines("err"), ElementsAre("before", "after"));
  EXPECT_THAT(lines("log"),
              ElementsAre(MatchesRegex(kStart), "before", "after", "in the log alone"));
}

TEST_F(ConsoleTest, StartsAreAppendedAlsoAfterALineThatWasCutOff) {
  write("log", "=== first ===\ncut o");
  Console console(fd_);
  console.keep_in(path("log"));
  console.say("second");
  EXPECT_THAT(lines("log"), ElementsAre("=== first ===", "cut o", MatchesRegex(kStart), "second"));
}

TEST_F(ConsoleTest, ALogThatCannotBeWrittenIsSaidOnce) {
  Console console(fd_);
  console.keep_in("/proc/no/such");
  console.say("one");
  console.say("two");
  EXPECT_THAT(
      lines("err"),
      ElementsAre(MatchesRegex("warning: /proc/no/such: cannot be written: .*"), "one", "two"));
}

// Nor is it a signal: the process would end.
TEST_F(ConsoleTest, NobodyListens) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  Console broken(ends[1]), closed(-1), full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  for (Console* console : {&broken, &closed, &full}) {
    console->keep_in(path("log"));
    console->say("heard");
  }
  ::close(ends[1]);
  EXPECT_THAT(lines("log"), testing::Contains("heard").Times(3));
}

TEST(RankPrefix, IsOfTheOthersAlone) {
  RankEnvironment env;
  EXPECT_EQ(rank_prefix(env), "");
  env.rank = 3;
  EXPECT_EQ(rank_prefix(env), "[rank 3] ");
}

}  // namespace
}  // namespace gradwire
