// What every fuzz target says: a reader that is given any bytes returns, or throws Error. Whatever
// else it throws, a crash, a hang or a finding of a sanitizer is a finding of libFuzzer's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/error.h"

namespace gradwire::fuzz {

// read(bytes) for LLVMFuzzerTestOneInput().
template <class F>
int run(const std::uint8_t* data, std::size_t size, const F& read) {
  try {
    read(std::string_view(reinterpret_cast<const char*>(data), size));
  } catch (const Error&) {
  }
  return 0;
}

// A file in memory, for readers that want a path.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    while (!bytes.empty()) {
      const ::ssize_t put = ::write(fd_, bytes.data(), bytes.size());
      if (put < 0) std::abort();
      bytes.remove_prefix(static_cast<std::size_t>(put));
    }
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return fmt::format("/proc/self/fd/{}", fd_); }

 private:
  int fd_;
};

}  // namespace gradwire::fuzz
