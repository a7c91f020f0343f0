// What stands in the file of a SentencePiece model, for those who write its vocabulary in another
// format: the library that reads such files tells no more than what encoding needs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gradwire {

struct SentencePieceFile {
  // Numbers of the format, and of llama.cpp's token types.
  enum class PieceType : std::int32_t {
    kNormal = 1,
    kUnknown,
    kControl,
    kUserDefined,
    kUnused,
    kByte,
  };
  struct Piece {
    std::string text;
    float score = 0.0F;
    PieceType type = PieceType::kNormal;
  };
  enum class Model : std::uint8_t { kUnigram = 1, kBpe, kWord, kChar };

  std::vector<Piece> pieces;  // by id
  Model model = Model::kUnigram;
  bool adds_space = true;           // before a text
  bool removes_extra_space = true;  // at both ends of a text, and after a space
  bool normalizes = false;          // characters are replaced before anything else
};

// `bytes` is the content of the file `path` (a protocol buffer, ModelProto of
// sentencepiece_model.proto). Errors: kData, naming the file, for what is no such model.
SentencePieceFile read_sentence_piece_file(const std::string& path, const std::string& bytes);

}  // namespace gradwire
