#include "data/tokenizers/json_byte_bpe.h"

#include "data/tokenizers/byte_bpe.h"
#include "data/tokenizers/json_common.h"

namespace gradwire {
namespace {

std::pair<std::string, std::string> merge_of(const JsonPart& part) {
  const nlohmann::json& value = part.value();
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos)
      return {text.substr(0, space), text.substr(space + 1)};
  } else if (value.is_array() && value.size() == 2 && value[0].is_string() &&
             value[1].is_string()) {
    return {value[0].get<std::string>(), value[1].get<std::string>()};
  }
  part.refuse("a merge is no pair of tokens");
}

void read_model(const JsonPart& model, ByteBpeFile& out, const JsonVocabulary& vocabulary) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!model.text(key, "").empty()) model.refuse(fmt::format("'{}' is not supported", key));
  for (const char* key : {"byte_fallback", "fuse_unk"})
    if (model.flag(key, false)) {
      model.refuse(fmt::format("'{}' is not supported with the byte-level pre-tokenizer", key));
    }
  if (model.has("dropout") && model.value()["dropout"] != 0.0) {
    model.refuse("'dropout' of merges is not supported");
  }
  out.whole_words = model.flag("ignore_merges", false);
  if (model.has("unk_token")) {
    const std::string unk = model.text("unk_token");
    out.unknown = vocabulary.find(unk);
    if (out.unknown < 0) {
      model.refuse(fmt::format("the unk_token '{}' is no token", printable_word(unk, 64)));
    }
  }
  for (const JsonPart& merge : model.items("merges"))
    out.merges.push_back(merge_of(merge));
}

void read_normalizer(const JsonPart& file, ByteBpeFile& out) {
  for (const JsonPart& part : sequence_of(file, "normalizer", "normalizers")) {
    const std::string type = part.type();
    if (type != "NFC") part.refuse_type(type, "NFC and none are, for byte-level BPE");
    out.composes = true;
  }
}

WordRule split_rule(const JsonPart& part) {
  const std::string behavior = part.text("behavior");
  if (behavior != "Isolated" || part.flag("invert", false)) {
    part.refuse(fmt::format("the behavior '{}'{} is not supported; 'Isolated' is",
                            printable_word(behavior, 32),
                            part.flag("invert", false) ? ", inverted," : ""));
  }
  const std::string regex = part.object("pattern").text("Regex");
  const auto rule = rule_of_regex(regex);
  if (!rule) {
    part.refuse(
        fmt::format("the pattern '{}' is not supported; those of GPT-2, Llama 3 and Qwen2 are",
                    printable_word(regex, 256)));
  }
  return *rule;
}

void read_pre_tokenizer(const JsonPart& file, ByteBpeFile& out) {
  bool to_bytes = false;
  for (const JsonPart& part : sequence_of(file, "pre_tokenizer", "pretokenizers")) {
    const std::string type = part.type();
    if (to_bytes)
      part.refuse(fmt::format("'{}' after ByteLevel is not supported", printable_word(type, 64)));
    if (type == "Digits") {
      const bool each = part.flag("individual_digits", false);
      out.rules.push_back(each ? WordRule::kDigits : WordRule::kNumbers);
    } else if (type == "Split") {
      out.rules.push_back(split_rule(part));
    } else if (type == "ByteLevel") {
      to_bytes = true;
      out.adds_space = part.flag("add_prefix_space", true);
      if (out.adds_space && !out.rules.empty()) {
        part.refuse("'add_prefix_space' after another pre-tokenizer is not supported");
      }
      if (part.flag("use_regex", true)) out.rules.push_back(WordRule::kGpt2);
    } else {
      part.refuse_type(type, "ByteLevel, Digits and Split are, for byte-level BPE");
    }
  }
  if (!to_bytes)
    file.refuse("pre_tokenizer: none of them is ByteLevel, and only byte-level BPE is supported");
}

void check_decoder(const JsonPart& file) {
  for (const JsonPart& part : sequence_of(file, "decoder", "decoders")) {
    const std::string type = part.type();
    if (type != "ByteLevel") part.refuse_type(type, "ByteLevel is, for byte-level BPE");
  }
}

}  // namespace

std::unique_ptr<const Tokenizer> json_byte_bpe(const JsonPart& file, const std::string& path,
                                               const TokenizerSettings& settings,
                                               std::uint64_t hash) {
  JsonVocabulary vocabulary = read_vocabulary(file);
  ByteBpeFile out;
  out.path = path;
  read_normalizer(file, out);
  read_pre_tokenizer(file, out);
  check_decoder(file);
  read_model(file.object("model"), out, vocabulary);
  out.special = read_special(file, vocabulary, settings);
  out.special.adds_bos = out.special.adds_bos || begins_with(file, vocabulary, out.special.bos);
  out.tokens = std::move(vocabulary.tokens);
  out.added = std::move(vocabulary.added);
  out.chat_template = settings.chat_template;
  out.hash = hash;
  return byte_bpe_tokenizer(std::move(out));
}

}  // namespace gradwire
