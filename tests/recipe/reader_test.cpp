#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/recipe_files.h"

namespace gradwire {
namespace {

using ::testing::HasSubstr;

const std::string kText = "[data]\ntext = ['a.txt']\n";  // 2 lines; the rest is optional

class RecipeReader : public RecipeFiles {};

TEST_F(RecipeReader, ReadsEveryTypeAndRemembersTheLine) {
  const Recipe r = load_recipe(write("r.toml",
                                     "seed = 7\n"
                                     "model.tie_embeddings = false\n"
                                     "[data]\n"
                                     "text = ['a.txt', 'b.txt']\n"
                                     "[optim]\n"
                                     "name = 'sgd'\n"
                                     "lr = 1\n"));
  EXPECT_EQ(r.seed, 7);
  EXPECT_FALSE(lm(r).model.tie_embeddings);
  EXPECT_EQ(lm(r).data.text, (StringList{"a.txt", "b.txt"}));
  EXPECT_EQ(r.optim.name, "sgd");
  EXPECT_EQ(r.optim.lr, 1.0);  // a whole number is a number
  EXPECT_EQ(r.train.steps, TrainRecipe{}.steps);
  EXPECT_EQ(r.origins.of("seed").line, 1U);
  EXPECT_EQ(r.origins.of("model.tie_embeddings").line, 2U);
  EXPECT_EQ(r.origins.of("optim.lr").line, 7U);
  EXPECT_EQ(r.origins.of("optim.beta1").line, 0U);
  EXPECT_EQ(r.origins.of("optim.beta1").file, path("r.toml"));
}

TEST_F(RecipeReader, UnknownKeyNamesTheNearest) {
  EXPECT_EQ(problems(kText + "[optim]\nweight_decoy = 0.1\n"),
            "r:4: optim.weight_decoy: unknown key (did you mean 'optim.weight_decay'?)");
  EXPECT_EQ(problems(kText + "vocabsize = 512\n"),
            "r:3: data.vocabsize: unknown key (did you mean 'data.vocab_size'?)");
}

TEST_F(RecipeReader, KeyOfAnotherSectionIsPointedAt) {
  EXPECT_EQ(problems(kText + "[optim]\nwarmup_steps = 5\n"),
            "r:4: optim.warmup_steps: unknown key (did you mean 'schedule.warmup_steps'?)");
  EXPECT_EQ(problems("lr = 0.1\n" + kText), "r:1: lr: unknown key (did you mean 'optim.lr'?)");
}

TEST_F(RecipeReader, UnknownSectionNamesTheNearest) {
  EXPECT_EQ(problems(kText + "[optmi]\nlr = 0.1\n"),
            "r:3: optmi: unknown key (did you mean 'optim'?)");
  EXPECT_EQ(problems(kText + "[zzzzzzz]\n"), "r:3: zzzzzzz: unknown key");
  EXPECT_EQ(problems(kText + "[data.more]\nx = 1\n"), "r:3: data.more: unknown key");
}

// Whatever stands in a file cannot drive the terminal, nor pass for a line of the program's own.
TEST_F(RecipeReader, KeysAndValuesAreShownInOneLine) {
  EXPECT_EQ(problems("\"a\\u001b[2J\\nb\" = 1\n" + kText), "r:1: a\\x1b[2J\\x0ab: unknown key");
  EXPECT_THAT(problems("precision = \"\\u202e\\nr:1: ok\"\n" + kText),
              HasSubstr("got '\\u202e\\x0ar:1: ok'"));
  const std::string shown = problems("precision = \"" + std::string(1000000, 'x') + "\"\n" + kText);
  EXPECT_THAT(shown, HasSubstr("xxx... (999744 bytes more)'"));
  EXPECT_LT(shown.size(), 1000u);
}

TEST_F(RecipeReader, WrongTypes) {
  EXPECT_EQ(problems("seed = 1.5\n" + kText),
            "r:1: seed: expected an integer, found a floating-point number");
  EXPECT_EQ(problems("seed = '1'\n" + kText), "r:1: seed: expected an integer, found a string");
  EXPECT_EQ(problems("task = 1\n" + kText), "r:1: task: expected a string, found an integer");
  EXPECT_EQ(problems("task = 1979-05-27\n" + kText),
            "r:1: task: expected a string, found a date or time");
  EXPECT_EQ(problems("optim.lr = true\n" + kText),
            "r:1: optim.lr: expected a number, found true or false");
  EXPECT_EQ(problems("optim.nesterov = 1\n" + kText),
            "r:1: optim.nesterov: expected true or false, found an integer");
  EXPECT_EQ(problems("optim.no_decay = 'x'\n" + kText),
            "r:1: optim.no_decay: expected a list of strings, found a string");
  EXPECT_EQ(problems("optim.no_decay = ['x', 2]\n" + kText),
            "r:1: optim.no_decay: expected a list of strings, found other values in the list");
  EXPECT_EQ(problems("optim.lr.x = 1\n" + kText),
            "r:1: optim.lr: expected a number, found a table");
  EXPECT_EQ(problems("model = 3\n" + kText), "r:1: model: expected a table, found an integer");
  EXPECT_EQ(problems("model = [1]\n" + kText), "r:1: model: expected a table, found a list");
}

TEST_F(RecipeReader, ValuesOutOfRange) {
  EXPECT_EQ(problems(kText + "[optim]\nlr = -1.0\n"), "r:4: optim.lr: must be > 0, got -1");
  EXPECT_EQ(problems(kText + "[optim]\nlr = nan\n"),
            "r:4: optim.lr: must be a finite number, got nan");
  EXPECT_EQ(problems(kText + "[optim]\nbeta1 = 1.0\n"),
            "r:4: optim.beta1: must be in [0, 1), got 1");
  EXPECT_EQ(problems("schema = 2\n" + kText), "r:1: schema: must be 1, got 2");
  EXPECT_EQ(problems(kText + "vocab_size = 2\n"),
            "r:3: data.vocab_size: must be in [300, 1048576], got 2");
  EXPECT_EQ(problems(kText + "[optim]\nname = 'adam'\n"),
            "r:4: optim.name: must be one of 'adamw', 'sgd', 'onebit_adam', 'zero_one_adam', "
            "'onebit_lamb', got 'adam' (did you mean 'adamw'?)");
  EXPECT_EQ(problems(kText + "[optim]\nname = 'lion'\n"),
            "r:4: optim.name: must be one of 'adamw', 'sgd', 'onebit_adam', 'zero_one_adam', "
            "'onebit_lamb', got 'lion'");
  EXPECT_EQ(problems(kText + "[run]\ndir = ''\n"), "r:4: run.dir: must not be empty");
}

// Whatever memory or threads are made of has an upper limit.
TEST_F(RecipeReader, MistypedSizes) {
  for (const char* key :
       {"model.layers",          "model.width",       "model.heads",      "model.kv_heads",
        "model.ffn_width",       "data.vocab_size",   "data.context",     "batch.global",
        "batch.micro",           "optim.local_steps", "train.steps",      "train.threads",
        "train.stall_timeout_s", "parallel.pipeline", "parallel.chunks",  "parallel.bucket_bytes",
        "compress.block",        "compress.rank",     "comm.connections", "comm.timeout_s",
        "generate.tokens"}) {
    EXPECT_THAT(problems(kText, {std::string(key) + "=9223372036854775807"}),
                HasSubstr(std::string("<command line>:1: ") + key + ": must be in ["));
  }
  EXPECT_THAT(problems(kText, {"model.layers=10000000"}), HasSubstr("must be in [1, 8192]"));
  EXPECT_THAT(problems(kText, {"train.threads=100000"}), HasSubstr("must be in [0, 4096]"));
}

TEST_F(RecipeReader, MissingNeededKeyHasNoLine) {
  EXPECT_EQ(problems("seed = 1\n"), "r: data.text: must not be empty");
}

TEST_F(RecipeReader, AllProblemsAtOnceInTheOrderOfTheLines) {
  EXPECT_EQ(problems("sede = 1\n" + kText + "[optim]\nbeta2 = 3.0\nlr = 'x'\n", {"trian.steps=1"}),
            "r:1: sede: unknown key (did you mean 'seed'?)\n"
            "r:5: optim.beta2: must be in [0, 1), got 3\n"
            "r:6: optim.lr: expected a number, found a string\n"
            "<command line>:1: trian: unknown key (did you mean 'train'?)");
}

TEST_F(RecipeReader, MessageCountsProblems) {
  const std::string file = write("r.toml", "a_key = 1\nb_key = 2\n" + kText);
  try {
    load_recipe(file);
    FAIL() << "was read";
  } catch (const RecipeError& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kConfig);
    EXPECT_EQ(std::string(e.what()),
              "2 problems\n" + file + ":1: a_key: unknown key\n" + file + ":2: b_key: unknown key");
    EXPECT_TRUE(e.same_everywhere());
  }
}

TEST_F(RecipeReader, DuplicateKeyIsAnErrorWithItsLine) {
  const std::string message = problems(kText + "text = ['b.txt']\n");
  EXPECT_THAT(message, HasSubstr("r:3: "));
  EXPECT_THAT(message, HasSubstr("redefine"));
  EXPECT_THAT(message, HasSubstr("text"));
}

TEST_F(RecipeReader, SyntaxErrorHasItsLine) {
  EXPECT_THAT(problems(kText + "vocab_size = \n"), HasSubstr("r:3: "));
}

TEST_F(RecipeReader, MissingFileAndFolder) {
  try {
    load_recipe(path("none.toml"));
    FAIL() << "was read";
  } catch (const RecipeError& e) {
    EXPECT_EQ(shorten(e, path("none.toml")), "r: cannot be read: No such file or directory");
    EXPECT_FALSE(e.same_everywhere());
  }
  EXPECT_THROW(load_recipe(folder_.path().string()), RecipeError);
}

TEST_F(RecipeReader, EmptyFileIsAllDefaultsButTheText) {
  EXPECT_EQ(problems(""), "r: data.text: must not be empty");
}

class RecipeOverrides : public RecipeFiles {
 protected:
  Recipe load(const std::vector<std::string>& set) const {
    return load_recipe(write("r.toml", kText + "[optim]\nlr = 0.5\n"), set);
  }
};

TEST_F(RecipeOverrides, WinOverTheFileAndALaterOneWins) {
  const Recipe r = load({"optim.lr=0.25", "seed=3", "optim.lr=1e-4"});
  EXPECT_EQ(r.optim.lr, 1e-4);
  EXPECT_EQ(r.seed, 3);
  EXPECT_EQ(r.origins.of("optim.lr").file, "<command line>");
  EXPECT_EQ(r.origins.of("optim.lr").line, 3U);
  EXPECT_EQ(r.origins.of("data.text").line, 2U);
}

TEST_F(RecipeOverrides, RepairAValueOutOfRange) {
  EXPECT_EQ(problems(kText + "[optim]\nlr = -1.0\n", {"optim.lr=0.1"}), "");
}

TEST_F(RecipeOverrides, TakeTomlValuesAndBareWords) {
  const Recipe r = load({"data.text=['x', 'y']", "optim.name=sgd", "run.dir=runs/a b",
                         "optim.nesterov=true", "data.cache=\"q\\\"\\\\\""});
  EXPECT_EQ(lm(r).data.text, (StringList{"x", "y"}));
  EXPECT_EQ(r.optim.name, "sgd");
  EXPECT_EQ(r.run.dir, "runs/a b");
  EXPECT_TRUE(r.optim.nesterov);
  EXPECT_EQ(lm(r).data.cache, "q\"\\");
}

TEST_F(RecipeOverrides, ProblemsNameThePlaceOnTheCommandLine) {
  EXPECT_EQ(problems(kText, {"seed=1", "optim.lr=fast"}),
            "<command line>:2: optim.lr: expected a number, found a string");
  EXPECT_EQ(problems(kText, {"optim.lr=0"}), "<command line>:1: optim.lr: must be > 0, got 0");
  EXPECT_EQ(problems(kText, {"optim.rl=1"}),
            "<command line>:1: optim.rl: unknown key (did you mean 'optim.lr'?)");
}

TEST_F(RecipeOverrides, MalformedOnes) {
  EXPECT_EQ(problems(kText, {"optim.lr"}),
            "<command line>:1: expected key=value, as in optim.lr=1e-4, found 'optim.lr'");
  EXPECT_EQ(problems(kText, {"optim lr=1"}),
            "<command line>:1: expected key=value, as in optim.lr=1e-4, found 'optim lr=1'");
  EXPECT_THAT(problems(kText, {"=1"}), HasSubstr("<command line>:1: "));
  EXPECT_THAT(problems(kText, {"optim..lr=1"}), HasSubstr("<command line>:1: optim..lr: "));
  EXPECT_THAT(problems(kText, {"data.text=['x'"}), HasSubstr("<command line>:1: data.text: "));
  EXPECT_EQ(problems(kText, {"seed=1\ntask='x'"}),
            "<command line>:1: seed: the value must be a single line");
}

}  // namespace
}  // namespace gradwire
