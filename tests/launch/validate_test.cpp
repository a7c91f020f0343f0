#include "launch/assemble/validate.h"

#include <gtest/gtest.h>

#include "tests/support/recipe_files.h"

namespace gradwire {
namespace {

// A recipe whose text exists, with more keys from line 3 on.
class RecipeChecks : public RecipeFiles {
 protected:
  std::string violations(const std::string& more, int ranks = 1) const {
    write("a.txt", "text\n");
    const std::string file = write("r.toml", "[data]\ntext = ['" + path("a.txt") + "']\n" + more);
    const Recipe r = load_recipe(file);
    try {
      validate(r, ranks);
      return "";
    } catch (const RecipeError& e) {
      return shorten(e, file);
    }
  }
};

TEST_F(RecipeChecks, DefaultsFitOneTwoAndFourRanks) {
  for (const int ranks : {1, 2, 4})
    EXPECT_EQ(violations("", ranks), "") << ranks;
}

TEST_F(RecipeChecks, AddressesAreForTcpAndCanBeRead) {
  EXPECT_EQ(violations("[comm]\naddress = 'a:29400'\n"), "");
  EXPECT_EQ(violations("[comm]\nbackend = 'mpi'\naddress = 'a:29400'\n"),
            "r:5: comm.address: MPI knows by itself where ranks are");
  EXPECT_EQ(violations("[comm]\naddress = 'a:b:c'\n"),
            "r:4: comm.address: 'a:b:c' is no address: write it like host:29400 or "
            "[2001:db8::1]:29400");
}

TEST_F(RecipeChecks, WhatNoGpuRuns) {
  EXPECT_EQ(violations("[run]\ndevice = 'cuda'\n"), "");
  const std::string sharded =
      "[optim]\nname = 'onebit_adam'\n[parallel]\nshard_optimizer = true\n[run]\ndevice = ";
  EXPECT_EQ(violations(sharded + "'auto'\n"), "");
  EXPECT_EQ(violations(sharded + "'cuda'\n"),
            "r:8: run.device: a 1-bit optimizer with sharded state runs on the CPU only");
}

TEST_F(RecipeChecks, SizesThatNothingHolds) {
  EXPECT_EQ(violations("[model]\nwidth = 1048576\nlayers = 8192\n"),
            "r:5: model.layers: a model of 1.1e+17 parameters; at most 2.2e+12\n"
            "r:5: model.layers: 1.4e+14 numbers to keep of a micro-batch; at most 2.2e+12");
  EXPECT_EQ(violations("[batch]\nmicro = 16777216\nglobal = 16777216\n"),
            "r:4: batch.micro: 4e+13 numbers to keep of a micro-batch; at most 2.2e+12");
  EXPECT_EQ(violations("[model]\nlayers = 8192\n"), "");
}

TEST_F(RecipeChecks, HeadsDivideTheWidth) {
  EXPECT_EQ(violations("[model]\nwidth = 100\nheads = 8\n"),
            "r:5: model.heads: 8 heads do not divide width 100");
  EXPECT_EQ(violations("[model]\nwidth = 250\n"),
            "r:4: model.width: 4 heads do not divide width 250");
}

TEST_F(RecipeChecks, HeadWidthIsEven) {
  EXPECT_EQ(violations("[model]\nwidth = 12\nheads = 4\n"),
            "r:5: model.heads: width 12 over 4 heads gives heads of 3: rotary positions need an "
            "even number");
}

TEST_F(RecipeChecks, KeyAndValueHeadsDivideTheHeads) {
  EXPECT_EQ(violations("[model]\nkv_heads = 3\n"),
            "r:4: model.kv_heads: 3 key and value heads do not divide 4 heads");
  EXPECT_EQ(violations("[model]\nkv_heads = 2\n"), "");
}

TEST_F(RecipeChecks, GlobalBatchIsAMultipleOfMicroTimesRanks) {
  EXPECT_EQ(violations("[batch]\nglobal = 32\nmicro = 4\n", 3),
            "r:4: batch.global: 32 sequences are not a multiple of micro x ranks = 4 x 3 = 12; "
            "nearest: 24 or 36");
  EXPECT_EQ(violations("[batch]\nmicro = 64\n"),
            "r:4: batch.micro: 32 sequences are not a multiple of micro x ranks = 64 x 1 = 64; "
            "nearest: 64");
  EXPECT_EQ(violations("", 3),
            "r: batch.global: 32 sequences are not a multiple of micro x ranks = 8 x 3 = 24; "
            "nearest: 24 or 48");
}

TEST_F(RecipeChecks, VocabularyHoldsTheTopK) {
  EXPECT_EQ(violations("[generate]\ntop_k = 3000\n"),
            "r:4: generate.top_k: 3000 likeliest tokens of a vocabulary of 2048");
}

TEST_F(RecipeChecks, WarmUpFitsTheRun) {
  EXPECT_EQ(violations("[train]\nsteps = 10\n"),
            "r:4: train.steps: a warm-up of 50 steps in a run of 10");
}

TEST_F(RecipeChecks, EvaluationNeedsHeldOutText) {
  EXPECT_EQ(violations("validation_share = 0\n"),
            "r:3: data.validation_share: nothing to evaluate on: data.validation_share is 0");
  EXPECT_EQ(violations("validation_share = 0\n[train]\neval_every = 0\n"), "");
}

TEST_F(RecipeChecks, NesterovNeedsMomentum) {
  EXPECT_EQ(violations("[optim]\nname = 'sgd'\nmomentum = 0\nnesterov = true\n"),
            "r:6: optim.nesterov: Nesterov's form needs a momentum above 0");
  EXPECT_EQ(violations("[optim]\nmomentum = 0\nnesterov = true\n"), "");
}

TEST_F(RecipeChecks, TextsExistAndTheProblemIsOfThisHost) {
  const std::string file = write("r.toml", "[data]\ntext = ['" + path("b.txt") + "']\n");
  const Recipe r = load_recipe(file);
  try {
    validate(r, 1);
    FAIL() << "was accepted";
  } catch (const RecipeError& e) {
    EXPECT_EQ(shorten(e, file), "r:2: data.text: no such file: '" + path("b.txt") + "'");
    EXPECT_FALSE(e.same_everywhere());
  }
}

TEST_F(RecipeChecks, RangesAreCheckedWithoutAFileToo) {
  Recipe r = lm_recipe();
  r.origins.file = "made in code";
  r.optim.lr = 0.0;
  try {
    validate(r, 1);
    FAIL() << "was accepted";
  } catch (const RecipeError& e) {
    EXPECT_EQ(std::string(e.what()),
              "2 problems\n"
              "made in code: data.text: must not be empty\n"
              "made in code: optim.lr: must be > 0, got 0");
  }
}

TEST_F(RecipeChecks, SeveralRulesAtOnce) {
  EXPECT_EQ(violations("[batch]\nmicro = 5\n[model]\nkv_heads = 3\n"),
            "r:4: batch.micro: 32 sequences are not a multiple of micro x ranks = 5 x 1 = 5; "
            "nearest: 30 or 35\n"
            "r:6: model.kv_heads: 3 key and value heads do not divide 4 heads");
}

TEST_F(RecipeChecks, TheBestCheckpointNeedsAnEvaluationThatMeasuresIt) {
  const std::string every = "[train]\neval_every = 10\n";
  EXPECT_EQ(violations(every + "[checkpoint]\nbest = 'loss'\n"), "");
  EXPECT_EQ(violations("[train]\neval_every = 0\n[checkpoint]\nbest = 'loss'\n"),
            "r:6: checkpoint.best: nothing is evaluated to find it by: train.eval_every is 0");
  EXPECT_EQ(violations(every + "[checkpoint]\nbest = 'wer'\n"),
            "r:6: checkpoint.best: no metric 'wer': there is 'loss'");
}

TEST_F(RecipeChecks, CompressionFitsTheRule) {
  for (const char* rule : {"onebit_adam", "zero_one_adam", "onebit_lamb"}) {
    const std::string optim = std::string("[optim]\nname = '") + rule + "'\n";
    EXPECT_EQ(violations(optim), "");
    EXPECT_EQ(
        violations(optim + "[compress]\nmethod = 'none'\n"),
        std::string("r:6: compress.method: ") + rule +
            " exchanges its own state compressed: use adamw to exchange gradients as they are");
    EXPECT_EQ(
        violations(optim + "freeze_step = 600\n"),
        "r:5: optim.freeze_step: 600 dense steps in a run of 600: nothing would be compressed");
  }
  EXPECT_EQ(violations("[compress]\nmethod = 'econtrol'\ncodec = 'topk'\nratio = 0.01\n"), "");
  EXPECT_EQ(violations("[compress]\nblock = 100\n"),
            "r:4: compress.block: 100 elements are no multiple of 64");
  EXPECT_EQ(violations("[compress]\nlevels = 5\n"),
            "r:4: compress.levels: must be 1, 7 or 127, got 5");
  EXPECT_EQ(violations("[optim]\nthaw_ratio = 0.5\n"),
            "r:4: optim.thaw_ratio: must be 0 or above 1, got 0.5");
  EXPECT_EQ(violations("[optim]\nname = 'onebit_lamb'\nuncompressed = ['*']\n"),
            "r:5: optim.uncompressed: onebit_lamb compresses all parameters: only onebit_adam, and "
            "rules that exchange gradients, leave some out");
}

TEST_F(RecipeChecks, ShardedStateFitsTheRule) {
  const std::string sharded = "[parallel]\nshard_optimizer = true\n[optim]\nname = ";
  for (const char* rule : {"'adamw'", "'sgd'", "'onebit_adam'"})
    EXPECT_EQ(violations(sharded + rule + "\n"), "");
  EXPECT_EQ(violations(sharded + "'adamw'\n[compress]\nmethod = 'econtrol'\n"), "");
  EXPECT_EQ(violations(sharded + "'onebit_lamb'\n"),
            "r:4: parallel.shard_optimizer: onebit_lamb scales by norms of whole parameters, which "
            "no rank's slice has");
  EXPECT_EQ(violations(sharded + "'zero_one_adam'\n"),
            "r:4: parallel.shard_optimizer: zero_one_adam takes steps of every rank's own, for "
            "which each needs all of the state");
  EXPECT_EQ(violations(sharded + "'onebit_adam'\n[compress]\nmethod = 'ef21'\n"),
            "r:4: parallel.shard_optimizer: sharded onebit_adam requires compress.method 'ef' or "
            "'plain', not 'ef21'");
}

TEST(RecipeValues, WhatZeroStandsFor) {
  DecoderRecipe m;
  m.width = 256;
  m.heads = 4;
  EXPECT_EQ(m.resolved_kv_heads(), 4);
  EXPECT_EQ(m.resolved_ffn_width(), 704);  // 682.67 up to 11 x 64
  m.kv_heads = 2;
  m.ffn_width = 500;
  EXPECT_EQ(m.resolved_kv_heads(), 2);
  EXPECT_EQ(m.resolved_ffn_width(), 500);
  BatchRecipe b;
  b.global = 32;
  b.micro = 4;
  EXPECT_EQ(b.accumulation(2), 4);
}

TEST(RecipeValues, WorldOfNoRanks) {
  try {
    validate(lm_recipe(), 0);
    FAIL() << "was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUsage);
  }
}

}  // namespace
}  // namespace gradwire
