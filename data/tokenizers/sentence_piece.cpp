#include "data/tokenizers/sentence_piece.h"

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include "core/hash.h"
#include "core/printable.h"

namespace gradwire {
namespace {

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(const std::string& path, const std::string& bytes) : Tokenizer(path) {
    const auto status = processor_.LoadFromSerializedProto(bytes);
    if (bytes.empty() || !status.ok()) {
      refuse(fmt::format("not a SentencePiece model{}{}", status.ok() ? "" : ": ",
                         printable_word(status.error_message())));
    }
    special_ = {processor_.bos_id(), processor_.eos_id(), processor_.unk_id(), processor_.pad_id(),
                /*adds_bos=*/true};
    if (special_.bos < 0 || special_.eos < 0) {
      refuse(
          fmt::format("the model has no mark for the begin or the end of a document "
                      "(bos {}, eos {})",
                      special_.bos, special_.eos));
    }
    check_pieces();
    hash_ = hash_of(bytes);
  }

  std::int64_t vocabulary() const override { return processor_.GetPieceSize(); }
  bool drops_first_space() const override { return true; }

  std::int32_t find(std::string_view written) const override {
    const int id = processor_.PieceToId({written.data(), written.size()});
    return id != special_.unk || written == processor_.IdToPiece(id) ? id : -1;
  }

  std::vector<std::int32_t> encode(std::string_view text, SpecialText) const override {
    std::vector<int> ids;
    const auto status = processor_.Encode({text.data(), text.size()}, &ids);
    if (!status.ok()) {
      refuse(fmt::format("a text of {} bytes cannot be encoded: {}", text.size(),
                         status.error_message()));
    }
    return ids;
  }

  std::string decode(std::span<const std::int32_t> ids) const override {
    for (const std::int32_t id : ids)
      check_id(id);
    std::string text;
    const auto status = processor_.Decode(std::vector<int>(ids.begin(), ids.end()), &text);
    if (!status.ok()) {
      refuse(fmt::format("{} tokens cannot be decoded: {}", ids.size(), status.error_message()));
    }
    return text;
  }

 private:
  // The byte of "<0x0A>", or the piece with its spaces, which are written U+2581.
  std::string token_bytes(std::int32_t id) const override {
    if (processor_.IsControl(id)) return {};
    const std::string piece = processor_.IdToPiece(id);
    if (processor_.IsByte(id)) {
      return std::string(1, static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16)));
    }
    constexpr std::string_view kSpace = "\u2581";
    std::string text = piece;
    for (std::size_t at = 0; (at = text.find(kSpace, at)) != std::string::npos; ++at)
      text.replace(at, kSpace.size(), " ");
    return text;
  }

  void check_pieces() const {
    if (vocabulary() > kMostPieces) {
      refuse(fmt::format("a vocabulary of {}; at most {}", vocabulary(), kMostPieces));
    }
    for (int id = 0; id < static_cast<int>(vocabulary()); ++id) {
      const std::size_t bytes = processor_.IdToPiece(id).size();
      if (bytes <= kMostPieceBytes) continue;
      refuse(fmt::format("piece {} has {} bytes; at most {}", id, bytes, kMostPieceBytes));
    }
  }

  sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace

std::unique_ptr<const Tokenizer> sentence_piece_tokenizer(const std::string& path,
                                                          const std::string& bytes) {
  return std::make_unique<SentencePieceTokenizer>(path, bytes);
}

}  // namespace gradwire
