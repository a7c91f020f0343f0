// For the targets of libFuzzer in this folder: readers take paths, the fuzzer gives bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include "core/error.h"

namespace gradwire::fuzz {

// A folder in memory that lasts as long as the process.
class Folder {
 public:
  Folder() {
    char name[] = "/dev/shm/gradwire-fuzz-XXXXXX";
    if (::mkdtemp(name) == nullptr) std::abort();
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, const void* data, std::size_t size) const {
    const int file = ::open(this->file(name).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || ::write(file, data, size) != static_cast<ssize_t>(size)) std::abort();
    ::close(file);
  }

 private:
  std::string path_;
};

// Runs what may throw Error, and nothing else.
template <class Work>
void may_refuse(const Work& work) {
  try {
    work();
  } catch (const Error&) {
  }
}

// A target's result. A reader may refuse bytes that are no file of its kind; with
// GRADWIRE_FUZZ_ACCEPT in the environment, as for seeds, that ends the process.
template <class Read>
int run_reader(const Read& read) {
  static const bool must_accept = std::getenv("GRADWIRE_FUZZ_ACCEPT") != nullptr;
  if (must_accept) {
    read();
  } else {
    may_refuse(read);
  }
  return 0;
}

}  // namespace gradwire::fuzz
