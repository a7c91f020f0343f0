#include "train/run_lease.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <sstream>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "core/host_name.h"
#include "core/io_error.h"
#include "core/printable.h"
#include "train/checkpoint/files.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

constexpr const char* kName = "lease";
constexpr const char* kSuccessorMark = ".after-";
constexpr const char* kNewMark = ".new-";
constexpr const char* kDamaged = "damaged";  // stands for the nonce that cannot be read

struct Lease {
  std::string path, text;
  LeaseHolder holder;
};

std::string first_line_of(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// Of /proc/PID/stat, "PID (NAME) STATE ...": the fields from STATE on. Empty if there is none.
std::vector<std::string> stat_fields(int process) {
  const std::string line = first_line_of(fmt::format("/proc/{}/stat", process).c_str());
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream rest(line.substr(name_end + 1));
  return {std::istream_iterator<std::string>(rest), {}};
}

std::string start_of(int process) {
  constexpr std::size_t kStart = 19;  // field 22 of proc(5)
  const std::vector<std::string> fields = stat_fields(process);
  return fields.size() > kStart ? fields[kStart] : "";
}

// A process that has ended and waits for its parent to notice has ended. One that this user may not
// look at counts as running.
bool runs(const LeaseHolder& holder) {
  const std::vector<std::string> fields = stat_fields(holder.process);
  if (fields.empty()) return ::kill(holder.process, 0) == 0 || errno != ESRCH;
  return fields.front() != "Z" && fields.front() != "X" &&
         start_of(holder.process) == holder.started;
}

// With the count at the beginning and of one width, so that it is changed in place.
std::string beat_line(std::int64_t beats) {
  return fmt::format("beat {:010}\n", beats);
}

std::string text_of(const LeaseHolder& h, std::int64_t beats) {
  return beat_line(beats) +
         fmt::format("nonce {}\nhost {}\nboot {}\nspace {}\nprocess {}\nstarted {}\n", h.nonce,
                     h.host, h.boot, h.space, h.process, h.started);
}

// It becomes part of a file's name.
bool is_nonce(const std::string& text) {
  constexpr std::size_t kMost = 64;
  return !text.empty() && text.size() <= kMost &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) != 0; });
}

LeaseHolder holder_in(const std::string& text) {
  std::map<std::string, std::string> values;
  std::istringstream in(text);
  for (std::string key, value; in >> key >> value;)
    values[key] = value;
  LeaseHolder h{values["nonce"], values["host"], values["boot"], values["space"]};
  const std::string& number = values["process"];
  std::from_chars(number.data(), number.data() + number.size(), h.process);
  h.started = values["started"];
  if (!is_nonce(h.nonce) || h.process < 0) h.nonce = kDamaged;
  return h;
}

[[noreturn]] void refuse(const std::string& path, const char* what, int reason) {
  throw Error(kind_of_io_error(reason),
              fmt::format("{}: cannot be {}: {}", path, what, std::strerror(reason)));
}

// Nothing if there is no such file.
std::optional<std::string> text_at(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0 && (errno == ENOENT || errno == ESTALE)) return std::nullopt;
  if (file < 0) refuse(path, "read", errno);
  std::array<char, 4096> bytes{};
  const ssize_t size = ::read(file, bytes.data(), bytes.size());
  const int reason = errno;
  ::close(file);
  if (size < 0 && reason == ESTALE) return std::nullopt;
  if (size < 0) refuse(path, "read", reason);
  return std::string(bytes.data(), static_cast<std::size_t>(size));
}

std::string head_of(const std::string& folder) {
  return folder + '/' + kName;
}
std::string successor_of(const std::string& folder, const std::string& nonce) {
  return head_of(folder) + kSuccessorMark + nonce;
}

// The lease in force: the last of those that follow each other.
std::optional<Lease> last_lease(const std::string& folder) {
  constexpr int kMany = 1000;
  std::optional<Lease> last;
  std::string path = head_of(folder);
  for (int i = 0; i < kMany; ++i) {
    std::optional<std::string> text = text_at(path);
    if (!text) break;
    LeaseHolder holder = holder_in(*text);
    last = Lease{path, std::move(*text), std::move(holder)};
    path = successor_of(folder, last->holder.nonce);
  }
  return last;
}

// False if there is a file of that name, or no such folder.
bool write_new(const std::string& path, const std::string& text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0 && (errno == EEXIST || errno == ENOENT)) return false;
  if (file < 0) refuse(path, "made", errno);
  const bool written = ::write(file, text.data(), text.size()) == std::ssize(text);
  const int reason = errno;
  if (::close(file) == 0 && written) return true;
  const int why = written ? errno : reason;
  ::unlink(path.c_str());
  refuse(path, "written", why);
}

// What those left behind that are gone, and those that were not quick enough.
void remove_others(const std::string& folder, const std::string& own_successor) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    const bool other = name.starts_with(std::string(kName) + kSuccessorMark) ||
                       name.starts_with(std::string(kName) + kNewMark);
    std::error_code ignored;
    if (other && it->path() != fs::path(own_successor)) fs::remove(it->path(), ignored);
  }
}

// The topmost folder that is missing for there to be this one, or nothing.
std::string topmost_missing(const std::string& folder) {
  std::string missing;
  std::error_code unknown;
  for (fs::path at = fs::absolute(folder); !fs::exists(at, unknown); at = at.parent_path())
    missing = at.string();
  return missing;
}

}  // namespace

