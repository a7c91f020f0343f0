#include "train/metrics/metrics_file.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <exception>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gradwire {
namespace {

// Keeps a write to a closed pipe from killing the process: the signal is held back for this thread
// and, if the write raised it, taken away.
class NoBrokenPipeSignal {
 public:
  NoBrokenPipeSignal() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoBrokenPipeSignal() {
    const int error = errno;
    const timespec now = {};
    if (!was_pending_) sigtimedwait(&pipe_, nullptr, &now);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = error;
  }
  NoBrokenPipeSignal(const NoBrokenPipeSignal&) = delete;
  NoBrokenPipeSignal& operator=(const NoBrokenPipeSignal&) = delete;

 private:
  sigset_t pipe_{}, before_{};
  bool was_pending_ = false;
};

}  // namespace

MetricsFile::MetricsFile(std::string path, OnTrouble on_trouble)
    : name_(std::move(path)), on_trouble_(std::move(on_trouble)), owned_(true) {
  open();
  if (fd_ < 0) trouble(errno);
}

MetricsFile::MetricsFile(int fd, std::string name, OnTrouble on_trouble)
    : name_(std::move(name)), on_trouble_(std::move(on_trouble)), fd_(fd) {}

MetricsFile::~MetricsFile() {
  if (owned_ && fd_ >= 0) ::close(fd_);
}

void MetricsFile::open() noexcept {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(name_).parent_path(), ignored);
  fd_ = ::open(name_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

void MetricsFile::append(std::string_view bytes) noexcept {
  if (fd_ < 0 && owned_) open();
  if (fd_ < 0 || !write_all(bytes)) return trouble(errno);
  in_trouble_ = false;
}

bool MetricsFile::write_all(std::string_view bytes) noexcept {
  const NoBrokenPipeSignal guard;
  struct stat before = {};
  const bool regular = ::fstat(fd_, &before) == 0 && S_ISREG(before.st_mode);
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
    if (put > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(put));
    } else if (put < 0 && errno != EINTR) {
      const int error = errno;
      [[maybe_unused]] const int cut = regular ? ::ftruncate(fd_, before.st_size) : 0;
      errno = error;
      return false;
    }
  }
  return true;
}

void MetricsFile::trouble(int error) noexcept {
  if (in_trouble_) return;
  in_trouble_ = true;
  if (!on_trouble_) return;
  try {
    on_trouble_(fmt::format("{}: cannot be written: {}", name_, std::strerror(error)));
  } catch (const std::exception&) {
    return;  // nor is a report that fails in the way of training
  }
}

char MetricsFile::last_byte() const noexcept {
  char last = '\n';
  struct stat now = {};
  if (fd_ >= 0 && ::fstat(fd_, &now) == 0 && now.st_size > 0 &&
      ::pread(fd_, &last, 1, now.st_size - 1) != 1) {
    return '\n';
  }
  return last;
}

}  // namespace gradwire
