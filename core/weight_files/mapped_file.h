// A whole file, mapped for reading: its pages are in memory once for all processes of a host, and
// only those that are touched. A file that another process truncates while it is mapped ends the
// process with SIGBUS, as with every mapped file: writers of models rename whole files into place.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace gradwire {

class MappedFile {
 public:
  // Errors: kIo or kConfig (core/io_error.h), naming the file; kData for what is no regular file.
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const noexcept { return path_; }
  std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  MappedFile(std::string path, std::span<const std::byte> bytes);

  std::string path_;
  std::span<const std::byte> bytes_;
};

}  // namespace gradwire
