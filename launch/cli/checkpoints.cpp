#include "launch/cli/options.h"

namespace gradwire {
namespace {

void add_export(CLI::App& app, CommandAction& chosen, std::span<const JobKind> jobs) {
  CLI::App* command = app.add_subcommand(
      "export", "write a trained model as other programs read it, or compare one that was written");
  ExportArgs& args = on_parsed(*command, chosen, run_export);
  command
      ->add_option("--format", args.format,
                   "hf: a folder of Hugging Face; gguf: a file of llama.cpp; both with an adapter "
                   "merged. peft, gguf-lora: the adapter alone")
      ->required()
      ->check(CLI::IsMember({"hf", "gguf", "peft", "gguf-lora"}));
  command
      ->add_option("--ckpt", args.ckpt,
                   "a checkpoint, the folder of a run for its newest good one, or RUN/best; given "
                   "several times, the mean of their parameters: models or adapters of one recipe")
      ->required()
      ->allow_extra_args(false);
  command->add_option("--out", args.out, "the folder to make; with --verify, the one to read")
      ->required();
  command->add_option("--dtype", args.type, "of the weights; q8_0 and q4_0: gguf alone (f32)")
      ->check(CLI::IsMember({"f32", "f16", "bf16", "q8_0", "q4_0"}));
  command->add_flag("--verify", args.verify,
                    "write nothing: compare every tensor and key of OUT with the checkpoint");
  add_overrides(*command, args.recipe, jobs);
}

}  // namespace

void add_checkpoint_commands(CLI::App& app, CommandAction& chosen, std::span<const JobKind> jobs) {
  add_export(app, chosen, jobs);
  CLI::App* ckpt = app.add_subcommand("ckpt", "look at checkpoints");
  ckpt->require_subcommand(1);
  CLI::App* ls = ckpt->add_subcommand("ls", "list the checkpoints of a run");
  ls->add_option("RUN_OR_PATH", on_parsed(*ls, chosen, run_ckpt_ls).path,
                 "the folder of a run, or a checkpoint")
      ->required();
  CLI::App* verify = ckpt->add_subcommand("verify", "recompute all checksums");
  verify
      ->add_option("RUN_OR_PATH", on_parsed(*verify, chosen, run_ckpt_verify).path,
                   "the folder of a run, or a checkpoint")
      ->required();
}

}  // namespace gradwire
