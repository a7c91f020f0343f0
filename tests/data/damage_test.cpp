// Token files and tokenizers with drawn damage, and with the seal of their whole that a malicious
// writer would make anew.
#include "tests/support/damage.h"

#include <gtest/gtest.h>

#include "data/token_file.h"
#include "data/tokenizer.h"
#include "data/unigram.h"
#include "tests/data/temp_folder.h"
#include "tests/data/text.h"

namespace gradwire {
namespace {

using testing_data::counting_file;
using testing_data::slurp;
using testing_data::TempFolder;

TEST(Damage, TokenFiles) {
  const TempFolder folder;
  const std::string whole = slurp(counting_file(folder, "whole.h5", {3, 0, 500, 5}, 600));
  const test::Outcomes outcomes = test::read_damaged(whole, 3000, 1, [&](const std::string& bytes) {
    const TokenFile file = TokenFile::open(folder.write("damaged.h5", bytes));
    file.verify();
    unigram_perplexity(file, file);
  });
  EXPECT_GT(outcomes.read, 0);  // what HDF5 leaves unused
  EXPECT_GT(outcomes.refused, 1000);
}

TEST(Damage, Tokenizers) {
  const TempFolder folder;
  testing_data::Documents documents({testing_data::made_up_text(100)});
  const std::string whole = train_tokenizer({.vocabulary = 400}, documents);
  const test::Outcomes outcomes = test::read_damaged(whole, 1000, 2, [&](const std::string& bytes) {
    const std::unique_ptr<const Tokenizer> tokenizer =
        Tokenizer::load(folder.write("damaged.model", bytes));
    tokenizer->decode(tokenizer->encode("bako ritendor."));
  });
  EXPECT_GT(outcomes.read, 0);
  EXPECT_GT(outcomes.refused, 0);
}

}  // namespace
}  // namespace gradwire
