#include <cmath>

#include <fmt/format.h>

#include "launch/cli/options.h"

#include "jobs/job.h"
#include "recipe/field.h"

namespace gradwire {
namespace {

constexpr int kMostRanks = 65536;  // that can be asked about

// NaN passes a range: it is neither below nor above its bounds.
CLI::Validator is_finite() {
  return {[](const std::string& text) {
            double value = 0.0;
            const bool number = CLI::detail::lexical_cast(text, value);
            return number && std::isfinite(value) ? "" : text + " is no finite number";
          },
          ""};
}

void add_ckpt(CLI::App& command, std::string& path) {
  command.add_option("--ckpt", path,
                     "a checkpoint, the folder of a run, or 'best' or RUN/best for the one that "
                     "checkpoint.best has "
                     "picked (the newest good one of the recipe's run); 'none': the model that "
                     "model.from names, as it is");
}

void add_train(CLI::App& app, CommandAction& chosen, std::span<const JobKind> jobs) {
  CLI::App* train = app.add_subcommand("train", "train, or go on where the run stopped");
  TrainArgs& args = on_parsed(*train, chosen, run_train);
  add_recipe(*train, args.recipe, jobs);
  train->add_option(
      "--resume", args.resume,
      "auto: go on from the newest good checkpoint of the run, if any; none: start over; best: go "
      "back to the one that checkpoint.best has picked; or a checkpoint (not a run, but RUN/best) "
      "to "
      "go back to (auto). Given again, each goes on where it stopped");
  CLI::Option* dry_run =
      train->add_flag("--dry-run", args.dry_run, "say what would be done, and end");
  train->add_option("--ranks", args.ranks, "dry run: as if so many ranks were started")
      ->check(CLI::Range(1, kMostRanks))
      ->needs(dry_run);
}

void add_launch(CLI::App& app, CommandAction& chosen) {
  CLI::App* launch =
      app.add_subcommand("launch", "run a command as several ranks of this host, without mpirun");
  LaunchArgs& args = on_parsed(*launch, chosen, run_launch);
  launch->add_option("-n,--ranks", args.ranks, "ranks to start")
      ->required()
      ->check(CLI::Range(1, 1024));
  launch->add_option("COMMAND", args.command, "after `--`: train, eval, ... with its arguments")
      ->required();
  launch->footer("For example: gradwire launch -n 2 -- train examples/lm_kjv.toml");
}

// The value of an option as an override of the recipe: a list if the option may be repeated. A text
// is quoted only if it would be read as something else.
void add_verb_option(CLI::App& command, const VerbOption& option, RecipeArgs& recipe) {
  const std::string doc = fmt::format("{} ({})", option.doc, option.key);
  if (option.repeated) {
    command
        .add_option_function<std::vector<std::string>>(
            option.flag,
            [&recipe, key = option.key](const std::vector<std::string>& values) {
              recipe.set.push_back(fmt::format("{}={}", key, toml_text(values)));
            },
            doc)
        ->allow_extra_args(false);
    return;
  }
  command.add_option_function<std::string>(
      option.flag,
      [&recipe, key = option.key](const std::string& value) {
        recipe.set.push_back(fmt::format("{}={}", key, value));
      },
      doc);
}

// The commands that the jobs bring. Several jobs may have one of the same name and options: which
// is meant the recipe's task says.
void add_verbs(CLI::App& app, CommandAction& chosen, std::span<const JobKind> jobs) {
  const auto is_there = [&](const char* name) {
    const auto commands = app.get_subcommands([name](CLI::App* c) { return c->check_name(name); });
    return !commands.empty();
  };
  for (const JobKind& kind : jobs) {
    const std::unique_ptr<JobSections> sections = kind.sections();
    for (const Verb& verb : dynamic_cast<const JobRecipe&>(*sections).verbs()) {
      if (is_there(verb.name)) continue;
      CLI::App* command = app.add_subcommand(verb.name, verb.doc);
      VerbArgs& args = on_parsed(*command, chosen, run_verb);
      args.verb = verb.name;
      add_recipe(*command, args.recipe, jobs);
      add_ckpt(*command, args.ckpt);
      for (const VerbOption& option : verb.options)
        add_verb_option(*command, option, args.recipe);
    }
  }
}

void add_bench_comm(CLI::App& bench, CommandAction& chosen, std::span<const JobKind> jobs) {
  CLI::App* comm = bench.add_subcommand(
      "comm", "what exchanging takes on these ranks, by every codec, and what a recipe gains");
  BenchCommArgs& args = on_parsed(*comm, chosen, run_bench_comm);
  comm->add_option("RECIPE", args.recipe.path, "a TOML file (every key at its default)");
  add_overrides(*comm, args.recipe, jobs);
  comm->add_option("--parameters", args.parameters,
                   "that are exchanged (as many as take half a second)")
      ->check(CLI::PositiveNumber);
}

void add_bench(CLI::App& app, CommandAction& chosen, std::span<const JobKind> jobs) {
  CLI::App* bench = app.add_subcommand("bench", "measure");
  bench->require_subcommand(1);
  CLI::App* step = bench->add_subcommand("step", "time training steps of a recipe");
  BenchStepArgs& args = on_parsed(*step, chosen, run_bench_step);
  add_recipe(*step, args.recipe, jobs);
  step->add_option("--warmup", args.warmup, "steps before them (5)")->check(CLI::NonNegativeNumber);
  step->add_option("--steps", args.steps, "steps to time (20)")->check(CLI::PositiveNumber);
  add_bench_comm(*bench, chosen, jobs);
}

void add_simulate(CLI::App& app, CommandAction& chosen, std::span<const JobKind> jobs) {
  CLI::App* simulate =
      app.add_subcommand("simulate", "what a cluster that is only described would give");
  SimulateArgs& args = on_parsed(*simulate, chosen, run_simulate);
  add_recipe(*simulate, args.recipe, jobs);
  simulate->add_option("--workers,--ranks", args.workers, "ranks")
      ->required()
      ->check(CLI::Range(1, kMostRanks));
  simulate->add_option("--bandwidth", args.bandwidth, "of a host's link, each way, like 4.1gbit")
      ->required();
  simulate->add_option("--latency", args.latency_ms, "between hosts, in ms (0.05)")
      ->check(CLI::NonNegativeNumber)
      ->check(is_finite());
  simulate
      ->add_option("--message", args.message_us,
                   "of a worker's processor for each message, in us (10); bench comm measures it")
      ->check(CLI::NonNegativeNumber)
      ->check(is_finite());
  simulate->add_option("--workers-per-host", args.workers_per_host, "which share its link (1)")
      ->check(CLI::PositiveNumber);
  simulate->add_option("--local-bandwidth", args.local_bandwidth, "inside a host (no limit)");
  simulate
      ->add_option("--compute-seconds", args.compute_s,
                   "of a step's forward, backward and update (measured on this machine)")
      ->check(CLI::PositiveNumber)
      ->check(is_finite());
}

}  // namespace

void add_run_commands(CLI::App& app, CommandAction& chosen, std::span<const JobKind> jobs) {
  CLI::App* prepare = app.add_subcommand("prepare", "train the tokenizer and write token files");
  add_recipe(*prepare, on_parsed(*prepare, chosen, run_prepare).recipe, jobs);
  add_train(app, chosen, jobs);
  add_launch(app, chosen);
  CLI::App* eval = app.add_subcommand("eval", "what a checkpoint gives on held-out data");
  EvalArgs& eval_args = on_parsed(*eval, chosen, run_eval);
  add_recipe(*eval, eval_args.recipe, jobs);
  add_ckpt(*eval, eval_args.ckpt);
  add_verbs(app, chosen, jobs);
  add_bench(app, chosen, jobs);
  add_simulate(app, chosen, jobs);
}

}  // namespace gradwire
