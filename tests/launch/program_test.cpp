// The built program, from the outside: what it prints where, and its exit status.
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "tests/support/recipe_files.h"

namespace gradwire {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Outcome {
  int status = -1;
  std::string out, err;
};

class Program : public RecipeFiles {
 protected:
  // `line`: arguments as a shell reads them; `before`: variables, as in "RANK=1".
  Outcome run(const std::string& line, const std::string& before = "") const {
    const std::string command =
        before + " '" GW_PROGRAM "' " + line + " >'" + path("out") + "' 2>'" + path("err") + "'";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, content(path("out")),
            content(path("err"))};
  }

  std::string recipe(const std::string& more = "") const {
    write("a.txt", "text\n");
    return "'" + write("r.toml", "[data]\ntext = ['" + path("a.txt") + "']\n" + more) + "'";
  }
};

TEST_F(Program, VersionAndHelpGoToStdout) {
  const Outcome version = run("--version");
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.out, StartsWith("gradwire "));
  EXPECT_THAT(version.out, HasSubstr("MPI"));
  EXPECT_EQ(version.err, "");
  const Outcome help = run("config --help");
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.out, HasSubstr("validate"));
}

TEST_F(Program, UsageErrorsExitWith2AndShowTheUsage) {
  for (const char* line : {"", "config", "config explain", "--frob", "config show a b c",
                           "config validate --ranks 0 r.toml"}) {
    const Outcome o = run(line);
    EXPECT_EQ(o.status, 2) << line;
    EXPECT_EQ(o.out, "") << line;
    EXPECT_THAT(o.err, StartsWith("gradwire: usage: ")) << line;
    EXPECT_THAT(o.err, HasSubstr("Usage: gradwire")) << line;
  }
}

TEST_F(Program, MistypedCommandNamesTheNearest) {
  EXPECT_THAT(run("docter").err,
              StartsWith("gradwire: usage: no command 'docter' (did you mean 'doctor'?)\n"));
  EXPECT_THAT(run("config shwo").err,
              StartsWith("gradwire: usage: no command 'shwo' (did you mean 'show'?)\n"));
}

TEST_F(Program, UnknownKeyExitsWith2) {
  const Outcome o = run("config show " + recipe("[optim]\nlrr = 1\n"));
  EXPECT_EQ(o.status, 2);
  EXPECT_EQ(o.out, "");
  EXPECT_EQ(o.err, "gradwire: recipe: " + path("r.toml") +
                       ":4: optim.lrr: unknown key (did you mean 'optim.lr'?)\n");
}

// Before anything is opened: there is no checkpoint here.
TEST_F(Program, OptionsOfGenerateAreCheckedAsTheirKeys) {
  const auto error = [&](const std::string& options) {
    const Outcome o = run("generate " + recipe() + " --prompt x " + options);
    EXPECT_EQ(o.status, 2) << options;
    return o.err;
  };
  for (const char* bad : {"nan", "inf", "-1"})
    EXPECT_THAT(error(std::string("--temperature=") + bad),
                HasSubstr("<command line>:2: generate.temperature: must be "));
  EXPECT_THAT(error("--tokens=0"), HasSubstr("generate.tokens: must be in [1, "));
  EXPECT_THAT(error("--top-k=-1"), HasSubstr("generate.top_k: must be >= 0"));
  EXPECT_THAT(error("--top-k=3000"), HasSubstr("3000 likeliest tokens of a vocabulary of 2048"));
}

// At once, without making a plan of that size.
TEST_F(Program, MistypedSizesExitWith2) {
  for (const char* key : {"model.layers=99999999999", "model.layers=10000000",
                          "train.threads=100000", "data.context=99999999999"})
    EXPECT_EQ(run("train --dry-run " + recipe() + " --set " + key).status, 2) << key;
  for (const char* command : {"train", "eval", "bench step", "generate --prompt x",
                              "simulate --workers 2 --bandwidth 1gbit"}) {
    const Outcome o = run(std::string(command) + " " + recipe() +
                          " --set model.layers=8192 --set model.width=4096");
    EXPECT_EQ(o.status, 2) << command;
    EXPECT_THAT(o.err, HasSubstr("on this host, where they may use")) << command;
  }
  const Outcome most = run("train --dry-run " + recipe() + " --set model.layers=8192");
  EXPECT_EQ(most.status, 0) << most.err;
}

