#include "data/tokenizers/json_word_piece.h"

#include <span>
#include <sstream>

#include "core/file.h"
#include "data/tokenizers/json_common.h"
#include "data/tokenizers/word_piece.h"

namespace gradwire {
namespace {

void read_normalizer(const JsonPart& file, WordPieceFile& out) {
  const JsonPart part = file.object("normalizer");
  const std::string type = part.type();
  if (type != "BertNormalizer") part.refuse_type(type, "BertNormalizer is, for WordPiece");
  out.cleans = part.flag("clean_text", true);
  out.cuts_ideographs = part.flag("handle_chinese_chars", true);
  out.lower_cases = part.flag("lowercase", true);
  out.strips_accents = part.flag("strip_accents", out.lower_cases);
}

void check_type(const JsonPart& file, const char* key, const std::string& wanted) {
  const JsonPart part = file.object(key);
  const std::string type = part.type();
  if (type != wanted) part.refuse_type(type, wanted + " is, for WordPiece");
}

void check_added(const JsonPart& file) {
  for (const JsonPart& part : file.items("added_tokens"))
    if (part.flag("normalized", false)) part.refuse("'normalized' is not supported for WordPiece");
}

// The marks of BERT, for a vocab.txt with nothing beside it that names them.
void add_usual_names(TokenizerSettings& settings) {
  const auto set = [](std::string& name, const char* usual) {
    if (name.empty()) name = usual;
  };
  set(settings.bos, "[CLS]");
  set(settings.eos, "[SEP]");
  set(settings.unk, "[UNK]");
  set(settings.pad, "[PAD]");
}

JsonVocabulary read_lines(const std::string& path, const std::string& text) {
  JsonVocabulary out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.ends_with('\r')) line.pop_back();
    const std::size_t number = out.tokens.size() + 1;
    if (line.size() > kMostPieceBytes || number > static_cast<std::size_t>(kMostPieces)) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}:{}: more than {} bytes in a token, or {} tokens", path, number,
                              kMostPieceBytes, kMostPieces));
    }
    out.tokens.push_back(line);
  }
  return out;
}

}  // namespace

std::unique_ptr<const Tokenizer> json_word_piece(const JsonPart& file, const std::string& path,
                                                 const TokenizerSettings& settings,
                                                 std::uint64_t hash) {
  JsonVocabulary vocabulary = read_vocabulary(file);
  check_added(file);
  WordPieceFile out;
  out.path = path;
  read_normalizer(file, out);
  check_type(file, "pre_tokenizer", "BertPreTokenizer");
  if (file.has("decoder")) check_type(file, "decoder", "WordPiece");
  const JsonPart model = file.object("model");
  out.prefix = model.text("continuing_subword_prefix", out.prefix);
  if (model.has("max_input_chars_per_word")) {
    out.longest_word = model.integer("max_input_chars_per_word", 1, kMostPieces);
  }
  out.unknown = vocabulary.find(model.text("unk_token"));
  out.special = read_special(file, vocabulary, settings);
  out.special.adds_bos = begins_with(file, vocabulary, out.special.bos);
  out.tokens = std::move(vocabulary.tokens);
  out.added = std::move(vocabulary.added);
  out.chat_template = settings.chat_template;
  out.hash = hash;
  return word_piece_tokenizer(std::move(out));
}

std::unique_ptr<const Tokenizer> text_word_piece(const std::string& path) {
  const std::string text = read_text(path);
  Hasher hasher;
  hasher.add(std::as_bytes(std::span(text)));
  TokenizerSettings settings = read_tokenizer_settings(path, hasher);
  add_usual_names(settings);
  JsonVocabulary vocabulary = read_lines(path, text);
  WordPieceFile out;
  out.path = path;
  out.lower_cases = settings.lower_cases.value_or(true);
  out.strips_accents = settings.strips_accents.value_or(out.lower_cases);
  out.cuts_ideographs = settings.cuts_ideographs.value_or(true);
  out.special = special_tokens(
      settings, [&](const std::string& written) { return vocabulary.find(written); });
  out.special.adds_bos = out.special.bos >= 0;
  out.unknown = out.special.unk;
  for (const std::int32_t id : {out.special.bos, out.special.eos, out.special.unk, out.special.pad,
                                vocabulary.find("[MASK]")})
    if (id >= 0) vocabulary.added.push_back({.id = id, .special = true});
  out.tokens = std::move(vocabulary.tokens);
  out.added = std::move(vocabulary.added);
  out.chat_template = settings.chat_template;
  out.hash = hasher.digest();
  return word_piece_tokenizer(std::move(out));
}

}  // namespace gradwire
