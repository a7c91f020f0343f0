// Samples to fine-tune on, out of files of JSON lines: an object a line, with "prompt" and
// "completion", or with "messages" of which each has "role" and "content". Other keys are left
// alone, and so are blank lines. Memory holds one line at a time, whatever the size of the files.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "data/chat.h"

namespace gradwire {

enum class SampleFormat : std::uint8_t { kPromptCompletion, kChat };
const char* name_of(SampleFormat format);

struct SampleFilesConfig {
  std::vector<std::string> files;
  SampleFormat format = SampleFormat::kChat;
  std::int64_t max_line_bytes = std::int64_t{16} << 20;
};

class SampleFiles {
 public:
  // Opens every file once. Errors: kUsage without files; kIo if one cannot be read.
  explicit SampleFiles(SampleFilesConfig config);

  std::int64_t bytes() const noexcept { return bytes_; }  // of all files
  // The next sample: its messages, or its prompt and its completion as messages of these roles.
  // False after the last one. Errors: kData, naming file and line: a file without a sample, a line
  // that is too long or no such object, a text with a zero byte, a sample with nothing to answer.
  bool next(std::vector<ChatMessage>& sample);
  std::int64_t samples() const noexcept { return samples_; }  // seen since the last rewind()
  std::string place() const;                                  // of the last one: file and line
  void rewind();

 private:
  bool open_next();
  bool read_line(std::string& line);
  [[noreturn]] void refuse(const std::string& why) const;
  std::vector<ChatMessage> parsed(const std::string& line) const;

  SampleFilesConfig config_;
  std::int64_t bytes_ = 0;
  std::ifstream in_;
  std::size_t file_ = 0;  // of the next one to open
  std::int64_t line_ = 0;
  std::int64_t samples_ = 0;
  std::int64_t samples_of_file_ = 0;
  std::string line_text_;
};

}  // namespace gradwire
