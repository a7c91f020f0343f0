"""Fine-tuning on samples: the loss of the answers, however ranks share the work; going on bit for bit."""
from harness import *

SAMPLES = ('data.text=["samples.jsonl"]', 'data.format="prompt_completion"', "train.log_every=1")


class FineTuningTest(ProgramTest):
    def setUp(self):
        super().setUp()
        sentences = [line.split() for line in corpus(documents=30).splitlines() if line]
        lines = [{"prompt": " ".join(words[:2 + i % 3]), "completion": " " + " ".join(words[2 + i % 3:])}
                 for i, words in enumerate(sentences[:196])]
        (self.dir / "samples.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))

    def losses(self, run):
        return [row["loss"] for row in self.metrics(run)]

    def same_losses(self, *settings):
        self.train("train.steps=12", *SAMPLES, *settings, run="one")
        self.train("train.steps=12", *SAMPLES, *settings, "batch.micro=1", run="micros")
        self.train("train.steps=12", *SAMPLES, *settings, "batch.micro=2", run="two", ranks=2)
        self.train("train.steps=12", *SAMPLES, *settings, "parallel.pipeline=2", run="pipeline", ranks=2)
        one = self.losses("one")
        self.assertEqual(len(one), 12)
        self.assertLess(one[-1], one[0])
        evaluated = [row["loss"] for row in self.metrics("one", "evaluation")]
        self.assertTrue(evaluated)
        for run in ("micros", "two", "pipeline"):
            for a, b in zip(one, self.losses(run), strict=True):
                self.assertAlmostEqual(a, b, delta=2e-4, msg=run)
            for a, b in zip(evaluated, [row["loss"] for row in self.metrics(run, "evaluation")], strict=True):
                self.assertAlmostEqual(a, b, delta=2e-4, msg=run)

    def test_ranks_micro_batches_and_stages_give_the_same_loss(self):
        self.same_losses("train.eval_every=6")

    def test_without_packing_too(self):
        self.same_losses("train.eval_every=6", "data.packing=false")

    def test_eval_gives_the_loss_of_training_and_generate_answers(self):
        self.train("train.steps=12", *SAMPLES, "train.eval_every=12")
        settings = [x for s in SAMPLES for x in ("--set", s)]
        result = json.loads(self.run_program("eval", "recipe.toml", *settings).strip().splitlines()[-1])
        self.assertAlmostEqual(result["loss"], self.metrics(kind="evaluation")[-1]["loss"], delta=1e-5)
        self.run_program("generate", "recipe.toml", "--prompt", "a king", "--tokens", "4", *settings)

    def resumes(self, *settings, ranks):
        same = ('schedule.kind="constant"', *SAMPLES, *settings)
        self.train("train.steps=20", *same, run="whole", ranks=ranks)
        self.train("train.steps=10", *same, run="stopped", ranks=ranks)
        self.assertIn("at step 10", self.train("train.steps=20", *same, run="stopped", ranks=ranks))
        self.assertEqual(self.tensor_hashes(self.checkpoints("whole")[-1]),
                         self.tensor_hashes(self.checkpoints("stopped")[-1]))

    def test_goes_on_bit_for_bit(self):
        self.resumes(ranks=1)

    def test_goes_on_bit_for_bit_with_one_bit_adam(self):
        self.resumes('optim.name="onebit_adam"', "optim.freeze_step=5", "compress.least_gain=0.0", ranks=2)

    def test_goes_on_bit_for_bit_in_a_pipeline(self):
        self.resumes("parallel.pipeline=2", ranks=2)

    def prepare(self, *sets, expect=0):
        return self.run_program("prepare", "recipe.toml", *[x for s in (*SAMPLES, *sets) for x in ("--set", s)],
                                expect=expect)

    def test_prepare_counts_and_refuses(self):
        out = self.prepare()
        self.assertRegex(out, r"196 samples \(0 truncated, 0 left out\), \d+ training and \d+ validation tokens, "
                              r"\d+ of them answers; [\d.]+ % of the training sequences is padding")
        self.assertIn("up to date", self.prepare())
        self.assertRegex(self.prepare("data.context=6", expect=3), r"samples\.jsonl:\d+: a sample of \d+ tokens")
        self.assertRegex(self.prepare("data.context=6", 'data.too_long="truncate"'), r"\([1-9]\d* truncated")
        self.write_chats()
        self.assertIn("no chat template", self.prepare('data.text=["chat.jsonl"]', 'data.format="chat"', expect=3))
        self.assertIn("not of samples", self.prepare('data.ranks_read="stretch"', expect=2))
        with (self.dir / "samples.jsonl").open("a") as file:
            file.write('{"prompt": "a"}\n')
        self.assertIn('samples.jsonl:197: no "completion" in it', self.prepare(expect=3))

    def write_chats(self):
        with (self.dir / "chat.jsonl").open("w") as file:
            for line in (self.dir / "samples.jsonl").read_text().splitlines():
                sample = json.loads(line)
                file.write(json.dumps({"messages": [{"role": "user", "content": sample["prompt"]},
                                                    {"role": "assistant", "content": sample["completion"]}]}) + "\n")


if __name__ == "__main__":
    unittest.main()
