#include "train/stall/status_board.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <type_traits>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"

namespace gradwire {

static_assert(std::is_trivially_copyable_v<RankStatus>);
static_assert(sizeof(RankStatus) % sizeof(std::uint64_t) == 0);
using Words = std::array<std::uint64_t, sizeof(RankStatus) / sizeof(std::uint64_t)>;

// Version v of the status is slot v % kSlots: the last one published stays whole while the next is
// written, and for good if the writer is stopped in between. Who reads a word of version
// v + kSlots, with acquire, then also sees that v + kSlots - 1 was out.
constexpr std::uint64_t kSlots = 4;

struct StatusPage {
  std::uint64_t mark;
  std::uint64_t bytes;
  std::atomic<std::uint64_t> version;
  std::array<std::array<std::atomic<std::uint64_t>, std::tuple_size_v<Words>>, kSlots> slots;
};

namespace {

constexpr std::uint64_t kMark = 0x32647261'6f627767;  // "gwboard2"

// A reader looks again if its slot has been written anew under its eyes, which takes kSlots - 1
// versions within one look.
constexpr int kLooks = 1000;
constexpr std::chrono::microseconds kBetweenLooks(100);

// Closes itself.
struct File {
  explicit File(int number) : fd(number) {}
  ~File() {
    if (fd >= 0) ::close(fd);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd;
};

Error trouble(const std::string& path) {
  return Error(ErrorKind::kIo, fmt::format("{}: cannot be written: {}", path, strerror(errno)));
}

// Nothing if the writer overtook this reader.
std::optional<RankStatus> last_version(const StatusPage& page) {
  const std::uint64_t version = page.version.load(std::memory_order_acquire);
  const auto& slot = page.slots[version % kSlots];
  Words words;
  for (std::size_t i = 0; i < words.size(); ++i)
    words[i] = slot[i].load(std::memory_order_acquire);
  if (page.version.load(std::memory_order_relaxed) - version > kSlots - 2) return std::nullopt;
  RankStatus status;
  std::memcpy(static_cast<void*>(&status), words.data(), sizeof status);
  return status;
}

// Whether the times can be counted with, whatever wrote them. (All else is looked at where it is
// shown.)
bool is_sound(const RankStatus& s) {
  constexpr std::int64_t kMost = std::int64_t{1} << 52;
  const auto sound = [](std::int64_t ms) { return ms >= 0 && ms <= kMost; };
  return sound(s.heartbeat_ms) && sound(s.doing_since_ms) && sound(s.waits_since_ms);
}

}  // namespace

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

std::int64_t system_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

StatusBoard::StatusBoard(const std::string& path, const RankStatus& begin, MillisecondClock now)
    : status_(begin), now_(std::move(now)) {
  ::unlink(path.c_str());  // a process that still maps the old one must not find it truncated
  const File file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  const std::array<char, sizeof(StatusPage)> zeros{};
  if (file.fd < 0 || ::write(file.fd, zeros.data(), zeros.size()) != std::ssize(zeros)) {
    throw trouble(path);
  }
  void* const page =
      ::mmap(nullptr, sizeof(StatusPage), PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
  if (page == MAP_FAILED) throw trouble(path);
  page_ = static_cast<StatusPage*>(page);
  page_->bytes = sizeof(StatusPage);
  status_.heartbeat_ms = status_.doing_since_ms = now_();
  publish();
  page_->mark = kMark;
}

StatusBoard::~StatusBoard() {
  ::munmap(page_, sizeof(StatusPage));
}

void StatusBoard::publish() noexcept {
  const std::uint64_t version = page_->version.load(std::memory_order_relaxed) + 1;
  auto& slot = page_->slots[version % kSlots];
  Words words;
  std::memcpy(words.data(), &status_, sizeof status_);
  for (std::size_t i = 0; i < words.size(); ++i)
    slot[i].store(words[i], std::memory_order_release);
  page_->version.store(version, std::memory_order_release);
}

RankStatus StatusBoard::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void StatusBoard::flush() noexcept {
  ::msync(page_, sizeof(StatusPage), MS_SYNC);
}

std::optional<RankStatus> read_status(const std::string& path) {
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat found {};
  if (file.fd < 0 || ::fstat(file.fd, &found) != 0) return std::nullopt;
  if (found.st_size != static_cast<off_t>(sizeof(StatusPage))) return std::nullopt;
  void* const mapped = ::mmap(nullptr, sizeof(StatusPage), PROT_READ, MAP_SHARED, file.fd, 0);
  if (mapped == MAP_FAILED) return std::nullopt;
  const StatusPage* const page = static_cast<const StatusPage*>(mapped);
  std::optional<RankStatus> seen;
  if (page->mark == kMark && page->bytes == sizeof(StatusPage)) {
    for (int look = 0; look < kLooks && !seen; ++look) {
      if (look > 0) std::this_thread::sleep_for(kBetweenLooks);
      seen = last_version(*page);
    }
  }
  ::munmap(mapped, sizeof(StatusPage));
  return seen && is_sound(*seen) ? seen : std::nullopt;
}

std::string status_path(const std::string& dir, int rank) {
  return fmt::format("{}/rank-{:05}", dir, rank);
}

}  // namespace gradwire
