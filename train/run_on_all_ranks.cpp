#include "train/run_on_all_ranks.h"

#include <algorithm>
#include <charconv>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/io_error.h"
#include "core/printable.h"

namespace gradwire {
namespace {

// "kind message", or empty if all went well.
std::string report(const std::function<void()>& work, std::exception_ptr& failure) {
  try {
    work();
    return {};
  } catch (const Error& e) {
    failure = std::current_exception();
    return fmt::format("{} {}", static_cast<int>(e.kind()), e.what());
  } catch (const std::bad_alloc&) {
    failure = std::current_exception();
    return fmt::format("{} out of memory", static_cast<int>(ErrorKind::kMemory));
  } catch (const std::filesystem::filesystem_error& e) {
    failure = std::current_exception();
    return fmt::format("{} {}", static_cast<int>(kind_of_io_error(e.code().value())), e.what());
  } catch (const std::exception& e) {
    failure = std::current_exception();
    return fmt::format("{} {}", static_cast<int>(ErrorKind::kInternal), e.what());
  }
}

Error error_of(std::size_t rank, const std::string& text) {
  int kind = static_cast<int>(ErrorKind::kInternal);
  const std::size_t space = std::min(text.find(' '), text.size());
  std::from_chars(text.data(), text.data() + space, kind);
  return {static_cast<ErrorKind>(kind),
          fmt::format("rank {}: {}", rank,
                      printable_line(text.substr(std::min(space + 1, text.size()))))};
}

}  // namespace

void run_on_all_ranks(Coordinator& ranks, const std::function<void()>& work) {
  std::exception_ptr failure;
  const std::vector<std::string> reports =
      ranks.all_gather_after([&] { return report(work, failure); });
  const auto failed =
      std::ranges::find_if(reports, [](const std::string& text) { return !text.empty(); });
  if (failed == reports.end()) return;
  ranks.wait_before_common_error();
  if (failure) std::rethrow_exception(failure);
  throw error_of(static_cast<std::size_t>(failed - reports.begin()), *failed);
}

}  // namespace gradwire
