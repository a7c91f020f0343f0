#include <gtest/gtest.h>

#include "launch/recipe_walk.h"
#include "tests/launch/recipe_files.h"

namespace gradwire {
namespace {

// Gives every key but the schema another value that is in range, through the list of keys itself.
class Change : public KeyWalk<Change> {
 public:
  void field(const std::string&, std::int64_t& v, const char*, const Limits& limits) {
    if (limits.low != limits.high) v += 1;
  }
  void field(const std::string&, double& v, const char*, const Limits&) { v = v / 2 + 0.125; }
  void field(const std::string&, bool& v, const char*, const Limits&) { v = !v; }
  void field(const std::string&, std::string& v, const char*, const Limits& limits) {
    v = limits.choices.empty() ? v + "x" : std::string(limits.choices.back());
  }
  void field(const std::string&, StringList& v, const char*, const Limits&) { v = {"p", "q"}; }
};

class RecipeWriter : public RecipeFiles {};

TEST_F(RecipeWriter, DefaultsReadBack) {
  Recipe r;
  r.data.text = {"a.txt"};
  EXPECT_EQ(load_recipe(write("r.toml", to_toml(r))), r);
}

TEST_F(RecipeWriter, AwkwardValuesReadBack) {
  Recipe r;
  r.data.text = {"a \"quoted\" name", "back\\slash", "tab\tnew\nline \x01", "Grüße 語", ""};
  r.run.dir = "C:\\runs\\'a'";
  r.optim.lr = 0.1 + 0.2;
  r.optim.eps = 1e-30;
  r.optim.clip_norm = 1e22;
  r.model.rope_theta = 500000.0;
  r.seed = 9007199254740993;  // not a double
  r.optim.no_decay = {};
  r.model.tie_embeddings = false;
  EXPECT_EQ(load_recipe(write("r.toml", to_toml(r))), r);
}

TEST_F(RecipeWriter, EveryKeyIsWrittenAndRead) {
  Recipe r;
  Change change;
  r.fields(change);
  EXPECT_NE(r.generate, GenerateRecipe{});
  EXPECT_EQ(load_recipe(write("r.toml", to_toml(r))), r);
}

TEST_F(RecipeWriter, EqualityLeavesOutWhereKeysWereSet) {
  Recipe a;
  Recipe b;
  b.origins.file = "elsewhere";
  EXPECT_EQ(a, b);
  b.seed = 2;
  EXPECT_NE(a, b);
}

// The keys are a promise to users: a change here is a change of the recipe format.
TEST_F(RecipeWriter, KeysAreThoseOfTheFrozenList) {
  std::string keys;
  for (const SectionInfo& section : describe(Recipe{})) {
    for (const KeyInfo& info : section.keys)
      keys += info.key + " = " + info.type + "\n";
  }
  EXPECT_EQ(keys, content(GW_TEST_DATA "/recipe_keys.txt"));
}

TEST_F(RecipeWriter, EveryKeyIsDocumentedAndFitsATable) {
  for (const SectionInfo& section : describe(Recipe{})) {
    for (const KeyInfo& info : section.keys) {
      EXPECT_FALSE(info.doc.empty()) << info.key;
      EXPECT_EQ((info.doc + info.limits + info.value).find('|'), std::string::npos) << info.key;
    }
  }
}

TEST_F(RecipeWriter, ReferencePageIsUpToDate) {
  EXPECT_TRUE(recipe_reference() == content(GW_SOURCE_DIR "/docs/recipes.md"))
      << "run `gradwire config docs > docs/recipes.md`";
}

}  // namespace
}  // namespace gradwire
