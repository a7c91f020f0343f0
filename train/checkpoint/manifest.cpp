#include "train/checkpoint/manifest.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"

namespace gradwire {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxManifestBytes = std::uint64_t{256} << 20;
constexpr int kMaxRanks = 1 << 20;
constexpr std::array kKinds = {StateKind::kTensor, StateKind::kInteger, StateKind::kReal,
                               StateKind::kText};
constexpr std::array kTypes = {DType::kF32, DType::kF64, DType::kBf16,
                               DType::kI32, DType::kI64, DType::kU8};
constexpr std::array kShares = {Share::kReplicated, Share::kPerRank, Share::kMean,
                                Share::kPerLayout};

const char* name_of(Share share) {
  switch (share) {
    case Share::kReplicated: return "replicated";
    case Share::kPerRank: return "per_rank";
    case Share::kMean: return "mean";
    case Share::kPerLayout: return "per_layout";
  }
  return "?";
}

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorKind::kCheckpoint, fmt::format("{}: {}", kManifestName, why));
}

std::string hex(std::uint64_t x) {
  return fmt::format("{:016x}", x);
}

std::uint64_t from_hex(const std::string& text) {
  std::uint64_t x = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), x, 16);
  if (error != std::errc() || end != text.data() + text.size()) refuse("not a checksum: " + text);
  return x;
}

template <class List>
auto named(const List& list, const std::string& name) {
  for (const auto value : list) {
    if (name == name_of(value)) return value;
  }
  refuse(fmt::format("unknown kind of state, element or share '{}'", name));
}

// Dimensions whose bytes can be counted: every later product is then safe.
Shape shape_from(const json& dims, DType dtype) {
  const auto sizes = dims.get<std::vector<std::int64_t>>();
  auto room = std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(size_of(dtype));
  for (const std::int64_t size : sizes) {
    if (size < 0 || size > room) refuse("impossible shape " + dims.dump());
    room /= std::max<std::int64_t>(size, 1);
  }
  if (sizes.size() > static_cast<std::size_t>(Shape::kMaxRank)) {
    refuse("too many dimensions: " + dims.dump());
  }
  return Shape(sizes);
}

int rank_from(const json& value, int ranks) {
  const auto rank = value.get<std::int64_t>();
  if (rank < 0 || rank >= ranks) refuse(fmt::format("rank {} of {}", rank, ranks));
  return static_cast<int>(rank);
}

json to_json(const ManifestEntry& e) {
  const std::span<const std::int64_t> dims = e.shape.dims();
  json j = {{"name", e.name},
            {"kind", name_of(e.kind)},
            {"dtype", name_of(e.dtype)},
            {"shape", std::vector<std::int64_t>(dims.begin(), dims.end())},
            {"share", name_of(e.share)},
            {"rank", e.rank},
            {"xxh3", hex(e.xxh3)}};
  if (e.is_slice()) {
    j["begin"] = e.begin;
    j["full"] = e.full;
  }
  return j;
}

void read_slice(const json& j, ManifestEntry& e) {
  if (!j.contains("full")) return;
  e.begin = j.at("begin").get<std::int64_t>();
  e.full = j.at("full").get<std::int64_t>();
  const bool inside = e.begin >= 0 && e.begin <= e.full && e.shape.numel() <= e.full - e.begin;
  if (!inside || e.shape.rank() != 1) {
    refuse(fmt::format("{}: an impossible slice {} from {} of {}", e.name, j.at("shape").dump(),
                       e.begin, e.full));
  }
}

ManifestEntry entry_from(const json& j, int ranks) {
  ManifestEntry e;
  e.name = j.at("name").get<std::string>();
  e.kind = named(kKinds, j.at("kind").get<std::string>());
  e.dtype = named(kTypes, j.at("dtype").get<std::string>());
  e.shape = shape_from(j.at("shape"), e.dtype);
  e.share = named(kShares, j.at("share").get<std::string>());
  e.rank = rank_from(j.at("rank"), ranks);
  e.xxh3 = from_hex(j.at("xxh3").get<std::string>());
  read_slice(j, e);
  return e;
}

Manifest manifest_from(const json& j) {
  Manifest m;
  m.step = j.at("step").get<std::int64_t>();
  const auto ranks = j.at("ranks").get<std::int64_t>();
  if (m.step < 0 || ranks < 1 || ranks > kMaxRanks) {
    refuse(fmt::format("step {} of {} ranks", m.step, ranks));
  }
  m.ranks = static_cast<int>(ranks);
  m.model = j.at("model").get<std::string>();
  m.recipe = j.at("recipe").get<std::string>();
  m.layout = j.value("layout", "");
  for (const json& o : j.value("lineage", json::array()))
    m.lineage.push_back({o.at("from").get<std::string>(), o.at("id").get<std::string>()});
  for (const json& f : j.at("files")) {
    m.files.push_back({rank_from(f.at("rank"), m.ranks), f.at("bytes").get<std::uint64_t>(),
                       from_hex(f.at("xxh3").get<std::string>())});
  }
  for (const json& e : j.at("state"))
    m.entries.push_back(entry_from(e, m.ranks));
  if (j.contains("score")) {
    const json& s = j.at("score");
    m.score = {s.at("metric").get<std::string>(), s.at("value").get<double>(),
               s.at("lower_is_better").get<bool>()};
  }
  for (const json& p : j.value("frozen", json::array()))
    m.frozen.push_back(
        {p.at("name").get<std::string>(), from_hex(p.at("xxh3").get<std::string>())});
  return m;
}

