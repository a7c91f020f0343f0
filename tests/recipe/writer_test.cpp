#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/recipe_files.h"

#include "recipe/visitor.h"

namespace gradwire {
namespace {

// Gives every key but schema and task another value that is in range, through the list of keys
// itself.
class Change : public FieldVisitor {
 public:
  void field(const std::string& key, FieldRef value, const char*, const Limits& limits) override {
    if (key != "task") std::visit([&](auto* v) { change(*v, limits); }, value);
  }

 private:
  static void change(std::int64_t& v, const Limits& limits) {
    if (limits.low != limits.high) v += 1;
  }
  static void change(double& v, const Limits&) { v = v / 2 + 0.125; }
  static void change(bool& v, const Limits&) { v = !v; }
  static void change(std::string& v, const Limits& limits) {
    v = limits.choices.empty() ? v + "x" : std::string(limits.choices.back());
  }
  static void change(StringList& v, const Limits&) { v = {"p", "q"}; }
};

class RecipeWriter : public RecipeFiles {};

TEST_F(RecipeWriter, DefaultsReadBack) {
  Recipe r = lm_recipe();
  lm(r).data.text = {"a.txt"};
  EXPECT_EQ(load_recipe(write("r.toml", to_toml(r))), r);
}

TEST_F(RecipeWriter, AwkwardValuesReadBack) {
  Recipe r = lm_recipe();
  lm(r).data.text = {"a \"quoted\" name", "back\\slash", "tab\tnew\nline \x01", "Grüße 語", ""};
  r.run.dir = "C:\\runs\\'a'";
  r.optim.lr = 0.1 + 0.2;
  r.optim.eps = 1e-30;
  r.optim.clip_norm = 1e22;
  lm(r).model.rope_theta = 500000.0;
  r.seed = 9007199254740993;  // not a double
  r.optim.no_decay = {};
  lm(r).model.tie_embeddings = false;
  EXPECT_EQ(load_recipe(write("r.toml", to_toml(r))), r);
}

// A resolved recipe is shown on terminals.
TEST_F(RecipeWriter, WhatDrivesATerminalIsEscaped) {
  Recipe r = lm_recipe();
  lm(r).data.text = {"\x1b[2J", "\xc2\x9b", "\xe2\x80\xae", "\xe2\x81\xa6"};
  const std::string text = to_toml(r);
  EXPECT_THAT(text, testing::HasSubstr(R"(["\u001b[2J", "\u009b", "\u202e", "\u2066"])"));
  EXPECT_EQ(load_recipe(write("r.toml", text)), r);
}

TEST_F(RecipeWriter, EveryKeyIsWrittenAndRead) {
  Recipe r = lm_recipe();
  Change change;
  r.fields(change);
  EXPECT_NE(lm(r).generate, GenerateRecipe{});
  EXPECT_EQ(saved_recipe(to_toml(r)), r);
  lm(r).model.from = "";  // names a file that must be there
  EXPECT_EQ(load_recipe(write("r.toml", to_toml(r))), r);
}

TEST_F(RecipeWriter, EqualityLeavesOutWhereKeysWereSet) {
  Recipe a = lm_recipe();
  Recipe b = lm_recipe();
  b.origins.file = "elsewhere";
  EXPECT_EQ(a, b);
  b.seed = 2;
  EXPECT_NE(a, b);
}

// The keys are a promise to users: a change here is a change of the recipe format.
TEST_F(RecipeWriter, KeysAreThoseOfTheFrozenList) {
  std::string keys;
  for (const SectionInfo& section : describe(lm_recipe())) {
    for (const KeyInfo& info : section.keys)
      keys += info.key + " = " + info.type + "\n";
  }
  EXPECT_EQ(keys, content(GW_TEST_DATA "/keys.txt"));
}

TEST_F(RecipeWriter, EveryKeyIsDocumentedAndFitsATable) {
  for (const SectionInfo& section : describe(lm_recipe())) {
    for (const KeyInfo& info : section.keys) {
      EXPECT_FALSE(info.doc.empty()) << info.key;
      EXPECT_EQ((info.doc + info.limits + info.value).find('|'), std::string::npos) << info.key;
    }
  }
}

TEST_F(RecipeWriter, ReferencePageIsUpToDate) {
  EXPECT_TRUE(recipe_reference(all_jobs()) == content(GW_SOURCE_DIR "/docs/recipes.md"))
      << "run `gradwire config docs > docs/recipes.md`";
}

}  // namespace
}  // namespace gradwire
