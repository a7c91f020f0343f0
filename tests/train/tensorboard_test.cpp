#include "train/metrics/tensorboard.h"

#include <cstring>
#include <filesystem>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/data/temp_folder.h"
#include "train/checkpoint/files.h"

namespace gradwire {
namespace {

using testing::ElementsAre;
using testing::Pair;

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    out += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
    out += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

// Bytes of TensorBoard's own writer, wall time 0.
TEST(TensorBoard, RecordsAreByteForByteThoseOfTheReferenceWriter) {
  EXPECT_EQ(hex(tensorboard::record(tensorboard::version_event(0.0))),
            "1800000000000000a37f4b220900000000000000001a0d627261696e2e4576656e743a32eedf28a3");
  EXPECT_EQ(hex(tensorboard::record(tensorboard::scalar_event(0.0, 7, {{"loss", 1.5}}))),
            "1a00000000000000129bd82d09000000000000000010072a0d0a0b0a046c6f7373150000c03f83e0e594");
}

// RFC 3720, appendix B.4, and the check value of the polynomial's catalogue entry.
TEST(TensorBoard, Crc32cOfPublishedVectors) {
  EXPECT_EQ(tensorboard::crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(tensorboard::crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(tensorboard::crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  EXPECT_EQ(tensorboard::crc32c(""), 0u);
}

// A reader of event files, written from the format's description alone.
struct Point {
  std::int64_t step = 0;
  std::vector<std::pair<std::string, float>> values;
  std::string version;
  bool starts = false;
};

class Reader {
 public:
  explicit Reader(std::string bytes) : bytes_(std::move(bytes)) {}

  std::vector<Point> points() {
    std::vector<Point> all;
    while (at_ < bytes_.size()) {
      const auto length = fixed<std::uint64_t>(bytes_, at_);
      expect_crc(bytes_.substr(at_, 8), fixed<std::uint32_t>(bytes_, at_ + 8));
      const std::string payload = bytes_.substr(at_ + 12, length);
      expect_crc(payload, fixed<std::uint32_t>(bytes_, at_ + 12 + length));
      at_ += 16 + length;
      all.push_back(event(payload));
    }
    return all;
  }

 private:
  template <class T>
  static T fixed(const std::string& s, std::size_t at) {
    T value{};
    EXPECT_LE(at + sizeof value, s.size());
    std::memcpy(&value, s.data() + at, sizeof value);
    return value;
  }
  static void expect_crc(const std::string& bytes, std::uint32_t stored) {
    std::uint32_t crc = ~0u;
    for (const char c : bytes) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        const std::uint32_t in = (static_cast<unsigned char>(c) >> bit) & 1u;
        crc = (crc >> 1) ^ (((crc ^ in) & 1u) != 0 ? 0x82F63B78u : 0u);
      }
    }
    crc = ~crc;
    EXPECT_EQ(stored, ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
  }
  static std::uint64_t varint(const std::string& s, std::size_t& at) {
    std::uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(s.at(at++));
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
  }
  // Calls field(number, bytes or the value's eight bytes at most).
  template <class F>
  static void fields(const std::string& s, const F& field) {
    for (std::size_t at = 0; at < s.size();) {
      const std::uint64_t key = varint(s, at);
      const std::uint64_t wire = key & 7;
      if (wire == 0) {
        field(key >> 3, std::to_string(varint(s, at)));
        continue;
      }
      const std::size_t length = wire == 1 ? 8 : wire == 5 ? 4 : varint(s, at);
      field(key >> 3, s.substr(at, length));
      at += length;
    }
  }
  static Point event(const std::string& payload) {
    Point p;
    fields(payload, [&](std::uint64_t number, const std::string& value) {
      if (number == 2) p.step = std::stoll(value);
      if (number == 3) p.version = value;
      if (number == 7) p.starts = hex(value) == "0801";
      if (number != 5) return;
      fields(value, [&](std::uint64_t, const std::string& one) {
        std::string tag;
        fields(one, [&](std::uint64_t part, const std::string& v) {
          if (part == 1) tag = v;
          if (part == 2) p.values.emplace_back(tag, fixed<float>(v, 0));
        });
      });
    });
    return p;
  }

  std::string bytes_;
  std::size_t at_ = 0;
};

TEST(TensorBoard, ASessionReadsBackAndAResumedOneIsAnotherFile) {
  const testing_data::TempFolder folder;
  const std::string dir = folder.file("tb");
  const auto no_trouble = [](const std::string& what) { ADD_FAILURE() << what; };
  const auto session = [&](std::int64_t start) {
    const auto sink = make_tensorboard_sink(dir, no_trouble, [] { return 1.7e9; });
    sink->started(start);
    StepMetrics m;
    m.step = start + 300;
    m.loss = 2.25;
    m.wire_bytes = 10;
    m.wire_dense_bytes = 320;
    sink->step(m);
    sink->evaluation(
        {.step = start + 300, .values = {{"loss", 1.0}, {"wer.es", 0.5}}, .seconds = 1.0});
    sink->checkpoint({.step = start + 300, .committed = true, .bytes = 4096});
    sink->checkpoint({.step = start + 301});
    sink->warning("words are for the log");
  };
  session(0);
  session(150);
  const std::vector<std::string> files = names_in(dir);
  ASSERT_EQ(files.size(), 2U);
  EXPECT_THAT(files[0], testing::StartsWith("events.out.tfevents.1700000000."));

  const std::vector<Point> first = Reader(testing_data::slurp(dir + "/" + files[0])).points();
  ASSERT_EQ(first.size(), 6U);
  EXPECT_EQ(first[0].version, "brain.Event:2");
  EXPECT_TRUE(first[1].starts);  // whatever an earlier run in this folder has written is void
  EXPECT_EQ(first[1].step, 1);
  EXPECT_EQ(first[2].step, 300);
  EXPECT_THAT(first[2].values, testing::Contains(Pair("train/loss", 2.25F)));
  EXPECT_THAT(first[2].values, testing::Contains(Pair("comm/compression_ratio", 32.0F)));
  EXPECT_THAT(first[3].values, ElementsAre(Pair("eval/loss", 1.0F), Pair("eval/wer.es", 0.5F)));
  EXPECT_THAT(first[4].values, ElementsAre(Pair("ckpt/save_s", 0.0F), Pair("ckpt/bytes", 4096.0F)));
  EXPECT_THAT(first[5].values, ElementsAre(Pair("ckpt/failed", 1.0F)));

  const std::vector<Point> second = Reader(testing_data::slurp(dir + "/" + files[1])).points();
  ASSERT_EQ(second.size(), 6U);
  EXPECT_TRUE(second[1].starts);
  EXPECT_EQ(second[1].step, 151);
}

TEST(TensorBoard, AFolderThatCannotBeMadeIsOneTroubleAndNoError) {
  std::vector<std::string> troubles;
  const auto sink = make_tensorboard_sink(
      "/proc/no/such", [&](const std::string& what) { troubles.push_back(what); });
  for (int i = 0; i < 3; ++i)
    sink->step({});
  EXPECT_EQ(troubles.size(), 1U);
}

}  // namespace
}  // namespace gradwire
