#include "core/glob.h"

#include <random>
#include <regex>
#include <vector>

#include <gtest/gtest.h>

namespace gradwire {
namespace {

TEST(Glob, Table) {
  struct Case {
    const char* name;
    const char* pattern;
    bool match;
  };
  const std::vector<Case> cases = {
      {"", "", true},
      {"", "*", true},
      {"", "?", false},
      {"a", "", false},
      {"blocks.3.ln_1.weight", "*.ln_1.*", true},
      {"blocks.3.ln_1.weight", "*.ln_?.weight", true},
      {"blocks.3.ln_1.weight", "ln_1", false},
      {"blocks.3.attn.q.bias", "*.bias", true},
      {"blocks.3.attn.q.biased", "*.bias", false},
      {"wte.weight", "wte.weight", true},
      {"wtexweight", "wte.weight", false},  // a dot is a dot
      {"aab", "*ab", true},
      {"abab", "*ab", true},
      {"aaaa", "a*a*a*a*a", false},
      {"a*b", "a*b", true},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(matches(c.name, c.pattern), c.match) << c.name << " ~ " << c.pattern;
  }
}

// The same language by another engine, over every shape of short pattern.
TEST(Glob, AgreesWithRegularExpressions) {
  std::mt19937 rng(7);
  const auto word = [&](const std::string& letters, std::size_t longest) {
    std::string s(rng() % (longest + 1), 'a');
    for (char& c : s)
      c = letters[rng() % letters.size()];
    return s;
  };
  int matched = 0;
  for (int i = 0; i < 5000; ++i) {
    const std::string name = word("ab.", 8);
    const std::string pattern = word("ab.*?", 6);
    std::string expression;
    for (const char c : pattern) {
      expression += c == '*' ? ".*" : c == '?' ? "." : c == '.' ? "\\." : std::string(1, c);
    }
    const bool expected = std::regex_match(name, std::regex(expression));
    matched += expected ? 1 : 0;
    ASSERT_EQ(matches(name, pattern), expected) << name << " ~ " << pattern;
  }
  EXPECT_GT(matched, 100);
}

TEST(Glob, AnyOfAList) {
  const std::vector<std::string> patterns = {"*.bias", "*norm*"};
  EXPECT_TRUE(matches_any("h.0.bias", patterns));
  EXPECT_TRUE(matches_any("h.0.norm_2.weight", patterns));
  EXPECT_FALSE(matches_any("h.0.weight", patterns));
  EXPECT_FALSE(matches_any("h.0.weight", {}));
}

}  // namespace
}  // namespace gradwire