struct Checked {
  json document;  // without the checksum, as it was when the checksum was made
  std::string checksum;
};
Checked checked_document(const std::string& text) {
  // Ours is four levels deep. One that nests without end would take far more memory than its text.
  constexpr int kMostLevels = 16;
  const auto keep = [](int depth, json::parse_event_t, json&) {
    if (depth > kMostLevels) refuse("damaged: nested too deeply");
    return true;
  };
  json j = json::parse(text, keep);
  const auto format = j.at("format").get<std::int64_t>();
  if (format > kCheckpointFormat) {
    refuse(fmt::format("format {}, written by a later version; this one reads up to {}", format,
                       kCheckpointFormat));
  }
  std::string checksum = j.at("xxh3").get<std::string>();
  j.erase("xxh3");
  const std::string body = j.dump();
  if (hex(hash_of(body)) != checksum) {
    refuse("damaged: its checksum does not fit");
  }
  return {std::move(j), std::move(checksum)};
}

}  // namespace

const char* name_of(StateKind kind) {
  switch (kind) {
    case StateKind::kTensor: return "tensor";
    case StateKind::kInteger: return "integer";
    case StateKind::kReal: return "real";
    case StateKind::kText: return "text";
  }
  return "?";
}

std::string to_text(const Manifest& m) {
  json j = {{"format", kCheckpointFormat},
            {"step", m.step},
            {"ranks", m.ranks},
            {"model", m.model},
            {"recipe", m.recipe},
            {"layout", m.layout},
            {"files", json::array()},
            {"state", json::array()}};
  for (const ManifestFile& f : m.files) {
    j["files"].push_back({{"rank", f.rank}, {"bytes", f.bytes}, {"xxh3", hex(f.xxh3)}});
  }
  for (const ManifestEntry& e : m.entries)
    j["state"].push_back(to_json(e));
  for (const Origin& o : m.lineage)
    j["lineage"].push_back({{"from", o.from}, {"id", o.id}});
  if (m.score) {
    j["score"] = {{"metric", m.score->metric},
                  {"value", m.score->value},
                  {"lower_is_better", m.score->lower_is_better}};
  }
  for (const ParameterDigest& p : m.frozen)
    j["frozen"].push_back({{"name", p.name}, {"xxh3", hex(p.xxh3)}});
  const std::string body = j.dump();
  j["xxh3"] = hex(hash_of(body));
  return j.dump(1) + "\n";
}

Manifest parse_manifest(const std::string& text) {
  try {
    const Checked checked = checked_document(text);
    Manifest manifest = manifest_from(checked.document);
    manifest.id = checked.checksum;
    return manifest;
  } catch (const json::exception& e) {
    refuse(fmt::format("damaged: {}", e.what()));
  }
}

std::vector<std::string> slice_problems(const Manifest& manifest) {
  std::map<std::string, std::vector<const ManifestEntry*>> slices;
  for (const ManifestEntry& e : manifest.entries) {
    if (e.is_slice()) slices[e.name].push_back(&e);
  }
  std::vector<std::string> problems;
  for (auto& [name, parts] : slices) {
    std::ranges::sort(parts, {},
                      [](const ManifestEntry* e) { return std::pair(e->begin, e->end()); });
    std::int64_t covered = 0;
    bool fits = true;
    for (const ManifestEntry* e : parts) {
      fits = fits && e->full == parts.front()->full && e->dtype == parts.front()->dtype &&
             (e->shape.numel() == 0 || e->begin == covered);
      if (e->shape.numel() > 0) covered = e->end();
    }
    if (!fits || covered != parts.front()->full) {
      problems.push_back(
          fmt::format("{}: its slices do not make up its {} elements", name, parts.front()->full));
    }
  }
  return problems;
}

Manifest read_manifest(const std::string& dir, const CheckpointFiles& files) {
  std::filesystem::path folder(dir);
  if (!folder.has_filename()) folder = folder.parent_path();  // a trailing slash
  Manifest m =
      parse_manifest(files.read_text((folder / kManifestName).string(), kMaxManifestBytes));
  const std::string name = folder.filename().string();
  if (name != step_name(m.step) && replaced_step_of(name) != m.step) {
    refuse(fmt::format("of step {}, in a folder named {}", m.step, name));
  }
  std::set<int> ranks;
  for (const ManifestFile& f : m.files)
    ranks.insert(f.rank);
  if (ranks.size() != m.files.size() || m.files.size() != static_cast<std::size_t>(m.ranks)) {
    refuse(fmt::format("names {} files for {} ranks", m.files.size(), m.ranks));
  }
  return m;
}

}  // namespace gradwire
