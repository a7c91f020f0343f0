// The text of a manifest. Format 2 is one JSON object with a member on each line; the last is the
// checksum of all lines before it. State is written in sections of pieces that have everything but
// name, place and elements in common:
//   {"kind": "tensor", "dtype": "f32", "shape": [64], "share": "per_rank", "ranks": [0, 1],
//    "names": ["a", "b"], "at": [0, 64], "xxh3": "<a of rank 0><a of rank 1><b of rank 0>..."}
// with "begin" and "full" if they are slices, and without "at" if they have datasets of their own.
#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"
#include "core/printable.h"
#include "train/checked_json.h"
#include "train/checkpoint/manifest.h"

namespace gradwire {
namespace {

using nlohmann::json;

constexpr int kMaxRanks = 1 << 20;
constexpr std::int64_t kMaxInteger = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kMaxNameBytes = 1024;
constexpr std::size_t kHexDigits = 16;
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
  throw Error(ErrorKind::kCheckpoint, fmt::format("{}: {}", kManifestName, printable_word(why)));
}

std::uint64_t from_hex(std::string_view text) {
  std::uint64_t x = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), x, 16);
  if (error != std::errc() || end != text.data() + text.size()) {
    refuse(fmt::format("not a checksum: {}", text));
  }
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
  if (!dims.is_array() || dims.size() > static_cast<std::size_t>(Shape::kMaxRank)) {
    refuse("no list of dimensions, or too many of them");
  }
  std::vector<std::int64_t> sizes;
  auto room = kMaxInteger / static_cast<std::int64_t>(size_of(dtype));
  for (const json& dim : dims) {
    sizes.push_back(integer_in(dim, 0, room));
    room /= std::max<std::int64_t>(sizes.back(), 1);
  }
  return Shape(sizes);
}

int rank_from(const json& value, int ranks) {
  return static_cast<int>(integer_in(value, 0, ranks - 1));
}

// Names are shown, and written to logs, by many: they are looked at here, once.
std::string name_from(const json& value) {
  auto name = value.get<std::string>();
  if (!is_printable_word(name, kMaxNameBytes)) refuse("not a name: " + printable_word(name, 256));
  return name;
}

void read_slice(const json& j, ManifestEntry& e) {
  if (!j.contains("full")) return;
  e.begin = integer_in(j.at("begin"), 0, kMaxInteger);
  e.full = integer_in(j.at("full"), 0, kMaxInteger);
  const bool inside = e.begin >= 0 && e.begin <= e.full && e.shape.numel() <= e.full - e.begin;
  if (!inside || e.shape.rank() != 1) {
    refuse(
        fmt::format("an impossible slice {} from {} of {}", j.at("shape").dump(), e.begin, e.full));
  }
}

// What a section of format 2 and an entry of format 1 have in common.
ManifestEntry form_from(const json& j) {
  ManifestEntry e;
  e.kind = named(kKinds, j.at("kind").get<std::string>());
  e.dtype = named(kTypes, j.at("dtype").get<std::string>());
  e.shape = shape_from(j.at("shape"), e.dtype);
  e.share = named(kShares, j.at("share").get<std::string>());
  read_slice(j, e);
  return e;
}

void read_entry_of_format_1(const json& j, Manifest& m) {
  ManifestEntry& e = m.entries.emplace_back(form_from(j));
  e.name = name_from(j.at("name"));
  e.copies = {{rank_from(j.at("rank"), m.ranks), from_hex(j.at("xxh3").get<std::string>())}};
}

std::int64_t place_from(const json& value, const Shape& shape) {
  return integer_in(value, 0, kMaxInteger - shape.numel());
}

