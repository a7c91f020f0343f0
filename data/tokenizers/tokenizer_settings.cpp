#include "data/tokenizers/tokenizer_settings.h"

#include <filesystem>
#include <span>

#include "core/file.h"
#include "data/tokenizers/json_part.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 16;

std::string read_beside(const std::string& file, const char* name, Hasher& hasher) {
  const fs::path path = fs::path(file).parent_path() / name;
  if (!fs::exists(path)) return {};
  const std::string text = read_text(path.string());
  hasher.add(std::as_bytes(std::span(text)));
  return text;
}

// Keeps what is there: the text itself, or the "content" of a token that is described.
void take(const JsonPart& part, const char* key, std::string& written) {
  if (!part.has(key) || !written.empty()) return;
  written = part.value()[key].is_object() ? part.object(key).text("content") : part.text(key);
}

void take(const JsonPart& part, const char* key, std::optional<bool>& flag) {
  if (part.has(key)) flag = part.flag(key, false);
}

void take_names(const JsonPart& part, TokenizerSettings& settings) {
  take(part, "bos_token", settings.bos);
  take(part, "cls_token", settings.bos);
  take(part, "eos_token", settings.eos);
  take(part, "sep_token", settings.eos);
  take(part, "unk_token", settings.unk);
  take(part, "pad_token", settings.pad);
}

// One template, or several with names, of which "default" is the one of conversations.
std::string template_of(const JsonPart& part) {
  constexpr const char* kKey = "chat_template";
  if (!part.has(kKey) || part.value()[kKey].is_string()) return part.text(kKey, "");
  for (const JsonPart& named : part.items(kKey))
    if (named.text("name") == "default") return named.text("template");
  return {};
}

}  // namespace

TokenizerSettings read_tokenizer_settings(const std::string& tokenizer_json, Hasher& hasher) {
  TokenizerSettings settings;
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const std::string text = read_beside(tokenizer_json, name, hasher);
    if (text.empty()) continue;
    const std::string path = (fs::path(tokenizer_json).parent_path() / name).string();
    const nlohmann::json value = read_json_object(path, text, kDeepest);
    const JsonPart part(path, "", value);
    take_names(part, settings);
    take(part, "add_bos_token", settings.adds_bos);
    take(part, "do_lower_case", settings.lower_cases);
    take(part, "strip_accents", settings.strips_accents);
    take(part, "tokenize_chinese_chars", settings.cuts_ideographs);
    if (settings.chat_template.empty()) settings.chat_template = template_of(part);
  }
  const std::string jinja = read_beside(tokenizer_json, "chat_template.jinja", hasher);
  if (!jinja.empty()) settings.chat_template = jinja;
  return settings;
}

SpecialTokens special_tokens(const TokenizerSettings& settings,
                             const std::function<std::int32_t(const std::string&)>& id_of) {
  const auto id = [&](const std::string& written) { return written.empty() ? -1 : id_of(written); };
  return {id(settings.bos), id(settings.eos), id(settings.unk), id(settings.pad)};
}

}  // namespace gradwire
