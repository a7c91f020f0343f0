#include "launch/cli/options.h"

namespace gradwire {
namespace {

void add_config(CLI::App& app, CommandAction& chosen, std::span<const JobKind> jobs) {
  CLI::App* config = app.add_subcommand("config", "look at a recipe without running it");
  config->require_subcommand(1);

  CLI::App* show = config->add_subcommand("show", "print the recipe with its defaults written out");
  add_recipe(*show, on_parsed(*show, chosen, run_config_show).recipe, jobs);

  CLI::App* check = config->add_subcommand("validate", "check everything a run would check first");
  ConfigArgs& check_args = on_parsed(*check, chosen, run_config_validate);
  add_recipe(*check, check_args.recipe, jobs);
  check->add_option("--ranks", check_args.ranks, "ranks that the batch must fit (1)")
      ->check(CLI::PositiveNumber);

  CLI::App* explain = config->add_subcommand("explain", "what a key means and where it was set");
  ConfigArgs& explain_args = on_parsed(*explain, chosen, run_config_explain);
  add_recipe(*explain, explain_args.recipe, jobs);
  explain->add_option("KEY", explain_args.key, "a key or a section; all if it is left out");

  CLI::App* docs =
      config->add_subcommand("docs", "print the reference of all keys (docs/recipes.md)");
  on_parsed(*docs, chosen, run_config_docs).jobs = jobs;
}

void add_import(CLI::App& app, CommandAction& chosen) {
  CLI::App* command = app.add_subcommand(
      "import", "bring a model of another program into a folder that model.from can name");
  ImportArgs& args = on_parsed(*command, chosen, run_import);
  command->add_option("SRC", args.source, "a GGUF file or a Hugging Face folder")->required();
  command->add_option("--out", args.out, "the folder to make")->required();
  command
      ->add_option("--dtype", args.type,
                   "of the weights; keep: as they are, quantised blocks as f32 (keep)")
      ->check(CLI::IsMember({"keep", "f32", "f16", "bf16"}));
}

}  // namespace

void add_inspection_commands(CLI::App& app, CommandAction& chosen, std::span<const JobKind> jobs) {
  add_config(app, chosen, jobs);
  add_import(app, chosen);
  CLI::App* trace = app.add_subcommand("trace", "draw what the ranks did in a step of a run");
  TraceArgs& trace_args = on_parsed(*trace, chosen, run_trace);
  trace->add_option("RUN", trace_args.run, "the folder of a run with log.trace_every")->required();
  trace->add_option("--step", trace_args.step, "a traced step (the last one)");
  trace->add_option("--out", trace_args.out, "writes OUT.json and OUT.svg (RUN/trace)");
  CLI::App* doctor = app.add_subcommand("doctor", "check that this machine can run a training");
  DoctorArgs& args = on_parsed(*doctor, chosen, run_doctor);
  doctor->add_option("--dir", args.dir, "where runs will be written (.)");
}

}  // namespace gradwire
