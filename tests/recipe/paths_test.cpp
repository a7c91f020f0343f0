#include "recipe/paths.h"

#include <filesystem>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/host_name.h"
#include "tests/support/recipe_files.h"

namespace gradwire {
namespace {

using ::testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

const Variables kSlurm = {{"SLURM_JOB_ID", "77"}};

// The folder of the run, or what is wrong with it.
std::string run_dir(const std::string& path, const Variables& variables = kSlurm) {
  Recipe r = lm_recipe();
  r.run.dir = path;
  const std::vector<Problem> problems = expand_paths(r, [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
  if (problems.empty()) return r.run.dir;
  EXPECT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems.front().key, "run.dir");
  EXPECT_EQ(r.run.dir, path);
  return problems.front().message;
}

TEST(RecipePaths, JobIsTheLaunchersName) {
  EXPECT_EQ(run_dir("runs/{job}"), "runs/77");
  EXPECT_EQ(run_dir("{job}/a-{job}"), "77/a-77");
  const Variables array = {
      {"SLURM_JOB_ID", "79"}, {"SLURM_ARRAY_JOB_ID", "77"}, {"SLURM_ARRAY_TASK_ID", "2"}};
  EXPECT_EQ(run_dir("runs/{job}", array), "runs/77_2");
  Variables own = array;
  own["GRADWIRE_JOB"] = "lr-0.1_b";
  EXPECT_EQ(run_dir("runs/{job}", own), "runs/lr-0.1_b");
}

TEST(RecipePaths, OutsideAJobThereIsNone) {
  EXPECT_THAT(run_dir("runs/{job}", {}), HasSubstr("GRADWIRE_JOB"));
  EXPECT_THAT(run_dir("runs/{job}", {{"SLURM_JOB_ID", ""}}), HasSubstr("GRADWIRE_JOB"));
  EXPECT_EQ(run_dir("runs/a", {}), "runs/a");
  for (const char* bad : {"a/b", "..", ".a", "a b", "{job}"})
    EXPECT_THAT(run_dir("runs/{job}", {{"GRADWIRE_JOB", bad}}), HasSubstr("is no name")) << bad;
}

TEST(RecipePaths, BracesCanBeWritten) {
  EXPECT_EQ(run_dir("a{{job}b}"), "a{job}b}");
  EXPECT_EQ(run_dir("{{{job}{{"), "{77{");
  EXPECT_EQ(with_literal_braces(std::string("a{{b}")), "a{{{{b}");
}

TEST(RecipePaths, WhatIsUnknownOrCannotStandThere) {
  EXPECT_EQ(run_dir("runs/{jop}"),
            "unknown placeholder {jop}: known is {job}; a brace itself is written {{");
  for (const char* bad : {"{", "a{}", "{job", "{ job}", "{JOB}"})
    EXPECT_THAT(run_dir(bad), HasSubstr("unknown placeholder"));
  EXPECT_EQ(run_dir("runs/{host}"),
            "{host} cannot stand here: all hosts need the same path; allowed is {job}");
  EXPECT_EQ(run_dir("runs/{rank}"),
            "{rank} cannot stand here: all ranks need the same path; allowed is {job}");
}

class RecipePathsInFiles : public RecipeFiles {};

TEST_F(RecipePathsInFiles, AreExpandedOnceAndProblemsHaveTheirLine) {
  const std::string text =
      "[data]\n"
      "text = ['{{a}.txt', '/local/{host}/b.txt']\n"
      "cache = '/scratch/{host}'\n"
      "[model]\n"
      "trainable = ['{x}']\n";
  const Recipe r = load_recipe(write("r.toml", text));
  EXPECT_EQ(lm(r).data.text, (StringList{"{a}.txt", "/local/" + host_name() + "/b.txt"}));
  EXPECT_EQ(lm(r).data.cache, "/scratch/" + host_name());
  EXPECT_EQ(lm(r).model.trainable, (StringList{"{x}"}));  // no path
  EXPECT_EQ(load_recipe(write("resolved.toml", to_toml(r))), r);
  EXPECT_EQ(saved_recipe(to_toml(r)), r);
  EXPECT_EQ(problems(text + "[run]\ndir = 'runs/{rank}'\n"),
            "r:7: run.dir: {rank} cannot stand here: all ranks need the same path; allowed is "
            "{job}");
  EXPECT_EQ(problems(text, {"run.dir=runs/{hots}"}),
            "<command line>:1: run.dir: unknown placeholder {hots}: known is {job}; a brace itself "
            "is written {{");
}

TEST_F(RecipePathsInFiles, AFolderOfTheRunThatCannotBe) {
  const auto refusal = [&](const std::string& dir) -> std::string {
    const std::string file = write("r.toml", "[data]\ntext = ['a']\n[run]\ndir = '" + dir + "'\n");
    try {
      check_run_folder(load_recipe(file));
      return "";
    } catch (const RecipeError& e) {
      EXPECT_FALSE(e.same_everywhere());
      return shorten(e, file);
    }
  };
  EXPECT_EQ(refusal(path("new/er/run")), "");
  EXPECT_EQ(refusal(folder_.path().string()), "");
  EXPECT_EQ(refusal("relative/run"), "");
  write("file", "x");
  EXPECT_EQ(refusal(path("file/run")), "r:4: run.dir: '" + path("file") + "' is no folder");
}

}  // namespace
}  // namespace gradwire
