"""Trained models written as other programs read them, and compared again."""
import pathlib
import struct
import unittest

from harness import GRADWIRE, ProgramTest, json, subprocess

LORA = ('adapters.method="lora"', 'adapters.base="base"', "adapters.rank=2")


def safetensors_header(path):
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + length])


def safetensors(path):
    """name -> values of the tensors of a file that are all f32"""
    data = pathlib.Path(path).read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in safetensors_header(path).items():
        if name != "__metadata__":
            begin, end = (start + at for at in entry["data_offsets"])
            tensors[name] = struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])
    return tensors


class ExportTest(ProgramTest):
    def export(self, *args, ckpt="run", out="out", fmt="hf", expect=0):
        return self.run_program("export", "--format", fmt, "--ckpt", ckpt, "--out", out, *args, expect=expect)

    def files(self, folder):
        return sorted(p.name for p in (self.dir / folder).iterdir())

    def nothing_left(self, out="out"):
        self.assertEqual([p.name for p in self.dir.iterdir() if p.name.startswith(out)], [])

    def adapter(self, *settings):
        self.train("train.steps=10", run="base")
        self.train("train.steps=10", *LORA, *settings, run="a")

    def test_a_model_is_written_once_and_verified(self):
        self.train("train.steps=20")
        out = self.export()
        self.assertIn("step 20 as hf, f32, read back and compared", out)
        self.assertEqual(self.files("out"), ["README.md", "config.json", "generation_config.json", "model.safetensors",
                                             "special_tokens_map.json", "tokenizer.model", "tokenizer_config.json"])
        before = self.contents("out")
        self.assertIn("is what step 20 gives", self.export("--verify"))
        self.assertIn("is there already", self.export(expect=2))
        self.assertEqual(self.contents("out"), before)
        # Another checkpoint, another type.
        first = str(self.checkpoints()[0])
        self.assertIn("reads back other", self.export("--verify", ckpt=first, expect=3))
        self.assertIn("config.json", self.export("--verify", "--dtype", "bf16", expect=3))
        self.assertIn("no such folder", self.export("--verify", out="nowhere", expect=3))
        path = self.dir / "out" / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        self.assertIn("reads back other", self.export("--verify", expect=3))
        path.write_bytes(data[:-4])
        self.assertIn("model.safetensors", self.export("--verify", expect=3))

    def test_the_card_says_what_it_was_made_from(self):
        self.train("train.steps=20", 'checkpoint.best="loss"')
        self.export("--dtype", "bf16", ckpt="run/best")
        card = (self.dir / "out" / "README.md").read_text()
        digest = json.loads((self.dir / "run" / "data.json").read_text())["digest"]
        loss = self.metrics(kind="evaluation")[-1]["loss"]
        for text in ("| checkpoint | step 20 |", f"| data | digest {digest} |", f"| evaluation | loss {loss:.6g}",
                     "| format | hf, bf16 |", (self.dir / "run" / "resolved.toml").read_text().split("\n")[-3]):
            self.assertIn(text, card)

    def test_every_type_of_gguf(self):
        self.train("train.steps=10")
        for dtype in ("f32", "f16", "bf16", "q8_0", "q4_0"):
            self.export("--dtype", dtype, fmt="gguf", out=dtype)
            self.assertEqual(self.files(dtype), ["README.md", "model.gguf"])
            self.export("--dtype", dtype, "--verify", fmt="gguf", out=dtype)

    def test_an_adapter_alone(self):
        self.adapter()
        self.export(ckpt="a", fmt="peft")
        self.assertEqual(self.files("out"), ["README.md", "adapter_config.json", "adapter_model.safetensors"])
        names = set(safetensors_header(self.dir / "out" / "adapter_model.safetensors")) - {"__metadata__"}
        self.assertIn("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", names)
        self.assertTrue(all(n.endswith((".lora_A.weight", ".lora_B.weight")) for n in names))
        self.export("--verify", ckpt="a", fmt="peft")
        self.export(ckpt="a", fmt="gguf-lora", out="lora")
        self.export("--verify", ckpt="a", fmt="gguf-lora", out="lora")

    def test_an_adapter_is_merged_into_a_model(self):
        self.adapter()
        self.export(ckpt="a", fmt="hf")
        self.export(ckpt="base", fmt="hf", out="base-out")
        merged, base = (safetensors_header(self.dir / d / "model.safetensors") for d in ("out", "base-out"))
        self.assertEqual(set(merged), set(base))
        self.assertNotEqual((self.dir / "out" / "model.safetensors").read_bytes(),
                            (self.dir / "base-out" / "model.safetensors").read_bytes())

    def test_the_mean_of_adapters(self):
        self.adapter()
        self.train("train.steps=10", *LORA, "seed=8", run="b")
        out = self.export("--ckpt", "b", ckpt="a", fmt="peft", out="mean")
        self.assertIn("the mean of 2 checkpoints (steps 10, 10) as peft", out)
        self.assertIn("| evaluation | none of this model |", (self.dir / "mean" / "README.md").read_text())
        self.export("--ckpt", "b", "--verify", ckpt="a", fmt="peft", out="mean")
        one, other, mean = (safetensors(self.dir / d / "adapter_model.safetensors") for d in (
            self.alone("a"), self.alone("b"), "mean"))
        self.assertNotEqual(one, other)
        for name, values in mean.items():
            for x, y, m in zip(one[name], other[name], values):
                self.assertAlmostEqual((x + y) / 2, m, delta=1e-6 * (abs(x) + abs(y)))
        self.train("train.steps=10", *LORA, "adapters.alpha=4.0", run="c")
        self.assertIn("adapters.alpha", self.export("--ckpt", "c", ckpt="a", fmt="peft", expect=4))
        self.nothing_left()

    def alone(self, run):
        self.export(ckpt=run, fmt="peft", out=run + "-peft")
        return run + "-peft"

    def test_models_of_stages_and_replicas(self):
        same = ("train.steps=10", 'parallel.stages="even"')
        self.train(*same, run="one")
        self.train(*same, "parallel.pipeline=2", run="two", ranks=2)
        self.train(*same, 'optim.name="onebit_adam"', "optim.freeze_step=5", "compress.least_gain=0.0",
                   'precision="bf16"', run="onebit", ranks=2)
        self.export(ckpt="onebit", out="onebit-out")
        for run in ("one", "two"):
            self.export(ckpt=run, out=run + "-out")
        one, two = (safetensors(self.dir / d / "model.safetensors") for d in ("one-out", "two-out"))
        self.assertEqual(set(one), set(two))
        for name, values in one.items():
            for x, y in zip(values, two[name]):
                self.assertAlmostEqual(x, y, delta=1e-4)
        self.assertIn("rope_theta", self.export("--set", "model.rope_theta=-1.0", ckpt="one", expect=2))
        self.assertIn("heads", self.export("--set", "model.heads=3", ckpt="one", expect=2))
        self.assertIn("model.layers", self.export("--set", "model.layers=3", ckpt="one", expect=4))
        self.nothing_left("out")
        self.assertIn("one rank", self.run_program("export", "--format", "hf", "--ckpt", "one", "--out", "out",
                                                   ranks=2, expect=2))

    def test_another_base_is_refused(self):
        self.adapter()
        self.train("train.steps=10", "seed=99", run="other")
        out = self.export("--set", 'adapters.base="other"', ckpt="a", fmt="gguf-lora", expect=4)
        self.assertIn("another base model", out)
        self.nothing_left()

    def test_what_a_format_cannot_hold_is_named(self):
        self.adapter()
        self.assertIn("trained the model itself", self.export(ckpt="base", fmt="peft", expect=2))
        self.assertIn("peft cannot hold q8_0", self.export("--dtype", "q8_0", ckpt="a", fmt="peft", expect=2))
        self.train("train.steps=10", *LORA, 'adapters.method="houlsby"', run="h")
        self.assertIn("the adapter at model.layers.0.self_attn cannot be merged",
                      self.export(ckpt="h", fmt="gguf", expect=2))
        self.assertIn("method 'houlsby'", self.export(ckpt="h", fmt="peft", expect=2))
        self.train("train.steps=10", *LORA, 'adapters.method="dora"', run="d")
        self.assertIn("method 'dora'", self.export(ckpt="d", fmt="gguf-lora", expect=2))
        self.train("train.steps=10", *LORA, 'adapters.also_train=["*norm*"]', run="n")
        self.assertIn("adapters.also_train", self.export(ckpt="n", fmt="peft", expect=2))
        self.train("train.steps=10", 'data.tokenizer_kind="unigram"', run="u")
        self.assertIn("SentencePiece models of BPE", self.export(ckpt="u", fmt="gguf", expect=3))
        self.train("train.steps=10", "model.width=24", "model.heads=2", "model.kv_heads=2", run="w")
        self.assertIn("its rows are not whole blocks of 32",
                      self.export("--dtype", "q8_0", ckpt="w", fmt="gguf", expect=3))
        self.nothing_left()

    def test_what_is_missing_is_named(self):
        self.assertIn("no checkpoint", self.export(ckpt="nowhere", expect=4))
        self.train("train.steps=10")
        self.assertIn("none", self.export(out="none/out", expect=2))
        (self.dir / "run" / "resolved.toml").unlink()
        self.assertIn("resolved.toml", self.export(expect=4))
        self.nothing_left()

    def test_a_full_disk_leaves_nothing(self):
        self.train("train.steps=10")
        for fmt in ("hf", "gguf"):
            done = subprocess.run(["bash", "-c", 'trap "" XFSZ; ulimit -f 8; exec "$@"', "-", GRADWIRE, "export",
                                   "--format", fmt, "--ckpt", "run", "--out", "out"], cwd=self.dir, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
            self.assertEqual(done.returncode, 8, done.stdout)
            self.assertIn("cannot be written", done.stdout)
            self.nothing_left()


if __name__ == "__main__":
    unittest.main()
