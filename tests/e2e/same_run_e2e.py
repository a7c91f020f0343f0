"""Ranks that were not started alike: every one of them ends with 2 before anything is trained."""

from harness import *


class SameRun(ProgramTest):
    def two_ranks(self, *sets, command=("train", "recipe.toml")):
        """mpirun with one rank as the recipe has it, and one with other settings."""
        changes = [x for s in sets for x in ("--set", s)]
        done = subprocess.run(
            MPIRUN + ["-n", "1", GRADWIRE, *command, ":", "-n", "1", GRADWIRE, *command, *changes],
            cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=120)
        self.assertEqual(done.returncode, 2, done.stdout[-3000:])
        self.assertEqual(self.checkpoints(), [])
        return done.stdout

    def test_each_key_that_differs_is_named(self):
        keys = [("optim.lr", "0.003", "0.01"), ("seed", "3", "4"), ("batch.global", "8", "16"),
                ("batch.micro", "4", "2"), ("precision", '"f32"', '"bf16"'), ("data.context", "32", "16"),
                ("optim.clip_norm", "1.0", "2.0"), ("model.width", "32", "64"),
                ("parallel.bucket_bytes", "0", "1024"), ("train.steps", "40", "30"),
                ("checkpoint.every", "10", "7"), ("compress.method", '"auto"', '"powersgd"')]
        out = self.two_ranks(*(f"{key}={second}" for key, _, second in keys))
        for key, first, second in keys:
            self.assertIn(f"{key}: {first} on rank 0, {second} on rank 1", out)

    # What once ended in a double free, in SIGBUS, in a stall, and with exit 0 and garbage.
    def test_one_key_that_differs_is_enough(self):
        for setting in ("model.width=64", "parallel.bucket_bytes=1024", "train.steps=30", "optim.lr=1e-2"):
            with self.subTest(setting=setting):
                self.assertIn("on rank 1", self.two_ranks(setting))

    def test_over_tcp_every_rank_ends_with_2(self):
        address = f"127.0.0.1:{free_port()}"
        ranks = []
        for rank, rate in enumerate(("1e-3", "1e-3", "1e-2")):
            environment = dict(os.environ, GRADWIRE_RANK=str(rank), GRADWIRE_SIZE="3",
                               GRADWIRE_ADDRESS=address)
            ranks.append(subprocess.Popen(
                [GRADWIRE, "train", "recipe.toml", "--set", f"optim.lr={rate}", "--set",
                 "batch.global=12"], cwd=self.dir, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        texts = [r.communicate(timeout=120)[0] for r in ranks]
        self.assertEqual([r.returncode for r in ranks], [2, 2, 2], texts)
        for said in (texts[0], texts[2]):
            self.assertIn("optim.lr: 0.001 on ranks 0 to 1, 0.01 on rank 2", said)
        self.assertEqual(texts[1], "")

    def test_another_command_is_named(self):
        out = self.two_ranks_of(("train", "recipe.toml"), ("eval", "recipe.toml"))
        self.assertRegex(out, r"command: train --resume auto on rank 0, eval --ckpt  ?on rank 1")

    def two_ranks_of(self, first, second):
        done = subprocess.run(
            MPIRUN + ["-n", "1", GRADWIRE, *first, ":", "-n", "1", GRADWIRE, *second],
            cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=120)
        self.assertEqual(done.returncode, 2, done.stdout[-3000:])
        return done.stdout

    def test_a_rank_with_a_mistyped_key_says_so(self):
        out = self.two_ranks_of(("train", "recipe.toml"),
                                ("train", "recipe.toml", "--set", "optim.rl=1"))
        self.assertIn("optim.rl: unknown key", out)

    def test_a_rank_alone_that_is_wrong_says_so(self):
        done = subprocess.run(
            [GRADWIRE, "train", "recipe.toml", "--set", "optim.rl=1"], cwd=self.dir,
            env=dict(os.environ, GRADWIRE_RANK="1", GRADWIRE_SIZE="2", GRADWIRE_ADDRESS="127.0.0.1:9"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("[rank 1] gradwire: recipe: <command line>:1: optim.rl: unknown key", done.stdout)


if __name__ == "__main__":
    unittest.main()
