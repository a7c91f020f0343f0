// A file descriptor that is written to whole or not at all, and never in the way of training:
// errors become one report until writing works again; a reader that went away is no signal.
#pragma once

#include <string>
#include <string_view>

#include "train/metrics/metrics.h"

namespace gradwire {

class MetricsFile {
 public:
  // Opens for appending, creating the file and its folder. Failing to is trouble too, tried again
  // at every append.
  MetricsFile(std::string path, OnTrouble on_trouble);
  // Borrows an open descriptor, such as standard error.
  MetricsFile(int fd, std::string name, OnTrouble on_trouble);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  // If only a part of it fits, a regular file is cut back to what it was.
  void append(std::string_view bytes) noexcept;
  // The last byte of the file; '\n' if it is empty or cannot be read.
  char last_byte() const noexcept;

 private:
  void open() noexcept;
  bool write_all(std::string_view bytes) noexcept;
  void trouble(int error) noexcept;

  std::string name_;
  OnTrouble on_trouble_;
  int fd_ = -1;
  bool owned_ = false;
  bool in_trouble_ = false;
};

}  // namespace gradwire
