#include "train/metrics/tensorboard.h"

#include <array>
#include <bit>
#include <cmath>
#include <filesystem>

#include <fmt/format.h>
#include <unistd.h>

#include "train/metrics/metrics_file.h"

namespace gradwire {
namespace tensorboard {
namespace {

static_assert(std::endian::native == std::endian::little, "records are little-endian");

constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0x82F63B78u : 0u);
    table[i] = crc;
  }
  return table;
}();

std::uint32_t masked(std::uint32_t crc) {
  return std::rotr(crc, 15) + 0xa282ead8u;
}

template <class T>
void put_fixed(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

// Field numbers and wire types of tensorboard/compat/proto/{event,summary}.proto.
enum Wire : std::uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
void put_key(std::string& out, std::uint64_t field, Wire wire) {
  put_varint(out, field << 3 | wire);
}
void put_bytes(std::string& out, std::uint64_t field, std::string_view bytes) {
  put_key(out, field, kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

std::string event(double wall_time) {
  std::string out;
  put_key(out, 1, kFixed64);
  put_fixed(out, wall_time);
  return out;
}

std::string event_at(double wall_time, std::int64_t step) {
  std::string out = event(wall_time);
  put_key(out, 2, kVarint);
  put_varint(out, static_cast<std::uint64_t>(step));
  return out;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<std::uint8_t>(c)) & 0xFFu];
  }
  return ~crc;
}

std::string record(std::string_view payload) {
  std::string out;
  put_fixed(out, static_cast<std::uint64_t>(payload.size()));
  put_fixed(out, masked(crc32c(out)));
  out += payload;
  put_fixed(out, masked(crc32c(payload)));
  return out;
}

std::string version_event(double wall_time) {
  std::string out = event(wall_time);
  put_bytes(out, 3, "brain.Event:2");
  return out;
}

std::string scalar_event(double wall_time, std::int64_t step, const Scalars& scalars) {
  std::string summary;
  for (const auto& [tag, number] : scalars) {
    std::string value;
    put_bytes(value, 1, tag);
    put_key(value, 2, kFixed32);
    put_fixed(value, static_cast<float>(number));
    put_bytes(summary, 1, value);
  }
  std::string out = event_at(wall_time, step);
  put_bytes(out, 5, summary);
  return out;
}

std::string start_event(double wall_time, std::int64_t step) {
  constexpr std::uint64_t kStart = 1;
  std::string log;
  put_key(log, 1, kVarint);
  put_varint(log, kStart);
  std::string out = event_at(wall_time, step);
  put_bytes(out, 7, log);
  return out;
}

}  // namespace tensorboard

namespace {

class TensorBoardSink final : public MetricsSink {
 public:
  TensorBoardSink(std::string path, OnTrouble on_trouble, WallClock clock)
      : file_(std::move(path), std::move(on_trouble)), clock_(std::move(clock)) {
    file_.append(tensorboard::record(tensorboard::version_event(clock_())));
  }

  void started(std::int64_t step) override {
    file_.append(tensorboard::record(tensorboard::start_event(clock_(), step + 1)));
  }
  void step(const StepMetrics& m) override {
    tensorboard::Scalars scalars = {
        {"train/loss", m.loss},
        {"train/grad_norm", m.grad_norm},
        {"train/lr", m.lr},
        {"train/epoch", m.epoch},
        {"train/nonfinite_steps", static_cast<double>(m.nonfinite_steps)},
        {"perf/step_s", m.step_s},
        {"data/wait_s", m.data_wait_s},
        {"comm/wait_s", m.comm_wait_s},
        {"comm/wire_bytes", static_cast<double>(m.wire_bytes)},
        {"mem/peak_bytes", static_cast<double>(m.memory_peak_bytes)},
    };
    if (m.wire_bytes > 0) {
      scalars.emplace_back("comm/compression_ratio", static_cast<double>(m.wire_dense_bytes) /
                                                         static_cast<double>(m.wire_bytes));
    }
    for (const Rate& r : m.speed)
      scalars.emplace_back(fmt::format("perf/{}_per_s", r.name), r.per_s);
    write(m.step, scalars);
  }
  void evaluation(const EvaluationMetrics& m) override {
    tensorboard::Scalars scalars;
    for (const NamedValue& v : m.values)
      scalars.emplace_back("eval/" + v.name, v.value);
    write(m.step, scalars);
  }
  void checkpoint(const CheckpointMetrics& m) override {
    if (!m.committed) return write(m.step, {{"ckpt/failed", 1.0}});
    write(m.step, {{"ckpt/save_s", m.seconds}, {"ckpt/bytes", static_cast<double>(m.bytes)}});
  }
  void warning(std::string_view) override {}  // event files hold numbers; the log has the words
  void note(std::string_view) override {}

 private:
  void write(std::int64_t step, const tensorboard::Scalars& scalars) {
    file_.append(tensorboard::record(tensorboard::scalar_event(clock_(), step, scalars)));
  }

  MetricsFile file_;
  WallClock clock_;
};

// events.out.tfevents.<seconds>.<host>.<pid>.<n>, n counting what this second already has.
std::string event_file_name(const std::string& dir, double wall_time) {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '-';
  for (int n = 0;; ++n) {
    const std::filesystem::path path =
        std::filesystem::path(dir) / fmt::format("events.out.tfevents.{:.0f}.{}.{}.{}",
                                                 std::floor(wall_time), host.data(), ::getpid(), n);
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) return path.string();
  }
}

}  // namespace

std::unique_ptr<MetricsSink> make_tensorboard_sink(const std::string& dir, OnTrouble on_trouble,
                                                   WallClock clock) {
  std::string path = event_file_name(dir, clock());
  return std::make_unique<TensorBoardSink>(std::move(path), std::move(on_trouble),
                                           std::move(clock));
}

}  // namespace gradwire