void read_section(const json& j, Manifest& m) {
  const ManifestEntry form = form_from(j);
  const json& names = j.at("names");
  const json* places = j.contains("at") ? &j.at("at") : nullptr;
  std::vector<int> ranks;
  for (const json& rank : j.at("ranks"))
    ranks.push_back(rank_from(rank, m.ranks));
  const std::string& sums = j.at("xxh3").get_ref<const std::string&>();
  const bool fits = names.is_array() && !ranks.empty() &&
                    sums.size() == names.size() * ranks.size() * kHexDigits &&
                    (places == nullptr || places->size() == names.size());
  if (!fits) refuse("names, places and checksums of a section are not of one number");
  std::string_view rest = sums;
  for (std::size_t i = 0; i < names.size(); ++i) {
    ManifestEntry& e = m.entries.emplace_back(form);
    e.name = name_from(names[i]);
    if (places != nullptr) e.at = place_from((*places)[i], e.shape);
    e.copies.reserve(ranks.size());
    for (const int rank : ranks) {
      e.copies.push_back({rank, from_hex(rest.substr(0, kHexDigits))});
      rest.remove_prefix(kHexDigits);
    }
  }
}

Manifest manifest_from(const json& j) {
  Manifest m;
  m.step = integer_in(j.at("step"), 0, kMaxInteger);
  m.ranks = static_cast<int>(integer_in(j.at("ranks"), 1, kMaxRanks));
  m.model = j.at("model").get<std::string>();
  m.recipe = j.at("recipe").get<std::string>();
  m.layout = j.value("layout", "");
  for (const json& o : j.value("lineage", json::array()))
    m.lineage.push_back({o.at("from").get<std::string>(), o.at("id").get<std::string>()});
  for (const json& f : j.at("files")) {
    m.files.push_back({rank_from(f.at("rank"), m.ranks),
                       static_cast<std::uint64_t>(integer_in(f.at("bytes"), 0, kMaxInteger)),
                       from_hex(f.at("xxh3").get<std::string>())});
  }
  const auto read_state = j.at("format") == 1 ? read_entry_of_format_1 : read_section;
  for (const json& part : j.at("state"))
    read_state(part, m);
  if (j.contains("score")) {
    const json& s = j.at("score");
    m.score = {name_from(s.at("metric")), s.at("value").get<double>(),
               s.at("lower_is_better").get<bool>()};
  }
  for (const json& p : j.value("frozen", json::array()))
    m.frozen.push_back({name_from(p.at("name")), from_hex(p.at("xxh3").get<std::string>())});
  return m;
}

constexpr std::string_view kSealBegin = "\n\"xxh3\":\"", kSealEnd = "\"}\n";

// The checksum at the end of a text of format 2, if it is that of all lines before it.
std::optional<std::string> seal_of(std::string_view text) {
  constexpr std::size_t kSeal = kSealBegin.size() + kHexDigits + kSealEnd.size();
  if (text.size() < kSeal) return std::nullopt;
  const std::string_view lines = text.substr(0, text.size() - kSeal + 1);
  const std::string sum = to_hex(hash_of(std::as_bytes(std::span(lines))));
  const std::string seal = fmt::format("{}{}{}", kSealBegin, sum, kSealEnd);
  if (!text.ends_with(seal)) return std::nullopt;
  return sum;
}

// In format 1 the checksum is that of the document without it.
std::string seal_of_format_1(json document) {
  std::string checksum = document.at("xxh3").get<std::string>();
  document.erase("xxh3");
  return to_hex(hash_of(document.dump())) == checksum ? checksum : "";
}

json form_of(const ManifestEntry& e) {
  const std::span<const std::int64_t> dims = e.shape.dims();
  json j = {{"kind", name_of(e.kind)},
            {"dtype", name_of(e.dtype)},
            {"shape", std::vector<std::int64_t>(dims.begin(), dims.end())},
            {"share", name_of(e.share)},
            {"ranks", json::array()}};
  for (const ManifestEntry::Copy& copy : e.copies)
    j["ranks"].push_back(copy.rank);
  if (e.is_slice()) {
    j["begin"] = e.begin;
    j["full"] = e.full;
  }
  return j;
}

