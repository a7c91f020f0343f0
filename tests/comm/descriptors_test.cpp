#include "comm/descriptors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "comm/tcp/tcp_comm.h"
#include "core/error.h"
#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

rlimit limit() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  return files;
}
void set_limit(rlim_t soft, rlim_t hard) {
  const rlimit files{soft, hard};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
}

TEST(Descriptors, TheLimitIsRaisedToWhatIsAllowed) {
  const rlimit before = limit();
  set_limit(256, before.rlim_max);
  raise_descriptor_limit();
  EXPECT_EQ(limit().rlim_cur, before.rlim_max);
  set_limit(before.rlim_cur, before.rlim_max);
}

TEST(Descriptors, AWorldTooLargeIsRefusedWithTheNumbers) {
  const rlimit before = limit();
  set_limit(256, before.rlim_max);
  test::expect_error(ErrorKind::kIo, "tcp: 600 ranks need 1", [] {
    TcpWorld world({.rank = 1, .size = 600, .timeout = std::chrono::seconds(1)});
  });
  try {
    check_descriptors(100'000'000, "tcp: 50000001 ranks");
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::MatchesRegex(
                              "tcp: 50000001 ranks need 1000000[0-9][0-9] file descriptors in "
                              "every process, and this one may have 256 \\(RLIMIT_NOFILE; hard "
                              "limit [0-9]+\\): start it below `ulimit -n 1000000[0-9][0-9]`.*"));
  }
  check_descriptors(100, "tcp: 51 ranks");
  set_limit(before.rlim_cur, before.rlim_max);
}

// In a process of its own: a hard limit cannot be raised again.
TEST(DescriptorsDeathTest, RanksAreCountedByTheHardLimit) {
  const auto judge = [] {
    set_limit(256, 1024);
    const auto one = most_ranks_by_descriptors(1), four = most_ranks_by_descriptors(4);
    std::exit(one > 460 && one < 490 && four > 180 && four < 200 ? 0 : 1);
  };
  EXPECT_EXIT(judge(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace gradwire
