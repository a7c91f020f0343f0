// Cutting text into the words within which byte-level BPE merges. The rules are regular expressions
// of the models' own files, written out here as code: they take time linear in the text whatever it
// holds. Each rule cuts every piece that the rule before it has left; what a rule does not match
// stays a piece of its own.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace gradwire {

enum class WordRule {
  // '(s|t|re|ve|m|ll|d), else words, numbers or other signs with at most one space before, else
  // space
  // (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, its encoder.py).
  kGpt2,
  // Contractions in any case, words with one sign before, up to three digits, signs with line ends,
  // line ends, space (tokenizer of Llama 3).
  kLlama3,
  kQwen2,        // the same with every digit alone
  kDigits,       // every number character alone
  kNumbers,      // runs of number characters
  kThreeDigits,  // runs of three of 0 to 9
  kSigns,        // runs of punctuation and of $ + < = > ^ ~ |
};

// The rule that a regular expression of tokenizer.json says; none for one that is not known.
std::optional<WordRule> rule_of_regex(std::string_view regex);
// The rules of `tokenizer.ggml.pre` of a GGUF file; none for a name that is not known.
std::optional<std::vector<WordRule>> rules_of_gguf_name(std::string_view name);

// The pieces, in order: together they are the text, and none is empty.
std::vector<std::string_view> split_words(std::string_view text,
                                          const std::vector<WordRule>& rules);

}  // namespace gradwire
