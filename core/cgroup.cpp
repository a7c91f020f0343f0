#include "core/cgroup.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>

namespace gradwire {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;)
    words.push_back(word);
  return words;
}

bool lists(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const std::string_view item = list.substr(0, list.find(','));
    if (item == name) return true;
    list.remove_prefix(std::min(list.size(), item.size() + 1));
  }
  return false;
}

// In /proc/self/mountinfo a blank in a path is written \040, and so on.
std::string unescaped(std::string_view text) {
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) &&
        octal(text[i + 3])) {
      const int code = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
      out += static_cast<char>(code);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// A controller is looked for in one hierarchy of groups: its own in version 1; in version 2 all
// share one, which has no list of controllers.
struct Mount {
  bool unified = false;
  std::string controllers;  // among the options of the file system
  std::string top;          // the group that the mount point shows
  std::string point;
};

// Fields of a line, of proc_pid_mountinfo(5): the fourth is the top and the fifth the mount point;
// after a dash come the kind of file system, its source and its options.
std::vector<Mount> read_mounts(const std::string& root) {
  std::vector<Mount> mounts;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = words_of(line);
    const auto dash = std::ranges::find(words, "-");
    if (words.size() < 5 || words.end() - dash < 4) continue;
    const std::string& kind = dash[1];
    if (kind != "cgroup" && kind != "cgroup2") continue;
    mounts.push_back({kind == "cgroup2", dash[3], unescaped(words[3]), unescaped(words[4])});
  }
  return mounts;
}

struct Membership {
  std::string controllers;  // empty in version 2
  std::string path;
};

// Lines such as "4:cpu,cpuacct:/a/b", or "0::/a/b" in version 2.
std::vector<Membership> read_memberships(const std::string& root) {
  std::vector<Membership> all;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos || second + 1 == line.size() || line[second + 1] != '/')
      continue;
    all.push_back({line.substr(first + 1, second - first - 1), line.substr(second + 1)});
  }
  return all;
}

// The folders of a group and its ancestors up to the mount point. A group outside of what is
// mounted is that of a container which sees its own group as the top.
std::vector<fs::path> folders(const std::string& root, const Mount& mount,
                              const std::string& group) {
  fs::path below = fs::path(group).lexically_relative(mount.top);
  if (below.empty() || *below.begin() == ".." || below == ".") below.clear();
  const fs::path top = root + mount.point;
  std::vector<fs::path> out;
  for (; !below.empty(); below = below.parent_path())
    out.push_back(top / below);
  out.push_back(top);
  return out;
}

template <class T>
std::optional<T> number_in(const fs::path& path) {
  T value{};
  std::ifstream file(path);
  if (file >> value) return value;
  return std::nullopt;
}

// Microseconds of processor time in each period; "max", or a negative quota, is no limit.
std::optional<double> cpus_of(const fs::path& folder, bool unified) {
  double quota = 0.0, period = 0.0;
  if (unified) {
    std::ifstream file(folder / "cpu.max");
    if (!(file >> quota >> period)) return std::nullopt;
  } else {
    quota = number_in<double>(folder / "cpu.cfs_quota_us").value_or(-1.0);
    period = number_in<double>(folder / "cpu.cfs_period_us").value_or(0.0);
  }
  if (quota <= 0.0 || period <= 0.0) return std::nullopt;
  return quota / period;
}

std::optional<std::int64_t> memory_of(const fs::path& folder, bool unified) {
  return number_in<std::int64_t>(folder / (unified ? "memory.max" : "memory.limit_in_bytes"));
}

std::string identity(const fs::path& folder) {
  struct stat status {};
  if (stat(folder.c_str(), &status) != 0) return folder.string();
  return fmt::format("{}:{}", status.st_dev, status.st_ino);
}

// Calls f(folder, unified) for every group whose limits of `controller` hold for the process.
template <class F>
void for_each_group(const std::string& root, std::string_view controller, const F& f) {
  const std::vector<Membership> memberships = read_memberships(root);
  for (const Mount& mount : read_mounts(root)) {
    if (!mount.unified && !lists(mount.controllers, controller)) continue;
    const auto of_mount = std::ranges::find_if(memberships, [&](const Membership& m) {
      return mount.unified ? m.controllers.empty() : lists(m.controllers, controller);
    });
    if (of_mount == memberships.end()) continue;
    for (const fs::path& folder : folders(root, mount, of_mount->path))
      f(folder, mount.unified);
  }
}

}  // namespace

CgroupLimits cgroup_limits(const std::string& root) {
  CgroupLimits limits;
  for_each_group(root, "cpu", [&](const fs::path& folder, bool unified) {
    const std::optional<double> cpus = cpus_of(folder, unified);
    if (!cpus || (limits.cpus && *limits.cpus <= *cpus)) return;
    limits.cpus = cpus;
    limits.cpu_group = identity(folder);
  });
  for_each_group(root, "memory", [&](const fs::path& folder, bool unified) {
    const std::optional<std::int64_t> bytes = memory_of(folder, unified);
    if (bytes && (!limits.memory_bytes || *bytes < *limits.memory_bytes)) {
      limits.memory_bytes = bytes;
    }
  });
  return limits;
}

}  // namespace gradwire
