"""Gradwire as others get it: installed, as a library that a program with a job of its own is built
on, and as a Debian package. One argument: the build tree."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from manifest import tensor_hashes

BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
SOURCE = pathlib.Path(__file__).resolve().parents[2]


def run(*command, expect=0, cwd=None):
    done = subprocess.run([str(c) for c in command], cwd=cwd, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=500)
    if done.returncode != expect:
        raise AssertionError(f"{command}: exit code {done.returncode}, not {expect}\n{done.stdout[-4000:]}")
    return done.stdout


def setUpModule():
    global DIR, PREFIX
    DIR = pathlib.Path(tempfile.mkdtemp(prefix="gradwire-package-"))
    unittest.addModuleCleanup(shutil.rmtree, DIR, ignore_errors=True)
    PREFIX = DIR / "prefix"
    run("cmake", "--install", BUILD, "--prefix", PREFIX)


class Installed(unittest.TestCase):
    def test_the_program_runs(self):
        self.assertIn("gradwire 0.", run(PREFIX / "bin/gradwire", "--version"))

    def test_headers_are_whole(self):
        # Every include of the project's own headers leads to one that is installed.
        headers = PREFIX / "include/gradwire"
        self.assertGreater(len(list(headers.rglob("*.h"))), 100)
        for header in headers.rglob("*.h"):
            for name in re.findall(r'^#include "(.+)"', header.read_text(), re.M):
                self.assertTrue((headers / name).exists(), f"{header} includes {name}")

    def test_the_manual_page_has_every_command(self):
        page = (PREFIX / "share/man/man1/gradwire.1").read_text()
        for command in ("train", "ckpt ls", "ckpt verify", "config explain", "bench step", "generate"):
            self.assertRegex(page, rf"(?m)^\.SS gradwire {command}\b")
        self.assertIn(r"\-\-resume", page)

    def complete(self, line):
        words = line.split(" ")
        script = (f"source {PREFIX}/share/bash-completion/completions/gradwire; "
                  f"COMP_WORDS=({' '.join(w or repr('') for w in words)}); COMP_CWORD={len(words) - 1}; "
                  "_gradwire; echo ${COMPREPLY[@]}")
        return run("bash", "-c", script, cwd=DIR).split()

    def test_bash_completes_commands_options_and_files(self):
        self.assertEqual(self.complete("gradwire tra"), ["train", "trace"])
        self.assertEqual(sorted(w for w in self.complete("gradwire ckpt ") if w[0] != "-"), ["ls", "verify"])
        self.assertEqual(self.complete("gradwire train --res"), ["--resume"])
        self.assertEqual(self.complete("gradwire train pre"), ["prefix"])


class OwnJob(unittest.TestCase):
    """examples/cpp, built on the installed library alone."""

    @classmethod
    def setUpClass(cls):
        shutil.copytree(SOURCE / "examples/cpp", DIR / "sine")
        run("cmake", "-S", DIR / "sine", "-B", DIR / "build", f"-DCMAKE_PREFIX_PATH={PREFIX}",
            "-DCMAKE_BUILD_TYPE=Release")
        run("cmake", "--build", DIR / "build")
        cls.sine = DIR / "build/sine"

    def train(self, ranks, folder, *sets, expect=0):
        args = [self.sine, "launch", "-n", ranks, "--"] if ranks > 1 else [self.sine]
        args += ["train", DIR / "sine/sine.toml", "--set", f"run.dir={DIR / folder}",
                 "--set", "train.threads=1", "--set", "compress.least_gain=0"]
        for item in sets:
            args += ["--set", item]
        return [str(a) for a in args]

    def events(self, folder, kind):
        path = DIR / folder / "metrics.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [r for r in rows if r["event"] == kind]

    def weights(self, folder, step):
        return tensor_hashes(DIR / folder / f"checkpoints/step-{step:08d}")

    def test_it_learns_in_a_pipeline_with_one_bit_and_goes_on_after_a_stop(self):
        run(*self.train(4, "whole"))
        first, *_, last = self.events("whole", "evaluation")
        self.assertLess(last["loss"], 0.05)
        self.assertLess(last["loss"], first["loss"])
        compressed = [r for r in self.events("whole", "step") if r["step"] > 120]
        self.assertTrue(all(r["wire_bytes"] < r["wire_dense_bytes"] for r in compressed))

        stopped = subprocess.Popen(self.train(4, "parts"), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while not any(r["step"] >= 60 for r in self.events("parts", "step")):
            self.assertIsNone(stopped.poll(), "ended before it could be stopped")
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        stopped.send_signal(signal.SIGTERM)
        self.assertIn(stopped.wait(120), (0, 75))
        run(*self.train(4, "parts"))
        self.assertEqual(self.weights("whole", 200), self.weights("parts", 200))

    def test_one_rank_and_two_stages_give_the_same_losses(self):
        dense = ["optim.name=adamw", "train.steps=20", "schedule.warmup_steps=5"]
        run(*self.train(2, "stages", *dense))
        run(*self.train(1, "alone", *dense, "parallel.pipeline=1", "parallel.stages=even"))
        losses = [[r["loss"] for r in self.events(folder, "step")] for folder in ("stages", "alone")]
        self.assertEqual(len(losses[0]), 20)
        self.assertEqual(losses[0], losses[1])

    def test_its_sections_are_read_checked_and_documented(self):
        wrong = run(*self.train(1, "wrong", "sine.widht=3", "parallel.pipeline=1", "parallel.stages=even"), expect=2)
        self.assertIn("unknown key (did you mean 'sine.width'?)", wrong)
        self.assertIn("| `width` | integer | `32` |", run(self.sine, "config", "docs"))


class Package(unittest.TestCase):
    def test_a_debian_package_is_made_and_its_program_runs(self):
        with tempfile.TemporaryDirectory(prefix="gradwire-deb-") as folder:
            run("cpack", "--config", BUILD / "CPackConfig.cmake", "-G", "DEB", "-B", folder)
            package, = pathlib.Path(folder).glob("gradwire_*.deb")
            depends = run("dpkg-deb", "-f", package, "Depends")
            for library in ("libopenmpi3", "libfmt", "libhdf5"):
                self.assertIn(library, depends)
            run("dpkg-deb", "-x", package, f"{folder}/root")
            self.assertIn("gradwire 0.", run(f"{folder}/root/usr/bin/gradwire", "--version"))


if __name__ == "__main__":
    unittest.main()
