// What is read of a SentencePiece model's file, beside what the library says of it.
#include "data/tokenizers/sentence_piece_file.h"

#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include "tests/data/temp_folder.h"
#include "tests/data/text.h"
#include "tests/support/damage.h"

namespace gradwire {
namespace {

using Type = SentencePieceFile::PieceType;

std::string trained(TokenizerKind kind) {
  testing_data::Documents documents({testing_data::made_up_text(100)});
  return train_tokenizer({.kind = kind, .vocabulary = 400}, documents);
}

TEST(SentencePieceFile, HasThePiecesOfTheLibrary) {
  for (const TokenizerKind kind : {TokenizerKind::kBpe, TokenizerKind::kUnigram}) {
    const std::string bytes = trained(kind);
    sentencepiece::SentencePieceProcessor library;
    ASSERT_TRUE(library.LoadFromSerializedProto(bytes).ok());
    const SentencePieceFile file = read_sentence_piece_file("a.model", bytes);
    ASSERT_EQ(static_cast<int>(file.pieces.size()), library.GetPieceSize());
    for (int id = 0; id < library.GetPieceSize(); ++id) {
      const SentencePieceFile::Piece& piece = file.pieces[static_cast<std::size_t>(id)];
      EXPECT_EQ(piece.text, library.IdToPiece(id));
      EXPECT_EQ(piece.score, library.GetScore(id));
      EXPECT_EQ(piece.type == Type::kByte, library.IsByte(id));
      EXPECT_EQ(piece.type == Type::kControl, library.IsControl(id));
      EXPECT_EQ(piece.type == Type::kUnknown, library.IsUnknown(id));
    }
    EXPECT_EQ(file.model, kind == TokenizerKind::kBpe ? SentencePieceFile::Model::kBpe
                                                      : SentencePieceFile::Model::kUnigram);
    EXPECT_TRUE(file.adds_space);
    EXPECT_FALSE(file.normalizes);
  }
}

TEST(SentencePieceFile, ReadsDamageOrRefusesIt) {
  const std::string whole = trained(TokenizerKind::kBpe);
  const test::Outcomes outcomes = test::read_damaged(
      whole, 3000, 4, [](const std::string& bytes) { read_sentence_piece_file("a.model", bytes); });
  EXPECT_GT(outcomes.read, 100);
  EXPECT_GT(outcomes.refused, 100);
}

}  // namespace
}  // namespace gradwire
