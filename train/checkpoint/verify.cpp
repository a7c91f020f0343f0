#include "train/checkpoint/verify.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "data/hdf5.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/shard.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

// What a file says of itself, if it can still say anything: a shard of another step or rank in
// this one's place is the commonest reason for a checksum that does not fit.
std::string self_description(const std::string& path, std::int64_t step, int rank) {
  try {
    const Hdf5File file = Hdf5File::open(path);
    const std::int64_t own_step = file.int_attribute("step");
    const std::int64_t own_rank = file.int_attribute("rank");
    if (own_step == step && own_rank == rank) return "";
    return fmt::format("; it is the file of rank {} of step {}", own_rank, own_step);
  } catch (const Error&) {
    return "";
  }
}

std::string problem_of(const CheckpointFiles& files, const std::string& dir, const ManifestFile& f,
                       const Manifest& manifest, bool read_it) {
  const std::string name = shard_name(f.rank);
  const std::string path = (fs::path(dir) / name).string();
  const std::optional<std::uint64_t> bytes = files.size(path);
  if (!bytes) return fmt::format("{}: missing", name);
  const auto whose = [&] { return self_description(path, manifest.step, f.rank); };
  if (*bytes != f.bytes) {
    return fmt::format("{}: {} bytes, the manifest says {}{}", name, *bytes, f.bytes, whose());
  }
  if (!read_it) return "";
  if (files.digest(path).xxh3 == f.xxh3) return "";
  return fmt::format("{}: its checksum is not the manifest's{}", name, whose());
}

// Pieces whose elements are not what was saved; only worth asking if the file is damaged or to be
// sure to the last element.
void check_elements(const std::string& dir, const Manifest& manifest,
                    std::vector<std::string>& problems) {
  ShardReader shards(dir, manifest.ranks);
  std::vector<std::byte> elements;
  for (const ManifestEntry& e : manifest.entries) {
    for (const ManifestEntry::Copy& copy : e.copies) {
      elements.resize(e.bytes());
      try {
        shards.read(e, copy, elements);
      } catch (const Error& error) {
        problems.emplace_back(error.what());
      }
    }
  }
}

}  // namespace

std::vector<std::string> file_problems(const CheckpointFiles& files, const std::string& dir,
                                       const Manifest& manifest,
                                       const std::function<bool(int rank)>& mine) {
  std::vector<std::string> problems;
  std::set<std::string> expected = {std::string(kManifestName)};
  for (const ManifestFile& f : manifest.files) {
    expected.insert(shard_name(f.rank));
    const std::string problem = problem_of(files, dir, f, manifest, mine(f.rank));
    if (!problem.empty()) problems.push_back(problem);
  }
  for (const std::string& name : files.names_in(dir)) {
    if (!expected.contains(name))
      problems.push_back(fmt::format("{}: not of this checkpoint", name));
  }
  return problems;
}

bool looks_whole(const CheckpointFiles& files, const std::string& dir) {
  try {
    return file_problems(files, dir, read_manifest(dir, files), [](int) { return false; }).empty();
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kCheckpoint) throw;
    return false;
  }
}

CheckpointReport verify_checkpoint(const std::string& path) {
  CheckpointReport report;
  try {
    const Manifest manifest = read_manifest(path);
    report.step = manifest.step;
    report.ranks = manifest.ranks;
    report.pieces = static_cast<std::int64_t>(manifest.entries.size());
    for (const ManifestFile& f : manifest.files)
      report.bytes += f.bytes;
    report.problems = file_problems(CheckpointFiles(), path, manifest, [](int) { return true; });
    check_elements(path, manifest, report.problems);
    for (const std::string& problem : slice_problems(manifest))
      report.problems.push_back(problem);
  } catch (const Error& e) {
    report.problems.emplace_back(e.what());
  }
  return report;
}

}  // namespace gradwire
