#include "data/corpus.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "core/error.h"
#include "core/file.h"

namespace gradwire {

const char* name_of(DocumentBreak b) {
  return b == DocumentBreak::kBlankLine ? "blank line" : "file";
}

std::size_t utf8_prefix(const std::string& text) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  std::size_t i = 0;
  while (i < text.size()) {
    const unsigned lead = byte(i);
    const unsigned second = byte(i + 1);
    if (lead < 0x80u) {
      i += 1;
    } else if (lead >= 0xC2u && lead < 0xE0u && continues(i + 1)) {
      i += 2;
    } else if (lead >= 0xE0u && lead < 0xF0u && continues(i + 1) && continues(i + 2) &&
               !(lead == 0xE0u && second < 0xA0u) && !(lead == 0xEDu && second > 0x9Fu)) {
      i += 3;
    } else if (lead >= 0xF0u && lead < 0xF5u && continues(i + 1) && continues(i + 2) &&
               continues(i + 3) && !(lead == 0xF0u && second < 0x90u) &&
               !(lead == 0xF4u && second > 0x8Fu)) {
      i += 4;
    } else {
      return i;
    }
  }
  return i;
}

Corpus::Corpus(CorpusConfig config) : config_(std::move(config)) {
  check(!config_.files.empty(), ErrorKind::kUsage, "corpus: no files named");
  for (const std::string& path : config_.files) {
    std::error_code failure;
    const std::uintmax_t size = std::filesystem::file_size(path, failure);
    const std::ifstream probe(path);
    if (failure || !probe) {
      throw Error(ErrorKind::kIo, fmt::format("{}: cannot be read: {}", path,
                                              failure ? failure.message() : std::strerror(errno)));
    }
    bytes_ += static_cast<std::int64_t>(size);
  }
}

void Corpus::rewind() {
  in_ = std::ifstream();
  file_ = 0;
  documents_ = 0;
}

bool Corpus::open_next() {
  if (file_ > 0 && documents_of_file_ == 0) {
    throw Error(ErrorKind::kData, fmt::format("{}: no text in it", config_.files[file_ - 1]));
  }
  if (file_ == config_.files.size()) return false;
  in_ = std::ifstream(config_.files[file_], std::ios::binary);
  if (!in_) {
    throw Error(ErrorKind::kIo,
                fmt::format("{}: cannot be read: {}", config_.files[file_], std::strerror(errno)));
  }
  ++file_;
  line_ = 0;
  documents_of_file_ = 0;
  return true;
}

bool Corpus::read_line(std::string& line) {
  if (!in_.is_open()) return false;
  if (!next_line(in_, line, static_cast<std::size_t>(config_.max_document_bytes))) {
    if (!in_.bad()) return false;
    throw Error(ErrorKind::kIo, fmt::format("{}: cannot be read after line {}: {}",
                                            config_.files[file_ - 1], line_, std::strerror(errno)));
  }
  if (++line_ == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
  if (line.ends_with('\r')) line.pop_back();
  if (std::ssize(line) > config_.max_document_bytes) refuse_document();
  const std::size_t good = std::min(utf8_prefix(line), line.find('\0'));
  if (good < line.size()) {
    throw Error(ErrorKind::kData, fmt::format("{}:{}: not UTF-8 text: byte {:#04x} at column {}",
                                              config_.files[file_ - 1], line_,
                                              static_cast<unsigned char>(line[good]), good + 1));
  }
  return true;
}

void Corpus::refuse_document() const {
  throw Error(ErrorKind::kData,
              fmt::format("{}:{}: a document of more than {} bytes; documents end at a {}",
                          config_.files[file_ - 1], line_, config_.max_document_bytes,
                          name_of(config_.document_break)));
}

bool Corpus::next(std::string& document) {
  document.clear();
  const bool by_line = config_.document_break == DocumentBreak::kBlankLine;
  for (;;) {
    const bool more = read_line(line_text_);
    const bool blank = line_text_.find_first_not_of(" \t\v\f") == std::string::npos;
    if (!document.empty() && (!more || (by_line && blank))) {
      while (document.ends_with('\n'))
        document.pop_back();
      ++documents_;
      ++documents_of_file_;
      return true;
    }
    if (!more) {
      if (!open_next()) return false;
      continue;
    }
    if (blank && document.empty()) continue;
    if (!document.empty()) document += '\n';
    document += line_text_;
    if (static_cast<std::int64_t>(document.size()) > config_.max_document_bytes) {
      refuse_document();
    }
  }
}

}  // namespace gradwire
