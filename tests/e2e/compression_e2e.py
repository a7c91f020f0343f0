"""Whole runs with compressed exchange: they learn, send little, stay replicas, and survive restarts."""

from harness import *

# Between ranks of one host compression gains nothing: it is asked for in any case.
ALWAYS = "compress.least_gain=0.0"
CHECKED = [ALWAYS, "train.replica_check_every=1", "checkpoint.keep=9"]
CASES = {
    "1-bit Adam": ['optim.name="onebit_adam"', "optim.freeze_step=12"],
    "1-bit Adam, embedding left out": ['optim.name="onebit_adam"', "optim.freeze_step=12",
                                       'optim.uncompressed=["*embed*"]'],
    "1-bit Adam, sharded": ['optim.name="onebit_adam"', "optim.freeze_step=12",
                            "parallel.shard_optimizer=true"],
    "0/1 Adam": ['optim.name="zero_one_adam"', "optim.freeze_step=12", "optim.local_step_scaler=6",
                 "optim.local_steps=4"],
    "1-bit LAMB": ['optim.name="onebit_lamb"', "optim.freeze_step=12"],
    "AdamW, EControl": ['compress.method="econtrol"', 'compress.codec="topk"', "compress.ratio=0.1",
                        "compress.dense_steps=12"],
    "AdamW, error feedback, embedding left out": [
        'compress.method="ef"', 'compress.codec="sign"', "compress.dense_steps=12",
        'optim.uncompressed=["*embed*"]'],
    "SGD, EF21": ['optim.name="sgd"', "optim.lr=0.3", 'compress.method="ef21"', 'compress.codec="int8"',
                  "compress.dense_steps=12"],
    "SGD, EF21-SGDM": ['optim.name="sgd"', "optim.lr=0.3", 'compress.method="ef21_sgdm"',
                       'compress.codec="topk"', "compress.ratio=0.2", "compress.dense_steps=12"],
    "AdamW, PowerSGD": ['compress.method="powersgd"', "compress.rank=2", "compress.dense_steps=12"],
    "1-bit Adam, PowerSGD": ['optim.name="onebit_adam"', "optim.freeze_step=12",
                             'compress.method="powersgd"', "compress.rank=2"],
}


