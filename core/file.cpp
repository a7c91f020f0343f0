#include "core/file.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "core/io_error.h"

namespace gradwire {
namespace {

[[noreturn]] void refuse(const std::string& path, const char* what) {
  throw Error(kind_of_io_error(errno),
              fmt::format("{}: cannot be {}: {}", path, what, std::strerror(errno)));
}

void sync(const std::string& path, int flags) {
  const int file = ::open(path.c_str(), flags | O_CLOEXEC);
  if (file < 0) refuse(path, "opened");
  const bool synced = ::fsync(file) == 0;
  ::close(file);
  if (!synced) refuse(path, "synced");
}

// Of the characters that are good in a file name.
std::string host_label() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "host";
  std::string label(name.data());
  std::ranges::replace_if(
      label, [](unsigned char c) { return std::isalnum(c) == 0 && c != '.'; }, '_');
  return label;
}

void sync_folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  sync(folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY);
}

// Of HOST-PID-NONCE: whether it is a process of this host that is gone.
bool writer_is_gone(std::string_view writer) {
  const std::size_t nonce = writer.rfind('-');
  const std::size_t pid = nonce == std::string_view::npos ? nonce : writer.rfind('-', nonce - 1);
  if (pid == std::string_view::npos || writer.substr(0, pid) != host_label()) return false;
  int number = 0;
  const char* const end = writer.data() + nonce;
  const auto [stop, error] = std::from_chars(writer.data() + pid + 1, end, number);
  return error == std::errc() && stop == end && number > 0 && ::kill(number, 0) != 0 &&
         errno == ESRCH;
}

bool untouched_for_a_day(const std::filesystem::path& path) {
  std::error_code error;
  auto latest = std::filesystem::last_write_time(path, error);
  if (error) return false;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code vanished;
    latest = std::max(latest, it->last_write_time(vanished));
  }
  return std::filesystem::file_time_type::clock::now() - latest > std::chrono::hours(24);
}

}  // namespace

std::string temporary_name(const std::string& path, std::string_view mark) {
  std::random_device nonce;
  return fmt::format("{}{}{}-{}-{:08x}", path, mark, host_label(), ::getpid(), nonce());
}

void remove_abandoned(const std::string& folder) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    const std::size_t mark = name.rfind(kTemporaryMark);
    if (mark == std::string::npos) continue;
    const std::string_view writer = std::string_view(name).substr(mark + kTemporaryMark.size());
    std::error_code ignored;
    if (writer_is_gone(writer) || untouched_for_a_day(it->path())) {
      std::filesystem::remove_all(it->path(), ignored);
    }
  }
}

TemporaryFolder::TemporaryFolder(const std::string& path)
    : path_(temporary_name(path, kTemporaryMark)) {}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

bool publish_folder(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR) return false;
    refuse(to, "renamed into place");
  }
  sync_folder_of(to);
  return true;
}

PendingFile::PendingFile(std::string path)
    : path_(std::move(path)), temporary_(temporary_name(path_, kTemporaryMark)) {}

PendingFile::~PendingFile() {
  if (!published_) ::unlink(temporary_.c_str());
}

void PendingFile::publish() {
  sync(temporary_, O_RDONLY);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) refuse(path_, "renamed into place");
  published_ = true;
  sync_folder_of(path_);
}

void publish_text(const std::string& path, const std::string& text) {
  PendingFile pending(path);
  std::ofstream out(pending.temporary(), std::ios::binary);
  out << text;
  out.close();
  if (!out) refuse(path, "written");
  pending.publish();
}

std::string read_text(const std::string& path, std::size_t limit) {
  std::ifstream in(path, std::ios::binary);
  if (!in) refuse(path, "read");
  std::string text;
  std::vector<char> part(std::size_t{1} << 16);
  while (text.size() <= limit && !in.eof() && !in.bad()) {
    in.read(part.data(), std::ssize(part));
    text.append(part.data(), static_cast<std::size_t>(in.gcount()));
  }
  if (in.bad()) refuse(path, "read");
  if (text.size() > limit) {
    throw Error(ErrorKind::kData, fmt::format("{}: longer than {} bytes", path, limit));
  }
  return text;
}

bool next_line(std::istream& in, std::string& line, std::size_t most) {
  line.clear();
  std::array<char, 4096> part;
  for (;;) {
    const std::size_t wanted = std::min(part.size() - 1, most + 1 - line.size());
    in.getline(part.data(), static_cast<std::streamsize>(wanted) + 1);  // with a zero at the end
    const auto taken = static_cast<std::size_t>(in.gcount());
    const bool ended = in.good();  // by '\n', which was taken too
    line.append(part.data(), ended ? taken - 1 : taken);
    if (ended || in.eof() || in.bad()) return !in.fail();
    if (taken == 0) return false;  // the stream had failed before
    in.clear();                    // the room was used up
    if (line.size() > most) return true;
  }
}

}  // namespace gradwire
