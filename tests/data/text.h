// Small texts and token files for tests.
#pragma once

#include <numeric>
#include <string>
#include <vector>

#include "core/rng.h"
#include "data/token_file.h"
#include "data/tokenizer.h"
#include "tests/data/temp_folder.h"

namespace gradwire::testing_data {

// Documents of a few short sentences over a few hundred made-up words, always the same.
inline std::string made_up_text(int documents) {
  const std::string syllables[] = {"ba", "ko", "ri", "mu", "ten", "sal", "ge", "dor"};
  auto draw = [i = std::uint64_t{0}](std::uint32_t below) mutable {
    return random_word(7, i++) % below;
  };
  std::string text;
  for (int d = 0; d < documents; ++d) {
    if (d > 0) text += "\n\n";
    for (int line = 0; line < 3; ++line) {
      for (int word = 0; word < 8; ++word) {
        if (word > 0) text += ' ';
        for (std::uint32_t n = 1 + draw(3); n > 0; --n)
          text += syllables[draw(8)];
      }
      text += line < 2 ? ".\n" : ".";
    }
  }
  return text + "\n";
}

// A file whose token i is i % vocabulary, in documents of the given lengths.
inline std::string counting_file(const TempFolder& folder, const std::string& name,
                                 const std::vector<std::int64_t>& lengths,
                                 std::int64_t vocabulary) {
  const std::string path = folder.file(name);
  TokenFileWriter out(path, {vocabulary, 0xABCDu});
  std::int64_t next = 0;
  for (const std::int64_t length : lengths) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(length));
    for (std::int32_t& id : ids)
      id = static_cast<std::int32_t>(next++ % vocabulary);
    out.add_document(ids);
  }
  out.finish();
  return path;
}

class Documents : public DocumentSource {
 public:
  explicit Documents(std::vector<std::string> all) : all_(std::move(all)) {}
  bool next(std::string& document) override {
    if (at_ == all_.size()) return false;
    document = all_[at_++];
    return true;
  }
  std::int64_t bytes() const override {
    std::size_t sum = 0;
    for (const std::string& text : all_)
      sum += text.size();
    return static_cast<std::int64_t>(sum);
  }
  std::size_t taken() const { return at_; }

 private:
  std::vector<std::string> all_;
  std::size_t at_ = 0;
};

}  // namespace gradwire::testing_data
