"""Recipes and data that cannot be used: one clear message, the documented exit code."""

from harness import *


class BadInput(ProgramTest):
    def test_recipe_problems_come_all_at_once(self):
        text = RECIPE_WITH_FAULTS
        (self.dir / "bad.toml").write_text(text)
        out = self.run_program("train", "bad.toml", expect=2)
        self.assertRegex(out, r"bad.toml:\d+.*weight_decy.*unknown key.*did you mean 'optim.weight_decay'")
        self.assertRegex(out, r"bad.toml:\d+.*layers.*expected an integer")
        self.assertRegex(out, r"bad.toml:\d+.*vocab_size")

    def test_missing_recipe(self):
        out = self.run_program("train", "nowhere.toml", expect=2)
        self.assertIn("nowhere.toml", out)

    def test_duplicate_key(self):
        (self.dir / "twice.toml").write_text("seed = 1\nseed = 2\n")
        self.assertIn("twice.toml:2", self.run_program("train", "twice.toml", expect=2))

    def test_missing_text(self):
        out = self.train('data.text=["nowhere.txt"]', expect=2)
        self.assertIn("nowhere.txt", out)

    def test_batch_that_does_not_fit_the_ranks(self):
        out = self.train("batch.global=9", ranks=2, expect=2)
        self.assertIn("batch.global", out)
        self.assertEqual(out.count("batch.global"), 1, "only one rank says it")

    def test_empty_corpus(self):
        (self.dir / "corpus.txt").write_text("\n\n")
        out = self.train(expect=3)
        self.assertIn("corpus.txt", out)

    def test_truncated_token_file_is_made_again(self):
        self.run_program("prepare", "recipe.toml")
        tokens = next((self.dir / "cache").rglob("train.h5"))
        whole = tokens.read_bytes()
        tokens.write_bytes(whole[: len(whole) // 2])
        self.train()
        self.assertEqual(tokens.read_bytes(), whole)

    def test_token_file_with_a_flipped_bit(self):
        self.run_program("prepare", "recipe.toml")
        tokens = next((self.dir / "cache").rglob("train.h5"))
        data = bytearray(tokens.read_bytes())
        data[len(data) // 2] ^= 0x10
        tokens.write_bytes(data)
        out = self.train(expect=3)
        self.assertIn("train.h5", out)

    def test_checkpoint_of_another_model(self):
        self.train()
        out = self.train("model.layers=3", "train.steps=45", expect=4)
        self.assertIn("model.layers: 2 -> 3", out)

    def test_other_heads_are_another_model_though_no_tensor_has_another_shape(self):
        self.train()
        for command in ("train", "eval"):
            out = self.run_program(command, "recipe.toml", "--set", "model.heads=8", "--set",
                                   "train.steps=45", expect=4)
            self.assertIn("model.heads: 4 -> 8", out)

    def test_a_refused_start_changes_nothing(self):
        self.train()
        before = self.contents("run")
        self.train("model.width=64", "train.steps=45", expect=4)
        out = self.train("optim.lr=1e-2", expect=2)
        self.assertIn("optim.lr: 0.003 -> 0.01", out)
        self.assertIn("run.dir", out)
        self.train("train.steps=25", expect=2)
        self.train(resume="nowhere/step-00000010", expect=4)
        self.assertEqual(self.contents("run"), before)

    def test_folders_that_may_not_be_written_are_the_recipe_s_fault(self):
        # Nobody, not even root, may make a folder there.
        out = self.train(run="/sys/gradwire", expect=2)
        self.assertRegex(out, r"/sys.*(Permission denied|Operation not permitted|Read-only)")
        out = self.train('data.cache="/sys/gradwire"', expect=2)
        self.assertRegex(out, r"recipe: /sys/gradwire: cannot be made")
        out = self.run_program("prepare", "recipe.toml", "--set", 'data.cache="/sys/gradwire"',
                               ranks=2, expect=2)
        self.assertIn("/sys/gradwire: cannot be made", out)

    def test_a_run_is_no_checkpoint_to_go_back_to(self):
        self.train("train.steps=20")
        out = self.train("train.steps=30", resume="run", expect=2)
        self.assertIn("name one checkpoint to go back to", out)
        self.assertIn("run/checkpoints/step-00000020", out)

    def test_a_small_text_says_what_to_lower(self):
        (self.dir / "corpus.txt").write_text("a few words\n\nand a few more\n")
        self.assertIn("lower data.vocab_size", self.train("data.vocab_size=500", expect=3))
        (self.dir / "corpus.txt").write_text(corpus(3))
        self.assertIn("lower data.context", self.train("data.context=3000", expect=3))


RECIPE_WITH_FAULTS = """
schema = 1
[model]
layers = "two"
[data]
text = ["corpus.txt"]
vocab_size = -5
[optim]
weight_decy = 0.1
"""

if __name__ == "__main__":
    unittest.main()
