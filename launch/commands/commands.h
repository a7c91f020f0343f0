// The commands of the `gradwire` program: what each takes, and the function that does it. Each
// has its own file here; parsing the command line is launch/cli/command_line.h. A function returns
// the exit status or throws; it never prints its own failure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launch/start/exit_code.h"

#include "recipe/recipe_io.h"

namespace gradwire {

struct RecipeArgs {
  std::string path;
  std::vector<std::string> set;     // overrides, as load_recipe() takes them
  std::span<const JobKind> jobs{};  // that the program has
};
// Errors: RecipeError.
inline Recipe load_recipe(const RecipeArgs& args) {
  return load_recipe(args.path, args.set, args.jobs);
}

struct TrainArgs {
  RecipeArgs recipe;
  std::string resume = "auto";  // or none, best, a path (docs/launch.md)
  bool dry_run = false;         // say what would be done, and end
  int ranks = 0;                // dry run: of so many ranks; 0: of those that were started
};
ExitCode run_train(const TrainArgs& args);

struct LaunchArgs {
  int ranks = 0;
  std::vector<std::string> command;  // of this program, with its arguments
};
ExitCode run_launch(const LaunchArgs& args);

struct EvalArgs {
  RecipeArgs recipe;
  std::string ckpt;  // empty: the newest good one of the run
};
ExitCode run_eval(const EvalArgs& args);

// A command of the recipe's job, such as `generate` (jobs/job.h). Its options are overrides of the
// recipe by now.
struct VerbArgs {
  std::string verb;
  RecipeArgs recipe;
  std::string ckpt;
};
ExitCode run_verb(const VerbArgs& args);

// Of a run's own recipe, which is in its folder.
struct ExportArgs {
  RecipeArgs recipe;  // overrides alone
  // Each a checkpoint, the folder of a run, or RUN/best; of several, the mean of their parameters.
  std::vector<std::string> ckpt;
  std::string format;
  std::string type = "f32";
  std::string out;      // a folder that is not there yet; to verify, the one that is
  bool verify = false;  // compare it with the checkpoint
};
ExitCode run_export(const ExportArgs& args);

struct PrepareArgs {
  RecipeArgs recipe;
};
ExitCode run_prepare(const PrepareArgs& args);

struct CkptArgs {
  std::string path;  // a checkpoint, or the folder of a run
};
ExitCode run_ckpt_ls(const CkptArgs& args);
ExitCode run_ckpt_verify(const CkptArgs& args);

struct ImportArgs {
  std::string source;         // a GGUF file or a Hugging Face folder
  std::string out;            // the folder to make
  std::string type = "keep";  // of the weights: keep, f32, f16 or bf16
};
ExitCode run_import(const ImportArgs& args);

struct BenchStepArgs {
  RecipeArgs recipe;
  std::int64_t warmup = 5;
  std::int64_t steps = 20;
};
ExitCode run_bench_step(const BenchStepArgs& args);

struct BenchCommArgs {
  RecipeArgs recipe;            // an empty path: every key at its default
  std::int64_t parameters = 0;  // of each exchange; 0: as many as take half a second dense
};
ExitCode run_bench_comm(const BenchCommArgs& args);

// A cluster that is only described.
struct SimulateArgs {
  RecipeArgs recipe;
  int workers = 0;
  int workers_per_host = 1;
  std::string bandwidth;            // of a host's link, as parse_bandwidth() takes it
  std::string local_bandwidth;      // inside a host; empty: no limit
  double latency_ms = 0.05;         // between hosts
  double message_us = 10.0;         // of a rank's processor for each message
  std::optional<double> compute_s;  // of a step; else it is measured here
};
ExitCode run_simulate(const SimulateArgs& args);

struct ConfigArgs {
  RecipeArgs recipe;
  int ranks = 1;    // validate: the world that the batch must fit
  std::string key;  // explain: a key or a section; empty: everything
};
ExitCode run_config_show(const ConfigArgs& args);
ExitCode run_config_validate(const ConfigArgs& args);
ExitCode run_config_explain(const ConfigArgs& args);
struct DocsArgs {
  std::span<const JobKind> jobs;
};
ExitCode run_config_docs(const DocsArgs& args);

struct TraceArgs {
  std::string run;                   // its folder
  std::optional<std::int64_t> step;  // the last that all ranks have traced
  std::string out;                   // of OUT.json and OUT.svg; empty: trace, in the folder
};
ExitCode run_trace(const TraceArgs& args);

struct DoctorArgs {
  std::string dir = ".";  // where runs will be written
};
ExitCode run_doctor(const DoctorArgs& args);

}  // namespace gradwire
