"""The other commands: prepare, eval, generate, ckpt, doctor."""

import re
import socket

from harness import *


class Commands(ProgramTest):
    def test_prepare_twice_does_the_work_once(self):
        first = self.run_program("prepare", "recipe.toml")
        self.assertRegex(first, r"tokens")
        stamp = self.stamps()
        second = self.run_program("prepare", "recipe.toml")
        self.assertIn("up to date", second)
        self.assertEqual(stamp, self.stamps())

    def stamps(self):
        """Times of what prepare makes; the digests it remembers wait until a text has settled."""
        return {p: p.stat().st_mtime_ns for p in (self.dir / "cache").rglob("*")
                if p.is_file() and p.name != "digests.json"}

    def test_eval_repeats_the_loss_of_the_run(self):
        self.train()
        result = json.loads(self.run_program("eval", "recipe.toml").strip().splitlines()[-1])
        self.assertEqual(result["step"], 40)
        self.assertAlmostEqual(result["loss"], self.metrics(kind="evaluation")[-1]["loss"], delta=1e-5)

    def test_eval_on_two_ranks_is_eval_on_one(self):
        self.train()
        one = json.loads(self.run_program("eval", "recipe.toml").strip().splitlines()[-1])
        both = self.run_program("eval", "recipe.toml", ranks=2).strip().splitlines()
        two = json.loads(next(line for line in both if line.startswith("{")))
        self.assertEqual(one["tokens"], two["tokens"])
        self.assertAlmostEqual(one["loss"], two["loss"], delta=1e-6 * one["loss"])

    def test_generate_repeats_for_a_seed(self):
        self.train("train.steps=150")
        arguments = ["generate", "recipe.toml", "--prompt", "the shepherd", "--tokens", "20"]
        first = self.run_program(*arguments, "--seed", "5")
        self.assertTrue(first.startswith("the shepherd"), first)
        self.assertEqual(first, self.run_program(*arguments, "--seed", "5"))
        self.assertNotEqual(first, self.run_program(*arguments, "--seed", "6"))

    def test_looking_at_a_run_changes_nothing(self):
        self.train()
        before = self.contents("run"), self.contents("cache")
        loss = json.loads(self.run_program("eval", "recipe.toml").strip().splitlines()[-1])["loss"]
        arguments = ["generate", "recipe.toml", "--prompt", "the shepherd", "--tokens", "20"]
        text = self.run_program(*arguments)

        with open(self.dir / "corpus.txt", "a") as corpus_file:  # another text, the same tokenizer
            corpus_file.write("\n" + corpus(40, seed=8))
        self.assertEqual(self.run_program(*arguments), text)
        other = json.loads(self.run_program("eval", "recipe.toml").strip().splitlines()[-1])
        self.assertNotEqual(other["loss"], loss)
        (self.dir / "corpus.txt").unlink()
        self.assertEqual(self.run_program(*arguments), text)
        again = json.loads(self.run_program("eval", "recipe.toml").strip().splitlines()[-1])
        self.assertEqual(again["loss"], loss)
        self.assertEqual((self.contents("run"), self.contents("cache")), before)

        shutil.rmtree(self.dir / "cache")
        self.assertEqual(self.run_program(*arguments), text)
        out = self.run_program("eval", "recipe.toml", "--set", 'data.text=["nowhere.txt"]', expect=3)
        self.assertIn("nowhere.txt: no such text", out)

    def test_a_run_goes_on_with_its_tokenizer_when_its_text_has_grown(self):
        self.train("train.steps=40")
        with open(self.dir / "corpus.txt", "a") as corpus_file:
            corpus_file.write("\n" + corpus(40, seed=8))
        out = self.train("train.steps=50")
        self.assertIn("at step 40", out)
        self.assertIn("the text, its split or its tokens are not those of the last start", out)

    def test_a_pipeline_s_cut_is_kept_by_training_alone(self):
        pipeline = ("--set", "parallel.pipeline=2", "--set", "batch.micro=2")
        self.run_program("train", "recipe.toml", *pipeline, ranks=2)
        before = self.contents("run")
        self.assertIn(str(self.dir / "run" / "stages.txt"), before)
        self.run_program("eval", "recipe.toml", "--set", "parallel.pipeline=4", ranks=4)
        self.run_program("bench", "step", "recipe.toml", "--steps", "1", "--set",
                         "parallel.pipeline=4", ranks=4)
        self.assertEqual(self.contents("run"), before)

    def test_a_run_may_be_named_instead_of_a_checkpoint(self):
        self.train()
        for path in ("run", "run/checkpoints", "run/checkpoints/step-00000040"):
            out = self.run_program("eval", "recipe.toml", "--ckpt", path)
            self.assertEqual(json.loads(out.strip().splitlines()[-1])["step"], 40)

    def test_the_best_checkpoint_is_kept_and_named(self):
        arguments = ('schedule.kind="constant"', "train.eval_every=5", "checkpoint.every=0", "checkpoint.keep=1",
                     'checkpoint.best="loss"')
        self.train(*arguments, "train.steps=20")
        self.train(*arguments, "train.steps=40", "optim.lr=3.0")  # at which nothing is learnt
        losses = {e["step"]: e["loss"] for e in self.metrics(kind="evaluation")}
        best = min(losses, key=losses.get)
        self.assertEqual(len(losses), 8)
        self.assertLess(best, 40)
        listed = self.run_program("ckpt", "ls", "run")
        self.assertRegex(listed, rf"step-{best:08}  .*, loss {losses[best]:.6g} \(best\)")
        self.assertEqual(listed.count("(best)"), 1)
        self.assertEqual(set(re.findall(r"step-(\d+)", listed)), {f"{s:08}" for s in (best, 40)})
        for path in ("best", "run/best"):
            out = self.run_program("eval", "recipe.toml", "--ckpt", path)
            self.assertEqual(json.loads(out.strip().splitlines()[-1])["step"], best)
        again = arguments + ("train.steps=45", "optim.lr=1e-3")
        self.assertIn(f"at step {best}\n", self.train(*again, resume="best"))
        self.assertEqual([p.name for p in self.checkpoints()][-1], "step-00000045")
        self.assertEqual(len(list((self.dir / "run/checkpoints").glob("aside-*/step-00000040"))), 1)

    def test_generate_without_a_checkpoint_is_exit_4(self):
        self.run_program("prepare", "recipe.toml")
        out = self.run_program("generate", "recipe.toml", "--prompt", "the", expect=4)
        self.assertIn("run/checkpoints", out)

    def test_every_job_has_its_run_and_hosts_their_caches(self):
        (self.dir / "job.toml").write_text(
            'extends = "recipe.toml"\n[run]\ndir = "runs/{job}"\n[data]\ncache = "cache-{host}"\n')
        for job, text in (("a", ""), ("b", "step=40"), ("a", "finished: 40 of 40")):
            environment = dict(os.environ, GRADWIRE_JOB=job)
            done = subprocess.run(self.command("train", "job.toml", ranks=2), cwd=self.dir,
                                  env=environment, capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(text, done.stderr)
        self.assertEqual(sorted(p.name for p in (self.dir / "runs").iterdir()), ["a", "b"])
        resolved = (self.dir / "runs" / "a" / "resolved.toml").read_text()
        self.assertIn('dir = "runs/a"', resolved)
        self.assertNotIn("extends", resolved)
        self.assertEqual(len(list(self.dir.glob("cache-*"))), 1)
        self.assertIn("GRADWIRE_JOB", self.run_program("train", "job.toml", expect=2))

    def test_hosts_may_have_caches_at_paths_of_their_own(self):
        """As with {host} in data.cache, on two hosts that are one."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        ranks = []
        for rank in ("0", "1"):
            environment = dict(os.environ, RANK=rank, WORLD_SIZE="2", LOCAL_RANK="0",
                               LOCAL_WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
            ranks.append(self.start("train", "recipe.toml", "--set", f"data.cache=cache-of-{rank}",
                                    env=environment))
        for process in ranks:
            out = process.communicate(timeout=120)[0]
            self.assertEqual(process.returncode, 0, out)
        for rank in ("0", "1"):
            self.assertTrue(list((self.dir / f"cache-of-{rank}").glob("tokens-*/train.h5")))

    def test_ckpt_ls_and_verify(self):
        self.train()
        listing = self.run_program("ckpt", "ls", "run")
        for folder in self.checkpoints():
            self.assertIn(folder.name, listing)
        self.assertIn("ok", self.run_program("ckpt", "verify", "run"))

    def test_steady_state_allocates_nothing_from_the_system(self):
        for precision in ("f32", "bf16"):
            for ranks in (1, 2):
                out = self.run_program("bench", "step", "recipe.toml", "--steps", "8", "--set",
                                       f'precision="{precision}"', ranks=ranks)
                result = json.loads(next(x for x in out.splitlines() if x.startswith("{")))
                self.assertEqual(result["system_allocations"], 0)
                self.assertGreater(result["tokens_per_s"]["median"], 0)

    def test_bench_comm_sets_predicted_beside_measured(self):
        for arguments, ranks in (((), 1), (("recipe.toml",), 1), (("recipe.toml",), 2),
                                 (("recipe.toml", "--set", 'compress.method="econtrol"'), 2)):
            out = self.run_program("bench", "comm", *arguments, "--parameters", "300000", ranks=ranks)
            rows = [line for line in out.splitlines() if re.match(r"(dense f32|plain|ef|econtrol)", line)]
            self.assertEqual(len(rows), 10 if "--set" in arguments else 9, out)
            self.assertEqual("a rank, " in out, ranks > 1)
            for row in rows:
                bytes_per_parameter, _, _, predicted, measured = row[18:].split()[:5]
                self.assertLess(float(bytes_per_parameter), 4.1)
                self.assertGreaterEqual(float(predicted), 0.0)
                self.assertGreater(float(measured), 0.0)

    def test_doctor_finds_this_machine_fit(self):
        out = self.run_program("doctor")
        for row in ("MPI", "instructions", "BLAS", "GPU", "file system", "network"):
            self.assertIn(row, out)

    def test_usage_errors_are_exit_2(self):
        self.run_program(expect=2)
        self.run_program("trian", "recipe.toml", expect=2)
        self.run_program("train", "recipe.toml", "--resume", "run/checkpoints/step-1", expect=4)


if __name__ == "__main__":
    unittest.main()
