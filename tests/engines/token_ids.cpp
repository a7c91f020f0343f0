// Token ids of texts, for comparison with other programs: for each line on standard input, which is
// a text in hexadecimal, a line of its ids, then "|" and the text that they decode to in
// hexadecimal.
// Usage: token_ids TOKENIZER [special|chat]. With "special", special tokens in a text are such
// tokens. With "chat", a text is a conversation that asks for an answer:
// [{"role": ..., "content": ...}, ...].
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/chat.h"
#include "data/tokenizer.h"

using namespace gradwire;

namespace {

std::string text_of(const std::string& hex) {
  constexpr int kBase = 16;
  std::string text;
  for (std::size_t at = 0; at + 1 < hex.size(); at += 2)
    text.push_back(static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, kBase)));
  return text;
}

std::vector<std::int32_t> chat_ids(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<ChatMessage> messages;
  for (const nlohmann::json& message : nlohmann::json::parse(text))
    messages.push_back({message.at("role"), message.at("content")});
  return ChatFormat::of(tokenizer).tokens(messages, /*asks=*/true).ids;
}

std::vector<std::int32_t> ids_of(const Tokenizer& tokenizer, const std::string& text,
                                 std::string_view mode) {
  if (mode == "chat") return chat_ids(tokenizer, text);
  return tokenizer.encode(text, mode == "special" ? SpecialText::kToken : SpecialText::kText);
}

void print(const Tokenizer& tokenizer, const std::string& text, std::string_view mode) {
  const std::vector<std::int32_t> ids = ids_of(tokenizer, text, mode);
  const std::string back = tokenizer.decode(ids);
  std::string line = fmt::format("{}|", fmt::join(ids, " "));
  for (const char byte : back)
    line += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  std::cout << line << '\n';
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count < 2) throw Error(ErrorKind::kUsage, "token_ids TOKENIZER [special|chat]");
    const std::unique_ptr<const Tokenizer> tokenizer = Tokenizer::load(arguments[1]);
    const std::string_view mode = count > 2 ? arguments[2] : "";
    for (std::string line; std::getline(std::cin, line);)
      print(*tokenizer, text_of(line), mode);
    return 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
