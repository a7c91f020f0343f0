#include "train/checkpoint/manifest.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/printable.h"

namespace gradwire {
namespace {

// Room for a hundred thousand pieces that each of a hundred ranks has of its own.
constexpr std::uint64_t kMaxManifestBytes = std::uint64_t{256} << 20;

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorKind::kCheckpoint, fmt::format("{}: {}", kManifestName, printable_word(why)));
}

bool differ_in_copies_alone(const ManifestEntry& a, const ManifestEntry& b) {
  const auto rest = [](const ManifestEntry& e) {
    return std::tie(e.kind, e.dtype, e.share, e.begin, e.full, e.at, e.shape, e.name);
  };
  return rest(a) == rest(b);
}

}  // namespace

void EntryMerger::add(std::vector<ManifestEntry> of_a_rank) {
  for (ManifestEntry& e : of_a_rank) {
    std::vector<std::size_t>& places = by_name_[e.name];
    const auto same = std::ranges::find_if(
        places, [&](std::size_t i) { return differ_in_copies_alone(entries_[i], e); });
    if (same == places.end()) {
      places.push_back(entries_.size());
      entries_.push_back(std::move(e));
    } else {
      std::vector<ManifestEntry::Copy>& copies = entries_[*same].copies;
      copies.insert(copies.end(), e.copies.begin(), e.copies.end());
    }
  }
}

std::vector<std::string> slice_problems(const Manifest& manifest) {
  std::map<std::string, std::vector<const ManifestEntry*>> slices;
  for (const ManifestEntry& e : manifest.entries) {
    if (!e.is_slice()) continue;
    std::vector<const ManifestEntry*>& parts = slices[e.name];
    parts.insert(parts.end(), e.copies.size(), &e);  // more than one covers its elements twice
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

namespace {

// Nothing is compressed: all that a rank has saved is bounded by its file before any of it is
// allocated.
void check_sizes(const Manifest& manifest) {
  std::map<int, std::uint64_t> left;
  for (const ManifestFile& f : manifest.files)
    left[f.rank] = f.bytes;
  for (const ManifestEntry& e : manifest.entries) {
    for (const ManifestEntry::Copy& copy : e.copies) {
      if (e.bytes() > left[copy.rank]) refuse(fmt::format("{}: larger than its file", e.name));
      left[copy.rank] -= e.bytes();
    }
  }
}

}  // namespace

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
  check_sizes(m);
  return m;
}

}  // namespace gradwire
