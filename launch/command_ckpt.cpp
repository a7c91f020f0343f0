#include <filesystem>

#include <fmt/format.h>

#include "launch/commands.h"
#include "train/checkpoint.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

constexpr double kMegabyte = 1e6;

}  // namespace

ExitCode run_ckpt_ls(const CkptArgs& args) {
  for (const std::string& path : checkpoints_at(args.path)) {
    std::uint64_t bytes = 0;
    int files = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
      bytes += entry.file_size();
      ++files;
    }
    fmt::print("{}  {:.1f} MB in {} files\n", path, static_cast<double>(bytes) / kMegabyte, files);
  }
  return ExitCode::kDone;
}

ExitCode run_ckpt_verify(const CkptArgs& args) {
  bool all_good = true;
  for (const std::string& path : checkpoints_at(args.path)) {
    const CheckpointReport report = verify_checkpoint(path);
    if (report.problems.empty()) {
      fmt::print("{}  ok: step {}, {} ranks, {} pieces, {:.1f} MB\n", path, report.step,
                 report.ranks, report.pieces, static_cast<double>(report.bytes) / kMegabyte);
    }
    for (const std::string& problem : report.problems)
      fmt::print("{}  BAD: {}\n", path, problem);
    all_good = all_good && report.problems.empty();
  }
  return all_good ? ExitCode::kDone : ExitCode::kCheckpoint;
}

}  // namespace gradwire