TEST_F(Program, DryRunOfRanksThatAreNotThere) {
  const std::string line = "train --dry-run " + recipe("[parallel]\npipeline = 2\n");
  EXPECT_THAT(run(line).err, HasSubstr("1 ranks are no multiple of a pipeline of 2"));
  const Outcome four = run(line + " --ranks 4");
  EXPECT_EQ(four.status, 0) << four.err;
  EXPECT_THAT(four.err, HasSubstr("32 sequences = micro 8 x 2 replicas x 2 accumulated"));
  EXPECT_THAT(run(line + " --ranks 3").err, HasSubstr("3 ranks are no multiple"));
  EXPECT_EQ(run(line + " --ranks 0").status, 2);
  EXPECT_EQ(run("train " + recipe() + " --ranks 2").status, 2);
}

TEST_F(Program, MissingRecipeExitsWith2) {
  const Outcome o = run("config show /none/r.toml");
  EXPECT_EQ(o.status, 2);
  EXPECT_EQ(o.err, "gradwire: recipe: /none/r.toml: cannot be read: No such file or directory\n");
}

TEST_F(Program, ShowPrintsARecipeThatReadsBack) {
  const Outcome o = run("config show " + recipe() + " --set optim.lr=0.5 --set seed=3");
  EXPECT_EQ(o.status, 0) << o.err;
  const Recipe r = load_recipe(write("shown.toml", o.out));
  EXPECT_EQ(r.optim.lr, 0.5);
  EXPECT_EQ(r.seed, 3);
  EXPECT_EQ(to_toml(r), o.out);
}

TEST_F(Program, SetTakesOneValueAndListsAsToml) {
  const Outcome o =
      run("config show --set optim.lr=0.5 --set \"optim.no_decay=['x', 'y']\" " + recipe());
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_THAT(o.out, HasSubstr("no_decay = [\"x\", \"y\"]\n"));
}

TEST_F(Program, ValidateSaysHowAStepIsMadeUp) {
  const Outcome good = run("config validate --ranks 2 " + recipe());
  EXPECT_EQ(good.status, 0) << good.err;
  EXPECT_THAT(good.out, HasSubstr("ok; a step is 32 sequences = 2 ranks x 2 micro-batches x 8"));
  const Outcome bad = run("config validate --ranks 3 " + recipe());
  EXPECT_EQ(bad.status, 2);
  EXPECT_THAT(bad.err, HasSubstr("batch.global: 32 sequences are not a multiple"));
}

TEST_F(Program, ExplainSaysWhereAKeyWasSet) {
  const Outcome file = run("config explain " + recipe("[optim]\nlr = 0.25\n") + " optim.lr");
  EXPECT_EQ(file.status, 0) << file.err;
  EXPECT_EQ(file.out,
            "optim.lr\n    peak learning rate\n    type     number\n    allowed  > 0\n"
            "    default  0.001\n    value    0.25\n    set at   " +
                path("r.toml") + ":4\n");
  EXPECT_THAT(run("config explain " + recipe() + " optim.lr --set optim.lr=1").out,
              HasSubstr("value    1.0\n    set at   <command line>:1\n"));
  EXPECT_THAT(run("config explain " + recipe() + " optim").out, HasSubstr("optim.beta1\n"));
  EXPECT_THAT(run("config explain " + recipe()).out, HasSubstr("generate.top_k\n"));
}

TEST_F(Program, ExplainOfNoKeyExitsWith2) {
  const Outcome o = run("config explain " + recipe() + " optim.rl");
  EXPECT_EQ(o.status, 2);
  EXPECT_EQ(o.err,
            "gradwire: usage: config explain: no key or section 'optim.rl' (did you mean "
            "'optim.lr'?)\n");
}

TEST_F(Program, DocsPrintTheReferencePage) {
  EXPECT_EQ(run("config docs").out, recipe_reference(all_jobs()));
}

