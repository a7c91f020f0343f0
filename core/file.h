// Files and folders that appear whole or not at all: they are written under a temporary name beside
// their own, then synced and renamed. What wrote a file has closed it before publish(). Errors are
// kIo, and kConfig for what this user may not write (core/io_error.h).
#pragma once

#include <cstddef>
#include <istream>
#include <string>
#include <string_view>

namespace gradwire {

// "PATH<mark>HOST-PID-NONCE": a name beside PATH that no other writer takes, on this host or on any
// that sees the folder, and that says who to ask whether the writer still lives.
std::string temporary_name(const std::string& path, std::string_view mark);

inline constexpr std::string_view kTemporaryMark = ".tmp-";

// Removes from a folder what writers left under temporary names that can no longer be at work:
// processes of this host that are gone, and whatever has not been touched for a day.
void remove_abandoned(const std::string& folder);

// A folder under a temporary name beside `path`, for the one who makes it; removed at the end with
// what is in it, unless it has got another name by then.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& path);
  ~TemporaryFolder();
  TemporaryFolder(TemporaryFolder&&) = delete;
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};
// Gives a folder, whose files have been published, its name. False if there is one of that name.
// Errors: kIo.
bool publish_folder(const std::string& from, const std::string& to);

class PendingFile {
 public:
  explicit PendingFile(std::string path);
  // Removes the temporary file if publish() was not reached.
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

// Far above any text that this program reads whole, far below what would be missed in memory.
inline constexpr std::size_t kMostTextBytes = std::size_t{64} << 20;
// A whole file of at most `limit` bytes; no more of it is read. Errors: kIo; kData if it is longer.
std::string read_text(const std::string& path, std::size_t limit = kMostTextBytes);

// The next line, without its '\n'; false at the end or after an error, as std::getline(). Of a line
// longer than `most` bytes, most + 1 bytes are given, and the next call goes on from there.
bool next_line(std::istream& in, std::string& line, std::size_t most);

}  // namespace gradwire
