"""What comm.timeout_s counts: silence, and neither work, nor a network that pauses, nor own sleep."""

from harness import *

LAUNCH_2 = ["launch", "-n", "2", "--"]
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Silence(ProgramTest):
    def begin(self, *args, launcher=(), ranks=1):
        process = self.start(*launcher, *args, ranks=ranks)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def begin_training(self, *sets, **kwargs):
        sets = ("train.steps=100000", "train.log_every=1", *sets)
        return self.begin("train", "recipe.toml", *[x for s in sets for x in ("--set", s)], **kwargs)

    def ends(self, process, code):
        out, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, code, out[-3000:])
        return out

    def wait_for_line(self, process, text):
        for line in process.stdout:
            if text in line:
                return
        self.fail(f"no '{text}'")

    def write_text_that_takes(self, seconds):
        """A corpus that one rank prepares for longer than that."""
        for copies in (100, 400, 1600, 6400, 25600):
            (self.dir / "corpus.txt").write_text(corpus() * copies)
            begin = time.monotonic()
            self.run_program("prepare", "recipe.toml", "--set", 'data.cache="trial"', timeout=300)
            if time.monotonic() - begin > seconds:
                return
        self.fail("no text is long enough")

    def test_preparing_for_longer_than_the_timeout(self):
        self.write_text_that_takes(5)
        for launcher, ranks in ((LAUNCH_2, 1), ([], 2)):
            with self.subTest(launcher=launcher):
                shutil.rmtree(self.dir / "cache", ignore_errors=True)
                begin = time.monotonic()
                process = self.begin("prepare", "recipe.toml", "--set", "comm.timeout_s=2",
                                     launcher=launcher, ranks=ranks)
                self.assertIn("vocabulary 300", self.ends(process, 0))
                self.assertGreater(time.monotonic() - begin, 3)
        # Who is stopped, rather than at work, is noticed, be it the one at work or one that waits.
        for victim in (0, 1):
            with self.subTest(victim=victim):
                shutil.rmtree(self.dir / "cache", ignore_errors=True)
                process = self.begin("prepare", "recipe.toml", "--set", "comm.timeout_s=2",
                                     launcher=LAUNCH_2)
                self.wait_for_line(process, "training the tokenizer")
                os.kill(children_of(process.pid)[victim], signal.SIGSTOP)
                out = self.ends(process, 6)
                self.assertRegex(out, fr"timeout: rank {1 - victim} waited 2000 ms for .*rank {victim}")

    def test_all_ranks_stopped_for_longer_than_the_timeout_go_on(self):
        for launcher, ranks in ((LAUNCH_2, 1), ([], 2)):
            with self.subTest(launcher=launcher):
                shutil.rmtree(self.dir / "run", ignore_errors=True)
                process = self.begin_training("comm.timeout_s=5", launcher=launcher, ranks=ranks)
                self.wait_for_step(process, 5)
                pids = children_of(process.pid)
                for number in (signal.SIGSTOP, signal.SIGCONT):
                    for pid in pids:
                        os.kill(pid, number)
                    if number == signal.SIGSTOP:
                        time.sleep(8)  # is what this is about
                self.wait_for_step(process, self.metrics()[-1]["step"] + 50)
                for pid in pids:
                    os.kill(pid, signal.SIGTERM)
                self.ends(process, 75)

    def test_network_that_pauses_is_waited_for(self):
        prefix = f"gwe2e{os.getpid()}"
        environment = dict(os.environ, SLOWNET_PREFIX=prefix)
        slownet = [str(ROOT / "bench" / "slownet.sh")]
        self.addCleanup(subprocess.run, [*slownet, "down"], env=environment, check=False)
        subprocess.run([*slownet, "up", "2", "none"], env=environment, check=True)
        sets = ["train.steps=100000", "train.log_every=1", "comm.timeout_s=60"]
        ranks = []
        for rank in range(2):
            meeting = {"GRADWIRE_RANK": str(rank), "GRADWIRE_SIZE": "2",
                       "GRADWIRE_ADDRESS": "10.77.0.1:29400", "GRADWIRE_TOKEN": prefix}
            process = subprocess.Popen(
                ["ip", "netns", "exec", f"{prefix}{rank}", GRADWIRE, "train", "recipe.toml",
                 *[x for s in sets for x in ("--set", s)]], cwd=self.dir,
                env=dict(os.environ, **meeting), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True)
            self.addCleanup(process.stdout.close)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            ranks.append(process)
        self.wait_for_step(ranks[0], 5)
        for state in ("down", "up"):
            subprocess.run(["ip", "-n", f"{prefix}-switch", "link", "set", "port1", state], check=True)
            if state == "down":
                time.sleep(12)  # more than the ten seconds after which connections were given up
        self.wait_for_step(ranks[0], self.metrics()[-1]["step"] + 50)
        ranks[1].send_signal(signal.SIGTERM)
        for process in ranks:
            self.ends(process, 75)


if __name__ == "__main__":
    unittest.main()
