// Token ids of texts, for comparison with other programs: for each line on standard input, which is
// a text in hexadecimal, a line of its ids, then "|" and the text that they decode to in
// hexadecimal. Usage: token_ids TOKENIZER [special]. With "special", special tokens in a text are
// such tokens.
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "core/error.h"
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

void print(const Tokenizer& tokenizer, const std::string& text, SpecialText special) {
  const std::vector<std::int32_t> ids = tokenizer.encode(text, special);
  const std::string back = tokenizer.decode(ids);
  std::string line = fmt::format("{}|", fmt::join(ids, " "));
  for (const char byte : back)
    line += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  std::cout << line << '\n';
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count < 2) throw Error(ErrorKind::kUsage, "token_ids TOKENIZER [special]");
    const std::unique_ptr<const Tokenizer> tokenizer = Tokenizer::load(arguments[1]);
    const bool special = count > 2 && std::string_view(arguments[2]) == "special";
    for (std::string line; std::getline(std::cin, line);)
      print(*tokenizer, text_of(line), special ? SpecialText::kToken : SpecialText::kText);
    return 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
