"""Pipelines and replicas together, as a user runs them: the same training in every shape, going on in
another shape, evaluation and generation through the stages, and what is refused."""

from harness import *

BASE = ["train.steps=20", "train.eval_every=10", "checkpoint.every=10", "model.layers=4",
        'generate.prompt=["the king"]', "generate.tokens=8", "generate.temperature=0.0"]


def shape(pipeline, schedule="1f1b", micro=2, **more):
    sets = [f"parallel.pipeline={pipeline}", f'parallel.schedule="{schedule}"', f"batch.micro={micro}"]
    return BASE + sets + [f"parallel.{k}={json.dumps(v)}" for k, v in more.items()]


class Pipeline(ProgramTest):
    def losses(self, run):
        return [r["loss"] for r in self.metrics(run)]

    def assert_close(self, run, expected, tolerance=2e-3):
        found = self.losses(run)
        self.assertEqual(len(found), len(self.losses(expected)))
        for a, b in zip(found, self.losses(expected)):
            self.assertAlmostEqual(a, b, delta=tolerance)

    def test_every_shape_and_schedule_trains_as_one_rank_does(self):
        text = self.train(*BASE, "batch.micro=2", run="one").split("---")[1]
        shapes = [(2, 2, shape(2)), (4, 2, shape(2, "zero_bubble")), (4, 4, shape(4, "gpipe")),
                  (4, 2, shape(2, "interleaved", chunks=2)),
                  (2, 2, shape(2, stages="4 2", recompute=True)),
                  (4, 2, shape(2, "zero_bubble", shard_optimizer=True))]
        for i, (ranks, pipeline, sets) in enumerate(shapes):
            with self.subTest(sets):
                out = self.train(*sets, ranks=ranks, run=f"run{i}")
                self.assert_close(f"run{i}", "one")
                self.assertIn("rank  host  device  place", out)
                self.assertEqual(out.split("---")[1].split("\n")[1], text.split("\n")[1])

    def test_goes_on_bit_for_bit_in_the_same_shape(self):
        for optimizer in (["optim.name=\"adamw\""],
                          ["optim.name=\"onebit_adam\"", "optim.freeze_step=5"],
                          ["optim.name=\"onebit_adam\"", "optim.freeze_step=5",
                           "parallel.shard_optimizer=true"],
                          ["compress.method=\"econtrol\"", "compress.codec=\"topk\""]):
            with self.subTest(optimizer):
                sets = shape(2, "zero_bubble", stages="even") + optimizer
                sets += ["compress.least_gain=0.0", "train.replica_check_every=1"]
                self.train(*sets, "train.steps=10", "schedule.kind=\"constant\"", ranks=4, run="halves")
                self.train(*sets, "schedule.kind=\"constant\"", ranks=4, run="straight")
                self.train(*sets, "schedule.kind=\"constant\"", ranks=4, run="halves")
                self.assertEqual(self.tensor_hashes(self.checkpoints("straight")[-1]),
                                 self.tensor_hashes(self.checkpoints("halves")[-1]))
                shutil.rmtree(self.dir / "straight")
                shutil.rmtree(self.dir / "halves")

    def test_goes_on_in_another_shape(self):
        constant = ["schedule.kind=\"constant\"", "parallel.stages=\"even\""]
        saved = shape(2) + constant
        self.train(*saved, "train.steps=10", ranks=4, run="saved")
        self.train(*saved, ranks=4, run="straight")
        for ranks, pipeline in ((4, 1), (4, 4), (1, 1)):
            with self.subTest(f"({ranks // pipeline}, {pipeline})"):
                shutil.copytree(self.dir / "saved", self.dir / "other")
                out = self.train(*shape(pipeline), *constant, ranks=ranks, run="other")
                self.assertIn("at step 10", out)
                self.assert_close("other", "straight")
                shutil.rmtree(self.dir / "other")

    def test_residuals_follow_their_parameters_into_another_shape(self):
        compressed = ["schedule.kind=\"constant\"", "parallel.stages=\"even\"",
                      "compress.method=\"ef\"", "compress.codec=\"topk\"", "compress.ratio=0.1",
                      "compress.least_gain=0.0"]
        self.train(*shape(2), *compressed, "train.steps=10", ranks=4, run="saved")
        out = self.train(*shape(1), *compressed, ranks=2, run="saved")
        self.assertIn("at step 10", out)
        self.assertEqual(len(self.losses("saved")), 20)

    def test_evaluates_and_generates_through_the_stages(self):
        sets = shape(2, stages="even")
        self.train(*sets, ranks=2)
        flat = [arg for item in sets for arg in ("--set", item)]
        through = json.loads(self.run_program("eval", "recipe.toml", *flat, ranks=2))
        alone = json.loads(self.run_program("eval", "recipe.toml", *flat, "--set",
                                            "parallel.pipeline=1"))
        self.assertAlmostEqual(through["loss"], alone["loss"], delta=1e-5)
        self.assertEqual(through["tokens"], alone["tokens"])
        text = self.run_program("generate", "recipe.toml", *flat, ranks=2)
        self.assertEqual(text, self.run_program("generate", "recipe.toml", *flat, "--set",
                                                "parallel.pipeline=1"))

    def test_a_schedule_out_of_a_file(self):
        (self.dir / "mine.txt").write_text("# two stages, four micro-batches\n"
                                           "0F0 0F1 0B0 0F2 0B1 0F3 0B2 0B3\n"
                                           "1F0 1B0 1F1 1B1 1F2 1B2 1F3 1B3\n")
        self.train(*shape(2), ranks=2, run="builtin")
        self.train(*shape(2, "mine.txt"), ranks=2, run="written")
        self.assertEqual(self.losses("written"), self.losses("builtin"))

    def test_what_cannot_fit_is_refused(self):
        (self.dir / "wrong.txt").write_text("0F0 0B0\n1F0 1F0\n")
        for ranks, sets, words in (
                (3, shape(2), "3 ranks are no multiple of a pipeline of 2"),
                (2, shape(2, stages="9 9"), "'9 9' does not cut 6 units into 2 stages"),
                (2, shape(2, "nowhere.txt"), "neither gpipe, 1f1b, interleaved or zero_bubble nor a file"),
                (2, shape(2, chunks=2), "several stages a rank need the schedule interleaved"),
                (2, shape(2, "interleaved", chunks=4), "8 stages for 6 units"),
                (2, shape(2) + ["model.width=65536", "model.layers=100"], "MB for 2 ranks on this host"),
                (2, shape(2, "wrong.txt"), "0B0 comes before the gradient of stage 1")):
            with self.subTest(sets):
                self.assertIn(words, self.train(*sets, ranks=ranks, expect=2))


if __name__ == "__main__":
    unittest.main()
