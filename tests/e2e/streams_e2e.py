"""Standard streams that cannot be written, or are not there: no outcome of a run depends on them."""

from harness import *

FULL = "/dev/full"


class Streams(ProgramTest):
    def shell(self, line, expect, timeout=120):
        """`line` for bash, in which $G is the program; its exit status must be `expect`."""
        done = subprocess.run(["bash", "-c", line], cwd=self.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=timeout, env=dict(os.environ, G=GRADWIRE))
        self.assertEqual(done.returncode, expect, done.stdout[-3000:])
        return done.stdout

    def assert_trained(self, step=40):
        self.assertEqual(self.metrics()[-1]["step"], step)
        self.assertIn(f"step-{step:08}", [path.name for path in self.checkpoints()])

    def test_training_does_not_need_its_streams(self):
        for streams in (f">{FULL} 2>{FULL}", ">&- 2>&-", "0>&- >&- 2>&-"):
            with self.subTest(streams):
                shutil.rmtree(self.dir / "run", ignore_errors=True)
                self.shell(f"$G train recipe.toml {streams}", expect=0)
                self.assert_trained()
                self.run_program("ckpt", "verify", "run")

    def test_a_result_that_could_not_be_shown_is_said(self):
        out = self.shell(f"$G train recipe.toml 2>&1 >{FULL}", expect=0)
        self.assertEqual(out.count("warning: standard output: cannot be written"), 1)

    def test_a_reader_that_went_away_stops_no_rank(self):
        line = '{ "$@"; echo $? >code; } 2>&1 | head -n 1'
        for args in (["$G"], ["$G", "launch", "-n", "2", "--"]):
            with self.subTest(" ".join(args)):
                shutil.rmtree(self.dir / "run", ignore_errors=True)
                command = " ".join([*args, "train", "recipe.toml"])
                self.shell(f"set -- {command}; {line}", expect=0)
                self.assertEqual((self.dir / "code").read_text(), "0\n")
                self.assert_trained()

    def test_a_stop_with_a_full_stderr_still_exits_with_75(self):
        for launcher in ([], ["launch", "-n", "2", "--"]):
            with self.subTest(launcher), open(FULL, "w") as full:
                shutil.rmtree(self.dir / "run", ignore_errors=True)
                process = subprocess.Popen(
                    [GRADWIRE, *launcher, "train", "recipe.toml", "--set", "train.steps=100000",
                     "--set", "train.log_every=1"], cwd=self.dir, stdin=subprocess.DEVNULL,
                    stdout=full, stderr=full)
                self.wait_for_step(process, 5)
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(60), 75)
                self.assert_trained(self.metrics()[-1]["step"])

    def test_failures_keep_their_exit_code(self):
        for streams in (f"2>{FULL}", "2>&-", "2> >(true)"):
            self.shell(f"$G train nope.toml {streams}", expect=2)
        self.shell(f"$G launch -n 2 -- train nope.toml 2>{FULL}", expect=2)

    def test_a_result_that_cannot_be_written_is_exit_8(self):
        self.train()
        for command in ("eval recipe.toml", "config docs", "ckpt ls run", "--version",
                        "generate recipe.toml --prompt the --tokens 4"):
            for stdout in (f">{FULL}", ">&-"):
                out = self.shell(f"$G {command} 2>&1 {stdout}", expect=8)
                self.assertIn("gradwire: file system: ", out)
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([GRADWIRE, "config", "docs"], stdout=writer, stderr=subprocess.PIPE,
                              text=True, timeout=60)
        os.close(writer)
        self.assertEqual(done.returncode, 8, done.stderr)
        self.assertIn("Broken pipe", done.stderr)


if __name__ == "__main__":
    unittest.main()