LeaseHolder this_process() {
  LeaseHolder own;
  std::random_device draw;
  own.nonce = fmt::format("{:08x}{:08x}", draw(), draw());
  own.host = host_name();
  own.boot = first_line_of("/proc/sys/kernel/random/boot_id");
  std::error_code unknown;
  own.space = fs::read_symlink("/proc/self/ns/pid", unknown).string();
  own.process = ::getpid();
  own.started = start_of(own.process);
  return own;
}

std::string to_text(const LeaseHolder& h) {
  if (h.nonce == kDamaged) return "an unknown process (its lease cannot be read)";
  return fmt::format("process {} on {}", h.process, printable_word(h.host));
}

std::optional<LeaseHolder> lease_in(const std::string& folder) {
  const std::optional<Lease> last = last_lease(folder);
  return last ? std::optional(last->holder) : std::nullopt;
}

RunLease::RunLease(std::string folder, Options options)
    : folder_(std::move(folder)), options_(std::move(options)) {}

RunLease::~RunLease() {
  if (thread_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    ends_.notify_all();
    thread_.join();
  }
  give_back();
}

// One of several who want to make the same lease does. The others, and one whose folder was removed
// meanwhile, look again.
bool RunLease::create(const std::string& path) {
  const std::string text = text_of(options_.own, beats_);
  const std::string fresh = head_of(folder_) + kNewMark + nonce();
  if (!write_new(fresh, text)) return false;
  const bool linked = ::link(fresh.c_str(), path.c_str()) == 0;
  const int reason = linked ? 0 : errno;
  ::unlink(fresh.c_str());
  if (linked) return true;
  if (reason == ENOENT) return false;                  // another has tidied up
  if (reason != EEXIST) return write_new(path, text);  // a file system without hard links
  // It may be this very call that made it, if the answer of a network file system was lost.
  const std::optional<std::string> there = text_at(path);
  return there && holder_in(*there).nonce == nonce();
}

bool RunLease::leads_here() const {
  const std::optional<LeaseHolder> last = lease_in(folder_);
  return last && last->nonce == nonce();
}

bool RunLease::can_look_up(const LeaseHolder& holder) const {
  const LeaseHolder& own = options_.own;
  return !own.boot.empty() && !own.space.empty() && !holder.started.empty() &&
         holder.host == own.host && holder.boot == own.boot && holder.space == own.space;
}

RunLease::Answer RunLease::ask_after(const LeaseHolder& holder, const std::string& text) {
  if (can_look_up(holder)) return runs(holder) ? Answer::kHeld : Answer::kTaken;
  const auto now = std::chrono::steady_clock::now();
  const std::string before = seen_;
  if (text != before) {
    seen_ = text;
    since_ = now;
    const bool beats = !before.empty() && holder_in(before).nonce == holder.nonce;
    return beats ? Answer::kHeld : Answer::kWait;
  }
  return now - since_ < options_.silence ? Answer::kWait : Answer::kTaken;
}

RunLease::Answer RunLease::take() {
  if (std::string missing = topmost_missing(folder_); !missing.empty()) {
    CheckpointFiles().make_durable_dirs(folder_);
    made_ = std::move(missing);
  }
  const std::optional<Lease> last = last_lease(folder_);
  if (!last) {
    if (!create(head_of(folder_))) return Answer::kWait;
    path_ = head_of(folder_);
    return Answer::kTaken;
  }
  holder_ = last->holder;
  const Answer answer = ask_after(last->holder, last->text);
  if (answer != Answer::kTaken) return answer;
  const std::string successor = successor_of(folder_, last->holder.nonce);
  if (!create(successor)) return Answer::kWait;
  if (!leads_here()) {  // the stale lease was followed, and its follower has gone on since
    ::unlink(successor.c_str());
    return Answer::kWait;
  }
  if (::rename(successor.c_str(), head_of(folder_).c_str()) != 0)
    refuse(successor, "renamed", errno);
  path_ = head_of(folder_);
  remove_others(folder_, successor_of(folder_, nonce()));
  return Answer::kTaken;
}

void RunLease::keep(std::function<void(const LeaseHolder& by)> on_lost) {
  thread_ = std::thread([this, on_lost = std::move(on_lost)] { live(on_lost); });
}

void RunLease::live(const std::function<void(const LeaseHolder&)>& on_lost) {
  std::unique_lock lock(mutex_);
  while (!ends_.wait_for(lock, options_.beat, [this] { return ended_; })) {
    lock.unlock();
    std::optional<LeaseHolder> by;
    try {
      by = beat();
    } catch (const std::exception&) {
      // The folder is away for now. If that lasts, another may take over, which is seen then.
    }
    if (by) return on_lost(*by);
    lock.lock();
  }
}

std::optional<LeaseHolder> RunLease::beat() {
  const std::optional<Lease> last = last_lease(folder_);
  if (!last) {
    create(path_);
    return std::nullopt;
  }
  if (last->holder.nonce == kDamaged) return std::nullopt;
  if (last->holder.nonce != nonce()) return last->holder;
  const std::string line = beat_line(++beats_);
  const int file = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  [[maybe_unused]] const ssize_t put = ::write(file, line.data(), line.size());
  ::close(file);  // a network file system sends it now
  return std::nullopt;
}

void RunLease::give_back() {
  if (path_.empty()) return;
  try {
    const std::optional<std::string> there = text_at(path_);
    if (there && holder_in(*there).nonce == nonce()) ::unlink(path_.c_str());
  } catch (const std::exception&) {
    return;  // what cannot be read is not deleted: it counts as gone with this process
  }
  if (made_.empty()) return;
  const fs::path above = fs::path(made_).parent_path();
  for (fs::path at = fs::absolute(folder_); at != above; at = at.parent_path())
    if (::rmdir(at.c_str()) != 0) return;
}

}  // namespace gradwire
