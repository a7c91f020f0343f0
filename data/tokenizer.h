// Text to token ids and back, by the vocabulary of a model of this program or of another. Which
// kinds of vocabulary there are: data/tokenizers/. SentencePiece (Kudo and Richardson, EMNLP 2018)
// is the one that is also trained here: text is not normalized, and what has no piece of its own,
// line ends among it, falls back to single bytes. SentencePiece prints nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/corpus.h"

namespace gradwire {

enum class TokenizerKind : std::uint8_t { kBpe, kUnigram };
const char* name_of(TokenizerKind kind);

struct TokenizerConfig {
  TokenizerKind kind = TokenizerKind::kBpe;
  std::int64_t vocabulary = 4096;  // V, with 256 single bytes and three marks in it
  // A larger corpus is thinned to about every n-th line for training.
  std::int64_t max_training_bytes = std::int64_t{256} << 20;
};

// Far above any in use: a vocabulary, and a piece of it in bytes, beyond which a file is damaged.
inline constexpr std::int64_t kMostPieces = std::int64_t{1} << 24;
inline constexpr std::size_t kMostPieceBytes = 4096;

// What becomes of the text of a special token, such as "<|im_end|>", within a text: it is text like
// any other, so that what users write cannot end a turn of a conversation, or it is that token.
enum class SpecialText : std::uint8_t { kText, kToken };

// Ids of tokens with a meaning; -1 if the vocabulary has none.
struct SpecialTokens {
  std::int32_t bos = -1;  // begins a document
  std::int32_t eos = -1;  // ends a document, or a turn of a conversation
  std::int32_t unk = -1;  // stands for what has no token
  std::int32_t pad = -1;
  bool adds_bos = false;  // whether the model was trained on texts that begin with `bos`
};

class Tokenizer {
 public:
  // A SentencePiece model, a GGUF file, a tokenizer.json or vocab.txt of Hugging Face, or a folder
  // that has one of these under its usual name. Errors: kIo if there is no such file; kData, naming
  // the file, for what is none of them, is damaged, or needs what is not supported, which is named.
  static std::unique_ptr<const Tokenizer> load(const std::string& path);
  virtual ~Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  virtual std::int64_t vocabulary() const = 0;
  const SpecialTokens& special() const noexcept { return special_; }
  std::int32_t bos_id() const noexcept { return special_.bos; }
  std::int32_t eos_id() const noexcept { return special_.eos; }
  std::int32_t unk_id() const noexcept { return special_.unk; }
  // The template of conversations (Jinja) that came with the vocabulary; empty if none did.
  const std::string& chat_template() const noexcept { return chat_template_; }
  std::uint64_t hash() const noexcept { return hash_; }  // of what the ids depend on
  const std::string& path() const noexcept { return path_; }

  // Without bos and eos. Errors: kData.
  virtual std::vector<std::int32_t> encode(std::string_view text,
                                           SpecialText special = SpecialText::kText) const = 0;
  // The id of the token that is written so in the vocabulary, such as "<|im_end|>"; -1 if none is.
  virtual std::int32_t find(std::string_view written) const = 0;
  // bos, eos and other control tokens give no text. Bytes that are no UTF-8 are given as they are,
  // except by a SentencePiece model. Errors: kData for an id outside [0, V).
  virtual std::string decode(std::span<const std::int32_t> ids) const;
  // What a token adds to a text that has begun. Errors: kData for an id outside [0, V).
  std::string bytes_of(std::int32_t id) const;
  // Whether a text loses the space that its first token begins with.
  virtual bool drops_first_space() const { return false; }

 protected:
  explicit Tokenizer(std::string path) : path_(std::move(path)) {}
  // For an id in [0, V).
  virtual std::string token_bytes(std::int32_t id) const = 0;
  [[noreturn]] void refuse(const std::string& why) const;  // kData, naming the file
  void check_id(std::int32_t id) const;

  SpecialTokens special_{};
  std::string chat_template_{};
  std::uint64_t hash_ = 0;

 private:
  std::string path_;
};

// The text of tokens that come one at a time: what is returned is whole characters, and bytes of an
// unfinished one are held back until it is finished or cannot be any more.
class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string next(std::int32_t id);
  std::string rest();  // what is held back, at the end

 private:
  const Tokenizer& tokenizer_;
  std::string held_;
  bool begun_ = false;
};

// Documents to train on: next() as in Corpus. A view, so that a split can leave documents out.
class DocumentSource {
 public:
  virtual ~DocumentSource() = default;
  virtual bool next(std::string& document) = 0;
  virtual std::int64_t bytes() const = 0;  // about; decides the thinning
};

// The model file's content. The same documents and config give the same bytes. Errors: kData, as
// if the text is too small for the vocabulary.
std::string train_tokenizer(const TokenizerConfig& config, DocumentSource& documents);

}  // namespace gradwire
