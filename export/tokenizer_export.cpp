#include "export/tokenizer_export.h"

#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/weight_files/gguf.h"
#include "data/tokenizers/sentence_piece_file.h"

namespace gradwire {
namespace {

using Json = nlohmann::ordered_json;
using Piece = SentencePieceFile::Piece;

[[noreturn]] void refuse(const Tokenizer& tokenizer, const std::string& why) {
  throw Error(ErrorKind::kData,
              fmt::format("{}: the vocabulary cannot be exported: {}", tokenizer.path(), why));
}

struct SourceFile {
  std::string bytes;
  SentencePieceFile content;
};

SourceFile source_of(const Tokenizer& tokenizer) {
  const std::filesystem::path path = tokenizer.path();
  const std::string extension = path.extension().string();
  if (extension == ".json" || extension == ".txt" || GgufFile::is_gguf(path.string())) {
    refuse(tokenizer, "it is no SentencePiece model, and no other kind is supported yet");
  }
  SourceFile out{read_text(path.string()), {}};
  out.content = read_sentence_piece_file(path.string(), out.bytes);
  if (std::ssize(out.content.pieces) != tokenizer.vocabulary()) {
    refuse(tokenizer, fmt::format("the file has {} pieces, not {}", out.content.pieces.size(),
                                  tokenizer.vocabulary()));
  }
  return out;
}

// The special tokens that there are, as they are written, by the names of Hugging Face.
Json special_texts(const Tokenizer& tokenizer, const std::vector<Piece>& pieces) {
  const SpecialTokens& special = tokenizer.special();
  Json texts = Json::object();
  const std::pair<const char*, std::int32_t> all[] = {{"bos_token", special.bos},
                                                      {"eos_token", special.eos},
                                                      {"unk_token", special.unk},
                                                      {"pad_token", special.pad}};
  for (const auto& [name, id] : all)
    if (id >= 0) texts[name] = pieces.at(static_cast<std::size_t>(id)).text;
  return texts;
}

std::string text_of(const Json& json) {
  return json.dump(2, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace) + "\n";
}

}  // namespace

SmallFiles hugging_face_tokenizer(const Tokenizer& tokenizer, std::int64_t context) {
  const SourceFile source = source_of(tokenizer);
  const Json special = special_texts(tokenizer, source.content.pieces);
  Json config = special;
  config["tokenizer_class"] = "LlamaTokenizer";
  config["add_bos_token"] = tokenizer.special().adds_bos;
  config["add_eos_token"] = false;
  config["add_prefix_space"] = source.content.adds_space;
  config["clean_up_tokenization_spaces"] = false;
  config["legacy"] = true;  // in version 4 of transformers: as the SentencePiece library does it
  config["model_max_length"] = context;
  config["sp_model_kwargs"] = Json::object();
  if (!tokenizer.chat_template().empty()) config["chat_template"] = tokenizer.chat_template();
  return {{"tokenizer.model", source.bytes},
          {"tokenizer_config.json", text_of(config)},
          {"special_tokens_map.json", text_of(special)}};
}

GgufMetadata gguf_tokenizer_keys(const Tokenizer& tokenizer) {
  const SentencePieceFile content = source_of(tokenizer).content;
  if (content.model != SentencePieceFile::Model::kBpe) {
    refuse(tokenizer, "GGUF holds SentencePiece models of BPE; this one is of another kind");
  }
  if (content.normalizes) {
    refuse(tokenizer, "it replaces characters of a text, which GGUF's kind \"llama\" cannot say");
  }
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<std::int32_t> types;
  for (const Piece& piece : content.pieces) {
    tokens.push_back(piece.text);
    scores.push_back(piece.score);
    types.push_back(static_cast<std::int32_t>(piece.type));
  }
  GgufMetadata out{{"tokenizer.ggml.model", "llama"},
                   {"tokenizer.ggml.pre", "default"},
                   {"tokenizer.ggml.tokens", tokens},
                   {"tokenizer.ggml.scores", scores},
                   {"tokenizer.ggml.token_type", types}};
  const SpecialTokens& special = tokenizer.special();
  const std::pair<const char*, std::int32_t> ids[] = {{"bos", special.bos},
                                                      {"eos", special.eos},
                                                      {"unknown", special.unk},
                                                      {"padding", special.pad}};
  for (const auto& [name, id] : ids) {
    if (id < 0) continue;
    out.emplace_back(fmt::format("tokenizer.ggml.{}_token_id", name),
                     static_cast<std::uint32_t>(id));
  }
  out.emplace_back("tokenizer.ggml.add_bos_token", special.adds_bos);
  out.emplace_back("tokenizer.ggml.add_eos_token", false);
  out.emplace_back("tokenizer.ggml.add_space_prefix", content.adds_space);
  out.emplace_back("tokenizer.ggml.remove_extra_whitespaces", content.removes_extra_space);
  if (!tokenizer.chat_template().empty()) {
    out.emplace_back("tokenizer.chat_template", tokenizer.chat_template());
  }
  return out;
}

}  // namespace gradwire
