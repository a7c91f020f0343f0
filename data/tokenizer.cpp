#include "data/tokenizer.h"

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include "core/error.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/printable.h"

namespace gradwire {

struct Tokenizer::Model {
  sentencepiece::SentencePieceProcessor processor;
};

const char* name_of(TokenizerKind kind) {
  return kind == TokenizerKind::kBpe ? "bpe" : "unigram";
}

Tokenizer::Tokenizer(std::unique_ptr<Model> model, std::string path)
    : model_(std::move(model)), path_(std::move(path)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::string& path) {
  const std::string bytes = read_text(path);
  Tokenizer tokenizer(std::make_unique<Model>(), path);
  const auto status = tokenizer.model_->processor.LoadFromSerializedProto(bytes);
  if (bytes.empty() || !status.ok()) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: not a SentencePiece model{}{}", path, status.ok() ? "" : ": ",
                            printable_word(status.error_message())));
  }
  if (tokenizer.bos_id() < 0 || tokenizer.eos_id() < 0) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: the model has no mark for the begin or the end of a document "
                            "(bos {}, eos {})",
                            path, tokenizer.bos_id(), tokenizer.eos_id()));
  }
  tokenizer.check_pieces();
  tokenizer.hash_ = hash_of(bytes);
  return tokenizer;
}

void Tokenizer::check_pieces() const {
  if (vocabulary() > kMostPieces) {
    throw Error(ErrorKind::kData, fmt::format("{}: a vocabulary of {}; at most {}", path_,
                                              vocabulary(), kMostPieces));
  }
  for (int id = 0; id < static_cast<int>(vocabulary()); ++id) {
    const std::size_t bytes = model_->processor.IdToPiece(id).size();
    if (bytes <= kMostPieceBytes) continue;
    throw Error(ErrorKind::kData, fmt::format("{}: piece {} has {} bytes; at most {}", path_, id,
                                              bytes, kMostPieceBytes));
  }
}

std::int64_t Tokenizer::vocabulary() const {
  return model_->processor.GetPieceSize();
}
std::int32_t Tokenizer::bos_id() const {
  return model_->processor.bos_id();
}
std::int32_t Tokenizer::eos_id() const {
  return model_->processor.eos_id();
}
std::int32_t Tokenizer::unk_id() const {
  return model_->processor.unk_id();
}

std::vector<std::int32_t> Tokenizer::encode(const std::string& text) const {
  std::vector<int> ids;
  const auto status = model_->processor.Encode(text, &ids);
  if (!status.ok()) {
    throw Error(ErrorKind::kData, fmt::format("{}: a text of {} bytes cannot be encoded: {}", path_,
                                              text.size(), status.error_message()));
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= vocabulary()) {
      throw Error(ErrorKind::kData, fmt::format("{}: token id {} outside the vocabulary of {}",
                                                path_, id, vocabulary()));
    }
  }
  std::string text;
  const auto status = model_->processor.Decode(std::vector<int>(ids.begin(), ids.end()), &text);
  if (!status.ok()) {
    throw Error(ErrorKind::kData, fmt::format("{}: {} tokens cannot be decoded: {}", path_,
                                              ids.size(), status.error_message()));
  }
  return text;
}

}  // namespace gradwire