// Entries that can be in one section.
bool are_of_one_form(const ManifestEntry& a, const ManifestEntry& b) {
  return a.kind == b.kind && a.dtype == b.dtype && a.shape == b.shape && a.share == b.share &&
         a.begin == b.begin && a.full == b.full && a.is_packed() == b.is_packed() &&
         std::ranges::equal(a.copies, b.copies, {}, &ManifestEntry::Copy::rank,
                            &ManifestEntry::Copy::rank);
}

std::vector<std::vector<const ManifestEntry*>> sections_of(
    const std::vector<ManifestEntry>& entries) {
  std::vector<std::vector<const ManifestEntry*>> sections;
  std::unordered_map<std::string, std::size_t> by_form;
  std::size_t current = 0;
  for (const ManifestEntry& e : entries) {
    if (sections.empty() || !are_of_one_form(*sections[current].front(), e)) {
      const std::string form = form_of(e).dump() + (e.is_packed() ? "packed" : "");
      current = by_form.emplace(form, sections.size()).first->second;
      if (current == sections.size()) sections.emplace_back();
    }
    sections[current].push_back(&e);
  }
  return sections;
}

std::string section_text(const std::vector<const ManifestEntry*>& section) {
  json j = form_of(*section.front());
  std::vector<std::string> names;
  std::vector<std::int64_t> places;
  std::string sums;
  for (const ManifestEntry* e : section) {
    names.push_back(e->name);
    places.push_back(e->at);
    for (const ManifestEntry::Copy& copy : e->copies)
      sums += to_hex(copy.xxh3);
  }
  j["names"] = std::move(names);
  if (section.front()->is_packed()) j["at"] = places;
  j["xxh3"] = std::move(sums);
  return j.dump();
}

std::string state_text(const std::vector<ManifestEntry>& entries) {
  std::string text;
  for (const auto& section : sections_of(entries))
    text += (text.empty() ? "" : ",\n") + section_text(section);
  return "[" + text + "]";
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
  json files = json::array(), lineage = json::array(), frozen = json::array();
  for (const ManifestFile& f : m.files)
    files.push_back({{"rank", f.rank}, {"bytes", f.bytes}, {"xxh3", to_hex(f.xxh3)}});
  for (const Origin& o : m.lineage)
    lineage.push_back({{"from", o.from}, {"id", o.id}});
  for (const ParameterDigest& p : m.frozen)
    frozen.push_back({{"name", p.name}, {"xxh3", to_hex(p.xxh3)}});
  std::string text = "{";
  const auto line = [&](std::string_view key, const std::string& value) {
    text += fmt::format("\"{}\":{},\n", key, value);
  };
  line("format", std::to_string(kCheckpointFormat));
  line("step", std::to_string(m.step));
  line("ranks", std::to_string(m.ranks));
  line("model", json(m.model).dump());
  line("recipe", json(m.recipe).dump());
  line("layout", json(m.layout).dump());
  line("lineage", lineage.dump());
  if (m.score) {
    line("score", json({{"metric", m.score->metric},
                        {"value", m.score->value},
                        {"lower_is_better", m.score->lower_is_better}})
                      .dump());
  }
  line("files", files.dump());
  line("frozen", frozen.dump());
  line("state", state_text(m.entries));
  return text + fmt::format("{}{}{}", kSealBegin.substr(1), to_hex(hash_of(text)), kSealEnd);
}

Manifest parse_manifest(const std::string& text) {
  try {
    const std::optional<std::string> seal = seal_of(text);
    const json document = parse_checked(text);
    const std::int64_t format = integer_in(document.at("format"), 0, kMaxInteger);
    if (format > kCheckpointFormat) {
      refuse(fmt::format("format {}, written by a later version; this one reads up to {}", format,
                         kCheckpointFormat));
    }
    const std::string checksum = format == 1 ? seal_of_format_1(document) : seal.value_or("");
    if (checksum.empty()) refuse("damaged: its checksum does not fit");
    Manifest manifest = manifest_from(document);
    manifest.id = checksum;
    return manifest;
  } catch (const json::exception& e) {
    refuse(fmt::format("damaged: {}", e.what()));
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kData) throw;
    refuse(fmt::format("damaged: {}", e.what()));
  }
}

}  // namespace gradwire
