#include "launch/cli/options.h"

namespace gradwire {

void add_checkpoint_commands(CLI::App& app, CommandAction& chosen) {
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
