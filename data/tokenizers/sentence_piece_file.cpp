#include "data/tokenizers/sentence_piece_file.h"

#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {
namespace {

// A field of a protocol buffer's message: `number` of a varint, 4 or 8 fixed bytes, or `bytes`.
struct Field {
  std::uint64_t id = 0;
  std::uint64_t number = 0;
  std::string_view bytes{};
};

class Message {
 public:
  Message(const std::string& path, std::string_view bytes) : path_(path), rest_(bytes) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const std::uint64_t tag = varint();
    field = {.id = tag >> 3U};
    switch (tag & 7U) {
      case 0: field.number = varint(); return true;
      case 1: field.number = fixed(8); return true;
      case 2: field.bytes = take(varint()); return true;
      case 5: field.number = fixed(4); return true;
      default: damaged();
    }
  }

 private:
  [[noreturn]] void damaged() const {
    throw Error(ErrorKind::kData, fmt::format("{}: a damaged SentencePiece model", path_));
  }
  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) damaged();
    const std::string_view out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }
  std::uint64_t fixed(std::size_t size) {
    std::uint64_t value = 0;
    std::memcpy(&value, take(size).data(), size);
    return value;
  }
  std::uint64_t varint() {
    constexpr unsigned kBits = 7, kMostBits = 63;
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift <= kMostBits; shift += kBits) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if ((byte & 0x80U) == 0) return value;
    }
    damaged();
  }

  const std::string& path_;
  std::string_view rest_;
};

SentencePieceFile::Piece piece_of(const std::string& path, std::string_view bytes) {
  enum : std::uint64_t { kText = 1, kScore, kType };
  SentencePieceFile::Piece piece;
  Message message(path, bytes);
  for (Field f; message.next(f);) {
    if (f.id == kText) piece.text = f.bytes;
    if (f.id == kScore) {
      const auto bits = static_cast<std::uint32_t>(f.number);
      std::memcpy(&piece.score, &bits, sizeof bits);
    }
    if (f.id != kType) continue;
    if (f.number < 1 || f.number > 6) {
      throw Error(ErrorKind::kData, fmt::format("{}: a piece of type {}", path, f.number));
    }
    piece.type = static_cast<SentencePieceFile::PieceType>(f.number);
  }
  return piece;
}

void read_training(SentencePieceFile& out, const std::string& path, std::string_view bytes) {
  constexpr std::uint64_t kModelType = 3;
  Message message(path, bytes);
  for (Field f; message.next(f);) {
    if (f.id != kModelType) continue;
    if (f.number < 1 || f.number > 4) {
      throw Error(ErrorKind::kData, fmt::format("{}: a model of type {}", path, f.number));
    }
    out.model = static_cast<SentencePieceFile::Model>(f.number);
  }
}

void read_normalizing(SentencePieceFile& out, const std::string& path, std::string_view bytes) {
  enum : std::uint64_t { kCharacters = 2, kAddsSpace, kRemovesSpace };
  Message message(path, bytes);
  for (Field f; message.next(f);) {
    if (f.id == kCharacters) out.normalizes = !f.bytes.empty();
    if (f.id == kAddsSpace) out.adds_space = f.number != 0;
    if (f.id == kRemovesSpace) out.removes_extra_space = f.number != 0;
  }
}

}  // namespace

SentencePieceFile read_sentence_piece_file(const std::string& path, const std::string& bytes) {
  enum : std::uint64_t { kPiece = 1, kTraining, kNormalizing };
  SentencePieceFile out;
  Message message(path, bytes);
  for (Field f; message.next(f);) {
    if (f.id == kPiece) out.pieces.push_back(piece_of(path, f.bytes));
    if (f.id == kTraining) read_training(out, path, f.bytes);
    if (f.id == kNormalizing) read_normalizing(out, path, f.bytes);
  }
  return out;
}

}  // namespace gradwire
