#include "data/publish.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "core/error.h"

namespace gradwire {
namespace {

[[noreturn]] void refuse(const std::string& path, const char* what) {
  throw Error(ErrorKind::kIo,
              fmt::format("{}: cannot be {}: {}", path, what, std::strerror(errno)));
}

void sync(const std::string& path, int flags) {
  const int file = ::open(path.c_str(), flags | O_CLOEXEC);
  if (file < 0) refuse(path, "opened");
  const bool synced = ::fsync(file) == 0;
  ::close(file);
  if (!synced) refuse(path, "synced");
}

}  // namespace

PendingFile::PendingFile(std::string path)
    : path_(std::move(path)), temporary_(fmt::format("{}.tmp.{}", path_, ::getpid())) {}

PendingFile::~PendingFile() {
  if (!published_) ::unlink(temporary_.c_str());
}

void PendingFile::publish() {
  sync(temporary_, O_RDONLY);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) refuse(path_, "renamed into place");
  published_ = true;
  const std::string folder = std::filesystem::path(path_).parent_path().string();
  sync(folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY);
}

void publish_text(const std::string& path, const std::string& text) {
  PendingFile pending(path);
  std::ofstream out(pending.temporary(), std::ios::binary);
  out << text;
  out.close();
  if (!out) refuse(path, "written");
  pending.publish();
}

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) refuse(path, "read");
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad()) refuse(path, "read");
  return text;
}

}  // namespace gradwire
