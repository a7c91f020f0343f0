#include "launch/assemble/learner.h"

#include <atomic>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/error.h"
#include "models/decoder_lm.h"
#include "tests/support/expect_error.h"
#include "tests/support/recipes.h"

namespace gradwire {
namespace {

Recipe recipe_that_trains(const std::string& pattern) {
  Recipe r = lm_recipe();
  lm(r).model.trainable = {pattern};
  lm(r).data.text = {"corpus.txt"};
  return r;
}

DecoderConfig small_config() {
  DecoderConfig c;
  c.vocab = 11;
  c.layers = 1;
  c.width = 8;
  c.heads = 2;
  c.kv_heads = 2;
  c.ffn_width = 16;
  return c;
}

// What replicas are compared by, if `change` is done to a parameter on rank 1 alone.
bool parting_is_found(const std::string& changed, bool sharded) {
  std::atomic<int> found = 0;
  run_ranks(2, [&](Communicator& world) {
    Runtime runtime;
    Context& cx = runtime.context();
    Recipe recipe = recipe_that_trains("*norm*");
    recipe.parallel.shard_optimizer = sharded;
    const Mesh mesh = make_mesh(world, {2, 1});
    DecoderLm model(cx, small_config());
    set_trainable(model, lm(recipe).model.trainable);
    Learner learner(cx, mesh, recipe, trainable_parameters_of(model), frozen_parameters_of(model));
    for (Parameter* p : parameters_of(model))
      if (world.rank() == 1 && p->name == changed) fill(cx, p->value, 3.0);
    try {
      learner.ranks().check_replicas(cx, 1);
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), testing::HasSubstr("'" + changed + "' first of all"));
      ++found;
    }
    learner.ranks().broadcast(cx);
  });
  return found == 2;
}

TEST(Learner, ComparesFrozenParametersOfReplicasToo) {
  for (const bool sharded : {false, true}) {
    EXPECT_FALSE(parting_is_found("none", sharded));
    EXPECT_TRUE(parting_is_found("model.norm.weight", sharded));
    EXPECT_TRUE(parting_is_found("model.embed_tokens.weight", sharded));
  }
}

// The weights that the ranks start from reach a sharded optimizer's slices as well.
TEST(Learner, TrainsOnFromTheWeightsOfRankZero) {
  for (const bool sharded : {false, true}) {
    run_ranks(2, [&](Communicator& world) {
      Runtime runtime;
      Context& cx = runtime.context();
      Recipe recipe = recipe_that_trains("*");
      recipe.parallel.shard_optimizer = sharded;
      recipe.optim.weight_decay = 0.0;
      const Mesh mesh = make_mesh(world, {2, 1});
      DecoderLm model(cx, small_config());
      Learner learner(cx, mesh, recipe, trainable_parameters_of(model),
                      frozen_parameters_of(model));
      std::vector<std::vector<float>> first;
      for (Parameter* p : parameters_of(model)) {
        first.push_back(p->value.to_host<float>(cx));
        if (world.rank() == 1) fill(cx, p->value, 3.0);
      }
      learner.ranks().broadcast(cx);
      learner.ranks().finish_gradients(cx);
      learner.optimizer().apply(cx, {1, 0.1, 1.0, 0.0});
      std::size_t at = 0;
      for (Parameter* p : parameters_of(model))
        EXPECT_EQ(p->value.to_host<float>(cx), first[at++]) << p->name;
      learner.ranks().check_replicas(cx, 1);
    });
  }
}

// Which rules can leave parameters out of a step is said before anything is trained.
TEST(Learner, RulesThatCannotLeaveParametersOutAreRefused) {
  const auto make = [](const std::string& rule, bool sharded) {
    Runtime runtime;
    Context& cx = runtime.context();
    Recipe recipe = recipe_that_trains("*");
    recipe.optim.name = rule;
    recipe.parallel.shard_optimizer = sharded;
    const auto world = make_local_world(1);
    const Mesh mesh = make_mesh(*world[0], {1, 1});
    DecoderLm model(cx, small_config());
    const ParameterSet trained = trainable_parameters_of(model);
    Learner learner(cx, mesh, recipe, trained, {}, "", {{trained[0], trained[1]}, {trained[2]}});
    EXPECT_GE(learner.ranks().buckets().set_of(learner.ranks().buckets().bucket_of(*trained[2])),
              1U);
  };
  for (const char* rule : {"adamw", "sgd"}) {
    make(rule, false);
    make(rule, true);
  }
  make("onebit_adam", false);
  for (const char* rule : {"onebit_lamb", "zero_one_adam"})
    test::expect_error(ErrorKind::kConfig, "cannot leave 'model.embed_tokens.weight' and others",
                       [&] { make(rule, false); });
  test::expect_error(ErrorKind::kConfig, "with parallel.shard_optimizer: cannot leave",
                     [&] { make("onebit_adam", true); });
}

// 4 MiB of floats are 128 KiB of signs, of which one of 64 ranks gets 2 KiB.
TEST(BucketBytes, GrowAmongManyRanksIfWhatTravelsIsShort) {
  Recipe r = lm_recipe();
  constexpr std::int64_t kUsual = 4 << 20;
  EXPECT_EQ(bucket_bytes(r, 1000), kUsual);
  r.optim.name = "onebit_adam";
  EXPECT_EQ(bucket_bytes(r, 2), kUsual);
  EXPECT_EQ(bucket_bytes(r, 32), kUsual);
  EXPECT_EQ(bucket_bytes(r, 64), 2 * kUsual);
  EXPECT_EQ(bucket_bytes(r, 512), 16 * kUsual);
  EXPECT_EQ(bucket_bytes(r, 100'000), 16 * kUsual);
  r.parallel.bucket_bytes = 1024;
  EXPECT_EQ(bucket_bytes(r, 512), 1024);
}

}  // namespace
}  // namespace gradwire
