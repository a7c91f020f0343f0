#include "data/tokenizers/json_common.h"

#include <algorithm>

#include "data/tokenizer.h"

namespace gradwire {
namespace {

void put(const JsonPart& part, std::vector<std::string>& tokens, std::vector<bool>& taken,
         std::int64_t id, const std::string& written) {
  if (written.size() > kMostPieceBytes) {
    part.refuse(
        fmt::format("token {} has {} bytes; at most {}", id, written.size(), kMostPieceBytes));
  }
  const auto at = static_cast<std::size_t>(id);
  if (at >= tokens.size()) {
    part.refuse(fmt::format("the token '{}' has the id {}, but there are only {} tokens",
                            printable_word(written, 64), id, tokens.size()));
  }
  if (taken[at] && tokens[at] != written) {
    part.refuse(fmt::format("the tokens '{}' and '{}' have the same id {}",
                            printable_word(tokens[at], 64), printable_word(written, 64), id));
  }
  taken[at] = true;
  tokens[at] = written;
}

AddedToken added_token(const JsonPart& part) {
  if (part.flag("single_word", false)) part.refuse("'single_word' is not supported");
  return {.id = static_cast<std::int32_t>(part.integer("id", 0, kMostPieces - 1)),
          .special = part.flag("special", false),
          .takes_before = part.flag("lstrip", false),
          .takes_after = part.flag("rstrip", false)};
}

}  // namespace

std::int32_t JsonVocabulary::find(const std::string& written) const {
  const auto found = std::find(tokens.begin(), tokens.end(), written);
  return found == tokens.end() ? -1 : static_cast<std::int32_t>(found - tokens.begin());
}

JsonVocabulary read_vocabulary(const JsonPart& file) {
  const JsonPart vocab = file.object("model").object("vocab");
  const std::vector<JsonPart> added = file.items("added_tokens");
  std::size_t size = vocab.value().size();
  for (const JsonPart& part : added)
    size += vocab.value().contains(part.text("content")) ? 0 : 1;
  if (size > static_cast<std::size_t>(kMostPieces)) {
    vocab.refuse(fmt::format("{} tokens; at most {}", size, kMostPieces));
  }
  JsonVocabulary out;
  out.tokens.resize(size);
  std::vector<bool> taken(size);
  for (const auto& [written, id] : vocab.value().items())
    put(vocab, out.tokens, taken, vocab.integer(written.c_str(), 0, kMostPieces - 1), written);
  for (const JsonPart& part : added) {
    const std::string written = part.text("content");
    if (written.empty()) part.refuse("'content' is empty");
    out.added.push_back(added_token(part));
    const auto found = vocab.value().find(written);
    if (found != vocab.value().end() && *found != out.added.back().id) {
      part.refuse(fmt::format("'{}' has the id {}, in the vocabulary {}",
                              printable_word(written, 64), out.added.back().id, found->dump()));
    }
    put(part, out.tokens, taken, out.added.back().id, written);
  }
  const auto hole = std::find(taken.begin(), taken.end(), false);
  if (hole != taken.end()) {
    vocab.refuse(fmt::format("of {} tokens none has the id {}", size, hole - taken.begin()));
  }
  return out;
}

SpecialTokens read_special(const JsonPart& file, const JsonVocabulary& vocabulary,
                           const TokenizerSettings& settings) {
  SpecialTokens special = special_tokens(settings, [&](const std::string& written) {
    const std::int32_t id = vocabulary.find(written);
    if (id < 0) {
      file.refuse(fmt::format("the special token '{}' is not in the vocabulary",
                              printable_word(written, 64)));
    }
    return id;
  });
  special.adds_bos = settings.adds_bos.value_or(false) && special.bos >= 0;
  return special;
}

bool begins_with(const JsonPart& file, const JsonVocabulary& vocabulary, std::int32_t id) {
  if (id < 0) return false;
  const std::string& written = vocabulary.tokens[static_cast<std::size_t>(id)];
  for (const JsonPart& part : sequence_of(file, "post_processor", "processors")) {
    const std::string type = part.type();
    if (type == "BertProcessing" || type == "RobertaProcessing") {
      for (const JsonPart& mark : part.items("cls"))
        if (mark.value() == written) return true;
    }
    if (type != "TemplateProcessing") continue;
    const std::vector<JsonPart> single = part.items("single");
    if (single.empty() || !single.front().has("SpecialToken")) continue;
    if (single.front().object("SpecialToken").text("id") == written) return true;
  }
  return false;
}

std::vector<JsonPart> sequence_of(const JsonPart& file, const char* key, const char* list) {
  if (!file.has(key)) return {};
  const JsonPart part = file.object(key);
  if (part.type() != "Sequence") return {part};
  return part.items(list);
}

}  // namespace gradwire
