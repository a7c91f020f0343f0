#include "launch/assemble/continuation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/recipes.h"

namespace gradwire {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Saved at step 40 by a run of 40 steps.
LoadResult saved_by(Recipe r, std::int64_t step = 40) {
  r.train.steps = 40;
  LoadResult loaded;
  loaded.step = step;
  loaded.path = "run/checkpoints/step-00000040";
  loaded.recipe = to_toml(r);
  return loaded;
}

TEST(Continuation, ASavedRecipeReadsBackAlsoWithKeysOfOtherVersions) {
  Recipe r = lm_recipe();
  lm(r).data.text = {"a \"quoted\"\nname.txt"};
  r.optim.lr = 0.25;
  EXPECT_EQ(saved_recipe(to_toml(r)), r);
  const auto other = saved_recipe("future = 3\n[optim]\nlr = 0.25\nfuture = 'x'\nbeta1 = 'y'\n");
  ASSERT_TRUE(other);
  EXPECT_EQ(other->optim.lr, 0.25);
  EXPECT_EQ(other->optim.beta1, lm_recipe().optim.beta1);
  EXPECT_FALSE(saved_recipe("no recipe ["));
}

TEST(Continuation, ChangesNameKeyAndBothValues) {
  Recipe was = lm_recipe(), is = lm_recipe();
  is.optim.lr = 0.5;
  lm(is).data.text = {"b.txt"};
  lm(is).model.kv_heads = lm(is).model.heads;  // what 0 stands for
  std::vector<std::string> lines;
  for (const RecipeChange& c : recipe_changes(was, is))
    lines.push_back(c.key.key + ": " + c.was + " -> " + c.key.value);
  EXPECT_THAT(lines, ElementsAre("data.text: [] -> [\"b.txt\"]", "optim.lr: 0.001 -> 0.5"));
}

TEST(Continuation, AnotherModelIsObjectedTo) {
  const Recipe was = lm_recipe();
  Recipe is = lm_recipe();
  EXPECT_EQ(model_objection(is, to_toml(was)), "");
  is.optim.lr = 0.5;
  lm(is).model.dropout = 0.1;
  lm(is).model.ffn_width = lm(was).model.resolved_ffn_width();
  EXPECT_EQ(model_objection(is, to_toml(was)), "");
  lm(is).model.heads = 8;
  lm(is).data.vocab_size = 300;
  EXPECT_EQ(model_objection(is, to_toml(was)),
            "of another model: model.heads: 4 -> 8, model.kv_heads: 4 -> 8, "
            "model.head_width: 64 -> 32, data.vocab_size: 2048 -> 300");
  EXPECT_EQ(model_objection(is, "r1"), "") << "of a version that kept none";
}

TEST(Continuation, AFinishedRunOfAnotherRecipeIsRefused) {
  Recipe is = lm_recipe();
  is.train.steps = 40;
  EXPECT_NO_THROW(check_continuation(is, saved_by(lm_recipe())));
  is.comm.timeout_s = 7;
  is.train.threads = 3;
  is.log.tensorboard = true;
  lm(is).generate.prompt = {"once"};
  is.checkpoint.every = 5;
  EXPECT_NO_THROW(check_continuation(is, saved_by(lm_recipe())));
  is.optim.lr = 0.5;
  EXPECT_NO_THROW(check_continuation(is, saved_by(lm_recipe(), 39)));
  try {
    check_continuation(is, saved_by(lm_recipe()));
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kConfig);
    EXPECT_THAT(e.what(), HasSubstr("optim.lr: 0.001 -> 0.5"));
    EXPECT_THAT(e.what(), HasSubstr("run.dir"));
  }
  is = lm_recipe();
  is.train.steps = 25;
  EXPECT_THROW(check_continuation(is, saved_by(lm_recipe())), Error);
}

TEST(Continuation, WhatChangedIsSaidWithWhatTheRateMakesOfIt) {
  Recipe is = lm_recipe();
  is.train.steps = 40;
  EXPECT_THAT(continuation_notes(is, saved_by(lm_recipe())), IsEmpty());
  is.comm.timeout_s = 7;
  is.run.dir = "elsewhere";
  EXPECT_THAT(continuation_notes(is, saved_by(lm_recipe())), IsEmpty());
  is.train.steps = 80;
  is.schedule.warmup_steps = 10;
  lm(is).data.split_seed = 2;
  EXPECT_THAT(
      continuation_notes(is, saved_by(lm_recipe())),
      ElementsAre("changed since the checkpoint: data.split_seed: 1 -> 2 (what is held out now may "
                  "have been trained on before)",
                  "changed since the checkpoint: schedule.warmup_steps: 50 -> 10",
                  "changed since the checkpoint: train.steps: 40 -> 80",
                  HasSubstr("the learning rate of step 41 is ")));
}

TEST(Continuation, TheCourseIsWhatDecidesTraining) {
  const Recipe r = lm_recipe();
  const std::string course = course_of(r, "data");
  Recipe other = r;
  other.run.dir = "x";
  other.comm.backend = "tcp";
  other.train.threads = 2;
  lm(other).data.text = {"moved.txt"};
  EXPECT_EQ(course_of(other, "data"), course);
  EXPECT_NE(course_of(r, "other data"), course);
  other = r;
  other.seed = 2;
  EXPECT_NE(course_of(other, "data"), course);
  other = r;
  other.train.steps = 2;
  EXPECT_NE(course_of(other, "data"), course);
}

}  // namespace
}  // namespace gradwire
