// Recipes that extend others.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/recipe_files.h"

namespace gradwire {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

class RecipeExtends : public RecipeFiles {
 protected:
  RecipeExtends() { std::filesystem::create_directory(path("sub")); }
};

TEST_F(RecipeExtends, WinsKeyByKeyAndReplacesLists) {
  write("base.toml",
        "seed = 7\n"
        "[data]\n"
        "text = ['a.txt', 'b.txt']\n"
        "context = 64\n"
        "[optim]\n"
        "lr = 0.5\n"
        "no_decay = ['x']\n");
  const Recipe r = load_recipe(write("r.toml",
                                     "extends = 'base.toml'\n"
                                     "[optim]\n"
                                     "lr = 0.25\n"
                                     "no_decay = ['y', 'z']\n"),
                               {"data.context=32"});
  EXPECT_EQ(r.seed, 7);
  EXPECT_EQ(lm(r).data.text, (StringList{"a.txt", "b.txt"}));
  EXPECT_EQ(lm(r).data.context, 32);
  EXPECT_EQ(r.optim.lr, 0.25);
  EXPECT_EQ(r.optim.no_decay, (StringList{"y", "z"}));
  EXPECT_EQ(r.optim.beta1, OptimRecipe{}.beta1);
  EXPECT_EQ(r.origins.of("seed").file, path("base.toml"));
  EXPECT_EQ(r.origins.of("seed").line, 1U);
  EXPECT_EQ(r.origins.of("data.text").line, 3U);
  EXPECT_EQ(r.origins.of("optim.lr").file, path("r.toml"));
  EXPECT_EQ(r.origins.of("optim.lr").line, 3U);
  EXPECT_EQ(r.origins.of("data.context").file, "<command line>");
  // What was resolved needs no other file.
  EXPECT_THAT(to_toml(r), Not(HasSubstr("extends")));
  std::filesystem::remove(path("base.toml"));
  EXPECT_EQ(load_recipe(write("resolved.toml", to_toml(r))), r);
}

TEST_F(RecipeExtends, ABaseLiesRelativeToTheFileThatNamesItAndMayExtendAnother) {
  write("root.toml", "seed = 3\n[data]\ntext = ['a.txt']\n[train]\nsteps = 10\n");
  write("sub/middle.toml", "extends = '../root.toml'\n[train]\nsteps = 20\neval_every = 5\n");
  const Recipe r =
      load_recipe(write("r.toml", "extends = 'sub/middle.toml'\ntrain.eval_every = 7\n"));
  EXPECT_EQ(r.seed, 3);
  EXPECT_EQ(r.train.steps, 20);
  EXPECT_EQ(r.train.eval_every, 7);
  EXPECT_EQ(r.origins.of("seed").file, path("root.toml"));
  EXPECT_EQ(r.origins.of("train.steps").file, path("sub/middle.toml"));
}

TEST_F(RecipeExtends, ProblemsAreSaidOfTheFileAndLineThatTheValueCameFrom) {
  write("base.toml", "[data]\ntext = ['a.txt']\n[optim]\nlr = -1.0\nlrr = 2\n");
  EXPECT_EQ(problems("extends = 'base.toml'\nsede = 2\n"),
            path("base.toml") + ":4: optim.lr: must be > 0, got -1\n" + path("base.toml") +
                ":5: optim.lrr: unknown key (did you mean 'optim.lr'?)\n"
                "r:2: sede: unknown key (did you mean 'seed'?)");
  EXPECT_EQ(problems("extends = 'base.toml'\noptim.lr = 1\n"),
            path("base.toml") + ":5: optim.lrr: unknown key (did you mean 'optim.lr'?)");
  write("base.toml", "[data\n");
  EXPECT_THAT(problems("extends = 'base.toml'\n"), HasSubstr(path("base.toml") + ":1: "));
}

TEST_F(RecipeExtends, ABaseThatCannotBeRead) {
  EXPECT_EQ(problems("seed = 1\nextends = 'none.toml'\n"),
            "r:2: extends: '" + path("none.toml") + "' cannot be read: No such file or directory");
  EXPECT_THAT(problems("extends = 'sub'\n"), HasSubstr("r:1: extends: '" + path("sub") + "' "));
  for (const char* wrong : {"1", "''", "['base.toml']", "{a = 1}"})
    EXPECT_EQ(problems(std::string("extends = ") + wrong + "\n"),
              "r:1: extends: expected the path of a recipe");
  EXPECT_EQ(problems("[data]\ntext = ['a.txt']\nextends = 'base.toml'\n"),
            "r:3: data.extends: unknown key");
  EXPECT_EQ(problems("[data]\ntext = ['a.txt']\n", {"extends=base.toml"}),
            "<command line>:1: extends: stands in a file, not on the command line");
}

TEST_F(RecipeExtends, CirclesAndTooManyFiles) {
  EXPECT_THAT(problems("extends = 'recipe.toml'\n"),
              HasSubstr("r:1: extends: goes round in a circle: "));
  write("sub/b.toml", "\nextends = '../sub/../recipe.toml'\n");
  EXPECT_EQ(problems("extends = 'sub/b.toml'\n"),
            path("sub/b.toml") + ":2: extends: goes round in a circle: " + path("recipe.toml") +
                " extends " + path("sub/b.toml") + " extends " + path("recipe.toml"));
  std::filesystem::create_symlink(path("recipe.toml"), path("link.toml"));
  EXPECT_THAT(problems("extends = 'link.toml'\n"), HasSubstr("circle"));

  write("f1.toml", "[data]\ntext = ['a.txt']\n");
  for (int i = 2; i <= 16; ++i) {
    write("f" + std::to_string(i) + ".toml", "extends = 'f" + std::to_string(i - 1) + ".toml'\n");
  }
  EXPECT_EQ(problems("extends = 'f15.toml'\n"), "");
  EXPECT_THAT(problems("extends = 'f16.toml'\n"),
              EndsWith("f2.toml:1: extends: more than 16 files"));
}

}  // namespace
}  // namespace gradwire
