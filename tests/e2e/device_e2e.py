"""Which device a run computes on, as far as that can be seen without one: GPUs are hidden."""

from harness import *


class Device(ProgramTest):
    def setUp(self):
        super().setUp()
        self.hidden = dict(os.environ, CUDA_VISIBLE_DEVICES="")

    def hidden_gpus(self, *settings, ranks=1, expect=0, arguments=()):
        words = ["train", "recipe.toml", *arguments]
        for setting in settings:
            words += ["--set", setting]
        done = subprocess.run(self.command(*words, ranks=ranks), cwd=self.dir, env=self.hidden,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(done.returncode, expect, done.stdout[-3000:])
        return done.stdout

    def test_auto_without_a_gpu_is_the_cpu(self):
        out = self.hidden_gpus('run.device="auto"', ranks=2)
        self.assertRegex(out, r"(?m)^   0  \S+  cpu  replica 0")
        self.assertRegex(out, r"(?m)^   1  \S+  cpu  replica 1")

    def test_cuda_without_a_gpu_is_refused_before_anything_is_made(self):
        for arguments in ((), ("--dry-run",)):
            out = self.hidden_gpus('run.device="cuda"', expect=2, arguments=arguments)
            self.assertIn('run.device = "cuda": ', out)
        self.assertFalse((self.dir / "run").exists())

    def test_dry_run_names_the_device(self):
        self.assertIn("device          cpu\n", self.hidden_gpus(arguments=("--dry-run",)))

    def test_what_no_gpu_runs_is_named(self):
        out = self.hidden_gpus('run.device="cuda"', 'optim.name="onebit_adam"',
                               "parallel.shard_optimizer=true", expect=2)
        self.assertIn("run.device: a 1-bit optimizer with sharded state runs on the CPU only", out)

    def test_a_run_may_go_on_with_another_choice(self):
        for run, later in (("straight", "cpu"), ("changed", "auto")):
            self.hidden_gpus(f'run.dir="{run}"', "train.steps=40")
            self.hidden_gpus(f'run.dir="{run}"', "train.steps=50", f'run.device="{later}"')
        self.assertEqual(self.metrics("changed")[-1]["step"], 50)
        self.assertEqual([r["loss"] for r in self.metrics("changed")],
                         [r["loss"] for r in self.metrics("straight")])


if __name__ == "__main__":
    unittest.main()
