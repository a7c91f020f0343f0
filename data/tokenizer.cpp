#include "data/tokenizer.h"

#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/file.h"
#include "core/printable.h"
#include "core/weight_files/gguf.h"
#include "data/tokenizers/gguf_tokenizer.h"
#include "data/tokenizers/json_tokenizer.h"
#include "data/tokenizers/json_word_piece.h"
#include "data/tokenizers/sentence_piece.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

// The file with the vocabulary in a folder of a model.
std::string file_in(const std::string& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.txt", "tokenizer.gguf"}) {
    const fs::path file = fs::path(folder) / name;
    if (fs::exists(file)) return file.string();
  }
  throw Error(
      ErrorKind::kData,
      fmt::format("{}: has none of tokenizer.json, tokenizer.model, vocab.txt and tokenizer.gguf",
                  folder));
}

// Bytes of the character that `text` ends within; 0 if it ends with a whole one, or with what no
// further byte would make a character of.
std::size_t unfinished(std::string_view text) {
  constexpr std::size_t kLongest = 4;
  for (std::size_t bytes = 1; bytes <= std::min(text.size(), kLongest); ++bytes) {
    const auto lead = static_cast<unsigned char>(text[text.size() - bytes]);
    if ((lead & 0xC0u) == 0x80u) continue;
    const std::size_t length = lead < 0xC2   ? 1
                               : lead < 0xE0 ? 2
                               : lead < 0xF0 ? 3
                               : lead < 0xF5 ? 4
                                             : 1;
    return length > bytes ? bytes : 0;
  }
  return 0;
}

}  // namespace

const char* name_of(TokenizerKind kind) {
  return kind == TokenizerKind::kBpe ? "bpe" : "unigram";
}

std::unique_ptr<const Tokenizer> Tokenizer::load(const std::string& path) {
  const std::string file = fs::is_directory(path) ? file_in(path) : path;
  if (fs::path(file).extension() == ".json") return json_tokenizer(file);
  if (fs::path(file).filename() == "vocab.txt") return text_word_piece(file);
  if (fs::is_regular_file(file) && GgufFile::is_gguf(file)) {
    return gguf_tokenizer(GgufFile::open(file));
  }
  return sentence_piece_tokenizer(file, read_text(file));
}

void Tokenizer::refuse(const std::string& why) const {
  throw Error(ErrorKind::kData, fmt::format("{}: {}", path_, why));
}

void Tokenizer::check_id(std::int32_t id) const {
  if (id >= 0 && id < vocabulary()) return;
  refuse(fmt::format("token id {} outside the vocabulary of {}", id, vocabulary()));
}

std::string Tokenizer::bytes_of(std::int32_t id) const {
  check_id(id);
  return token_bytes(id);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids)
    text += bytes_of(id);
  if (drops_first_space() && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

std::string TextStream::next(std::int32_t id) {
  std::string bytes = tokenizer_.bytes_of(id);
  const bool first = !begun_ && !bytes.empty();
  if (first && tokenizer_.drops_first_space() && bytes.front() == ' ') bytes.erase(0, 1);
  begun_ = begun_ || first;
  held_ += bytes;
  std::string whole = held_.substr(0, held_.size() - unfinished(held_));
  held_.erase(0, whole.size());
  return whole;
}

std::string TextStream::rest() {
  return std::exchange(held_, {});
}

}  // namespace gradwire
