#include "train/checkpoint_coordinator.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {
namespace {

// Two rounds: lengths, then texts padded to the longest.
class CommCoordinator final : public Coordinator {
 public:
  CommCoordinator(Context& cx, Communicator& comm) : cx_(cx.in(Segment::kComm)), comm_(comm) {}
  int rank() const override { return comm_.rank(); }
  int size() const override { return comm_.size(); }

  std::vector<std::string> all_gather(const std::string& mine) override {
    const auto ranks = static_cast<std::size_t>(size());
    const std::vector<std::int64_t> length = {static_cast<std::int64_t>(mine.size())};
    const std::vector<std::int64_t> lengths = gather(length);
    const auto longest = static_cast<std::size_t>(std::ranges::max(lengths));
    std::vector<std::uint8_t> padded(longest);
    std::copy(mine.begin(), mine.end(), padded.begin());
    const std::vector<std::uint8_t> all = longest == 0 ? padded : gather(padded);
    std::vector<std::string> texts(ranks);
    for (std::size_t r = 0; r < ranks; ++r) {
      const auto* begin = reinterpret_cast<const char*>(all.data()) + r * longest;
      texts[r].assign(begin, static_cast<std::size_t>(lengths[r]));
    }
    return texts;
  }

 private:
  template <class T>
  std::vector<T> gather(const std::vector<T>& mine) {
    const auto n = static_cast<std::int64_t>(mine.size());
    const Tensor in = Tensor::from(cx_, {n}, mine);
    const Tensor out = Tensor::empty(cx_, {n * size()}, in.dtype());
    comm_.all_gather(in, out, cx_.stream)->wait(cx_.stream);
    return out.to_host<T>(cx_);
  }

  Context cx_;
  Communicator& comm_;
};

constexpr char kOk = '+';
constexpr char kFailed = '-';
constexpr char kFileSystemFailed = '!';

bool is_file_system(const std::exception& e) {
  const auto* own = dynamic_cast<const Error*>(&e);
  return own != nullptr ? own->kind() == ErrorKind::kIo
                        : dynamic_cast<const std::filesystem::filesystem_error*>(&e) != nullptr;
}

std::string reasons(const std::vector<std::string>& texts) {
  std::string joined;
  for (std::size_t r = 0; r < texts.size(); ++r) {
    if (texts[r].front() == kOk) continue;
    if (!joined.empty()) joined += "; ";
    if (texts.size() > 1) joined += fmt::format("rank {}: ", r);
    joined += texts[r].substr(1);
  }
  return joined;
}

}  // namespace

std::unique_ptr<Coordinator> make_coordinator(Context& cx, Communicator& comm) {
  return std::make_unique<CommCoordinator>(cx, comm);
}

std::vector<std::string> all_or_none(Coordinator& ranks, const std::function<std::string()>& work) {
  std::string mine;
  try {
    mine = kOk + work();
  } catch (const std::exception& e) {
    mine = (is_file_system(e) ? kFileSystemFailed : kFailed) + std::string(e.what());
    std::ranges::replace(mine, '\n', ' ');  // reasons become log lines
  }
  std::vector<std::string> texts = ranks.all_gather(mine);
  const bool ok = std::ranges::all_of(texts, [](const std::string& t) { return t.front() == kOk; });
  const bool io = std::ranges::any_of(
      texts, [](const std::string& t) { return t.front() == kFileSystemFailed; });
  if (!ok) throw Error(io ? ErrorKind::kIo : ErrorKind::kCheckpoint, reasons(texts));
  for (std::string& t : texts)
    t.erase(0, 1);
  return texts;
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