// Without its text: nothing is trained.
TEST_F(Program, SimulateSetsExchangesBesideEachOther) {
  const std::string r = "'" + write("r.toml", R"(
[model]
layers = 1
width = 32
heads = 2
[data]
text = ['not here']
vocab_size = 300
context = 16
[optim]
name = 'onebit_adam'
freeze_step = 90
)") + "' --workers 256 --bandwidth 4.1gbit";
  const Outcome o = run("simulate " + r + " --workers-per-host 4 --compute-seconds 0.5");
  EXPECT_EQ(o.status, 0) << o.err;
  for (const char* part :
       {"256 on 64 hosts, 4.1 Gbit/s", "2048 sequences (the recipe's 32 do not divide)",
        "0.5 s a step, as given", "\ndense f32 ", "\nbf16 ", "\nef, sign ",
        "90 of 600 steps dense"})
    EXPECT_THAT(o.out, HasSubstr(part));
  EXPECT_EQ(run("simulate " + r + " --workers-per-host 3").status, 2);
  EXPECT_EQ(run("simulate " + r + " --set parallel.pipeline=2 --compute-seconds 0.5").status, 0);
  EXPECT_EQ(run("simulate " + r + " --set optim.lrr=1").status, 2);
  for (const char* option : {"--latency nan", "--latency inf", "--compute-seconds nan"})
    EXPECT_EQ(run("simulate " + r + " " + option).status, 2) << option;
  EXPECT_THAT(run("simulate " + r + " --local-bandwidth fast").err, HasSubstr("no bandwidth"));
}

TEST_F(Program, OutputThatCannotBeWrittenExitsWith8) {
  const std::string command = "'" GW_PROGRAM "' config docs >/dev/full 2>'" + path("err") + "'";
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 8);
  EXPECT_THAT(content(path("err")), StartsWith("gradwire: file system: "));
}

// Rank 1 may have another command line than rank 0: it says what it met, unless its launcher ends
// it after rank 0 has said the same.
TEST_F(Program, RanksAreNamed) {
  const std::string rank_1 = "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2";
  const Outcome typo = run("config show " + recipe("[optim]\nlrr = 1\n"), rank_1);
  EXPECT_EQ(typo.status, 2);
  EXPECT_THAT(typo.err, StartsWith("[rank 1] gradwire: recipe: "));
  const Outcome missing = run("config show /none/r.toml", rank_1);
  EXPECT_EQ(missing.status, 2);
  EXPECT_THAT(missing.err, StartsWith("[rank 1] gradwire: recipe: /none/r.toml: "));
}

// Instead of training alone, or waiting for nobody.
TEST_F(Program, HalfASetOfVariablesExitsWith2) {
  const auto error = [&](const std::string& variables) {
    const Outcome o = run("train " + recipe(), variables);
    EXPECT_EQ(o.status, 2) << variables;
    return o.err;
  };
  EXPECT_THAT(error("RANK= WORLD_SIZE=2 MASTER_ADDR=h"), HasSubstr("RANK='': expected a count"));
  EXPECT_THAT(error("RANK=0 WORLD_SIZE=2 MASTER_ADDR= MASTER_PORT=29400"),
              HasSubstr("MASTER_ADDR='': expected the host of rank 0"));
  EXPECT_THAT(error("RANK=0 WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=0"),
              HasSubstr("MASTER_PORT='0': expected a port"));
}

TEST_F(Program, LaunchersThatDisagreeExitWith2) {
  const Outcome o = run("--version",
                        "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 RANK=0 "
                        "WORLD_SIZE=2");
  EXPECT_EQ(o.status, 2);
  EXPECT_THAT(o.err, StartsWith("gradwire: usage: torchrun (RANK=0)"));
}

TEST_F(Program, DoctorFailsOnAFolderThatIsNotThere) {
  const Outcome bad = run("doctor --dir " + path("none"));
  EXPECT_EQ(bad.status, 2);
  EXPECT_THAT(bad.out, HasSubstr("FAIL  run folder"));
  const Outcome good = run("doctor --dir " + folder_.path().string());
  EXPECT_EQ(good.status, 0) << good.out << good.err;
  EXPECT_THAT(good.out, HasSubstr("ok    MPI starts"));
}

TEST_F(Program, DoctorBelowALauncherDoesNotWaitForItsPeers) {
  const Outcome o =
      run("doctor --dir " + folder_.path().string(),
          "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 PMIX_RANK=1 PMIX_NAMESPACE=1 "
          "OMPI_MCA_ess=^singleton OMPI_MCA_pmix=^s1,s2,cray,isolated");
  EXPECT_EQ(o.status, 0) << o.out << o.err;
  EXPECT_THAT(o.out, HasSubstr("ok    MPI starts"));
}

}  // namespace
}  // namespace gradwire
