// Parsing what people write.
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "parallel/pipeline/dry_run.h"
#include "parallel/pipeline/schedule.h"
#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

using test::expect_error;

TEST(ParseSchedule, ReadsWhatIsWritten) {
  for (const bool tied : {false, true}) {
    for (const Schedule& s : {gpipe(3, 2), one_f_one_b(1, 4), interleaved(4, 3, 9),
                              zero_bubble(5, 12), interleaved(2, 2, 1)}) {
      EXPECT_EQ(parse_schedule(to_text(s)), s);
      const Schedule full = with_messages(s, tied);
      EXPECT_EQ(parse_schedule(to_text(full)), full);
    }
  }
}

TEST(ParseSchedule, LeavesOutCommentsBlankLinesAndSpace) {
  EXPECT_EQ(parse_schedule("# two ranks\r\n\n  0F0\t0B0  \r\n   # the other\n1F0 1B0"),
            gpipe(2, 1));
}

TEST(ParseSchedule, NamesLineAndWord) {
  const auto refused = [](std::string_view text, std::string_view why) {
    expect_error(ErrorKind::kConfig, why, [&] { parse_schedule(text); });
  };
  for (const std::string_view word : {"0", "F0", "0F", "0X0", "0F0x", "-1F0", "0F-0", ">0F0>", ">",
                                      "0I0>", ">0W0", "0R0", ">0T", "0f0", "0F40000", "99999F0"}) {
    refused(fmt::format("0F0 0B0\n\n1F0 {}", word), fmt::format("line 3: '{}' is no action", word));
  }
  refused("", "no line has an action");
  refused("# nothing\n", "no line has an action");
  refused("0F0 0B0\n1F0 1B0 2F0 2B0", "2 lines make 2 ranks, which is no divisor of 3 stages");
  refused("0F0 0B0\n\n2F0 1F0 3F0",
          "line 3: 2F0 on rank 1, but stage 2 is rank 0's: of 2 ranks, rank r holds the stages r, "
          "r + 2");
}

TEST(WrittenSchedule, GetsItsMessagesAndIsChecked) {
  EXPECT_EQ(written_schedule("0F0 0B0\n1F0 1B0", false), with_messages(gpipe(2, 1)));
  EXPECT_EQ(written_schedule("0F0 0B0\n1F0 1B0", true), with_messages(gpipe(2, 1), true));
  const Schedule full = with_messages(zero_bubble(3, 5), true);
  EXPECT_EQ(written_schedule(to_text(full), true), full);
  expect_error(ErrorKind::kConfig, "schedule: rank 0: 0B0 comes before its forward",
               [] { written_schedule("0B0 0F0\n1F0 1B0", false); });
  expect_error(ErrorKind::kConfig, "ties no parameter",
               [&] { written_schedule(to_text(full), false); });
  expect_error(ErrorKind::kConfig, "0T and its twin are missing",
               [] { written_schedule(to_text(with_messages(gpipe(2, 1))), true); });
}

// Whatever the bytes: a schedule that reads back as itself and can be run dry, or kConfig.
TEST(ParseSchedule, SurvivesAnyText) {
  std::mt19937 random(7);
  const std::string_view letters = "0123456789FBIWRT>  \n#x-";
  const std::string good = to_text(with_messages(interleaved(2, 2, 3), true));
  int parsed = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = round % 2 ? good : "";
    for (int n = 0; n < 1 + round % (round % 2 ? 3 : 30); ++n) {
      const char c =
          random() % 8 ? letters[random() % letters.size()] : static_cast<char>(random());
      if (text.empty() || round % 2 == 0)
        text += c;
      else
        text[random() % text.size()] = c;
    }
    try {
      const Schedule s = parse_schedule(text);
      EXPECT_EQ(parse_schedule(to_text(s)), s);
      dry_run(s, SendModel::kRendezvous);
      ++parsed;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kConfig) << e.what();
    }
  }
  EXPECT_GT(parsed, 100);  // not all of them are refused
}

}  // namespace
}  // namespace gradwire
