// What the int8 code of stages loses, against bounds worked out in double.
#include "parallel/pipeline/difference_code.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/rng.h"

namespace gradwire {
namespace {

constexpr std::int64_t kNumel = 3 * DifferenceCode::kBlock + 41;
using Values = std::vector<float>;

Values random_values(std::uint64_t seed, double size = 1.0) {
  Values x(kNumel);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(size * (to_uniform(random_word(seed, i)) - 0.5));
  return x;
}

// Sender and receiver, each with its reference.
struct Ends {
  DifferenceCode code{kNumel};
  Values sent = Values(kNumel), received = Values(kNumel);
  std::vector<std::byte> wire = std::vector<std::byte>(static_cast<std::size_t>(code.bytes()));

  // What the receiver makes of it.
  const Values& send(const Values& x) {
    Values scratch(kNumel);
    code.encode(x, sent, scratch, wire);
    code.decode(wire, received);
    EXPECT_EQ(sent, received);
    return received;
  }
};

double block_max(const Values& x, std::size_t i) {
  const std::size_t block = DifferenceCode::kBlock, begin = i / block * block;
  double largest = 0.0;
  for (std::size_t k = begin; k < std::min(begin + block, x.size()); ++k)
    largest = std::max(largest, std::abs(static_cast<double>(x[k])));
  return largest;
}

// Largest error, in units of the largest element of its block.
double relative_error(const Values& x, const Values& got) {
  double worst = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i)
    worst = std::max(
        worst, std::abs(static_cast<double>(x[i]) - static_cast<double>(got[i])) / block_max(x, i));
  return worst;
}

// Half a step of 127 levels, and the rounding of f32.
constexpr double kHalfStep = 1.0 / 254.0 * (1.0 + 1e-5);

TEST(DifferenceCode, TakesAByteAnElementAndFiveABlock) {
  EXPECT_EQ(DifferenceCode(kNumel).bytes(), kNumel + 4 * 5);
  EXPECT_EQ(DifferenceCode(DifferenceCode::kBlock).bytes(), DifferenceCode::kBlock + 5);
}

TEST(DifferenceCode, TheErrorOfWhatComesBackGoesToZero) {
  Ends ends;
  const Values x = random_values(1);
  double bound = kHalfStep;
  for (int step = 0; step < 4; ++step, bound *= kHalfStep)
    EXPECT_LE(relative_error(x, ends.send(x)), std::max(bound, 0x1p-24)) << step;
  EXPECT_LE(relative_error(x, ends.received), 0x1p-24);
}

TEST(DifferenceCode, SlowChangesLoseLess) {
  Ends ends;
  Values x = random_values(1);
  ends.send(x);
  for (std::uint64_t step = 2; step < 10; ++step) {
    const Values change = random_values(step, 0.05);
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] += change[i];
    // Differences are changes and what was lost before: under an eighth of the values.
    EXPECT_LE(relative_error(x, ends.send(x)), kHalfStep / 8) << step;
  }
}

TEST(DifferenceCode, WhatDoesNotComeBackLosesNoMoreThanWithoutReference) {
  Ends ends;
  for (std::uint64_t step = 1; step < 20; ++step) {
    const Values x = random_values(step, step % 4 == 0 ? 1e30 : std::pow(10.0, step % 7));
    EXPECT_LE(relative_error(x, ends.send(x)), kHalfStep) << step;
  }
}

TEST(DifferenceCode, TheLargestNumbersAreForgottenAtOnce) {
  constexpr float kMax = std::numeric_limits<float>::max();
  Ends ends;
  ends.send(Values(kNumel, -kMax));
  const Values x = random_values(3, static_cast<double>(kMax));
  EXPECT_LE(relative_error(x, ends.send(x)), kHalfStep);
  const Values ordinary = random_values(4);
  EXPECT_LE(relative_error(ordinary, ends.send(ordinary)), kHalfStep);
}

TEST(DifferenceCode, LostBlocksArriveAsNanAndLeaveTheReference) {
  constexpr std::size_t kBlock = DifferenceCode::kBlock;
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    for (const std::size_t at : {std::size_t{0}, kBlock + 7, std::size_t{kNumel - 1}}) {
      Ends ends;
      const Values before = ends.send(random_values(1));
      Values x = random_values(2);
      x[at] = bad;
      Values scratch(kNumel);
      ends.code.encode(x, ends.sent, scratch, ends.wire);
      EXPECT_TRUE(ends.code.decode(ends.wire, ends.received));
      EXPECT_EQ(ends.sent, ends.received);
      Values arrived = ends.received;
      ends.code.mark_lost(ends.wire, arrived);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const bool lost = i / kBlock == at / kBlock;
        EXPECT_EQ(std::isnan(arrived[i]), lost) << i;
        if (lost) {
          EXPECT_EQ(ends.received[i], before[i]) << i;
        }
      }
      const Values later = random_values(3);
      EXPECT_LE(relative_error(later, ends.send(later)), kHalfStep);
    }
  }
}

TEST(DifferenceCode, WithoutReferenceNothingIsRemembered) {
  const DifferenceCode code(kNumel);
  std::vector<std::byte> wire(static_cast<std::size_t>(code.bytes())), again = wire;
  const Values x = random_values(1);
  Values scratch(kNumel), got = random_values(2);
  code.encode(x, {}, scratch, wire);
  code.encode(x, {}, scratch, again);
  EXPECT_EQ(wire, again);
  EXPECT_FALSE(code.decode(wire, got));
  EXPECT_LE(relative_error(x, got), kHalfStep);
}

TEST(DifferenceCode, AnUnknownKindOfBlockIsAnError) {
  Ends ends;
  ends.send(random_values(1));
  ends.wire.back() = std::byte{3};
  try {
    ends.code.decode(ends.wire, ends.received);
    FAIL() << "decoded";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kComm);
    EXPECT_STREQ(e.what(), "block 3 of 4 between stages is of kind 3");
  }
}

}  // namespace
}  // namespace gradwire
