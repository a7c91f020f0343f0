#include "train/coordinator.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "comm/common_error.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/printable.h"

namespace gradwire {
namespace {

// Often enough for any comm.timeout_s, and rare enough to cost nothing.
constexpr std::chrono::milliseconds kBeatEvery(250);

// What a rank has to say once its work is done.
class WorkResult {
 public:
  void set(std::string text) {
    {
      const std::lock_guard lock(mutex_);
      text_ = std::move(text);
    }
    there_.notify_all();
  }
  // Nothing if it takes longer than a beat.
  std::optional<std::string> wait_for_a_beat() {
    std::unique_lock lock(mutex_);
    there_.wait_for(lock, kBeatEvery, [this] { return text_.has_value(); });
    return text_;
  }
  bool is_there() {
    const std::lock_guard lock(mutex_);
    return text_.has_value();
  }

 private:
  std::mutex mutex_;
  std::condition_variable there_;
  std::optional<std::string> text_;
};

// What all ranks must know before texts travel. All of it reduces to a few words, of which a rank
// sends few messages; to send every rank's to every other takes as many as the square of the ranks.
struct Summary {
  bool at_work = false;      // a rank is
  std::int64_t longest = 0;  // text, in bytes
  bool equal = false;        // are all texts
};

// Texts that differ travel to all ranks padded to the longest, with their lengths before them.
class CommCoordinator final : public Coordinator {
 public:
  CommCoordinator(Context& cx, Communicator& comm, LostAtWork lost_at_work)
      : cx_(cx.in(Segment::kComm)),
        comm_(comm.split(0, comm.rank())),
        lost_at_work_(std::move(lost_at_work)) {}
  int rank() const override { return comm_->rank(); }
  int size() const override { return comm_->size(); }

  std::vector<std::string> all_gather(const std::string& mine) override {
    return texts_of(mine, summary_of(mine));
  }

  // Another thread talks to the others meanwhile; it lives and dies, or is stopped, with this one.
  std::vector<std::string> all_gather_after(const std::function<std::string()>& work) override {
    if (size() == 1) return {work()};
    WorkResult result;
    std::vector<std::string> texts;
    std::exception_ptr failure;
    std::thread beating([&] {
      try {
        texts = beat_until_all_are_done(result);
      } catch (const std::exception& e) {
        failure = std::current_exception();
        if (lost_at_work_ && !result.is_there()) lost_at_work_(e.what());
      }
    });
    result.set(work());
    beating.join();
    if (failure) std::rethrow_exception(failure);
    return texts;
  }

  std::vector<std::string> gather(const std::string& mine) override {
    const std::vector<std::int64_t> lengths = lengths_of(mine);
    if (rank() != 0) {
      if (!mine.empty()) {
        const std::vector<std::uint8_t> bytes(mine.begin(), mine.end());
        exchange({{P2p::Dir::kSend, 0, Tensor::from(cx_, {lengths[index()]}, bytes)}});
      }
      return {};
    }
    std::vector<P2p> group;
    for (int r = 1; r < size(); ++r) {
      const std::int64_t length = lengths[static_cast<std::size_t>(r)];
      if (length > 0)
        group.push_back({P2p::Dir::kRecv, r, Tensor::empty(cx_, {length}, DType::kU8)});
    }
    exchange(group);
    std::vector<std::string> texts(lengths.size());
    texts[0] = mine;
    for (const P2p& received : group) {
      const auto bytes = received.buffer.to_host<std::uint8_t>(cx_);
      texts[static_cast<std::size_t>(received.peer)].assign(bytes.begin(), bytes.end());
    }
    return texts;
  }

  void wait_before_common_error() noexcept override { gradwire::wait_before_common_error(*comm_); }

 private:
  std::size_t index() const { return static_cast<std::size_t>(rank()); }

  std::vector<std::int64_t> lengths_of(const std::string& mine) {
    return gather_equal(std::vector<std::int64_t>{static_cast<std::int64_t>(mine.size())});
  }

  // A collective; nothing if this rank is at work.
  Summary summary_of(const std::optional<std::string>& mine) {
    constexpr std::int64_t kHalf = std::int64_t{1} << 32;
    // Two halves are exact as doubles, and the greatest of x and of -x are equal for equal x.
    const auto hash = static_cast<std::int64_t>(mine ? hash_of(*mine) >> 1 : 0);
    const auto length = mine ? static_cast<double>(mine->size()) : 0.0;
    const auto high = static_cast<double>(hash / kHalf), low = static_cast<double>(hash % kHalf);
    const Tensor t = Tensor::from(
        cx_, {7}, std::vector<double>{mine ? 0.0 : 1.0, length, -length, high, -high, low, -low});
    comm_->all_reduce(t, ReduceOp::kMax, cx_.stream)->wait(cx_.stream);
    const std::vector<double> most = t.to_host<double>(cx_);
    const bool equal = most[1] == -most[2] && most[3] == -most[4] && most[5] == -most[6];
    return {most[0] > 0.0, static_cast<std::int64_t>(most[1]), equal};
  }

