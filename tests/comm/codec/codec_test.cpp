// What every codec promises: sizes, errors, what decoding does with its target.
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/parallel_for.h"
#include "tests/comm/codec/codec_inputs.h"

namespace gradwire::test {
namespace {

using testing::HasSubstr;

const std::vector<std::size_t> kSizes = {0, 1, 7, 8, 63, 64, 65, 511, 4095, 4096, 4097, 65537};

template <class F>
Error error_of(const F& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  return Error(ErrorKind::kInternal, "nothing was thrown");
}

class EachCodec : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Codec> codec_ = make_codec({.name = GetParam()});
};
INSTANTIATE_TEST_SUITE_P(Codecs, EachCodec, testing::ValuesIn(all_codecs()),
                         [](const auto& codec) { return codec.param; });

std::size_t ceil_div(std::size_t a, std::size_t b) {
  return (a + b - 1) / b;
}

// The formulas of the documentation, spelled out again.
std::size_t formula_bytes(const std::string& name, std::size_t n) {
  const std::size_t k = n == 0 ? 0 : std::max<std::size_t>(1, (n + 50) / 100);
  if (name == "sign") return ceil_div(n, 8) + 4 * ceil_div(n, 4096);
  if (name == "int8") return n + 4 * ceil_div(n, 1024);
  if (name == "int4") return ceil_div(n, 2) + 4 * ceil_div(n, 256);
  if (name == "qsgd") return ceil_div(4 * n, 8) + 4 * ceil_div(n, 512);
  if (name == "natural") return n + ceil_div(n, 8);
  if (name == "bf16") return 2 * n;
  if (name == "identity") return 4 * n;
  if (name == "randk") return n == 0 ? 0 : 8 + 4 * k;
  const std::size_t places = std::min(2 * k, ceil_div(n, 8));
  return n == 0 ? 0 : 8 + 4 * ceil_div(n, 65536) + 4 * k + places;
}

TEST_P(EachCodec, PayloadHasTheSizeOfTheFormula) {
  for (const std::size_t n : kSizes) {
    const std::vector<float> x = normal_values(n, n);
    EXPECT_EQ(encoded(*codec_, {.x = x}).size(), formula_bytes(GetParam(), n)) << n;
    EXPECT_GE(codec_->max_bytes(static_cast<std::int64_t>(n)), formula_bytes(GetParam(), n)) << n;
  }
}

TEST_P(EachCodec, WritesNothingBehindItsPayloadAndReadsNothingBehindIt) {
  for (const std::size_t n : kSizes) {
    const std::vector<float> x = normal_values(n, n);
    const std::size_t room = codec_->max_bytes(static_cast<std::int64_t>(n));
    std::vector<std::byte> out(room + 64, std::byte{0x5A});
    const std::size_t bytes = codec_->encode(x, {}, std::span(out).first(room));
    for (std::size_t i = room; i < out.size(); ++i)
      ASSERT_EQ(out[i], std::byte{0x5A});
    const std::vector<float> once = decoded(*codec_, std::span(out).first(bytes), n);
    for (std::size_t i = bytes; i < out.size(); ++i)
      out[i] = std::byte{0xFF};
    EXPECT_EQ(bits_of(decoded(*codec_, out, n)), bits_of(once)) << n;
  }
}

TEST_P(EachCodec, AddingIsDecodingThenMultiplyingAndAdding) {
  for (const std::size_t n : kSizes) {
    const std::vector<float> x = normal_values(n, n), start = normal_values(n, n + 1);
    const std::vector<std::byte> payload = encoded(*codec_, {.x = x});
    const std::vector<float> q = decoded(*codec_, payload, n);
    std::vector<float> sum = start;
    codec_->decode_add(payload, 0.3F, sum);
    for (std::size_t i = 0; i < n; ++i) {
      const float product = 0.3F * q[i];
      ASSERT_EQ(sum[i], start[i] + product) << n << " " << i;
    }
  }
}

TEST_P(EachCodec, DeadCoordinatesKeepTheirBits) {
  for (const std::size_t n : kSizes) {
    const std::vector<float> x = normal_values(n, n), start = normal_values(n, n + 1);
    std::vector<std::byte> live((n + 7) / 8);
    for (std::size_t i = 0; i < n; i += 3)
      live[i / 8] |= static_cast<std::byte>(1 << (i % 8));
    const std::vector<std::byte> payload = encoded(*codec_, {.x = x, .live = live});
    std::vector<float> q(n);
    codec_->decode(payload, {.to = q, .live = live});
    for (const bool add : {false, true}) {
      std::vector<float> to = start, wanted = start;
      codec_->decode(payload, {.to = to, .add = add, .weight = 0.5F, .live = live});
      for (std::size_t i = 0; i < n; i += 3) {
        const float half = 0.5F * q[i];
        wanted[i] = add ? start[i] + half : q[i];
      }
      EXPECT_EQ(to, wanted) << n;
    }
  }
}

TEST_P(EachCodec, IsTheSameForAnyNumberOfThreads) {
  const std::vector<float> x = normal_values(300'001, 1);
  const int threads = thread_count();
  std::vector<std::vector<std::byte>> payloads;
  std::vector<std::vector<float>> residuals;
  for (const int count : {1, 2, 3}) {
    set_thread_count(count);
    residuals.push_back(normal_values(x.size(), 2));
    payloads.push_back(encoded(*codec_, {.x = x, .residual = residuals.back()}));
  }
  set_thread_count(threads);
  EXPECT_EQ(payloads[0], payloads[1]);
  EXPECT_EQ(payloads[0], payloads[2]);
  EXPECT_EQ(bits_of(residuals[0]), bits_of(residuals[1]));
  EXPECT_EQ(bits_of(residuals[0]), bits_of(residuals[2]));
}

TEST_P(EachCodec, DependsOnTheKeyOnlyIfItDrawsRandomNumbers) {
  const std::vector<float> x = normal_values(5000, 1);
  const bool random = GetParam() == "qsgd" || GetParam() == "natural" || GetParam() == "randk";
  const std::vector<std::byte> payload = encoded(*codec_, {.x = x}, {1, 2, 3});
  EXPECT_EQ(payload, encoded(*codec_, {.x = x}, {1, 2, 3}));
  for (const CodecKey& other : {CodecKey{9, 2, 3}, CodecKey{1, 9, 3}, CodecKey{1, 2, 9}})
    EXPECT_EQ(payload != encoded(*codec_, {.x = x}, other), random);
}

TEST_P(EachCodec, ReportsNanAndInfinityAndLeavesTheResidual) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float bad : {kNan, -kNan, kInfinity, -kInfinity}) {
    for (const std::size_t at : {0U, 4096U, 9999U}) {
      std::vector<float> x = normal_values(10'000, 1);
      x[at] = bad;
      const Error plain = error_of([&] { encoded(*codec_, {.x = x}); });
      EXPECT_EQ(plain.kind(), ErrorKind::kNumeric) << plain.what();
      EXPECT_THAT(plain.what(), HasSubstr("element " + std::to_string(at) + " of 10000"));

      std::vector<float> residual = normal_values(x.size(), 2);
      const std::vector<float> before = residual;
      const Error lossy = error_of([&] { encoded(*codec_, {.x = x, .residual = residual}); });
      EXPECT_EQ(lossy.kind(), ErrorKind::kNumeric) << lossy.what();
      EXPECT_EQ(residual, before);
      EXPECT_EQ(error_of([&] {
                  encoded(*codec_,
                          {.x = before, .residual = residual, .momentum = x, .beta = 0.5F});
                }).kind(),
                ErrorKind::kNumeric);
      EXPECT_EQ(residual, before);
    }
  }
}

TEST_P(EachCodec, NeverLetsNanIntoAResidualEvenIfTheCallerWasWrong) {
  std::vector<float> x = normal_values(10'000, 1), residual = normal_values(10'000, 2);
  x[5000] = std::numeric_limits<float>::quiet_NaN();
  const Error error =
      error_of([&] { encoded(*codec_, {.x = x, .residual = residual, .known_finite = true}); });
  EXPECT_EQ(error.kind(), ErrorKind::kNumeric);
  for (const float e : residual)
    ASSERT_TRUE(std::isfinite(e));
}

TEST_P(EachCodec, SumThatOverflowsIsNotFinite) {
  std::vector<float> x(100, std::numeric_limits<float>::max()), residual = x;
  EXPECT_EQ(error_of([&] { encoded(*codec_, {.x = x, .residual = residual}); }).kind(),
            ErrorKind::kNumeric);
  EXPECT_EQ(residual, x);
}

TEST_P(EachCodec, LargestFloatsAndSubnormalNumbersStayFinite) {
  constexpr float kMost = std::numeric_limits<float>::max();
  constexpr float kLeast = std::numeric_limits<float>::denorm_min();
  for (const float size : {kMost, kLeast, 1e-40F, 1e-30F}) {
    std::vector<float> x = normal_values(5000, 3), residual(x.size());
    for (float& v : x)
      v = std::copysign(size, v);
    const std::vector<std::byte> payload = encoded(*codec_, {.x = x, .residual = residual});
    for (const float q : decoded(*codec_, payload, x.size()))
      ASSERT_TRUE(std::isfinite(q));
    for (const float e : residual)
      ASSERT_TRUE(std::isfinite(e));
  }
}

TEST_P(EachCodec, ZerosDecodeToZeros) {
  const std::vector<float> x(5000, 0.0F);
  for (const float q : decoded(*codec_, encoded(*codec_, {.x = x}), x.size()))
    ASSERT_EQ(q, 0.0F);
}

TEST_P(EachCodec, RefusesBuffersThatDoNotFit) {
  const std::vector<float> x = normal_values(100, 1);
  std::vector<float> residual(99);
  std::vector<std::byte> out(codec_->max_bytes(100)), live(12);
  const auto kind = [&](const CodecInput& in, std::size_t room) {
    return error_of([&] { codec_->encode(in, {}, std::span(out).first(room)); }).kind();
  };
  EXPECT_EQ(kind({.x = x}, out.size() - 1), ErrorKind::kUsage);
  EXPECT_EQ(kind({.x = x, .residual = residual}, out.size()), ErrorKind::kUsage);
  EXPECT_EQ(kind({.x = x, .momentum = x}, out.size()), ErrorKind::kUsage);
  EXPECT_EQ(kind({.x = x, .live = live}, out.size()), ErrorKind::kUsage);
  EXPECT_EQ(error_of([&] { codec_->decode(out, {.to = residual, .live = live}); }).kind(),
            ErrorKind::kUsage);
  EXPECT_EQ(error_of([&] { (void)codec_->max_bytes(-1); }).kind(), ErrorKind::kUsage);
  EXPECT_EQ(error_of([&] { (void)codec_->max_bytes(std::int64_t{1} << 31); }).kind(),
            ErrorKind::kUsage);
}

TEST_P(EachCodec, IsCalledWhatItWasAskedBy) {
  EXPECT_EQ(codec_->name(), GetParam());
}

TEST(MakeCodec, RefusesWhatItCannotMake) {
  const auto message = [](const CodecConfig& config) {
    const Error error = error_of([&] { make_codec(config); });
    EXPECT_EQ(error.kind(), ErrorKind::kConfig);
    return std::string(error.what());
  };
  EXPECT_THAT(message({.name = "sing"}), HasSubstr("unknown codec 'sing'"));
  EXPECT_THAT(message({.name = "sign", .block = 100}), HasSubstr("multiple of 64"));
  EXPECT_THAT(message({.name = "int8", .block = 8192}), HasSubstr("up to 4096"));
  EXPECT_THAT(message({.name = "qsgd", .levels = 8}), HasSubstr("1, 7 or 127"));
  for (const double ratio : {0.0, -0.1, 1.5, std::nan("")}) {
    EXPECT_THAT(message({.name = "topk", .ratio = ratio}), HasSubstr("ratio"));
    EXPECT_THAT(message({.name = "randk", .ratio = ratio}), HasSubstr("ratio"));
  }
}

}  // namespace
}  // namespace gradwire::test
