#include "launch/measure/bf16_choice.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <sstream>

#include <fmt/format.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/ops/linear/bf16_speed.h"
#include "core/parallel_for.h"
#include "launch/start/libraries.h"

namespace gradwire {
namespace {

using cpu::Bf16Path;

std::string encode(const Bf16Choice& choice) {
  return fmt::format("{} {}\n", name_of(choice.path), choice.against_f32);
}

std::optional<Bf16Choice> decode(const std::string& text, std::span<const Bf16Path> offered) {
  std::istringstream in(text);
  std::string name;
  Bf16Choice choice;
  if (!(in >> name >> choice.against_f32) || !(choice.against_f32 > 0.0)) return std::nullopt;
  const auto path = std::ranges::find(offered, name, [](Bf16Path p) { return name_of(p); });
  if (path == offered.end()) return std::nullopt;
  choice.path = *path;
  return choice;
}

std::optional<Bf16Choice> read(const std::string& file, std::span<const Bf16Path> offered) {
  constexpr std::size_t kLongest = 256;
  std::ifstream in(file);
  std::string line;
  if (file.empty() || !next_line(in, line, kLongest)) return std::nullopt;
  std::optional<Bf16Choice> choice = decode(line, offered);
  if (choice) choice->remembered = true;
  return choice;
}

void try_to_write(const std::string& file, const Bf16Choice& choice) {
  if (file.empty()) return;
  try {
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    publish_text(file, encode(choice));
  } catch (const std::exception&) {  // not being able to remember it costs a measurement only
  }
}

Bf16Choice measure(const Bf16Meter& meter) {
  Bf16Choice choice;
  double best = 0.0;
  for (const Bf16Path path : meter.paths) {
    const double seconds = meter.seconds_in_bf16(path);
    if (best != 0.0 && seconds >= best) continue;
    best = seconds;
    choice.path = path;
  }
  choice.against_f32 = meter.seconds_in_f32() / best;
  return choice;
}

// "model name" of the first processor.
std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 1);
  }
  return "unknown";
}

std::string memory_file(const std::string& kind) {
  const char* caches = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string name = "/gradwire/bf16-" + to_hex(hash_of(kind));
  if (caches != nullptr && *caches == '/') return caches + name;
  if (home != nullptr && *home == '/') return std::string(home) + "/.cache" + name;
  return "";
}

}  // namespace

Bf16Meter bf16_meter() {
  return {cpu::bf16_paths(), cpu::seconds_in_bf16, cpu::seconds_in_f32};
}

Bf16Choice choose_bf16(const Bf16Meter& meter, const std::string& remembered_in) {
  if (const std::optional<Bf16Choice> known = read(remembered_in, meter.paths)) return *known;
  const Bf16Choice choice = measure(meter);
  try_to_write(remembered_in, choice);
  return choice;
}

Bf16Choice agree_on_bf16(Coordinator& ranks, const std::string& kind, const Bf16Choice& mine) {
  for (const std::string& text : ranks.all_gather(encode(mine) + kind)) {
    const std::size_t line = text.find('\n');
    if (text.substr(line + 1) != kind) continue;
    std::optional<Bf16Choice> theirs = decode(text.substr(0, line), cpu::kAllBf16Paths);
    if (!theirs) continue;
    theirs->remembered = mine.remembered;
    return *theirs;
  }
  return mine;
}

std::string to_text(const Bf16Choice& choice) {
  std::string text =
      fmt::format("bf16            by {}, {:.2f} times as fast as f32 ({})", name_of(choice.path),
                  choice.against_f32, choice.remembered ? "measured earlier" : "measured");
  constexpr double kSlower = 0.95;
  if (choice.against_f32 < kSlower) {
    text += "; precision = \"f32\" is the faster one on this processor, and bf16 saves memory only";
  }
  return text;
}

std::string set_up_bf16(Context& cx, Coordinator& ranks) {
  const Bf16Meter meter = bf16_meter();
  std::string kind =
      fmt::format("{}; oneDNN {}; {} threads", processor_name(), onednn_version(), thread_count());
  for (const Bf16Path path : meter.paths)
    kind += fmt::format("; {}", name_of(path));
  const Bf16Choice choice = agree_on_bf16(ranks, kind, choose_bf16(meter, memory_file(kind)));
  cpu::use_bf16_path(cx, choice.path);
  return to_text(choice);
}

}  // namespace gradwire
