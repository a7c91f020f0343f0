"""Stopping on request and going on, bit for bit, in a new process."""

from harness import *

LONG = "train.steps=300"
INT8 = ("parallel.pipeline=2", 'parallel.stages="even"', 'parallel.boundary="int8"')


class Resume(ProgramTest):
    def stop_and_resume(self, ranks, send, *settings):
        self.train(LONG, *settings, ranks=ranks, run="straight")

        arguments = ["train", "recipe.toml", "--set", 'run.dir="stopped"']
        for setting in (LONG, *settings):
            arguments += ["--set", setting]
        process = self.start(*arguments, ranks=ranks)
        self.wait_for_step(process, 7, run="stopped")
        send(process)
        out, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75, out[-3000:])
        at = self.metrics("stopped")[-1]["step"]
        self.assertLess(at, 300)
        self.assertEqual(self.checkpoints("stopped")[-1].name, f"step-{at:08d}")

        out = self.run_program(*arguments, ranks=ranks)
        self.assertIn(f"step {at}", out)
        self.assertEqual(self.tensor_hashes(self.checkpoints("straight")[-1]),
                         self.tensor_hashes(self.checkpoints("stopped")[-1]))
        straight = {r["step"]: r["loss"] for r in self.metrics("straight")}
        stopped = {r["step"]: r["loss"] for r in self.metrics("stopped")}
        self.assertEqual(straight, stopped)

    def test_usr1_on_one_rank(self):
        self.stop_and_resume(1, lambda p: p.send_signal(signal.SIGUSR1))

    def test_interrupt_on_one_rank(self):
        self.stop_and_resume(1, lambda p: p.send_signal(signal.SIGINT))

    def test_terminate_with_sgd(self):
        self.stop_and_resume(1, lambda p: p.send_signal(signal.SIGTERM), 'optim.name="sgd"')

    def test_usr1_to_one_of_two_ranks_stops_both(self):
        def to_one_rank(process):
            ranks = children_of(process.pid)
            self.assertEqual(len(ranks), 2)
            os.kill(ranks[1], signal.SIGUSR1)
        self.stop_and_resume(2, to_one_rank)

    def test_usr1_to_mpirun_reaches_the_ranks(self):
        self.stop_and_resume(2, lambda p: p.send_signal(signal.SIGUSR1))

    def test_references_between_stages(self):
        self.stop_and_resume(2, lambda p: p.send_signal(signal.SIGUSR1), *INT8)

    def test_references_are_dropped_on_another_layout(self):
        self.train("train.steps=40", *INT8, run="a", ranks=2)
        for settings in (("batch.micro=1",), ("parallel.boundary=\"same\"",), ("parallel.pipeline=1",)):
            out = self.train("train.steps=60", *INT8, *settings, run="a", ranks=2)
            self.assertIn("at step 40", out)
            for checkpoint in self.checkpoints("a")[-2:]:  # of steps 50 and 60
                shutil.rmtree(checkpoint)

    def test_resume_none_starts_over(self):
        self.train(run="a")
        self.train(run="a", resume="none")
        self.assertEqual([r["step"] for r in self.metrics("a")][-1], 40)
        self.train(run="b")
        self.assertEqual(self.tensor_hashes(self.checkpoints("a")[-1]),
                         self.tensor_hashes(self.checkpoints("b")[-1]))

    def interrupted(self, *arguments, after, run):
        """Starts, asks for a stop once `after` is logged, and gives the step that was saved."""
        log = self.dir / run / "metrics.jsonl"
        starts = log.read_text().count('"event":"start"')
        process = self.start(*arguments)
        while log.read_text().count('"event":"start"') == starts and process.poll() is None:
            time.sleep(0.01)  # what is logged so far is of the processes before
        self.wait_for_step(process, after, run=run)
        process.send_signal(signal.SIGUSR1)
        out, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75, out[-3000:])
        return self.metrics(run)[-1]["step"], out

    def test_a_rewound_run_goes_on_with_the_same_command(self):
        self.train("train.steps=40", run="a")
        rewind = ["train", "recipe.toml", "--set", 'run.dir="a"', "--set", LONG,
                  "--resume", "a/checkpoints/step-00000020"]
        at, out = self.interrupted(*rewind, after=22, run="a")
        self.assertIn("changed since the checkpoint: train.steps: 40 -> 300", out)
        self.assertIn("the learning rate of step 21 is", out)
        aside = next((self.dir / "a" / "checkpoints").glob("aside-*"))
        self.assertEqual(sorted(p.name for p in aside.iterdir()), ["step-00000030", "step-00000040"])
        self.assertIn(f"step {at}", self.run_program(*rewind))
        self.assertEqual(self.metrics("a")[-1]["step"], 300)
        steps = [r["step"] for r in self.metrics("a")]
        self.assertEqual(steps, list(range(1, 301)))

    def test_none_starts_over_once(self):
        self.train(LONG, run="a")
        over = ["train", "recipe.toml", "--set", 'run.dir="a"', "--set", LONG, "--resume", "none"]
        at, out = self.interrupted(*over, after=7, run="a")
        self.assertIn("starting at step 0", out)
        self.assertIn(f"resuming from a/checkpoints/step-{at:08d}", self.run_program(*over))
        self.train(LONG, run="straight")
        self.assertEqual(self.tensor_hashes(self.checkpoints("a")[-1]),
                         self.tensor_hashes(self.checkpoints("straight")[-1]))

    def test_a_folder_that_cannot_be_listed_is_not_empty(self):
        self.train(run="a")
        good = self.dir / "a" / "checkpoints"
        good.rename(self.dir / "a" / "elsewhere")
        good.symlink_to("checkpoints")  # a loop: the system's error, also for root
        out = self.train(run="a", expect=8)
        self.assertIn("Too many levels of symbolic links", out)
        self.assertNotIn("starting at step 0", out)

    def test_resume_from_a_named_checkpoint(self):
        self.train(run="a")
        first = self.checkpoints("a")[0]
        out = self.train(run="b", resume=str(first))
        self.assertIn(first.name.removeprefix("step-").lstrip("0"), out)
        self.assertEqual(self.tensor_hashes(self.checkpoints("a")[-1]),
                         self.tensor_hashes(self.checkpoints("b")[-1]))

    def test_other_number_of_ranks_goes_on(self):
        self.train("train.steps=40", run="a", ranks=2)
        steps = self.metrics("a")
        self.train("train.steps=60", run="a", ranks=1)
        later = self.metrics("a")
        self.assertEqual(later[: len(steps)], steps)
        self.assertEqual(later[-1]["step"], 60)


if __name__ == "__main__":
    unittest.main()
