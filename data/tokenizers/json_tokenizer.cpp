#include "data/tokenizers/json_tokenizer.h"

#include <span>

#include "core/file.h"
#include "core/hash.h"
#include "data/tokenizers/json_byte_bpe.h"
#include "data/tokenizers/json_part.h"
#include "data/tokenizers/json_word_piece.h"

namespace gradwire {
namespace {

constexpr int kDeepest = 16;

}  // namespace

std::unique_ptr<const Tokenizer> json_tokenizer(const std::string& path) {
  const std::string text = read_text(path);
  const nlohmann::json all = read_json_object(path, text, kDeepest);
  const JsonPart file(path, "", all);
  if (const std::string version = file.text("version", "1.0"); version != "1.0") {
    file.refuse(
        fmt::format("format version '{}' is not supported; '1.0' is", printable_word(version, 32)));
  }
  const JsonPart model = file.object("model");
  Hasher hasher;
  hasher.add(std::as_bytes(std::span(text)));
  const TokenizerSettings settings = read_tokenizer_settings(path, hasher);
  const std::string type = model.text("type", "BPE");
  if (type == "BPE") return json_byte_bpe(file, path, settings, hasher.digest());
  if (type == "WordPiece") return json_word_piece(file, path, settings, hasher.digest());
  model.refuse_type(type, "BPE and WordPiece are");
}

}  // namespace gradwire
