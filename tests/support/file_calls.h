// The order in which this process syncs and renames files, as the kernel is asked for it. A crash
// of a process cannot show a missing fsync, since the page cache survives it; only a power cut
// could. Defines the C library's functions anew for the whole program: include it in one file of a
// test binary.
#pragma once

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gradwire::test {

class FileCalls {
 public:
  // Records while it lives; names are given relative to `root`, without what temporary_name() adds.
  explicit FileCalls(std::string root) : root_(std::move(root)) {
    const std::lock_guard lock(mutex());
    current() = this;
  }
  ~FileCalls() {
    const std::lock_guard lock(mutex());
    current() = nullptr;
  }
  FileCalls(const FileCalls&) = delete;
  FileCalls& operator=(const FileCalls&) = delete;

  std::vector<std::string> take() { return std::exchange(calls_, {}); }

  template <class... Paths>
  static void record(const char* what, const Paths&... paths) {
    const std::lock_guard lock(mutex());
    if (current() == nullptr) return;
    std::string call = what;
    ((call += " " + current()->name(paths)), ...);
    current()->calls_.push_back(call);
  }

 private:
  std::string name(const std::string& path) const {
    const std::string relative =
        std::filesystem::path(path).lexically_relative(root_).generic_string();
    std::string plain;
    for (const auto& part : std::filesystem::path(relative)) {
      std::string text = part.string();
      for (const char* mark : {".tmp-", ".replaced-"}) {
        const std::size_t at = text.find(mark);
        if (at != std::string::npos) text.resize(at + std::string(mark).size() - 1);
      }
      if (text.starts_with(".trash-")) text = ".trash";
      plain += (plain.empty() ? "" : "/") + text;
    }
    return plain;
  }
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }
  static FileCalls*& current() {
    static FileCalls* c = nullptr;
    return c;
  }

  std::string root_;
  std::vector<std::string> calls_;
};

}  // namespace gradwire::test

extern "C" {

int fsync(int fd) {
  std::array<char, 4096> path{};
  const std::string link = fmt::format("/proc/self/fd/{}", fd);
  if (::readlink(link.c_str(), path.data(), path.size() - 1) > 0)
    gradwire::test::FileCalls::record("fsync", std::string(path.data()));
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

int rename(const char* from, const char* to) noexcept {
  const auto done = static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
  const int error = errno;
  if (done == 0) gradwire::test::FileCalls::record("rename", std::string(from), std::string(to));
  errno = error;
  return done;
}

int renameat2(int from_dir, const char* from, int to_dir, const char* to,
              unsigned int flags) noexcept {
  const auto done = static_cast<int>(::syscall(SYS_renameat2, from_dir, from, to_dir, to, flags));
  const int error = errno;
  if (done == 0) gradwire::test::FileCalls::record("exchange", std::string(from), std::string(to));
  errno = error;
  return done;
}

}  // extern "C"
