"""Requests to stop, by every signal and at every moment: a checkpoint and exit code 75."""

from harness import *

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP]
LAUNCH_2 = ["launch", "-n", "2", "--"]
ACKNOWLEDGED = "will stop after what is under way"


class Signals(ProgramTest):
    def begin(self, *sets, launcher=(), mpi_ranks=1, **kwargs):
        args = [x for s in ("train.log_every=1", *sets) for x in ("--set", s)]
        process = self.start(*launcher, "train", "recipe.toml", *args, ranks=mpi_ranks, **kwargs)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def begin_long(self, *sets, **kwargs):
        return self.begin("train.steps=100000", *sets, **kwargs)

    def wait_for(self, process, condition, what, timeout=60):
        end = time.monotonic() + timeout
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            self.assertIsNone(process.poll(), what)
            time.sleep(0.002)

    def wait_for_line(self, process, text):
        """Reads on until a line has `text`; everything read."""
        read = ""
        for line in process.stdout:
            read += line
            if text in line:
                return read
        self.fail(f"no '{text}' in {read[-3000:]}")

    def ends(self, process, code):
        out, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, code, out[-3000:])
        return out

    def assert_saved_at_the_last_step(self):
        last = self.metrics()[-1]["step"]
        self.assertIn(f"step-{last:08}", [path.name for path in self.checkpoints()])
        return last

    def test_every_signal_is_a_request_that_is_acknowledged_at_once(self):
        for number in SIGNALS:
            for launcher in ([], LAUNCH_2):
                with self.subTest(number.name, launcher=launcher):
                    shutil.rmtree(self.dir / "run", ignore_errors=True)
                    process = self.begin_long(launcher=launcher)
                    self.wait_for_step(process, 3)
                    process.send_signal(number)
                    out = self.ends(process, 75)
                    self.assertEqual(out.count(f"gradwire: {number.name}: {ACKNOWLEDGED}"),
                                     2 if launcher else 1)
                    self.assert_saved_at_the_last_step()

    def test_mpirun_passes_sigusr2_on(self):
        process = self.begin_long(mpi_ranks=2)
        self.wait_for_step(process, 3)
        process.send_signal(signal.SIGUSR2)
        self.assertIn(f"SIGUSR2: {ACKNOWLEDGED}", self.ends(process, 75))

    def test_sigterm_to_launcher_and_ranks_alike_is_one_request(self):
        process = self.begin_long(launcher=LAUNCH_2)
        self.wait_for_step(process, 3)
        everybody = [process.pid, *children_of(process.pid)]
        for _ in range(3):
            for pid in everybody:
                os.kill(pid, signal.SIGTERM)
        self.ends(process, 75)
        self.assert_saved_at_the_last_step()

    def test_sigterm_until_the_process_is_gone_changes_no_exit_code(self):
        for sets, code in ((["train.steps=100000"], 75), (["train.steps=8"], 0)):
            for _ in range(3):
                shutil.rmtree(self.dir / "run", ignore_errors=True)
                process = self.begin(*sets)
                self.wait_for_step(process, 5 if code else 8)
                while process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    time.sleep(0.0005)
                self.ends(process, code)

    def test_nohup_means_what_it_says(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which children inherit
        try:
            process = self.begin_long()
        finally:
            signal.signal(signal.SIGHUP, before)
        self.wait_for_step(process, 3)
        process.send_signal(signal.SIGHUP)
        self.wait_for_step(process, self.metrics()[-1]["step"] + 20)
        process.send_signal(signal.SIGTERM)
        self.assertNotIn("SIGHUP", self.ends(process, 75))

    def test_stop_while_the_text_is_prepared(self):
        text = corpus() * 400
        (self.dir / "corpus.txt").write_text(text)
        for launcher in ([], LAUNCH_2):
            for at in ("training the tokenizer", "vocabulary of"):
                with self.subTest(at, launcher=launcher):
                    shutil.rmtree(self.dir / "cache", ignore_errors=True)
                    process = self.begin(launcher=launcher)
                    self.wait_for_line(process, at)
                    process.send_signal(signal.SIGTERM)
                    out = self.ends(process, 75)
                    self.assertIn("stopped on request before the first step", out)
                    self.assertEqual(self.metrics(), [])
                    self.assertEqual(list((self.dir / "cache").glob("tokens-*/train.h5")), [])
        (self.dir / "corpus.txt").write_text(corpus())
        self.train("train.steps=5")

    def test_stop_during_an_evaluation(self):
        (self.dir / "corpus.txt").write_text(corpus(documents=2000))
        sets = ["train.eval_every=1", "data.validation_share=0.9", "checkpoint.every=1000"]
        process = self.begin_long(*sets)
        self.wait_for_step(process, 1)  # logged before the evaluation that takes most of the time
        process.send_signal(signal.SIGTERM)
        self.ends(process, 75)
        self.assert_saved_at_the_last_step()

    def test_stop_during_a_checkpoint(self):
        process = self.begin_long("checkpoint.every=1", "model.width=256", "model.ffn_width=512")
        folder = self.dir / "run" / "checkpoints"
        self.wait_for(process, lambda: any(".tmp-" in p.name for p in folder.glob("*")),
                      "no checkpoint under way")
        process.send_signal(signal.SIGTERM)
        self.ends(process, 75)
        self.assert_saved_at_the_last_step()
        self.run_program("ckpt", "verify", "run")

    def test_stop_while_texts_are_sampled_ends_a_finished_run(self):
        prompts = "generate.prompt=[" + ", ".join(['"the"'] * 40) + "]"
        process = self.begin("train.steps=5", prompts, "generate.tokens=20")
        self.wait_for(process, lambda: self.metrics(kind="checkpoint"), "no checkpoint")
        process.send_signal(signal.SIGTERM)
        self.assertIn(f"SIGTERM: {ACKNOWLEDGED}", self.ends(process, 0))


if __name__ == "__main__":
    unittest.main()