class Compression(ProgramTest):
    def test_ranks_with_different_instruction_sets_stay_replicas(self):
        rank = lambda isa, run, sets: [
            "-n", "1", "env", f"GRADWIRE_ISA={isa}", GRADWIRE, "train", "recipe.toml", "--set", f'run.dir="{run}"',
            *(word for item in (*CHECKED, *sets, "train.steps=20") for word in ("--set", item))]
        for name in ("1-bit Adam", "1-bit LAMB", "AdamW, PowerSGD"):
            with self.subTest(name):
                run = "".join(c for c in name if c.isalnum())
                done = subprocess.run(
                    [*MPIRUN, *rank("v2", run, CASES[name]), ":", *rank("v4", run, CASES[name])],
                    cwd=self.dir, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
                self.assertEqual(done.returncode, 0, done.stdout)  # 5 if replicas had parted

    def test_every_rule_learns_with_few_bytes_and_goes_on_bit_for_bit(self):
        for name, sets in CASES.items():
            with self.subTest(name):
                run = "".join(c for c in name if c.isalnum())
                self.train(*CHECKED, *sets, ranks=2, run=run)
                steps = self.metrics(run)
                self.assertLess(steps[-1]["loss"], steps[0]["loss"])
                sent = [r for r in steps if r["step"] > 14]
                share = sum(r["wire_bytes"] for r in sent) / sum(r["wire_dense_bytes"] for r in sent)
                # The sketch for the norm (16 KB) weighs as much as this small model's gradient.
                self.assertLess(share, 0.8)

                last = self.tensor_hashes(self.checkpoints(run)[-1])
                for later in self.checkpoints(run)[2:]:  # steps 30 and 40
                    shutil.rmtree(later)
                out = self.train(*CHECKED, *sets, ranks=2, run=run)
                self.assertIn("at step 20", out)
                self.assertEqual(self.tensor_hashes(self.checkpoints(run)[-1]), last)

    def test_warm_up_is_adamw_bit_for_bit(self):
        self.train(ranks=2, run="adamw")
        self.train(ALWAYS, 'optim.name="onebit_adam"', "optim.freeze_step=20", ranks=2, run="onebit")
        adamw = [r["loss"] for r in self.metrics("adamw")]
        onebit = [r["loss"] for r in self.metrics("onebit")]
        self.assertEqual(adamw[:21], onebit[:21])
        self.assertNotEqual(adamw, onebit)
        notes = [r["text"] for r in self.metrics("onebit", "note")]
        self.assertIn("step 20: second moment frozen after 20 updates: as configured", notes)
        for line in ("network: ", "step 4: compression on: ", "compressed from step 21 on; a dense step took ",
                     "a dense step took ", "a compressed step took "):
            self.assertTrue(any(n.startswith(line) for n in notes), f"{line} in {notes}")

    def test_a_run_that_gains_nothing_switches_itself_off_and_stays_off(self):
        # No exchange saves 99 % of a step between two ranks of one host.
        sets = ["compress.least_gain=0.99", "train.replica_check_every=1", "checkpoint.keep=9",
                'optim.name="onebit_adam"', "optim.freeze_step=12"]
        self.train(ranks=2, run="adamw")
        self.train(*sets, ranks=2, run="off")
        self.assertEqual([r["loss"] for r in self.metrics("adamw")],
                         [r["loss"] for r in self.metrics("off")])
        notes = [r["text"] for r in self.metrics("off", "note")]
        self.assertTrue(any(n.startswith("step 4: compression off: ") for n in notes), notes)
        self.assertFalse(any("frozen" in n for n in notes), notes)

        last = self.tensor_hashes(self.checkpoints("off")[-1])
        for later in self.checkpoints("off")[2:]:
            shutil.rmtree(later)
        out = self.train(*sets, ranks=2, run="off")
        self.assertIn("at step 20", out)
        self.assertIn("compression off, as decided before", out)
        self.assertEqual(self.tensor_hashes(self.checkpoints("off")[-1]), last)
        # Four ranks decide anew.
        for later in self.checkpoints("off")[2:]:
            shutil.rmtree(later)
        out = self.train(*sets, "batch.micro=2", ranks=4, run="off")
        self.assertIn("decided anew: it was for 2 ranks, this run has 4", out)
        self.assertIn("step 24: compression off: ", out)

    def test_sharded_state_changes_no_bit(self):
        self.train(ranks=2, run="whole")
        self.train("parallel.shard_optimizer=true", *CHECKED, ranks=2, run="sharded")
        self.assertEqual([r["loss"] for r in self.metrics("whole")],
                         [r["loss"] for r in self.metrics("sharded")])
        # The checkpoint of one is the other's, and that of fewer ranks.
        for later in self.checkpoints("sharded")[2:]:
            shutil.rmtree(later)
        self.train(*CHECKED, ranks=2, run="sharded")
        self.assertEqual([r["loss"] for r in self.metrics("whole")],
                         [r["loss"] for r in self.metrics("sharded")])

    def test_residuals_go_to_another_number_of_ranks(self):
        sets = CASES["1-bit Adam"]
        self.train(*CHECKED, *sets, ranks=2, run="a")
        straight = self.metrics("a")[-1]["loss"]
        for later in self.checkpoints("a")[2:]:
            shutil.rmtree(later)
        out = self.train(*CHECKED, *sets, run="a")
        self.assertIn("it was saved by 2 ranks, this run has 1", out)
        self.assertEqual(self.metrics("a")[-1]["step"], 40)
        self.assertLess(abs(self.metrics("a")[-1]["loss"] - straight), 0.2)

    def test_identity_is_no_compression(self):
        self.train(ranks=2, run="dense")
        self.train(ALWAYS, 'compress.method="ef"', 'compress.codec="identity"', "optim.clip_norm=0.0",
                   ranks=2, run="identity")
        self.train("optim.clip_norm=0.0", ranks=2, run="unclipped")
        self.assertEqual([r["loss"] for r in self.metrics("unclipped")],
                         [r["loss"] for r in self.metrics("identity")])

    def test_ranks_with_their_own_text(self):
        self.train('data.ranks_read="stretch"', 'optim.name="sgd"', "optim.lr=0.3",
                   'compress.method="econtrol"', 'compress.codec="topk"', "compress.ratio=0.1",
                   *CHECKED, ranks=2)
        steps = self.metrics()
        self.assertLess(steps[-1]["loss"], steps[0]["loss"])


if __name__ == "__main__":
    unittest.main()
