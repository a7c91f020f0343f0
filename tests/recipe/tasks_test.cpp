// Recipes of several tasks, each with sections of its own.
#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"

#include "recipe/recipe_io.h"

namespace gradwire {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Size {
  const char* key;
  std::int64_t size = 1;
  void fields(FieldVisitor& v) { v(key, size, "a size", at_least(1)); }
};

// Sections [model] and one of the task's own, named like it.
class Toy final : public JobSections {
 public:
  explicit Toy(const char* name) : name_(name) {}
  void fields(FieldVisitor& v) override {
    v.section("model", model, "The model.");
    v.section(name_, own, "What no other task has.");
  }
  std::unique_ptr<JobSections> clone() const override { return std::make_unique<Toy>(*this); }
  void check(const Recipe&, int, Inputs, ProblemList&) const override {}

  Size model{"width"};
  Size own{"depth"};

 private:
  const char* name_;
};

constexpr std::array kTasks = {
    JobKind{"speech", "Hears.",
            []() -> std::unique_ptr<JobSections> { return std::make_unique<Toy>("audio"); }},
    JobKind{"reading", "Reads.",
            []() -> std::unique_ptr<JobSections> { return std::make_unique<Toy>("text"); }}};

class Tasks : public ::testing::Test {
 protected:
  Recipe load(const std::string& text, const std::vector<std::string>& set = {}) const {
    return load_recipe(folder_.write("r.toml", text), set, kTasks);
  }
  std::string problems(const std::string& text) const {
    try {
      load(text);
      return "";
    } catch (const RecipeError& e) {
      return e.what();
    }
  }

  test::TempFolder folder_;
};

TEST_F(Tasks, AreTheFirstUnlessNamed) {
  EXPECT_EQ(load("[audio]\ndepth = 3\n").task, "speech");
  EXPECT_EQ(load("task = 'reading'\n[text]\ndepth = 3\n").task, "reading");
}

TEST_F(Tasks, TheCommandLineAndABaseCanNameThem) {
  EXPECT_EQ(load("[model]\nwidth = 3\n", {"task=reading", "text.depth=7"}).task, "reading");
  folder_.write("base.toml", "task = 'reading'\n");
  EXPECT_EQ(load("extends = 'base.toml'\n[text]\ndepth = 3\n").task, "reading");
}

TEST_F(Tasks, OfNoJobAreNamedWithTheNearest) {
  EXPECT_THAT(problems("task = 'spech'\n"),
              HasSubstr("task: must be one of 'speech', 'reading', got 'spech' (did you mean "
                        "'speech'?)"));
}

TEST_F(Tasks, AForeignSectionIsSaidToBeOfItsTask) {
  const std::string found = problems("task = 'speech'\n[text]\ndepth = 3\n");
  EXPECT_THAT(found, HasSubstr(":2: text: is of task 'reading', and this recipe's task is "
                               "'speech'"));
  EXPECT_THAT(found, Not(HasSubstr("unknown")));
}

TEST_F(Tasks, CopiesOfARecipeHaveSectionsOfTheirOwn) {
  const Recipe one = load("[audio]\ndepth = 3\n");
  Recipe other = one;
  EXPECT_EQ(one, other);
  dynamic_cast<Toy&>(*other.job.sections()).own.size = 4;
  EXPECT_NE(one, other);
  EXPECT_EQ(dynamic_cast<Toy&>(*one.job.sections()).own.size, 3);
}

TEST_F(Tasks, SavedRecipesKeepTheirTask) {
  const Recipe r = load("task = 'reading'\n[text]\ndepth = 3\n");
  EXPECT_EQ(saved_recipe(to_toml(r), kTasks), r);
}

TEST_F(Tasks, TheReferenceHasTheKeysOfEveryTask) {
  const std::string page = recipe_reference(kTasks);
  EXPECT_THAT(page, HasSubstr("# Task `speech`\n\nHears.\n\n## [model]"));
  EXPECT_THAT(page, HasSubstr("# Task `reading`\n\nReads.\n\n## [model]"));
  EXPECT_EQ(page.find("## [optim]"), page.rfind("## [optim]"));
}

TEST(DefaultRecipe, OfNoTaskIsAnError) {
  EXPECT_THROW(default_recipe("dreaming", kTasks), Error);
}

}  // namespace
}  // namespace gradwire
