#include "train/checkpoint/files.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/io_error.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kReadBytes = std::size_t{1} << 20;
constexpr int kStepDigits = 8;

[[noreturn]] void fail(std::string_view operation, const std::string& path, int error) {
  throw Error(ErrorKind::kIo, fmt::format("{}: {}: {}", path, operation, std::strerror(error)));
}

// What is absent is damage; see the header.
[[noreturn]] void fail_reading(std::string_view operation, const std::string& path, int error) {
  if (error != ENOENT && error != ENOTDIR && error != EISDIR) fail(operation, path, error);
  throw Error(ErrorKind::kCheckpoint,
              fmt::format("{}: {}: {}", path, operation, std::strerror(error)));
}

class OpenFile {
 public:
  OpenFile(const std::string& path, int flags)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (fd_ >= 0) return;
    if (flags == O_RDONLY) fail_reading("open", path, errno);
    fail("open", path, errno);
  }
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int fd() const { return fd_; }
  // Errors that a network file system holds back until here would be lost in the destructor.
  void close(const std::string& path) {
    if (::close(std::exchange(fd_, -1)) != 0) fail("close", path, errno);
  }

 private:
  int fd_;
};

std::size_t read_some(const OpenFile& file, const std::string& path, void* out, std::size_t bytes) {
  for (;;) {
    const ssize_t got = ::read(file.fd(), out, bytes);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) fail_reading("read", path, errno);
  }
}

void write_all(const OpenFile& file, const std::string& path, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(file.fd(), text.data(), text.size());
    if (put < 0 && errno != EINTR) fail("write", path, errno);
    if (put > 0) text.remove_prefix(static_cast<std::size_t>(put));
  }
}

std::string folder_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

std::string trash_name(const std::string& path) {
  const fs::path p(path);
  const fs::path trash = p.parent_path() / (std::string(kTrashPrefix) + p.filename().string());
  return temporary_name(trash.string(), "-");
}

std::optional<std::int64_t> step_before(std::string_view name, std::string_view mark) {
  const std::size_t at = name.find(mark);
  return at == std::string_view::npos ? std::nullopt : step_of(name.substr(0, at));
}

}  // namespace

void CheckpointFiles::announce(std::string_view operation, const std::string& path) const {
  if (hook_) hook_(operation, path);
}

void CheckpointFiles::make_dir(const std::string& path) const {
  announce("mkdir", path);
  std::error_code error;
  fs::create_directory(path, error);
  if (!error) return;
  throw Error(kind_of_io_error(error.value()), fmt::format("{}: mkdir: {}", path, error.message()));
}

void CheckpointFiles::make_durable_dirs(const std::string& path) const {
  std::error_code error;
  const fs::file_status found = fs::status(path, error);
  if (fs::is_directory(found)) return;
  if (found.type() != fs::file_type::not_found)
    fail("mkdir", path, error ? error.value() : ENOTDIR);
  make_durable_dirs(folder_of(path));
  make_dir(path);
  sync(folder_of(path));
}

void CheckpointFiles::write_text(const std::string& path, const std::string& text) const {
  announce("write", path);
  OpenFile file(path, O_WRONLY | O_CREAT | O_TRUNC);
  write_all(file, path, text);
  announce("fsync", path);
  if (::fsync(file.fd()) != 0) fail("fsync", path, errno);
  file.close(path);
}

void CheckpointFiles::sync(const std::string& path) const {
  announce("fsync", path);
  OpenFile file(path, O_RDONLY);
  // Some file systems have nothing to do for folders and say so with EINVAL.
  if (::fsync(file.fd()) != 0 && errno != EINVAL) fail("fsync", path, errno);
  file.close(path);
}

void CheckpointFiles::move(const std::string& from, const std::string& to) const {
  announce("rename", to);
  if (::rename(from.c_str(), to.c_str()) != 0) fail("rename", to, errno);
}

std::string CheckpointFiles::publish(const std::string& from, const std::string& to) const {
  announce("rename", to);
  if (::rename(from.c_str(), to.c_str()) == 0) return "";
  if (errno != ENOTEMPTY && errno != EEXIST) fail("rename", to, errno);
  if (exchange(from, to)) return from;
  const std::string replaced = temporary_name(to, kReplacedMark);
  move(to, replaced);
  sync(folder_of(to));  // or a power cut could keep the second rename alone
  move(from, to);
  return replaced;
}

bool CheckpointFiles::exchange(const std::string& from, const std::string& to) const {
  try {
    announce("exchange", to);
  } catch (const Error&) {
    return false;
  }
  return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0;
}

void CheckpointFiles::discard(const std::string& path) const {
  const std::string trash = trash_name(path);
  move(path, trash);
  announce("remove", trash);
  std::error_code error;
  fs::remove_all(trash, error);
  if (error) fail("remove", trash, error.value());
}

std::vector<std::string> CheckpointFiles::names_in(const std::string& dir) const {
  announce("list", dir);
  return gradwire::names_in(dir);
}

std::string CheckpointFiles::read_text(const std::string& path, std::uint64_t limit) const {
  announce("read", path);
  const OpenFile file(path, O_RDONLY);
  std::string text;
  std::vector<char> buffer(kReadBytes);
  while (const std::size_t got = read_some(file, path, buffer.data(), buffer.size())) {
    text.append(buffer.data(), got);
    if (text.size() > limit) {
      throw Error(ErrorKind::kCheckpoint, fmt::format("{}: longer than {} bytes", path, limit));
    }
  }
  return text;
}

FileDigest CheckpointFiles::digest(const std::string& path) const {
  announce("read", path);
  return digest_file(path);
}

std::optional<std::uint64_t> CheckpointFiles::size(const std::string& path) const {
  announce("read", path);
  return file_size(path);
}

FileDigest digest_file(const std::string& path) {
  const OpenFile file(path, O_RDONLY);
  Hasher hasher;
  std::vector<char> buffer(kReadBytes);
  FileDigest digest;
  while (const std::size_t got = read_some(file, path, buffer.data(), buffer.size())) {
    hasher.add(std::as_bytes(std::span(buffer.data(), got)));
    digest.bytes += got;
  }
  digest.xxh3 = hasher.digest();
  return digest;
}

std::optional<std::uint64_t> file_size(const std::string& path) {
  std::error_code error;
  const std::uint64_t bytes = fs::file_size(path, error);
  if (!error) return bytes;
  const int code = error.value();
  if (code != ENOENT && code != ENOTDIR) fail("stat", path, code);
  return std::nullopt;
}

std::vector<std::string> names_in(const std::string& dir) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator it(dir, error);
  if (error.value() == ENOENT) return names;
  for (const fs::directory_iterator end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  if (error) fail("list", dir, error.value());
  std::sort(names.begin(), names.end());
  return names;
}

std::string step_name(std::int64_t step) {
  return fmt::format("step-{:0{}}", step, kStepDigits);
}

std::optional<std::int64_t> step_of(std::string_view name) {
  constexpr std::string_view kPrefix = "step-";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string_view digits = name.substr(kPrefix.size());
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  // Only the spelling that step_name() gives: two names for one step cannot be.
  if (error != std::errc() || step_name(step) != name) return std::nullopt;
  return step;
}

std::optional<std::int64_t> replaced_step_of(std::string_view name) {
  return step_before(name, kReplacedMark);
}

std::string shard_name(int rank) {
  return fmt::format("rank-{:05}.h5", rank);
}

}  // namespace gradwire
