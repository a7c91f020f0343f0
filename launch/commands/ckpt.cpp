#include <filesystem>

#include <fmt/format.h>

#include "core/error.h"
#include "core/printable.h"
#include "launch/commands/commands.h"
#include "train/checkpoint/manifest.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

constexpr double kMegabyte = 1e6;

// ", loss 2.3141 (best)", or nothing.
std::string score_text(const std::string& path, const std::optional<BestCheckpoint>& best) {
  try {
    const Manifest manifest = read_manifest(path);
    if (!manifest.score) return "";
    const bool is_best = best && best->step == manifest.step;
    return fmt::format(", {} {:.6g}{}", manifest.score->metric, manifest.score->value,
                       is_best ? " (best)" : "");
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kCheckpoint) throw;
    return "";  // verify says what is wrong
  }
}

}  // namespace

ExitCode run_ckpt_ls(const CkptArgs& args) {
  const std::vector<std::string> paths = checkpoints_at(args.path);
  const auto best = best_checkpoint(fs::path(paths.front()).parent_path().string());
  for (const std::string& path : paths) {
    std::uint64_t bytes = 0;
    int files = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
      bytes += entry.file_size();
      ++files;
    }
    fmt::print("{}  {:.1f} MB in {} files{}\n", printable(path),
               static_cast<double>(bytes) / kMegabyte, files, printable(score_text(path, best)));
  }
  return ExitCode::kDone;
}

ExitCode run_ckpt_verify(const CkptArgs& args) {
  bool all_good = true;
  for (const std::string& path : checkpoints_at(args.path)) {
    const CheckpointReport report = verify_checkpoint(path);
    if (report.problems.empty()) {
      fmt::print("{}  ok: step {}, {} ranks, {} pieces, {:.1f} MB\n", printable(path), report.step,
                 report.ranks, report.pieces, static_cast<double>(report.bytes) / kMegabyte);
    }
    for (const std::string& problem : report.problems)
      fmt::print("{}  BAD: {}\n", printable(path), printable(problem));
    all_good = all_good && report.problems.empty();
  }
  return all_good ? ExitCode::kDone : ExitCode::kCheckpoint;
}

}  // namespace gradwire
