// Text to token ids and back, by a SentencePiece model (Kudo and Richardson, "SentencePiece", EMNLP
// 2018). The mapping is lossless for any UTF-8: text is not normalized, and what has no piece of
// its own, line ends among it, falls back to single bytes. SentencePiece prints nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
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

class Tokenizer {
 public:
  // Errors: kIo if there is no such file, kData if it is no model or has no bos or eos.
  static Tokenizer load(const std::string& path);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  std::int64_t vocabulary() const;
  std::int32_t bos_id() const;  // begins a document
  std::int32_t eos_id() const;  // ends a document
  std::int32_t unk_id() const;
  std::uint64_t hash() const noexcept { return hash_; }  // of the model file
  const std::string& path() const noexcept { return path_; }

  // Without marks. Errors: kData.
  std::vector<std::int32_t> encode(const std::string& text) const;
  // Marks give no text. Errors: kData for an id outside [0, V).
  std::string decode(std::span<const std::int32_t> ids) const;

 private:
  struct Model;
  Tokenizer(std::unique_ptr<Model> model, std::string path);
  void check_pieces() const;

  std::unique_ptr<Model> model_;
  std::string path_;
  std::uint64_t hash_ = 0;
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
