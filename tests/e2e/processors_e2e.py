"""How many threads a rank takes, and what it may take of memory, under the limits that systems set."""

import pathlib

from harness import *

CGROUP = pathlib.Path("/sys/fs/cgroup")


def make_cgroup(name, controller, limits):
    """A group with these limits below the tester's own privileges; None if there are none."""
    version1 = (CGROUP / controller).is_dir()
    if not version1 and not (CGROUP / "cgroup.controllers").exists():
        return None
    folder = CGROUP / controller / name if version1 else CGROUP / name
    try:
        folder.mkdir()
        for file, value in limits[0 if version1 else 1].items():
            (folder / file).write_text(str(value))
    except OSError:
        if folder.is_dir():
            folder.rmdir()
        return None
    return folder


class Processors(ProgramTest):
    def start_line(self, prepare=lambda: None, **env):
        """What a run prints before its first step; `prepare` runs in its process."""
        clean = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        done = subprocess.run(
            [GRADWIRE, "train", "recipe.toml", "--set", "train.threads=0", "--set", "train.steps=1",
             "--set", "schedule.warmup_steps=0"],
            cwd=self.dir, env={**clean, **env}, preexec_fn=prepare, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def cgroup(self, controller, version1, version2):
        folder = make_cgroup(f"gradwire-e2e-{os.getpid()}", controller, (version1, version2))
        if folder is not None:
            self.addCleanup(folder.rmdir)
        return folder

    @staticmethod
    def bind_to_one():
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    def test_a_process_bound_to_one_processor_has_one_thread(self):
        self.assertIn("; 1 CPU threads each\n", self.start_line(self.bind_to_one))

    def test_omp_num_threads_is_heard(self):
        self.assertIn("; 3 CPU threads each (OMP_NUM_THREADS)\n", self.start_line(OMP_NUM_THREADS="3"))

    def test_a_rank_that_its_launcher_bound_is_told(self):
        cores = len(os.sched_getaffinity(0))
        out = self.start_line(self.bind_to_one, OMPI_COMM_WORLD_RANK="0", OMPI_COMM_WORLD_SIZE="1",
                              OMPI_COMM_WORLD_LOCAL_RANK="0", OMPI_COMM_WORLD_LOCAL_SIZE="1")
        self.assertEqual(out.count("mpirun --bind-to none"), 1 if cores > 1 else 0, out)

    def test_quota_of_one_processor_gives_one_thread(self):
        group = self.cgroup("cpu", {"cpu.cfs_period_us": 100000, "cpu.cfs_quota_us": 100000},
                            {"cpu.max": "100000 100000"})
        if group is None:
            return  # without the right to make groups; core_test has their files
        enter = lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
        self.assertIn("; 1 CPU threads each\n", self.start_line(enter))

    def test_a_run_that_its_group_has_no_memory_for_is_refused(self):
        group = self.cgroup("memory", {"memory.limit_in_bytes": 300 << 20}, {"memory.max": 300 << 20})
        if group is None:
            return
        done = subprocess.run(
            [GRADWIRE, "train", "recipe.toml", "--set", "model.width=2048", "--set", "model.heads=2"],
            cwd=self.dir, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
            preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())))
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertIn("where they may use 315 MB", done.stdout)


if __name__ == "__main__":
    unittest.main()
