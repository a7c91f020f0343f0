"""Whole processes while ranks meet: one is lost, stopped, started again; a stop is asked for; jobs share a port."""

import socket

from harness import *

STOPPED = "stopped on request while ranks met; the same command begins again"


class Meeting(ProgramTest):
    def setUp(self):
        super().setUp()
        self.port = free_port()

    def rank(self, rank, size=3, run="run", sets=(), token=None, log=None):
        """One rank started by hand. What it says goes to a file: nobody reads a pipe meanwhile."""
        environment = dict(os.environ, RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank),
                           LOCAL_WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1",
                           MASTER_PORT=str(self.port))
        if token is not None:
            environment["GRADWIRE_TOKEN"] = token
        args = ["train", "recipe.toml"]
        for item in (f'run.dir="{run}"', f"batch.global={4 * size}", "train.steps=10", *sets):
            args += ["--set", item]
        path = self.dir / (log or f"rank-{run}-{rank}.log")
        with open(path, "w") as out:
            process = subprocess.Popen([GRADWIRE, *args], cwd=self.dir, env=environment,
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        process.log, process.size = path, size
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def wait_for(self, condition, what, timeout=120):
        end = time.monotonic() + timeout
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)

    def wait_to_say(self, process, text, timeout=120):
        def said():
            if text in process.log.read_text():
                return True
            self.assertIsNone(process.poll(), f"ended without '{text}': {process.log.read_text()[-2000:]}")
            return False
        self.wait_for(said, f"never said: {text}", timeout)

    def wait_until_here(self, first, *others):
        """Until rank 0 has let the others in; it names those that are missing every ten seconds."""
        self.wait_to_say(first, f"{1 + len(others)} of {first.size} ranks came to ")

    def wait_until_listening(self, process):
        def listening():
            self.assertIsNone(process.poll(), process.log.read_text()[-2000:])
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0
        self.wait_for(listening, "nobody listens")

    def heeds(self, process, number):
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return int(caught.split()[1], 16) >> (number - 1) & 1 == 1

    def ends(self, process, expect, timeout=60):
        code = process.wait(timeout=timeout)
        text = process.log.read_text()
        self.assertEqual(code, expect, text[-3000:])
        return text

    def test_a_rank_that_is_killed_is_named_to_all(self):
        ranks = [self.rank(r, size=4) for r in range(3)]  # the fourth never comes
        self.wait_until_here(*ranks)
        ranks[2].kill()
        killed_at = time.monotonic()
        for process in ranks[:2]:
            self.assertRegex(self.ends(process, 6),
                             r"rank 2 on host .* was lost at [0-9:]+ while ranks met: its connection closed")
        self.assertLess(time.monotonic() - killed_at, 30)

    def test_a_rank_that_was_killed_and_started_again_takes_part(self):
        first = [self.rank(0), self.rank(1)]
        self.wait_until_here(*first)
        first[1].kill()
        self.wait_to_say(first[0], "rank 1 on host")
        self.assertIn("has gone while ranks meet; it may come back within 5 s", first[0].log.read_text())
        for process in (self.rank(1, log="again.log"), self.rank(2), first[0]):
            self.ends(process, 0)
        self.assertIn("has come back", first[0].log.read_text())
        self.assertEqual(self.metrics()[-1]["step"], 10)

    def test_a_rank_that_is_stopped_is_named_and_waited_for(self):
        ranks = [self.rank(0), self.rank(1)]
        self.wait_until_here(*ranks)
        ranks[1].send_signal(signal.SIGSTOP)
        stopped_at = time.monotonic()
        self.wait_to_say(ranks[0], " has been silent for 5 s while ranks meet")
        self.assertLess(time.monotonic() - stopped_at, 30)
        self.assertRegex(ranks[0].log.read_text(), r"rank 1 on host \S+ has been silent")
        ranks[1].send_signal(signal.SIGCONT)
        ranks.append(self.rank(2))
        for process in ranks:
            self.ends(process, 0)

    def test_a_stop_is_acted_on_while_ranks_meet(self):
        for number in (signal.SIGTERM, signal.SIGUSR1):
            with self.subTest(signal=number):
                self.port = free_port()
                ranks = [self.rank(0), self.rank(1)]  # the third never comes
                self.wait_until_here(*ranks)
                ranks[1].send_signal(number)
                asked_at = time.monotonic()
                self.assertIn(STOPPED, self.ends(ranks[0], 75))
                self.assertIn(f"{number.name}: will stop", self.ends(ranks[1], 75))
                self.assertLess(time.monotonic() - asked_at, 30)
        self.assertFalse((self.dir / "run").exists())

    def test_a_stop_of_a_rank_that_finds_nobody(self):
        alone = self.rank(1)
        self.wait_for(lambda: self.heeds(alone, signal.SIGTERM), "does not heed signals")
        alone.send_signal(signal.SIGTERM)
        self.ends(alone, 75)

    def jobs_on_one_port(self, tokens):
        first = self.rank(0, size=2, run="first", token=tokens[0])
        self.wait_until_listening(first)
        second = [self.rank(r, size=2, run="second", token=tokens[1]) for r in (0, 1)]
        text = self.ends(second[0], 6)
        self.assertIn(f"cannot listen at 127.0.0.1:{self.port}: Address already in use: another job or program "
                      "has that port; give each job a port of its own (comm.address, MASTER_PORT)", text)
        text = self.ends(second[1], 6)
        self.assertIn(f"rank 0 at 127.0.0.1:{self.port} turned rank 1 away: it belongs to another job", text)
        first = [first, self.rank(1, size=2, run="first", token=tokens[0])]
        for process in first:
            self.ends(process, 0)
        self.assertEqual(self.metrics("first")[-1]["step"], 10)
        self.assertFalse((self.dir / "second").exists())

    def test_two_jobs_on_one_port_never_mix(self):
        self.jobs_on_one_port(("the first", "the second"))

    def test_two_jobs_on_one_port_never_mix_though_nobody_named_them(self):
        self.jobs_on_one_port((None, None))


if __name__ == "__main__":
    unittest.main()
