#include <charconv>

#include <fmt/format.h>

#include "core/error.h"
#include "launch/start/rendezvous.h"

namespace gradwire {
namespace {

constexpr std::size_t kMostHosts = 65536;

class HostList {
 public:
  explicit HostList(std::string_view list) : list_(list), rest_(list) {}

  std::vector<std::string> expand() {
    while (!rest_.empty()) {
      one({""});
      if (!rest_.empty()) rest_.remove_prefix(1);  // the comma
    }
    return std::move(hosts_);
  }

 private:
  [[noreturn]] void refuse() const {
    throw Error(ErrorKind::kUsage, fmt::format("'{}' is no list of hosts", list_));
  }

  // Up to a comma outside brackets; `begun` holds what the name can be so far.
  void one(std::vector<std::string> begun) {
    while (!rest_.empty() && rest_.front() != ',') {
      const bool bracket = rest_.front() == '[';
      const std::size_t end =
          bracket ? rest_.find(']') : std::min(rest_.find_first_of(",["), rest_.size());
      if (end == std::string_view::npos) refuse();
      const std::string_view part = rest_.substr(bracket ? 1 : 0, bracket ? end - 1 : end);
      begun = joined(begun, bracket ? numbers(part) : std::vector{std::string(part)});
      rest_.remove_prefix(bracket ? end + 1 : end);
    }
    if (begun.front().empty()) refuse();
    if (hosts_.size() + begun.size() > kMostHosts) refuse();
    hosts_.insert(hosts_.end(), begun.begin(), begun.end());
  }

  std::vector<std::string> joined(const std::vector<std::string>& begun,
                                  const std::vector<std::string>& parts) const {
    if (begun.size() * parts.size() > kMostHosts) refuse();
    std::vector<std::string> all;
    for (const std::string& b : begun)
      for (const std::string& p : parts)
        all.push_back(b + p);
    return all;
  }

  // "01-03,7": with as many digits as the first has.
  std::vector<std::string> numbers(std::string_view ranges) const {
    std::vector<std::string> all;
    while (!ranges.empty()) {
      const std::string_view range = ranges.substr(0, ranges.find(','));
      ranges.remove_prefix(std::min(ranges.size(), range.size() + 1));
      const std::string_view first = range.substr(0, range.find('-'));
      const std::string_view last =
          first.size() == range.size() ? first : range.substr(first.size() + 1);
      const std::uint32_t begin = number(first), end = number(last);
      if (end < begin || all.size() + (end - begin) >= kMostHosts) refuse();
      for (std::uint32_t i = begin; i <= end; ++i)
        all.push_back(fmt::format("{:0{}}", i, first.size()));
    }
    if (all.empty()) refuse();
    return all;
  }

  std::uint32_t number(std::string_view digits) const {
    constexpr std::size_t kMostDigits = 9;  // below what overflows
    std::uint32_t value = 0;
    const char* const end = digits.data() + digits.size();
    const bool fits = !digits.empty() && digits.size() <= kMostDigits;
    if (!fits || std::from_chars(digits.data(), end, value).ptr != end) refuse();
    return value;
  }

  std::string_view list_, rest_;
  std::vector<std::string> hosts_;
};

}  // namespace

std::vector<std::string> expand_host_list(std::string_view list) {
  return HostList(list).expand();
}

}  // namespace gradwire
