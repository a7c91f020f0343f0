"""A scratch folder with a small corpus and recipe, and ways to run the program in it."""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from manifest import tensor_hashes

GRADWIRE = os.environ["GRADWIRE"]
MPIRUN = [
    os.environ.get("MPIEXEC", "mpiexec"), "--allow-run-as-root", "--oversubscribe", "--bind-to", "none",
    "--mca", "pml", "ob1", "--mca", "mpi_yield_when_idle", "1",
    "--mca", "odls_base_sigkill_timeout", "3",
]

RECIPE = """
schema = 1
task = "language_model"
precision = "f32"
seed = 3

[model]
layers = 2
width = 32
heads = 4
kv_heads = 2
ffn_width = 64

[data]
text = ["corpus.txt"]
cache = "cache"
vocab_size = 300
context = 32
validation_share = 0.1

[batch]
global = 8
micro = 4

[optim]
name = "adamw"
lr = 3e-3

[schedule]
kind = "cosine"
warmup_steps = 5

[train]
steps = 40
eval_every = 20
log_every = 50
threads = 1

[checkpoint]
every = 10
keep = 3

[run]
dir = "run"
device = "cpu"
"""


def corpus(documents=120, seed=7):
    """Sentences of a small grammar: enough structure that a model beats unigram counts."""
    draw = random.Random(seed)
    subjects = ["the shepherd", "a king", "the prophet", "my servant", "the people"]
    verbs = ["went up to", "spoke unto", "remembered", "gathered before", "built"]
    objects = ["the mountain", "the city", "the river", "an altar", "the temple"]
    lines = []
    for _ in range(documents):
        for _ in range(draw.randint(4, 12)):
            lines.append(f"{draw.choice(subjects)} {draw.choice(verbs)} {draw.choice(objects)}.")
        lines.append("")
    return "\n".join(lines) + "\n"


class ProgramTest(unittest.TestCase):
    """Each test runs in a folder of its own, which holds corpus.txt and recipe.toml."""

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="gradwire-e2e-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        (self.dir / "corpus.txt").write_text(corpus())
        (self.dir / "recipe.toml").write_text(RECIPE)

    def command(self, *args, ranks=1):
        return (MPIRUN + ["-n", str(ranks)] if ranks > 1 else []) + [GRADWIRE, *args]

    def start(self, *args, ranks=1, **kwargs):
        return subprocess.Popen(
            self.command(*args, ranks=ranks), cwd=self.dir, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)

    def run_program(self, *args, ranks=1, expect=0, timeout=120):
        """Runs to the end and gives everything it printed; the exit code must be `expect`."""
        done = subprocess.run(
            self.command(*args, ranks=ranks), cwd=self.dir, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
        self.assertEqual(done.returncode, expect, done.stdout[-4000:])
        return done.stdout

    def train(self, *sets, ranks=1, expect=0, run="run", resume=None):
        args = ["train", "recipe.toml"]
        for item in (f"run.dir={run!r}".replace("'", '"'), *sets):
            args += ["--set", item]
        if resume is not None:
            args += ["--resume", resume]
        return self.run_program(*args, ranks=ranks, expect=expect)

    def metrics(self, run="run", kind="step"):
        path = self.dir / run / "metrics.jsonl"
        if not path.exists():
            return []
        rows = []
        for line in path.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue  # the last line of a killed process
            if row["event"] == "start":  # what came after this step was lost
                rows = [r for r in rows if r.get("step", 0) <= row["step"]]
            rows.append(row)
        return [r for r in rows if r.get("event") == kind]

    def wait_for_step(self, process, step, run="run", timeout=60):
        """Until the run has logged `step`; fails when it ends before."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if any(row["step"] >= step for row in self.metrics(run)):
                return
            if process.poll() is not None:
                self.fail(f"ended before step {step}: {process.stdout.read()[-3000:]}")
            time.sleep(0.01)
        process.kill()
        self.fail(f"step {step} not reached in {timeout} s")

    def checkpoints(self, run="run"):
        return sorted(p for p in (self.dir / run / "checkpoints").glob("step-*")
                      if "." not in p.name)

    def contents(self, folder):
        """path -> bytes of every file below a folder"""
        return {str(p): p.read_bytes() for p in (self.dir / folder).rglob("*") if p.is_file()}

    def tensor_hashes(self, checkpoint):
        return tensor_hashes(checkpoint)


def free_port():
    """On loopback: nobody listens there now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children_of(pid):
    out = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True)
    return [int(p) for p in out.stdout.split()]


__all__ = ["GRADWIRE", "MPIRUN", "ProgramTest", "children_of", "corpus", "free_port", "json", "os", "signal",
           "pathlib", "shutil", "subprocess", "time", "unittest"]
