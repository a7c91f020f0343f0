// A file that appears whole or not at all: it is written under a temporary name beside its own,
// then synced and renamed. What wrote it has closed it before publish().
#pragma once

#include <string>

namespace gradwire {

class PendingFile {
 public:
  explicit PendingFile(std::string path);
  // Removes the temporary file where publish() was not reached.
  ~PendingFile();
  PendingFile(PendingFile&&) = delete;

  const std::string& temporary() const noexcept { return temporary_; }
  const std::string& path() const noexcept { return path_; }
  // Errors: kIo.
  void publish();

 private:
  std::string path_;
  std::string temporary_;
  bool published_ = false;
};

// A whole small file through a PendingFile. Errors: kIo.
void publish_text(const std::string& path, const std::string& text);
// Errors: kIo.
std::string read_text(const std::string& path);

}  // namespace gradwire
