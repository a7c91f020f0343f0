// Digests of files that are read again only after they have changed: a corpus of many gigabytes
// should not cost minutes at every start of a run.
#pragma once

#include <map>
#include <string>

namespace gradwire {

class FileDigests {
 public:
  // `memo` is a file that remembers from process to process; it need not be there. A file counts as
  // unchanged while its size, inode, and times of modification and of change are the same. One that
  // has changed less than `settle_s` before it is read is not remembered: it could change again
  // within the resolution of those times.
  explicit FileDigests(std::string memo, double settle_s = 2.0);

  // XXH3 in 16 hexadecimal digits. Errors: kIo, naming the file.
  std::string digest(const std::string& path);
  int files_read() const noexcept { return files_read_; }
  // Writes the memo if there is anything new to remember. Failure costs the memo alone.
  void keep() const noexcept;

 private:
  struct Known {
    std::string state, digest;  // state: what must not change
  };

  std::string memo_;
  double settle_s_;
  std::map<std::string, Known> known_;  // by absolute path
  int files_read_ = 0;
  bool has_news_ = false;
};

}  // namespace gradwire
