"""A stage that stops, and one that dies: what the others say, how they end, and how soon."""

import re

from harness import *

TIMEOUT_S = 4  # without any progress: far above a step, also on a busy machine
SETS = ["train.steps=100000", "train.log_every=1", "train.eval_every=0",
        "checkpoint.every=0", "parallel.pipeline=2", 'parallel.stages="even"', "batch.global=32"]


class PipelineFaults(ProgramTest):
    def begin(self, ranks, mpi, *sets):
        """A pipeline of two stages, once or twice, after its fifth step; the process and its ranks' ids."""
        # Below mpirun a shell notes each rank's exit code: mpirun itself reports only the first.
        script = self.dir / "note.sh"
        script.write_text('#!/bin/sh\n"$@"\ncode=$?\necho $code >code.$OMPI_COMM_WORLD_RANK\nexit $code\n')
        script.chmod(0o755)
        start = MPIRUN + ["-n", str(ranks), str(script), GRADWIRE] if mpi else [
            GRADWIRE, "launch", "-n", str(ranks), "--"]
        process = subprocess.Popen(
            start + ["train", "recipe.toml"] + [x for s in (*SETS, *sets) for x in ("--set", s)], cwd=self.dir,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.wait_for_step(process, 5)
        children = children_of(process.pid)
        if mpi:
            children = [pid for shell in children for pid in children_of(shell)]
        pids = {rank_of(pid): pid for pid in children}
        self.assertEqual(sorted(pids), list(range(ranks)))
        for pid in pids.values():
            self.addCleanup(end, pid)
        return process, pids

    def stop_a_stage(self, ranks, victim, mpi):
        process, pids = self.begin(ranks, mpi, f"train.stall_timeout_s={TIMEOUT_S}")
        os.kill(pids[victim], signal.SIGSTOP)
        stopped_at = time.monotonic()
        out, _ = process.communicate(timeout=60)
        # The watchdog looks ten times per timeout; the rest is for a busy machine.
        self.assertLess(time.monotonic() - stopped_at, TIMEOUT_S + 20, out[-3000:])
        self.assertEqual(process.returncode, 7, out[-3000:])
        self.assertEqual(out.count("holds up the others"), 1, out[-3000:])
        self.assertRegex(out, rf"Rank {victim} on host \S+ holds up the others: "
                              r"its process was stopped by a signal, at step \d+, \w+")
        report = (self.dir / "run" / "status" / "stall.txt").read_text()
        for rank in range(ranks):
            # Host, step, action, for how long, last collective with its number, whom it waits for.
            waits = r"rank \d.*: [a-z-]+ #\d+ of \w+, \d+\.\d s$" if rank != victim else ""
            self.assertRegex(report, rf"(?m)^{rank} +\S+ +\d+ +[a-z].*  \d+\.\d s +[a-z-]+ #\d+ of \w+ +{waits}")
        return out

    def test_stopped_stage_is_named_and_ends_the_job_with_7(self):
        self.stop_a_stage(2, 1, mpi=False)

    def test_stopped_stage_of_one_of_two_replicas(self):
        self.stop_a_stage(4, 2, mpi=False)

    def test_stopped_stage_below_mpirun(self):
        self.stop_a_stage(2, 0, mpi=True)
        self.assertEqual((self.dir / "code.1").read_text().strip(), "7")

    def test_after_a_stall_the_same_command_runs(self):
        self.stop_a_stage(2, 1, mpi=False)
        out = subprocess.run(
            [GRADWIRE, "launch", "-n", "2", "--", "train", "recipe.toml", "--set", "parallel.pipeline=2"],
            cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=120)
        self.assertEqual(out.returncode, 0, out.stdout[-3000:])
        self.assertFalse((self.dir / "run" / "status" / "stall.txt").exists())

    def test_dead_stage_is_named_and_ends_the_job_with_6(self):
        process, pids = self.begin(4, mpi=False)
        os.kill(pids[2], signal.SIGKILL)
        killed_at = time.monotonic()
        out, _ = process.communicate(timeout=60)
        self.assertLess(time.monotonic() - killed_at, 20)
        self.assertEqual(process.returncode, 6, out[-3000:])
        self.assertRegex(out, r"rank 2 on host .* was lost")
        self.assertIn("rank 2 was killed by signal 9", out)
        self.assertNotIn("stalled", out)

    def test_dead_stage_below_mpirun(self):
        process, pids = self.begin(2, mpi=True)
        os.kill(pids[0], signal.SIGKILL)
        killed_at = time.monotonic()
        out, _ = process.communicate(timeout=60)
        self.assertLess(time.monotonic() - killed_at, 20)
        self.assertNotEqual(process.returncode, 0)
        self.assertRegex(out, r"rank 0 on host .* was lost")
        self.assertEqual((self.dir / "code.1").read_text().strip(), "6", out[-3000:])


def rank_of(pid):
    with open(f"/proc/{pid}/environ") as environment:
        entries = environment.read().split("\0")
    for entry in entries:
        name, _, value = entry.partition("=")
        if name in ("GRADWIRE_RANK", "OMPI_COMM_WORLD_RANK"):
            return int(value)
    return None


def end(pid):
    """Of a process that may be stopped, or gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    unittest.main()
