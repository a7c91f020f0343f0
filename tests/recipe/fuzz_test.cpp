// Whatever stands in a recipe, reading it gives a recipe or a RecipeError.
#include <random>

#include <gtest/gtest.h>

#include "tests/support/damage.h"
#include "tests/support/recipe_files.h"

#include "jobs/job_list.h"

namespace gradwire {
namespace {

class RecipeFuzz : public RecipeFiles {
 protected:
  // Whether it was read.
  bool read(const std::string& text, const std::vector<std::string>& set = {}) const {
    try {
      load_recipe(write("r.toml", text), set);
      return true;
    } catch (const RecipeError& e) {
      EXPECT_FALSE(e.problems().empty());
      return false;
    }
  }
};

std::string mutated(std::string text, std::mt19937_64& rng) {
  static const std::string kPieces[] = {"[",     "]",    "=",   "\"", "'",
                                        "\n",    "{",    "}",   ".",  "1e999",
                                        "\\u12", "\xff", "nan", "[[", std::string(1, '\0'),
                                        "#"};
  for (std::uint64_t edits = 1 + rng() % 4; edits > 0; --edits) {
    const std::size_t at = rng() % (text.size() + 1);
    if (rng() % 2 == 0) {
      text.insert(at, kPieces[rng() % std::size(kPieces)]);
    } else {
      text.erase(at, rng() % 8);
    }
  }
  return text;
}

TEST_F(RecipeFuzz, DamagedRecipes) {
  const std::string whole = content(GW_SOURCE_DIR "/examples/lm_kjv.toml");
  std::mt19937_64 rng(1);
  int read_count = 0;
  constexpr int kTries = 2000;
  for (int i = 0; i < kTries; ++i)
    read_count += read(mutated(whole, rng)) ? 1 : 0;
  EXPECT_GT(read_count, 0);  // damage inside a comment
  EXPECT_LT(read_count, kTries);
}

TEST_F(RecipeFuzz, DamagedOverrides) {
  const std::string whole = content(GW_SOURCE_DIR "/examples/lm_kjv.toml");
  std::mt19937_64 rng(2);
  for (int i = 0; i < 500; ++i)
    read(whole, {mutated("optim.no_decay=['a', \"b\"]", rng), mutated("optim.lr=1e-3", rng)});
}

// Both ends of a chain, and what joins them.
TEST_F(RecipeFuzz, DamagedChains) {
  const std::string base = content(GW_SOURCE_DIR "/examples/lm_kjv.toml");
  const std::string top = "extends = \"base.toml\"\n[run]\ndir = \"runs/{{job}\"\n";
  write("base.toml", base);
  EXPECT_TRUE(read(top));
  std::mt19937_64 rng(3);
  int read_count = 0;
  constexpr int kTries = 1000;
  for (int i = 0; i < kTries; ++i) {
    write("base.toml", i % 2 == 0 ? base : mutated(base, rng));
    read_count += read(i % 2 == 0 ? mutated(top, rng) : top) ? 1 : 0;
  }
  EXPECT_GT(read_count, 0);
  EXPECT_LT(read_count, kTries);
}

TEST_F(RecipeFuzz, DamagedBytes) {
  const std::string whole = content(GW_SOURCE_DIR "/examples/lm_kjv.toml");
  const test::Outcomes outcomes = test::read_damaged(
      whole, 2000, 4, [&](const std::string& bytes) { load_recipe(write("r.toml", bytes)); });
  EXPECT_GT(outcomes.read, 0);
  EXPECT_GT(outcomes.refused, 0);
}

TEST_F(RecipeFuzz, LongFiles) {
  const std::string padding(1 << 20, '#');
  EXPECT_EQ(problems(padding + "#\n[data]\ntext = ['a.txt']\n"), "r: longer than 1048576 bytes");
  EXPECT_FALSE(read("extends = '/dev/zero'\n"));
}

TEST_F(RecipeFuzz, DeepNesting) {
  EXPECT_FALSE(read("seed = " + std::string(100000, '[')));
  std::string deep = "a";
  for (int i = 0; i < 500000; ++i)
    deep += ".a";
  EXPECT_EQ(problems(deep + " = 1"), "r: more than 10000 dots");
  EXPECT_EQ(saved_recipe(deep + " = 1", all_jobs()), std::nullopt);
  std::string dotted = "a";
  for (int i = 0; i < 20000; ++i)
    dotted += ".a";
  EXPECT_FALSE(read(dotted + " = 1"));
}

}  // namespace
}  // namespace gradwire
