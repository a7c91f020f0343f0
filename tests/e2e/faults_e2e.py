"""Killed ranks, full disks, damaged checkpoints, numbers that are not."""

import re

from harness import *


class Faults(ProgramTest):
    def test_killed_rank_is_named_and_the_others_leave_with_6(self):
        # Each rank runs below a shell that notes its exit code: mpirun reports only the first.
        script = self.dir / "note.sh"
        script.write_text('#!/bin/sh\n"$@"\necho $? >code.$OMPI_COMM_WORLD_RANK\n')
        script.chmod(0o755)
        process = subprocess.Popen(
            MPIRUN + ["-n", "3", str(script), GRADWIRE, "train", "recipe.toml",
                      "--set", "train.steps=100000", "--set", "batch.global=12"],
            cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        self.wait_for_step(process, 5)
        victim = self.rank_process(process, 1)
        killed_at = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        out, _ = process.communicate(timeout=30)
        self.assertLess(time.monotonic() - killed_at, 15)
        self.assertNotEqual(process.returncode, 0)
        self.assertRegex(out, r"rank 1 .*lost")
        for survivor in (0, 2):
            code = self.dir / f"code.{survivor}"
            self.assertTrue(code.exists(), out[-3000:])
            self.assertEqual(code.read_text().strip(), "6", out[-3000:])

    def rank_process(self, mpirun, rank):
        for shell in children_of(mpirun.pid):
            for pid in children_of(shell):
                environment = open(f"/proc/{pid}/environ").read().split("\0")
                if f"OMPI_COMM_WORLD_RANK={rank}" in environment:
                    return pid
        self.fail(f"no process of rank {rank}")

    def test_run_goes_on_after_a_killed_rank(self):
        process = self.start("train", "recipe.toml", "--set", "train.steps=200", ranks=2)
        self.wait_for_step(process, 25)
        os.kill(children_of(process.pid)[0], signal.SIGKILL)
        process.communicate(timeout=30)
        out = self.train("train.steps=200", ranks=2)
        self.assertRegex(out, r"resum\w+ .*step \d+")
        self.assertEqual(self.metrics()[-1]["step"], 200)

    def small_disk(self):
        """The folder of the run, on a file system of 3 MB."""
        mount = self.dir / "run"
        mount.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mount)], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", str(mount)], check=False)
        return mount

    def test_full_disk_costs_a_checkpoint_and_not_the_run(self):
        mount = self.small_disk()
        output = self.dir / "output"
        sets = ("train.steps=1000000", "checkpoint.every=200", "checkpoint.keep=1")
        with open(output, "w") as log:
            process = subprocess.Popen(
                self.command("train", "recipe.toml", *(x for s in sets for x in ("--set", s))),
                cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        process.stdout = open(output)
        self.addCleanup(process.stdout.close)
        self.wait_for_step(process, 250)
        end = time.monotonic() + 120
        with open(mount / "ballast", "wb", buffering=0) as ballast:
            while not any("checkpoint" in str(r) for r in self.metrics(kind="warning")):
                self.assertIsNone(process.poll(), output.read_text()[-3000:])
                self.assertLess(time.monotonic(), end)
                if free_bytes(mount) > 96 * 1024:  # again after a checkpoint was deleted
                    ballast.write(b"x" * (free_bytes(mount) - 64 * 1024))
                time.sleep(0.01)
        good = self.checkpoints()
        # Training goes on, which its console tells: the run's own log may not find room any more.
        steps = lambda: [int(s) for s in re.findall(r"event=step step=(\d+)", output.read_text())]
        last, end = steps()[-1], time.monotonic() + 120
        while steps()[-1] < last + 100:
            self.assertIsNone(process.poll(), output.read_text()[-3000:])
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=120), 8, output.read_text()[-3000:])
        self.assertRegex(output.read_text(), "was not saved: .*no room|No space left")
        self.assertEqual(self.checkpoints(), good)
        self.run_program("ckpt", "verify", str(good[-1]))

    def test_a_disk_without_room_for_a_checkpoint_is_said_before_the_first_step(self):
        mount = self.small_disk()
        self.train()
        good, steps = self.checkpoints(), len(self.metrics())
        (mount / "ballast").write_bytes(b"x" * (free_bytes(mount) - 64 * 1024))
        out = self.train("train.steps=60", expect=8)
        self.assertRegex(out, r"a checkpoint takes 0\.3 MB and 'run/checkpoints' has 0\.\d MB free")
        self.assertEqual(len(self.metrics()), steps)
        self.assertEqual(self.checkpoints(), good)
        self.assertIn("finished: 40 of 40", self.train())

    def test_damaged_newest_checkpoint_falls_back_to_the_one_before(self):
        self.train()
        newest = self.checkpoints()[-1]
        flip_a_bit(newest / "rank-00000.h5")
        self.assertIn("BAD", self.run_program("ckpt", "verify", str(newest), expect=4))
        out = self.train("train.steps=45")
        self.assertRegex(out, f"passed over .*{newest.name}")
        self.assertIn("at step 30", out)
        self.assertEqual(self.metrics()[-1]["step"], 45)

    def test_no_good_checkpoint_left_is_exit_4(self):
        self.train()
        for folder in self.checkpoints():
            flip_a_bit(folder / "rank-00000.h5")
        out = self.train("train.steps=45", expect=4)
        for folder in self.checkpoints():
            self.assertIn(folder.name, out)

    def test_loss_that_is_not_a_number_is_skipped_and_then_exit_5(self):
        out = self.train("optim.lr=1e30", "train.max_nonfinite=3", "optim.clip_norm=0",
                         'schedule.kind="constant"', "schedule.warmup_steps=0", expect=5)
        self.assertIn("3 steps in a row", out)
        self.assertTrue(any(r["nonfinite_steps"] > 0 for r in self.metrics()))


def free_bytes(path):
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 0x10
    path.write_bytes(data)


if __name__ == "__main__":
    unittest.main()
