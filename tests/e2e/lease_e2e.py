"""One run at a time in a folder that all its ranks share."""

from harness import *


class Lease(ProgramTest):
    def begin(self, ranks=1):
        """A run that goes on until it is stopped; it may say more than a pipe holds."""
        sets = [x for s in ("train.steps=1000000", "train.log_every=1") for x in ("--set", s)]
        self.log = open(self.dir / "output", "w+")
        process = subprocess.Popen(self.command("train", "recipe.toml", *sets, ranks=ranks), cwd=self.dir,
                                   stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        process.stdout = self.log
        self.addCleanup(self.log.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def stop(self, process):
        """Everything it has said."""
        process.send_signal(signal.SIGUSR1)  # which mpirun passes on
        process.wait(timeout=120)
        self.log.seek(0)
        out = self.log.read()
        self.assertEqual(process.returncode, 75, out[-3000:])
        return out

    def lease(self):
        return dict(line.split(" ", 1) for line in (self.dir / "run" / "lease").read_text().splitlines())

    def kill_all(self, process, ranks):
        victims = [process.pid] + (children_of(process.pid) if ranks > 1 else [])
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        process.wait(timeout=60)

    def test_a_second_run_ends_with_2_and_names_the_first(self):
        for ranks in (1, 2):
            with self.subTest(ranks=ranks):
                shutil.rmtree(self.dir / "run", ignore_errors=True)
                first = self.begin(ranks=ranks)
                self.wait_for_step(first, 3)
                holder = self.lease()
                for second_ranks in (1, 2):
                    out = self.train(ranks=second_ranks, expect=2)
                    self.assertIn(f"in use by process {holder['process']} on {holder['host']}", out)
                last = self.metrics()[-1]["step"]
                self.wait_for_step(first, last + 3)  # it is not disturbed
                self.stop(first)
                self.assertEqual(len(self.metrics()), self.metrics()[-1]["step"])
                self.assertFalse((self.dir / "run" / "lease").exists())

    def test_a_run_that_was_killed_goes_on_at_once(self):
        for ranks in (1, 2):
            with self.subTest(ranks=ranks):
                shutil.rmtree(self.dir / "run", ignore_errors=True)
                first = self.begin(ranks=ranks)
                self.wait_for_step(first, 12)
                killed = self.lease()["process"]
                self.kill_all(first, ranks)
                self.assertEqual(self.lease()["process"], killed)
                out = self.resume(ranks)
                self.assertRegex(out, rf"taken over from process {killed} on \S+, which is gone")
                self.assertIn("resuming from", out)

    def resume(self, ranks):
        """The same command, stopped after some steps more."""
        before = self.metrics()[-1]["step"]
        again = self.begin(ranks=ranks)
        self.wait_for_step(again, before + 3)
        return self.stop(again)

    def test_evaluation_needs_no_lease(self):
        first = self.begin()
        self.wait_for_step(first, 12)
        self.run_program("eval", "recipe.toml", "--set", "train.steps=1000000")
        self.assertIsNone(first.poll())

    def test_a_refused_start_leaves_no_lease_and_no_folder(self):
        self.train("data.text=['gone.txt']", expect=2)
        self.assertFalse((self.dir / "run").exists())
        self.train("data.vocab_size=4000", expect=3)
        self.assertFalse((self.dir / "run").exists())

    def test_ranks_with_folders_of_their_own_end_with_2(self):
        hosts = []
        for name in ("A", "B"):
            folder = self.dir / name
            folder.mkdir()
            for file in ("corpus.txt", "recipe.toml"):
                shutil.copy(self.dir / file, folder)
            hosts.append(["-n", "1", "-wdir", str(folder), GRADWIRE, "train", "recipe.toml"])
        done = subprocess.run(MPIRUN + [*hosts[0], ":", *hosts[1]], cwd=self.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240)
        self.assertEqual(done.returncode, 2, done.stdout[-3000:])
        self.assertRegex(done.stdout, r"run\.dir must be shared by all ranks: .*rank 1 sees there")
        self.assertEqual([p.name for p in self.dir.glob("*/run")], [])


if __name__ == "__main__":
    unittest.main()
