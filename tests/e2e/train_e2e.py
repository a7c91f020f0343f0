"""A run from the recipe to a model that is better than counting words."""

import re
import unittest.mock

from harness import *


class Train(ProgramTest):
    def test_learns_and_beats_the_unigram_model(self):
        out = self.train("train.steps=150")
        steps = self.metrics()
        self.assertEqual([row["step"] for row in steps], list(range(1, 151)))
        self.assertLess(steps[-1]["loss"], 0.5 * steps[0]["loss"])
        model, unigram = map(float, re.search(
            r"validation perplexity ([\d.]+) \(unigram model: ([\d.]+)\)", out).groups())
        self.assertLess(model, 0.5 * unigram)
        evaluation = self.metrics(kind="evaluation")[-1]
        self.assertAlmostEqual(evaluation["perplexity"], model, delta=0.01)

    def test_second_start_finds_the_run_finished(self):
        self.train()
        before = self.metrics()
        out = self.train()
        self.assertIn("finished", out)
        self.assertEqual(self.metrics(), before)

    def test_two_ranks_follow_one_rank(self):
        self.train(run="one")
        self.train(run="two", ranks=2)
        for a, b in zip(self.metrics("one"), self.metrics("two"), strict=True):
            # Sums in another order: 40 steps of f32 rounding, far below any real difference.
            self.assertAlmostEqual(a["loss"], b["loss"], delta=2e-3 * a["loss"])
            self.assertEqual(a["lr"], b["lr"])

    def test_accumulation_follows_one_large_micro_batch(self):
        self.train("batch.micro=8", run="large")
        self.train("batch.micro=2", run="small")
        for a, b in zip(self.metrics("large"), self.metrics("small"), strict=True):
            self.assertAlmostEqual(a["loss"], b["loss"], delta=2e-3 * a["loss"])

    def test_bf16_follows_f32(self):
        self.train(run="f32")
        self.train('precision="bf16"', run="bf16")
        for a, b in zip(self.metrics("f32"), self.metrics("bf16"), strict=True):
            # The tolerance docs/testing.md states: 2 % of the loss.
            self.assertAlmostEqual(a["loss"], b["loss"], delta=0.02 * a["loss"])

    def test_thread_count_changes_no_bit(self):
        self.train("train.threads=1", run="t1")
        self.train("train.threads=2", run="t2")
        self.assertEqual(self.tensor_hashes(self.checkpoints("t1")[-1]),
                         self.tensor_hashes(self.checkpoints("t2")[-1]))

    def checkpoint_with(self, isa, *sets):
        """The checksums of all state after a run with the kernels of an instruction set."""
        with unittest.mock.patch.dict(os.environ, GRADWIRE_ISA=isa):
            self.train(*sets, run=isa, resume="none")
        return self.tensor_hashes(self.checkpoints(isa)[-1])

    def test_instruction_set_changes_no_bit(self):
        for sets in (['optim.name="adamw"'], ['optim.name="sgd"', "optim.momentum=0.9"],
                     ['optim.name="onebit_adam"', "optim.freeze_step=20"]):
            with self.subTest(sets):
                least = self.checkpoint_with("v2", *sets)
                # A processor without AVX-512 repeats v3 for v4.
                self.assertEqual(self.checkpoint_with("v3", *sets), least)
                self.assertEqual(self.checkpoint_with("v4", *sets), least)

    def test_run_folder_holds_the_resolved_recipe_that_runs_again(self):
        self.train()
        again = self.run_program("config", "validate", "run/resolved.toml")
        self.assertIn("ok", again)

    def test_wire_bytes_are_those_of_dense_gradients(self):
        self.train(ranks=2)
        out = self.run_program("train", "recipe.toml", "--dry-run", "--set", 'run.dir="dry"')
        self.assertRegex(out, r"parameters +[\d,]+")
        wire = {row["wire_bytes"] for row in self.metrics()[1:]}
        self.assertEqual(len(wire), 1, "every step sends the same")
        self.assertGreater(wire.pop(), 0)

    def test_without_held_out_text_no_loss_is_made_up(self):
        out = self.train("data.validation_share=0", "train.eval_every=0", "log.tensorboard=true")
        self.assertNotIn("event=evaluation", out)
        self.assertNotIn("perplexity", out)
        self.assertEqual(self.metrics(kind="evaluation"), [])
        for events in (self.dir / "run" / "tensorboard").iterdir():
            self.assertNotIn(b"eval/loss", events.read_bytes())
            self.assertIn(b"train/loss", events.read_bytes())
        again = self.train("data.validation_share=0", "train.eval_every=0")
        self.assertIn("finished", again)
        self.assertNotIn("perplexity", again)
        out = self.run_program("eval", "recipe.toml", "--set", "data.validation_share=0", "--set",
                               "train.eval_every=0", expect=2)
        self.assertIn("data.validation_share: no text is held out", out)

    def test_the_run_keeps_what_its_console_said(self):
        def said(*sets, ranks=1, expect=0):
            done = subprocess.run(self.command("train", "recipe.toml", *sets, ranks=ranks),
                                  cwd=self.dir, capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, expect, done.stderr)
            return [line for line in done.stderr.splitlines() if line]

        log = self.dir / "run" / "console.log"
        first = said(ranks=2)
        self.assertTrue(any("event=checkpoint" in line for line in first))
        kept = log.read_text().splitlines()
        self.assertRegex(kept[0], r"^=== \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ gradwire .* starts as process \d+ on ")
        self.assertEqual([line for line in kept[1:] if line], first)
        second = said("--set", "train.steps=44", "--set", "optim.lr=1e30", "--set",
                      "train.max_nonfinite=1", expect=5)
        again = log.read_text().splitlines()
        self.assertEqual(again[:len(kept)], kept)
        self.assertRegex(again[len(kept)], "^=== ")
        self.assertEqual([line for line in again[len(kept) + 1:] if line], second)
        self.assertRegex(again[-1], r"^gradwire: numeric: ")
        before = log.read_text()
        said("--set", "model.layers=3", expect=4)  # refused: nothing changes
        self.assertEqual(log.read_text(), before)

    def test_a_console_log_that_cannot_be_written_is_only_said(self):
        (self.dir / "run" / "console.log").mkdir(parents=True)
        self.assertIn("console.log: cannot be written", self.train())
        self.assertEqual(len(self.metrics(kind="evaluation")), 2)

    def test_dry_run_trains_nothing(self):
        out = self.run_program("train", "recipe.toml", "--dry-run")
        for word in ("parameters", "memory", "batch", "bytes per step"):
            self.assertIn(word, out)
        self.assertFalse((self.dir / "run" / "checkpoints").exists())


if __name__ == "__main__":
    unittest.main()
