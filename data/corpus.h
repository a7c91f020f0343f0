// Text files as a stream of documents, in the order of the files. Memory holds one document at a
// time, whatever the size of the files. It knows nothing of tokens.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

namespace gradwire {

enum class DocumentBreak : std::uint8_t {
  kBlankLine,  // a line without a visible character ends a document
  kFile,       // a file is a document
};
const char* name_of(DocumentBreak b);

struct CorpusConfig {
  std::vector<std::string> files;
  DocumentBreak document_break = DocumentBreak::kBlankLine;
  std::int64_t max_document_bytes = std::int64_t{64} << 20;
};

class Corpus {
 public:
  // Opens every file once. Errors: kUsage without files; kIo if one cannot be read.
  explicit Corpus(CorpusConfig config);

  std::int64_t bytes() const noexcept { return bytes_; }  // of all files
  // The next document: lines end in '\n' but the last, the byte order mark and carriage returns at
  // line ends are gone. False after the last one. Errors: kData, naming file and line: a file
  // without a document, bytes that are not UTF-8, a document that is too large.
  bool next(std::string& document);
  std::int64_t documents() const noexcept { return documents_; }  // seen since the last rewind()
  void rewind();

 private:
  bool open_next();
  bool read_line(std::string& line);
  [[noreturn]] void refuse_document() const;

  CorpusConfig config_;
  std::int64_t bytes_ = 0;
  std::ifstream in_;
  std::size_t file_ = 0;  // of the next one to open
  std::int64_t line_ = 0;
  std::int64_t documents_ = 0;
  std::int64_t documents_of_file_ = 0;
  std::string line_text_;
};

// The byte at which text stops being UTF-8 (RFC 3629); text.size() if it never does.
std::size_t utf8_prefix(const std::string& text);

}  // namespace gradwire
