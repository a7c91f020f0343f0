// Error feedback: what is lost stays in the residual, whatever goes in.
#include <gtest/gtest.h>

#include "tests/comm/codec/codec_inputs.h"
#include "tests/support/expect_error.h"

namespace gradwire::test {
namespace {

const std::vector<std::size_t> kSizes = {1, 7, 8, 4095, 4096, 4097, 70'001};

double max_abs(std::span<const float> x) {
  double largest = 0.0;
  for (const float v : x)
    largest = std::max(largest, std::abs(static_cast<double>(v)));
  return largest;
}

std::vector<float> sum_of(std::span<const float> a, std::span<const float> b) {
  std::vector<float> c(a.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    c[i] = a[i] + b[i];
  return c;
}

class Feedback : public testing::TestWithParam<std::string> {
 protected:
  bool exact() const { return GetParam() == "topk" || GetParam() == "randk"; }
  std::unique_ptr<Codec> codec_ = make_codec({.name = GetParam()});
};
INSTANTIATE_TEST_SUITE_P(Codecs, Feedback, testing::ValuesIn(all_codecs()),
                         [](const auto& codec) { return codec.param; });

TEST_P(Feedback, ResidualIsWhatDecodingLoses) {
  for (const std::size_t n : kSizes) {
    const std::vector<float> x = normal_values(n, 1);
    std::vector<float> e = normal_values(n, 2);
    const std::vector<float> c = sum_of(x, e);
    const std::vector<std::byte> payload = encoded(*codec_, {.x = x, .residual = e});
    EXPECT_EQ(payload, encoded(*codec_, {.x = c}));
    const std::vector<float> q = decoded(*codec_, payload, n);
    const double bound = std::ldexp(std::max(max_abs(c), max_abs(q)), -23);
    for (std::size_t i = 0; i < n; ++i) {
      ASSERT_EQ(e[i], c[i] - q[i]) << n << " " << i;
      const double error = static_cast<double>(q[i]) + e[i] - static_cast<double>(c[i]);
      ASSERT_LE(std::abs(error), bound);
      if (exact()) {
        ASSERT_EQ(q[i] + e[i], c[i]);
      }
    }
  }
}

TEST_P(Feedback, MomentumIsFoldedIn) {
  for (const std::size_t n : kSizes) {
    const std::vector<float> g = normal_values(n, 1), m = normal_values(n, 2);
    std::vector<float> e = normal_values(n, 3), by_hand = e, x(n);
    const float beta = 0.9F, rest = 1.0F - beta;
    for (std::size_t i = 0; i < n; ++i) {
      const float old_part = beta * m[i], new_part = rest * g[i];
      x[i] = old_part + new_part;
    }
    const CodecInput in{.x = g, .residual = e, .momentum = m, .beta = beta};
    EXPECT_EQ(encoded(*codec_, in), encoded(*codec_, {.x = x, .residual = by_hand}));
    EXPECT_EQ(bits_of(e), bits_of(by_hand));
  }
}

// Where the new payload goes, too; and with coordinates that take no part.
TEST_P(Feedback, MomentumMayComeAsItTravelled) {
  for (const std::size_t n : kSizes) {
    const std::vector<float> g = normal_values(n, 1);
    const std::vector<std::byte> code = encoded(*codec_, {.x = normal_values(n, 2)});
    std::vector<std::byte> live((n + 7) / 8, std::byte{0xFF}), out = code;
    for (std::size_t i = 5; i < live.size() / 2; i += 3)
      live[i] = std::byte{0xA5};
    std::vector<float> e = normal_values(n, 3);
    for (std::size_t i = 0; i < n; ++i)
      if ((static_cast<unsigned>(live[i / 8]) >> (i % 8) & 1U) == 0) e[i] = 0.0F;
    std::vector<float> by_floats = e, m(n);
    codec_->decode(code, DecodeTarget{.to = m, .live = live});
    const CodecInput in{
        .x = g, .weight = 0.3F, .residual = e, .beta = 0.9F, .momentum_code = out, .live = live};
    if (!codec_->has_blocks()) {
      expect_error(ErrorKind::kUsage, "payload", [&] { codec_->encode(in, {}, out); });
      continue;
    }
    codec_->encode(in, {}, out);
    EXPECT_EQ(out, encoded(*codec_, {.x = g,
                                     .weight = 0.3F,
                                     .residual = by_floats,
                                     .momentum = m,
                                     .beta = 0.9F,
                                     .live = live}))
        << n;
    EXPECT_EQ(bits_of(e), bits_of(by_floats)) << n;
  }
}

// Wherever the target begins in memory.
TEST_P(Feedback, DecodedRangesAreToldOfOnceEach) {
  for (const std::size_t n : kSizes) {
    const std::vector<std::byte> payload = encoded(*codec_, {.x = normal_values(n, 1)});
    const std::vector<float> whole = decoded(*codec_, payload, n);
    for (const std::size_t offset : {0, 1, 3}) {
      std::vector<float> memory(n + 2 * offset, 7.5F), seen(n, 0.0F);
      const std::span<float> to = std::span(memory).subspan(offset, n);
      codec_->decode(
          payload,
          DecodeTarget{.to = to, .done = [&](std::int64_t begin, std::int64_t end, const float* v) {
                         for (std::int64_t i = begin; i < end; ++i)
                           seen[static_cast<std::size_t>(i)] += v[i - begin];
                       }});
      EXPECT_EQ(bits_of({to.begin(), to.end()}), bits_of(whole)) << n << " " << offset;
      EXPECT_EQ(seen, whole) << n << " " << offset;
      for (std::size_t i = 0; i < offset; ++i)
        ASSERT_EQ(memory[i] + memory[offset + n + i], 15.0F) << n << " " << offset;
    }
  }
}

TEST_P(Feedback, VouchingForFiniteInputsChangesNothing) {
  const std::vector<float> x = normal_values(70'001, 1);
  std::vector<float> a = normal_values(x.size(), 2), b = a;
  EXPECT_EQ(encoded(*codec_, {.x = x, .residual = a}),
            encoded(*codec_, {.x = x, .residual = b, .known_finite = true}));
  EXPECT_EQ(bits_of(a), bits_of(b));
}

// What went in, less what came out, is the residual, up to the roundings of the two additions of
// each step. After 1000 unit-variance steps sign and int8 stay below 1e-5.
TEST_P(Feedback, TelescopesOverAThousandSteps) {
  constexpr std::size_t kCount = 4097;
  constexpr int kSteps = 1000;
  std::vector<double> sum(kCount), bound(kCount);
  std::vector<float> e(kCount);
  for (int step = 0; step < kSteps; ++step) {
    const std::vector<float> x = normal_values(kCount, static_cast<std::uint64_t>(step));
    const std::vector<float> c = sum_of(x, e);
    const CodecKey key{.seed = 1, .step = static_cast<std::uint64_t>(step)};
    const std::vector<float> q =
        decoded(*codec_, encoded(*codec_, {.x = x, .residual = e}, key), kCount);
    for (std::size_t i = 0; i < kCount; ++i) {
      sum[i] += static_cast<double>(x[i]) - static_cast<double>(q[i]);
      bound[i] += std::ldexp(std::abs(c[i]) + std::abs(e[i]), -24);
    }
  }
  double worst = 0.0;
  for (std::size_t i = 0; i < kCount; ++i) {
    const double drift = std::abs(sum[i] - static_cast<double>(e[i]));
    worst = std::max(worst, drift);
    ASSERT_LE(drift, bound[i] * 1.001) << i;  // the sums in double round, too
  }
  if (GetParam() == "sign" || GetParam() == "int8") {
    EXPECT_LE(worst, 1e-5);
  }
}

TEST_P(Feedback, DeadCoordinatesCountAsZeroAndStayZero) {
  constexpr std::size_t kCount = 9001;
  const std::vector<float> x = normal_values(kCount, 1);
  std::vector<float> e(kCount), alone_x, alone_e;
  std::vector<std::byte> live((kCount + 7) / 8);
  for (std::size_t i = 0; i < kCount; i += 2)
    live[i / 8] |= static_cast<std::byte>(1 << (i % 8));
  if (exact()) return;  // whose dead coordinates are zero already, by contract
  const std::vector<std::byte> payload = encoded(*codec_, {.x = x, .residual = e, .live = live});
  const std::vector<float> q = decoded(*codec_, payload, kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    if (i % 2 == 0) {
      ASSERT_EQ(e[i], x[i] - q[i]);
    } else {
      ASSERT_EQ(e[i], 0.0F);
    }
  }
  if (GetParam() != "sign") return;
  double norm1 = 0.0;
  for (std::size_t i = 0; i < 4096; i += 2)
    norm1 += std::abs(static_cast<double>(x[i]));
  EXPECT_FLOAT_EQ(std::abs(q[0]), static_cast<float>(norm1 / 2048));
}

TEST(SignCodec, ZeroIsPositiveAndBitsAreLittleEndian) {
  const std::vector<float> x = {0.0F, -0.0F, -1.0F, 1.0F, -1e-42F, 1e-42F, -2.0F, 2.0F, -4.0F};
  const auto codec = make_codec({.name = "sign"});
  const std::vector<std::byte> payload = encoded(*codec, {.x = x});
  ASSERT_EQ(payload.size(), 6U);
  EXPECT_EQ(payload[4], std::byte{0b10101011});
  EXPECT_EQ(payload[5], std::byte{0});
  const std::vector<float> q = decoded(*codec, payload, x.size());
  for (const std::size_t i : {0U, 1U, 3U, 5U, 7U})
    EXPECT_FLOAT_EQ(q[i], 10.0F / 9.0F);
  for (const std::size_t i : {2U, 4U, 6U, 8U})
    EXPECT_FLOAT_EQ(q[i], -10.0F / 9.0F);
}

TEST(SignCodec, EveryWordOfSixteenSignsComesBack) {
  constexpr std::size_t kWords = 65'536, kBits = 16;
  std::vector<float> x(kWords * kBits);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = (i / kBits >> (i % kBits) & 1U) != 0 ? 1.0F : -1.0F;
  const auto codec = make_codec({.name = "sign"});
  const std::vector<std::byte> payload = encoded(*codec, {.x = x});
  const std::size_t bits = payload.size() - x.size() / 8;
  for (std::size_t word = 0; word < kWords; ++word) {
    ASSERT_EQ(static_cast<std::size_t>(payload[bits + 2 * word]), word & 0xFFU);
    ASSERT_EQ(static_cast<std::size_t>(payload[bits + 2 * word + 1]), word >> 8);
  }
  EXPECT_EQ(decoded(*codec, payload, x.size()), x);
}

TEST(IntCodecs, StayWithinHalfALevel) {
  const std::vector<float> x = normal_values(70'001, 1);
  for (const auto& [name, levels, block] :
       {std::tuple{"int8", 127.0, std::size_t{1024}}, std::tuple{"int4", 7.0, std::size_t{256}}}) {
    const auto codec = make_codec({.name = name});
    const std::vector<float> q = decoded(*codec, encoded(*codec, {.x = x}), x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t begin = i / block * block;
      const double most = max_abs(std::span(x).subspan(begin, std::min(block, x.size() - begin)));
      ASSERT_LE(std::abs(static_cast<double>(x[i]) - static_cast<double>(q[i])),
                most * (0.5 / levels + 0x1p-22));
    }
  }
}

TEST(Bf16Codec, RoundsToTheNearestEvenAndNeverToInfinity) {
  const auto codec = make_codec({.name = "bf16"});
  const std::vector<float> x = {1.0F,       0x1.01p0F,       0x1.03p0F,
                                -0x1.01p0F, 0x1.fffffep127F, -0x1.fffffep127F};
  const std::vector<float> wanted = {1.0F, 1.0F, 0x1.04p0F, -1.0F, 0x1.fep127F, -0x1.fep127F};
  EXPECT_EQ(decoded(*codec, encoded(*codec, {.x = x}), x.size()), wanted);
}

TEST(IdentityCodec, KeepsEveryBit) {
  const auto codec = make_codec({.name = "identity"});
  std::vector<float> x = normal_values(10'001, 1);
  x[5] = -0.0F;
  x[6] = -1e-45F;
  EXPECT_EQ(bits_of(decoded(*codec, encoded(*codec, {.x = x}), x.size())), bits_of(x));
}

}  // namespace
}  // namespace gradwire::test