  std::vector<std::string> texts_of(const std::string& mine, const Summary& all) {
    const auto ranks = static_cast<std::size_t>(size());
    if (all.equal) return std::vector<std::string>(ranks, mine);
    constexpr std::size_t kLength = sizeof(std::uint64_t);
    const std::size_t stride = kLength + static_cast<std::size_t>(all.longest);
    std::vector<std::uint8_t> padded(stride);
    const std::uint64_t length = mine.size();
    std::memcpy(padded.data(), &length, kLength);
    std::ranges::copy(mine, padded.begin() + kLength);
    const std::vector<std::uint8_t> gathered = gather_equal(padded);
    std::vector<std::string> texts(ranks);
    for (std::size_t r = 0; r < ranks; ++r) {
      const std::uint8_t* const begin = gathered.data() + r * stride;
      std::uint64_t its = 0;
      std::memcpy(&its, begin, kLength);
      if (its > stride - kLength) {
        throw Error(ErrorKind::kComm,
                    fmt::format("rank {} says that its text has {} bytes", r, its));
      }
      texts[r].assign(reinterpret_cast<const char*>(begin + kLength), its);
    }
    return texts;
  }

  std::vector<std::string> beat_until_all_are_done(WorkResult& result) {
    for (;;) {
      const std::optional<std::string> mine = result.wait_for_a_beat();
      const Summary all = summary_of(mine);
      if (!all.at_work) return texts_of(*mine, all);
    }
  }

  void exchange(const std::vector<P2p>& group) {
    if (!group.empty()) comm_->batch_send_recv(group, cx_.stream)->wait(cx_.stream);
  }

  template <class T>
  std::vector<T> gather_equal(const std::vector<T>& mine) {
    const auto n = static_cast<std::int64_t>(mine.size());
    const Tensor in = Tensor::from(cx_, {n}, mine);
    const Tensor out = Tensor::empty(cx_, {n * size()}, in.dtype());
    comm_->all_gather(in, out, cx_.stream)->wait(cx_.stream);
    return out.to_host<T>(cx_);
  }

  Context cx_;
  std::unique_ptr<Communicator> comm_;
  LostAtWork lost_at_work_;
};

constexpr char kOk = '+';
constexpr char kFailed = '-';
constexpr char kFileSystemFailed = '!';

bool is_file_system(const std::exception& e) {
  const auto* own = dynamic_cast<const Error*>(&e);
  // kConfig: what the file system refuses (core/io_error.h).
  return own != nullptr ? own->kind() == ErrorKind::kIo || own->kind() == ErrorKind::kConfig
                        : dynamic_cast<const std::filesystem::filesystem_error*>(&e) != nullptr;
}

std::string reasons(const std::vector<std::string>& texts) {
  std::string joined;
  for (std::size_t r = 0; r < texts.size(); ++r) {
    if (texts[r].front() == kOk) continue;
    if (!joined.empty()) joined += "; ";
    if (texts.size() > 1) joined += fmt::format("rank {}: ", r);
    joined += printable_line(texts[r].substr(1));
  }
  return joined;
}

// What a rank tells of its work: the text that it gave, or why it failed.
std::string report_of(const std::function<std::string()>& work) {
  try {
    return kOk + work();
  } catch (const std::exception& e) {
    std::string why = (is_file_system(e) ? kFileSystemFailed : kFailed) + std::string(e.what());
    std::ranges::replace(why, '\n', ' ');  // reasons become log lines
    return why;
  }
}

void throw_failures(Coordinator& ranks, const std::vector<std::string>& reports) {
  const auto any = [&](char mark) {
    return std::ranges::any_of(reports, [&](const std::string& t) { return t.front() == mark; });
  };
  const bool of_files = any(kFileSystemFailed);
  if (!of_files && !any(kFailed)) return;
  ranks.wait_before_common_error();
  throw Error(of_files ? ErrorKind::kIo : ErrorKind::kCheckpoint, reasons(reports));
}

}  // namespace

std::unique_ptr<Coordinator> make_coordinator(Context& cx, Communicator& comm,
                                              LostAtWork lost_at_work) {
  return std::make_unique<CommCoordinator>(cx, comm, std::move(lost_at_work));
}

std::vector<std::string> all_or_none(Coordinator& ranks, const std::function<std::string()>& work) {
  std::vector<std::string> texts = ranks.all_gather_after([&] { return report_of(work); });
  throw_failures(ranks, texts);
  for (std::string& t : texts)
    t.erase(0, 1);
  return texts;
}

std::vector<std::string> all_or_none_to_first(Coordinator& ranks,
                                              const std::function<std::string()>& work) {
  std::string mine;
  throw_failures(ranks, ranks.all_gather_after([&] {
    mine = report_of(work);
    return mine.front() == kOk ? std::string(1, kOk) : mine;
  }));
  return ranks.gather(mine.substr(1));
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> all;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    all.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return all;
}

}  // namespace gradwire
