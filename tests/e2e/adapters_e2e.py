"""Adapters on a model that gradwire has trained."""
import json
import unittest

from harness import ProgramTest

LORA = ('adapters.method="lora"', 'adapters.base="base"', "adapters.rank=2")


class AdaptersTest(ProgramTest):
    def base(self):
        self.train("train.steps=20", run="base")

    def manifest(self, run):
        return json.loads((self.checkpoints(run)[-1] / "manifest.json").read_text())

    def parameters(self, run):
        return {name: h for name, h in self.tensor_hashes(self.checkpoints(run)[-1]).items()
                if name.startswith("param/")}

    def test_only_adapters_are_saved_and_the_base_is_named_by_digest(self):
        self.base()
        self.train("train.steps=20", *LORA, run="a")
        self.assertTrue(all(".lora_" in name for name in self.parameters("a")))
        frozen = {p["name"] for p in self.manifest("a")["frozen"]}
        self.assertEqual({"param/" + name for name in frozen}, set(self.parameters("base")))
        losses = [row["loss"] for row in self.metrics("a")]
        self.assertLess(losses[-1], losses[0])
        self.run_program("generate", "recipe.toml", "--ckpt", "a", "--prompt", "the king",
                         "--tokens", "4", *[x for s in LORA for x in ("--set", s)])

    def resumes(self, *settings, ranks):
        self.base()
        same = ('schedule.kind="constant"', *LORA, *settings)
        self.train("train.steps=20", *same, run="whole", ranks=ranks)
        self.train("train.steps=10", *same, run="stopped", ranks=ranks)
        out = self.train("train.steps=20", *same, run="stopped", ranks=ranks)
        self.assertIn("at step 10", out)
        self.assertEqual(self.tensor_hashes(self.checkpoints("whole")[-1]),
                         self.tensor_hashes(self.checkpoints("stopped")[-1]))

    def test_two_ranks_with_one_bit_adam(self):
        self.resumes('optim.name="onebit_adam"', "optim.freeze_step=5", "compress.least_gain=0.0",
                     ranks=2)

    def test_two_ranks_with_econtrol(self):
        self.resumes('compress.method="econtrol"', "compress.least_gain=0.0", ranks=2)

    def test_two_ranks_with_powersgd(self):
        self.resumes('compress.method="powersgd"', "compress.rank=1", "compress.least_gain=0.0",
                     ranks=2)

    def test_pipeline(self):
        self.resumes("parallel.pipeline=2", ranks=2)

    def test_a_stage_without_adapters_trains_with_the_others(self):
        self.base()
        same = (*LORA, 'adapters.targets=["model.layers.0.*.q_proj"]', "train.log_every=1", 'parallel.stages="even"')
        self.train("train.steps=5", *same, run="one")
        self.train("train.steps=5", *same, "parallel.pipeline=2", run="two", ranks=2)
        one, two = ([row["loss"] for row in self.metrics(run)] for run in ("one", "two"))
        self.assertEqual(len(one), len(two))
        for a, b in zip(one, two):
            self.assertAlmostEqual(a, b, delta=1e-4)

    def test_another_base_is_refused(self):
        self.base()
        self.train("train.steps=10", *LORA, run="a")
        self.train("train.steps=10", "seed=99", run="other")
        out = self.train("train.steps=20", *LORA, 'adapters.base="other"', run="a", expect=4)
        self.assertIn("another base model", out)

    def test_what_is_missing_is_named(self):
        out = self.train('adapters.method="lora"', expect=2)
        self.assertIn("which trained model", out)
        out = self.train(*LORA, 'adapters.base="nowhere"', expect=2)
        self.assertIn("no such folder: 'nowhere'", out)
        self.base()
        out = self.train(*LORA, 'adapters.targets=["*.query"]', expect=2)
        self.assertIn("'*.query' matches no linear layer", out)


if __name__ == "__main__":
    unittest.main()
