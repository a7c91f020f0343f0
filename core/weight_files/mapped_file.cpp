#include "core/weight_files/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/io_error.h"

namespace gradwire {
namespace {

[[noreturn]] void refuse(const std::string& path, const char* what) {
  const int number = errno;
  throw Error(kind_of_io_error(number),
              fmt::format("{}: cannot be {}: {}", path, what, std::strerror(number)));
}

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

}  // namespace

MappedFile::MappedFile(std::string path, std::span<const std::byte> bytes)
    : path_(std::move(path)), bytes_(bytes) {}

MappedFile::~MappedFile() {
  if (bytes_.empty()) return;
  // munmap() wants a pointer to what it may change; the pages themselves are read-only.
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  // A named pipe that nobody writes to must not keep the program waiting.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.number < 0) refuse(path, "opened");
  struct stat status {};
  if (::fstat(file.number, &status) != 0) refuse(path, "examined");
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorKind::kData, fmt::format("{}: not a regular file", path));
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  std::span<const std::byte> bytes;
  if (size > 0) {
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number, 0);
    if (data == MAP_FAILED) refuse(path, "mapped");
    bytes = {static_cast<const std::byte*>(data), size};
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, bytes));
}

}  // namespace gradwire
