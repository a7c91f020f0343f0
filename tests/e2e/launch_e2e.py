"""Ranks over TCP: `gradwire launch`, and the same below mpirun."""

import resource

from harness import *


class Launch(ProgramTest):
    def launch(self, ranks, *args, **kwargs):
        return subprocess.Popen(
            [GRADWIRE, "launch", "-n", str(ranks), "--", *args], cwd=self.dir,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            **kwargs)

    def launch_to_end(self, ranks, *args, expect=0):
        process = self.launch(ranks, *args)
        out, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, expect, out[-4000:])
        return out

    def train_long(self, *sets):
        args = ["train", "recipe.toml", "--set", "train.steps=100000", "--set", "batch.global=12"]
        for item in sets:
            args += ["--set", item]
        return args

    def assert_all_gone(self, pids):
        end = time.monotonic() + 20
        while any(os.path.exists(f"/proc/{pid}") for pid in pids):
            self.assertLess(time.monotonic(), end, "ranks outlive their launcher")
            time.sleep(0.05)

    def test_gives_the_bits_that_mpi_gives(self):
        self.train("parallel.bucket_bytes=4096", ranks=2, run="mpi")
        out = self.launch_to_end(2, "train", "recipe.toml", "--set", 'run.dir="tcp"',
                                 "--set", "parallel.bucket_bytes=4096")
        self.assertIn("tcp, 2 ranks", out)
        mpi, tcp = (self.tensor_hashes(self.checkpoints(run)[-1]) for run in ("mpi", "tcp"))
        self.assertEqual(mpi, tcp)

    def test_tcp_below_mpirun_on_several_connections(self):
        out = self.train("comm.backend='tcp'", "comm.connections=2", ranks=2)
        self.assertIn("tcp, 2 ranks", out)
        self.assertEqual(self.metrics()[-1]["step"], 40)

    def test_compressed_training_stops_and_goes_on_bit_for_bit(self):
        sets = ["train.steps=60", "optim.name='onebit_adam'", "optim.freeze_step=10",
                "compress.least_gain=0.0"]
        args = ["train", "recipe.toml"] + [x for s in sets for x in ("--set", s)]
        self.launch_to_end(2, *args, "--set", "run.dir='whole'")
        process = self.launch(2, *args, "--set", "train.log_every=1")
        self.wait_for_step(process, 20)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75, out[-3000:])
        self.launch_to_end(2, *args)
        whole, parts = (self.tensor_hashes(self.checkpoints(run)[-1]) for run in ("whole", "run"))
        self.assertEqual(whole, parts)

    def test_killed_rank_is_named_and_ends_the_job_with_6(self):
        process = self.launch(3, *self.train_long("train.log_every=1"))
        self.wait_for_step(process, 5)
        ranks = children_of(process.pid)
        self.assertEqual(len(ranks), 3)
        os.kill(ranks[1], signal.SIGKILL)
        killed_at = time.monotonic()
        out, _ = process.communicate(timeout=30)
        self.assertLess(time.monotonic() - killed_at, 10)
        self.assertEqual(process.returncode, 6, out[-3000:])
        self.assertRegex(out, r"rank 1 on host .* was lost")
        self.assertIn("rank 1 was killed by signal 9", out)
        self.assert_all_gone(ranks)

    def test_ranks_stop_with_a_checkpoint_when_their_launcher_is_killed(self):
        process = self.launch(2, *self.train_long("train.log_every=1", "batch.global=8"))
        self.wait_for_step(process, 5)
        ranks = children_of(process.pid)
        process.kill()
        self.assert_all_gone(ranks)
        process.communicate(timeout=30)
        last = self.metrics()[-1]["step"]
        self.assertIn(str(last), self.checkpoints()[-1].name)

    def test_missing_rank_is_named_within_the_time_given(self):
        port = free_port()
        environment = dict(os.environ, GRADWIRE_RANK="0", GRADWIRE_SIZE="3",
                           GRADWIRE_ADDRESS=f"127.0.0.1:{port}")
        done = subprocess.run(
            [GRADWIRE, *self.train_long("comm.timeout_s=1")], cwd=self.dir, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=30)
        self.assertEqual(done.returncode, 6, done.stdout)
        self.assertIn("[rank 0] gradwire: communication: tcp: rank 0 waited 1000 ms: 1 of 3 ranks came to "
                      f"127.0.0.1:{port}; missing: ranks 1 to 2\n", done.stdout)

    def launch_many(self, files, expect):
        """More ranks than so many descriptors connect; files: the soft and the hard limit."""
        process = self.launch(32, "train", "recipe.toml", "--set", "batch.global=128", "--set", "train.steps=6",
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, files))
        out, _ = process.communicate(timeout=300)
        self.assertEqual(process.returncode, expect, out[-3000:])
        return out

    def test_many_ranks_raise_the_limit_of_descriptors(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.assertIn("tcp, 32 ranks", self.launch_many((64, hard), expect=0))
        self.assertEqual(self.metrics()[-1]["step"], 6)

    def test_too_few_descriptors_end_all_ranks_at_once_and_say_how_many_it_takes(self):
        out = self.launch_many((64, 64), expect=8)
        self.assertRegex(out, r"tcp: 32 ranks need 1\d\d file descriptors in every process, and this one may have 64 "
                              r"\(RLIMIT_NOFILE; hard limit 64\): start it below `ulimit -n 1\d\d`")

    def test_what_a_rank_refuses_is_the_jobs_exit_code(self):
        out = self.launch_to_end(2, "train", "recipe.toml", "--set", "batch.global=7", expect=2)
        self.assertEqual(out.count("batch.global"), 1)
        self.launch_to_end(2, "train", "nowhere.toml", expect=2)


if __name__ == "__main__":
    unittest.main()
