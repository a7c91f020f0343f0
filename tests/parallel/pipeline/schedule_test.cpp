#include "parallel/pipeline/schedule.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

using test::expect_error;

// The texts below were drawn as diagrams of unit steps by hand.
TEST(ScheduleText, Gpipe) {
  EXPECT_EQ(to_text(gpipe(2, 2)),
            "0F0 0F1 0B0 0B1\n"
            "1F0 1F1 1B0 1B1\n");
  EXPECT_EQ(to_text(with_messages(gpipe(2, 2))),
            "0F0 0F0> 0F1 0F1> >1B0 0B0 >1B1 0B1 0R\n"
            ">0F0 1F0 >0F1 1F1 1B0 1B0> 1B1 1B1> 1R\n");
}

TEST(ScheduleText, OneForwardOneBackward) {
  EXPECT_EQ(to_text(with_messages(one_f_one_b(3, 4))),
            "0F0 0F0> 0F1 0F1> 0F2 0F2> >1B0 0B0 0F3 0F3> >1B1 0B1 >1B2 0B2 >1B3 0B3 0R\n"
            ">0F0 1F0 >0F1 1F0> 1F1 >0F2 1F1> >2B0 1B0 1B0> 1F2 1F2> >2B1 1B1 >0F3 1B1> 1F3 1F3> "
            ">2B2 1B2 1B2> >2B3 1B3 1B3> 1R\n"
            ">1F0 2F0 >1F1 2B0 2B0> 2F1 2B1 >1F2 2B1> 2F2 2B2 >1F3 2B2> 2F3 2B3 2B3> 2R\n");
}

TEST(ScheduleText, Interleaved) {
  EXPECT_EQ(to_text(interleaved(2, 2, 4)),
            "0F0 0F1 2F0 2F1 0F2 2B0 0F3 2B1 2F2 0B0 2F3 0B1 2B2 2B3 0B2 0B3\n"
            "1F0 1F1 3F0 3B0 3F1 3B1 1F2 1B0 1F3 1B1 3F2 3B2 3F3 3B3 1B2 1B3\n");
  EXPECT_EQ(to_text(with_messages(interleaved(2, 2, 2))),
            "0F0 0F0> 0F1 0F1> >1F0 2F0 2F0> >1F1 2F1 2F1> >3B0 2B0 2B0> >3B1 2B1 2B1> >1B0 2R 0B0 "
            ">1B1 0B1 0R\n"
            ">0F0 1F0 >0F1 1F0> 1F1 >2F0 1F1> 3F0 >2F1 3B0 3B0> 3F1 >2B0 3B1 3B1> 3R 1B0 >2B1 1B0> "
            "1B1 1B1> 1R\n");
}

// Three micro-batches on two ranks: those of four, without the last.
TEST(ScheduleText, InterleavedWithAnIncompleteGroup) {
  EXPECT_EQ(to_text(interleaved(2, 2, 3)),
            "0F0 0F1 2F0 2F1 0F2 2B0 2B1 2F2 0B0 0B1 2B2 0B2\n"
            "1F0 1F1 3F0 3B0 3F1 3B1 1F2 1B0 1B1 3F2 3B2 1B2\n");
}

TEST(ScheduleText, ZeroBubble) {
  EXPECT_EQ(to_text(zero_bubble(3, 4)),
            "0F0 0F1 0F2 0I0 0W0 0F3 0I1 0W1 0I2 0W2 0I3 0W3\n"
            "1F0 1F1 1I0 1F2 1I1 1W0 1F3 1I2 1W1 1I3 1W2 1W3\n"
            "2F0 2I0 2F1 2I1 2F2 2I2 2W0 2F3 2I3 2W1 2W2 2W3\n");
  EXPECT_EQ(to_text(with_messages(zero_bubble(2, 2))),
            "0F0 0F0> 0F1 0F1> >1B0 0I0 0W0 >1B1 0I1 0W1 0R\n"
            ">0F0 1F0 >0F1 1I0 1B0> 1F1 1I1 1B1> 1W0 1W1 1R\n");
}

// A tied stage waits for its twin, which may be its rank's last business only.
TEST(ScheduleText, TiedStagesMeetBeforeTheyAreReduced) {
  EXPECT_EQ(to_text(with_messages(interleaved(2, 2, 1), true)),
            "0F0 0F0> >1F0 2F0 2F0> >3B0 2B0 2B0> >1B0 2R 0B0 0T 0R\n"
            ">0F0 1F0 1F0> >2F0 3F0 3B0 3B0> >2B0 1B0 1B0> 1R 3T 3R\n");
  EXPECT_EQ(to_text(with_messages(gpipe(1, 1), true)), "0F0 0B0 0R\n");
}

TEST(Schedule, BuildersRefuseWhatCannotBe) {
  expect_error(ErrorKind::kConfig, "0 ranks", [] { gpipe(0, 1); });
  expect_error(ErrorKind::kConfig, "0 micro-batches", [] { one_f_one_b(2, 0); });
  expect_error(ErrorKind::kConfig, "0 stages", [] { interleaved(2, 0, 2); });
  expect_error(ErrorKind::kConfig, "32768 micro-batches", [] { zero_bubble(2, 32768); });
  expect_error(ErrorKind::kConfig, "20000 stages", [] { interleaved(2, 20000, 2); });
}

TEST(Schedule, MessagesAreAddedOnce) {
  expect_error(ErrorKind::kUsage, "there is 0F0> already",
               [] { with_messages(with_messages(gpipe(2, 1))); });
}

}  // namespace
}  // namespace gradwire
