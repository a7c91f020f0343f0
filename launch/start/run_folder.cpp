#include "launch/start/run_folder.h"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "comm/rank_list.h"
#include "launch/start/exit_code.h"
#include "launch/start/waiting_note.h"
#include "train/run_on_all_ranks.h"
#include "train/same_run.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kBetweenLooks = 100ms;
constexpr auto kBeforeNote = 3s;
constexpr const char* kOneRun =
    "one run at a time writes into a folder. Stop that one, or name another run.dir";

bool sees(const std::string& dir, const std::string& nonce) {
  const std::optional<LeaseHolder> there = lease_in(dir);
  return there && there->nonce == nonce;
}

std::string existing_part_of(const std::string& dir) {
  std::error_code unknown;
  fs::path at = fs::absolute(dir);
  while (!fs::exists(at, unknown) && at.has_relative_path())
    at = at.parent_path();
  return at.string();
}

}  // namespace

std::chrono::milliseconds patience_for(const std::string& dir) {
  constexpr long kXfs = 0x58465342;
  constexpr std::chrono::milliseconds kLocal = 3s;
  constexpr std::chrono::milliseconds kNetwork = 65s;  // acdirmax of nfs(5) is 60 s
  struct statfs info {};
  if (::statfs(existing_part_of(dir).c_str(), &info) != 0) return kNetwork;
  switch (info.f_type) {
    case EXT4_SUPER_MAGIC:
    case kXfs:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC: return kLocal;
    default: return kNetwork;
  }
}

void check_shared(Coordinator& ranks, const std::string& dir, const std::string& nonce,
                  std::chrono::milliseconds patience) {
  const Clock::time_point until = Clock::now() + patience;
  for (;;) {
    bool seen = false;
    run_on_all_ranks(ranks, [&] { seen = sees(dir, nonce); });
    const bool gives_up = Clock::now() >= until;
    const std::vector<std::string> all = ranks.all_gather(seen       ? "sees"
                                                          : gives_up ? "gives up"
                                                                     : "looks");
    std::vector<std::size_t> blind;
    for (std::size_t r = 0; r < all.size(); ++r)
      if (all[r] != "sees") blind.push_back(r);
    if (blind.empty()) return;
    if (std::ranges::count(all, "looks") == 0) {
      ranks.wait_before_common_error();
      throw Error(
          ErrorKind::kConfig,
          fmt::format(
              "run.dir must be shared by all ranks: '{}' of rank 0 is not what {} "
              "there. Name a folder that all hosts see under this path",
              dir, blind.size() == 1 ? ranks_text(blind) + " sees" : ranks_text(blind) + " see"));
    }
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

void check_room(Coordinator& ranks, const std::string& dir, std::int64_t bytes_of_rank) {
  std::int64_t needed = 0;
  for (const std::string& bytes : ranks.all_gather(std::to_string(bytes_of_rank)))
    needed += std::stoll(bytes);
  run_on_all_ranks(ranks, [&] {
    if (ranks.rank() != 0) return;
    const std::uintmax_t room = fs::space(dir).available;
    if (static_cast<std::uintmax_t>(needed) <= room) return;
    constexpr double kMegabyte = 1e6;
    throw Error(ErrorKind::kIo,
                fmt::format("a checkpoint takes {:.1f} MB and '{}' has {:.1f} MB free: free some, "
                            "or name another run.dir",
                            static_cast<double>(needed) / kMegabyte, dir,
                            static_cast<double>(room) / kMegabyte));
  });
}

RunFolder::RunFolder(Coordinator& ranks, std::string dir,
                     std::function<void(const std::string&)> say)
    : ranks_(ranks), dir_(std::move(dir)), say_(std::move(say)) {
  if (ranks_.rank() == 0) lease_.emplace(dir_);
}

bool RunFolder::take(const std::function<bool()>& stop_requested) {
  if (!wait_for_lease(stop_requested)) return false;
  if (lease_) lease_->keep([this](const LeaseHolder& by) { leave(by); });
  const std::string nonce = ranks_.all_gather(lease_ ? lease_->nonce() : "").front();
  const WaitingNote note(kBeforeNote, lease_ ? "waiting until all ranks see run.dir" : "", say_);
  check_shared(ranks_, dir_, nonce, patience_for(dir_));
  return true;
}

// Ranks speak at every look, so that none waits long for what is decided on rank 0.
bool RunFolder::wait_for_lease(const std::function<bool()>& stop_requested) {
  bool noted = false;
  for (;;) {
    RunLease::Answer answer = RunLease::Answer::kWait;
    run_on_all_ranks(ranks_, [&] {
      if (!lease_) return;
      answer = lease_->take();
      if (answer != RunLease::Answer::kHeld) return;
      throw Error(ErrorKind::kConfig, fmt::format("run.dir '{}' is in use by {}: {}", dir_,
                                                  to_text(*lease_->holder()), kOneRun));
    });
    const bool taken = answer == RunLease::Answer::kTaken;
    const std::vector<std::string> all = ranks_.all_gather(stop_requested() ? "stops"
                                                           : taken          ? "taken"
                                                                            : "");
    if (std::ranges::count(all, "stops") > 0) return false;
    const std::optional<LeaseHolder> holder = lease_ ? lease_->holder() : std::nullopt;
    if (all.front() == "taken") {
      if (holder) say_(fmt::format("run.dir taken over from {}, which is gone", to_text(*holder)));
      return true;
    }
    if (holder && !std::exchange(noted, true)) {
      say_(
          fmt::format("run.dir is in use by {}, which cannot be looked up from here: waiting for "
                      "a heartbeat",
                      to_text(*holder)));
    }
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

void RunFolder::leave(const LeaseHolder& by) const {
  say_(fmt::format("gradwire: run.dir '{}' was taken over by {}: {}", dir_, to_text(by), kOneRun));
  ::_exit(static_cast<int>(ExitCode::kUsage));
}

}  // namespace gradwire
