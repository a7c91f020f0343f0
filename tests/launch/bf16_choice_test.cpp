#include "launch/measure/bf16_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

using cpu::Bf16Path;
using ::testing::HasSubstr;

// Measures what it is told, and counts how often it is asked.
struct Meter {
  double widen = 1.0, onednn = 1.0, f32 = 1.0, avx512 = 9.0;
  int asked = 0;
  Bf16Meter of(std::vector<Bf16Path> paths = {Bf16Path::kWiden, Bf16Path::kOneDnn}) {
    return {std::move(paths),
            [this](Bf16Path p) {
              ++asked;
              return p == Bf16Path::kOneDnn ? onednn : p == Bf16Path::kAvx512 ? avx512 : widen;
            },
            [this] { return f32; }};
  }
};

TEST(Bf16Choice, TheFastestWayIsTaken) {
  Meter slow{.widen = 0.5, .onednn = 0.8, .f32 = 1.0},
      fast{.widen = 0.5, .onednn = 0.25, .f32 = 1.0};
  EXPECT_EQ(choose_bf16(slow.of(), "").path, Bf16Path::kWiden);
  EXPECT_DOUBLE_EQ(choose_bf16(slow.of(), "").against_f32, 2.0);
  EXPECT_EQ(choose_bf16(fast.of(), "").path, Bf16Path::kOneDnn);
  EXPECT_DOUBLE_EQ(choose_bf16(fast.of(), "").against_f32, 4.0);
  EXPECT_EQ(choose_bf16(fast.of({Bf16Path::kWiden}), "").path, Bf16Path::kWiden);
  fast.avx512 = 0.2;
  const std::vector<Bf16Path> all(cpu::kAllBf16Paths.begin(), cpu::kAllBf16Paths.end());
  EXPECT_EQ(choose_bf16(fast.of(all), "").path, Bf16Path::kAvx512);
}

TEST(Bf16Choice, IsRememberedWhateverIsMeasuredLater) {
  const test::TempFolder folder;
  const std::string file = folder.file("deep/bf16");
  Meter meter{.widen = 1.0, .onednn = 0.5, .f32 = 1.5};
  EXPECT_FALSE(choose_bf16(meter.of(), file).remembered);
  meter.onednn = 2.0;
  const int asked = meter.asked;
  const Bf16Choice again = choose_bf16(meter.of(), file);
  EXPECT_EQ(meter.asked, asked);
  EXPECT_TRUE(again.remembered);
  EXPECT_EQ(again.path, Bf16Path::kOneDnn);
  EXPECT_DOUBLE_EQ(again.against_f32, 3.0);
}

TEST(Bf16Choice, WhatIsRememberedMustBePossible) {
  const test::TempFolder folder;
  Meter meter;
  for (const char* text :
       {"onednn 2.0\n", "", "onednn", "fast 2.0\n", "widen nan\n", "widen -1\n"}) {
    const std::string file = folder.write("bf16", text);
    EXPECT_FALSE(choose_bf16(meter.of({Bf16Path::kWiden}), file).remembered) << text;
    EXPECT_TRUE(choose_bf16(meter.of({Bf16Path::kWiden}), file).remembered) << text;
  }
}

TEST(Bf16Choice, MemoryThatCannotBeWrittenIsNoError) {
  const test::TempFolder folder;
  Meter meter;
  EXPECT_FALSE(choose_bf16(meter.of(), folder.write("file", "") + "/below").remembered);
  EXPECT_FALSE(choose_bf16(meter.of(), folder.path().string()).remembered);  // a folder
}

TEST(Bf16Choice, RanksOnOneKindOfProcessorAgree) {
  const std::vector<std::string> kinds = {"a", "b", "a", "b"};
  const std::vector<Bf16Path> measured = {Bf16Path::kAvx512, Bf16Path::kOneDnn, Bf16Path::kOneDnn,
                                          Bf16Path::kWiden};
  run_ranks(4, [&](Communicator& comm) {
    Runtime runtime;
    const auto ranks = make_coordinator(runtime.context(), comm);
    const auto rank = static_cast<std::size_t>(comm.rank());
    const Bf16Choice agreed =
        agree_on_bf16(*ranks, kinds[rank], {measured[rank], 1.0 + comm.rank(), false});
    EXPECT_EQ(agreed.path, kinds[rank] == "a" ? Bf16Path::kAvx512 : Bf16Path::kOneDnn);
    EXPECT_DOUBLE_EQ(agreed.against_f32, kinds[rank] == "a" ? 1.0 : 2.0);
  });
}

TEST(Bf16Choice, AsText) {
  EXPECT_EQ(to_text(Bf16Choice{Bf16Path::kOneDnn, 1.75, false}),
            "bf16            by onednn, 1.75 times as fast as f32 (measured)");
  EXPECT_THAT(to_text(Bf16Choice{Bf16Path::kWiden, 0.9, true}),
              HasSubstr("(measured earlier); precision = \"f32\" is the faster one"));
}

TEST(Bf16Choice, ProcessorCanBeMeasured) {
  const Bf16Meter meter = bf16_meter();
  ASSERT_FALSE(meter.paths.empty());
  EXPECT_GT(choose_bf16(meter, "").against_f32, 0.0);
}

}  // namespace
}  // namespace gradwire
