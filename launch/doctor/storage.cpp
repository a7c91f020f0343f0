#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "launch/doctor/doctor.h"

namespace gradwire {
namespace {

constexpr long kNfs = 0x6969;
constexpr long kTmpfs = 0x01021994;

// What a commit of a checkpoint does, with one small file. The name of the step that failed, or
// null.
const char* commit_a_file(const std::string& dir) {
  const std::string temporary = fmt::format("{}/.gradwire-doctor-{}.tmp", dir, getpid());
  const std::string name = fmt::format("{}/.gradwire-doctor-{}", dir, getpid());
  const int file = open(temporary.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) return "create a file";
  const char* failed = nullptr;
  if (write(file, "x", 1) != 1) failed = "write a file";
  if (failed == nullptr && fsync(file) != 0) failed = "sync a file";
  close(file);
  if (failed == nullptr && rename(temporary.c_str(), name.c_str()) != 0) failed = "rename a file";
  const int folder = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (failed == nullptr && (folder < 0 || fsync(folder) != 0)) failed = "sync the folder";
  const int reason = errno;
  if (folder >= 0) close(folder);
  unlink(temporary.c_str());
  unlink(name.c_str());
  errno = reason;
  return failed;
}

Finding kind(const std::string& dir) {
  struct statfs info {};
  if (statfs(dir.c_str(), &info) != 0) return {Verdict::kWarn, "file system", "unknown", ""};
  if (info.f_type == kTmpfs) {
    return {Verdict::kWarn, "file system", "in memory", "runs there do not survive a restart"};
  }
  return {Verdict::kOk, "file system", info.f_type == kNfs ? "NFS" : "local or parallel", ""};
}

Finding space(const std::string& dir) {
  constexpr double kLittleBytes = 5e9;
  struct statvfs info {};
  if (statvfs(dir.c_str(), &info) != 0) return {Verdict::kWarn, "free space", "unknown", ""};
  const double free = static_cast<double>(info.f_bavail) * static_cast<double>(info.f_frsize);
  if (free >= kLittleBytes) return {Verdict::kOk, "free space", gigabytes(free), ""};
  return {Verdict::kWarn, "free space", gigabytes(free),
          "a checkpoint holds about three times the parameters: free some, or keep fewer"};
}

}  // namespace

Findings check_storage(const std::string& dir) {
  if (const char* failed = commit_a_file(dir)) {
    return {{Verdict::kFail, "run folder",
             fmt::format("{}: cannot {}: {}", dir, failed, std::strerror(errno)),
             "name a folder that this user may write to, with --dir here and run.dir in recipes"}};
  }
  return {
      {Verdict::kOk, "run folder", dir + ": writes, syncs and renames", ""}, kind(dir), space(dir)};
}

}  // namespace gradwire
