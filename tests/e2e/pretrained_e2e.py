"""Recipes that begin with a model of another program ([model] from)."""
import json
import random
import shutil
import struct
import unittest

from harness import ProgramTest

V, D, H, KV, F, LAYERS = 320, 16, 2, 1, 24, 2
RECIPE = """
[model]
from = "base"
[data]
text = ["corpus.txt"]
cache = "cache"
context = 16
validation_share = 0.1
[batch]
global = 4
micro = 2
[optim]
lr = 1e-2
[schedule]
kind = "constant"
warmup_steps = 1
[train]
steps = 8
eval_every = 0
threads = 1
[checkpoint]
every = 4
"""
LORA = ('adapters.method="lora"', "adapters.rank=2")


def shapes():
    out = {"model.embed_tokens.weight": [V, D], "model.norm.weight": [D]}
    head = D // H
    for i in range(LAYERS):
        at = f"model.layers.{i}."
        out |= {at + "input_layernorm.weight": [D], at + "post_attention_layernorm.weight": [D],
                at + "self_attn.q_proj.weight": [D, D], at + "self_attn.o_proj.weight": [D, D],
                at + "self_attn.k_proj.weight": [KV * head, D],
                at + "self_attn.v_proj.weight": [KV * head, D],
                at + "mlp.gate_proj.weight": [F, D], at + "mlp.up_proj.weight": [F, D],
                at + "mlp.down_proj.weight": [D, F]}
    return out


def byte_characters():
    """The characters that byte-level BPE writes single bytes as (Radford et al., GPT-2, 2019)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(others))]


def tokenizer_json(tokens=256):
    """Of single bytes, of tokens that no text has, and of one that ends a document."""
    vocab = {c: i for i, c in enumerate(byte_characters())}
    vocab |= {f"<{i}>": i for i in range(len(vocab), tokens)}
    end = {"id": len(vocab), "content": "<|end|>", "special": True, "single_word": False,
           "lstrip": False, "rstrip": False, "normalized": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [end],
            "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None,
                      "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": []}}


def config(**more):
    return {"model_type": "llama", "vocab_size": V, "hidden_size": D, "num_hidden_layers": LAYERS,
            "num_attention_heads": H, "num_key_value_heads": KV, "intermediate_size": F,
            "rms_norm_eps": 1e-5, "rope_theta": 5000.0, "tie_word_embeddings": True,
            "max_position_embeddings": 64, "hidden_act": "silu", **more}


class PretrainedTest(ProgramTest):
    def setUp(self):
        super().setUp()
        (self.dir / "recipe.toml").write_text(RECIPE)
        self.write_base()

    def write_base(self, seed=1, left_out=(), tensors=None, **settings):
        folder = self.dir / "base"
        folder.mkdir(exist_ok=True)
        draw, header, data = random.Random(seed), {}, b""
        for name, shape in (tensors or shapes()).items():
            if name in left_out:
                continue
            size = shape[0] * (shape[1] if len(shape) > 1 else 1)
            values = struct.pack(f"<{size}f", *(draw.gauss(1 if len(shape) == 1 else 0, 0.1)
                                                for _ in range(size)))
            header[name] = {"dtype": "F32", "shape": shape,
                            "data_offsets": [len(data), len(data) + len(values)]}
            data += values
        text = json.dumps(header).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
        (folder / "config.json").write_text(json.dumps(config(**settings)))
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
        (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>"}))

    def evaluate(self, *args, ranks=1):
        out = self.run_program("eval", "recipe.toml", *args, ranks=ranks)
        return json.loads(out.splitlines()[-1])

    def test_sizes_and_vocabulary_are_those_of_the_model(self):
        shown = self.run_program("config", "show", "recipe.toml")
        for line in (f"layers = {LAYERS}", f"width = {D}", f"ffn_width = {F}", "head_width = 8",
                     "rope_theta = 5000.0", f"vocab_size = {V}", "tie_embeddings = true"):
            self.assertIn(line, shown)
        self.assertIn("parameters", self.run_program("train", "recipe.toml", "--dry-run"))
        self.run_program("bench", "step", "recipe.toml", "--warmup", "1", "--steps", "1")

    def test_a_key_that_contradicts_is_refused(self):
        out = self.train("model.width=32", expect=2)
        self.assertIn('model.width: 32, but model.from = "base" has 16', out)
        out = self.train("data.vocab_size=400", expect=2)
        self.assertIn('data.vocab_size: 400, but model.from = "base" has 320', out)
        self.train("train.steps=1", "model.width=16", "model.norm_eps=1e-5")

    def test_training_begins_with_its_weights(self):
        before = self.evaluate("--ckpt", "none")["loss"]
        self.train("optim.lr=1e-9", run="still")
        self.assertAlmostEqual(self.evaluate("--ckpt", "still")["loss"], before, places=5)
        self.train("train.steps=40", run="moved")
        self.assertLess(self.evaluate("--ckpt", "moved")["loss"], before - 0.5)
        self.run_program("generate", "recipe.toml", "--ckpt", "none", "--prompt", "a king",
                         "--tokens", "8")

    def test_an_adapter_without_an_update_gives_the_model(self):
        sets = [x for s in LORA for x in ("--set", s)]
        self.assertEqual(self.evaluate("--ckpt", "none", *sets), self.evaluate("--ckpt", "none"))

    def test_pipelines_and_replicas_train_the_same_model(self):
        for kind, settings in (("whole", ()), ("adapter", LORA)):
            with self.subTest(kind):
                one = f"{kind}-one"
                self.train("train.log_every=1", *settings, run=one)
                for name, more in (("replicas", ()), ("pipeline", ("parallel.pipeline=2",))):
                    run = f"{kind}-{name}"
                    self.train("train.log_every=1", *settings, *more, run=run, ranks=2)
                    for a, b in zip(self.metrics(one), self.metrics(run)):
                        self.assertAlmostEqual(a["loss"], b["loss"], places=2 if not more else 4)

    def test_a_run_goes_on_and_keeps_its_tokenizer(self):
        self.train(run="whole")
        self.train("train.steps=4", run="stopped")
        shutil.rmtree(self.dir / "cache")
        self.assertIn("at step 4", self.train(run="stopped"))
        self.assertEqual(self.tensor_hashes(self.checkpoints("whole")[-1]),
                         self.tensor_hashes(self.checkpoints("stopped")[-1]))
        kept = next((self.dir / "stopped").glob("tokenizer-*.model"))
        self.assertTrue((kept / "tokenizer.json").exists())
        self.assertTrue((kept / "tokenizer_config.json").exists())

    def test_a_run_does_not_go_on_with_another_model(self):
        for settings in ((), LORA):
            self.write_base(seed=1)
            run = "lora" if settings else "full"
            self.train("train.steps=4", *settings, run=run)
            self.write_base(seed=2)
            self.assertIn("begun with", self.train(*settings, run=run, expect=4))

    def test_an_imported_model_is_the_model(self):
        loss = self.evaluate("--ckpt", "none")["loss"]
        out = self.run_program("import", "base", "--out", "copy")
        self.assertIn("read back and compared", out)
        copy = ("--set", 'model.from="copy"')
        self.assertEqual(self.evaluate("--ckpt", "none", *copy)["loss"], loss)
        self.run_program("import", "copy", "--out", "half", "--dtype", "bf16")
        size = [(self.dir / d / "model.safetensors").stat().st_size for d in ("copy", "half")]
        self.assertLess(size[1], 0.7 * size[0])
        half = ("--set", 'model.from="half"')
        self.assertAlmostEqual(self.evaluate("--ckpt", "none", *half)["loss"], loss, places=2)

    def test_an_import_that_fails_writes_nothing(self):
        self.run_program("import", "base", "--out", "copy")
        before = sorted(self.dir.iterdir())
        self.assertIn("copy: exists already",
                      self.run_program("import", "base", "--out", "copy", expect=2))
        name = "model.norm.weight"
        self.write_base(left_out=(name,))
        self.assertIn(f"tensor '{name}' is missing",
                      self.run_program("import", "base", "--out", "other", expect=3))
        self.write_base(model_type="gpt2")
        self.run_program("import", "base", "--out", "other", expect=3)
        self.run_program("import", "nowhere", "--out", "other", expect=8)
        self.assertEqual(sorted(self.dir.iterdir()), before)

    def refused(self, says, code):
        self.assertIn(says, self.train(expect=code))
        self.assertFalse((self.dir / "run").exists())
        self.assertFalse((self.dir / "cache").exists())

    def test_models_that_do_not_serve_are_refused_by_name(self):
        self.write_base(model_type="gemma")
        self.refused("architecture 'gemma' is not supported", 3)
        name = "model.layers.1.mlp.up_proj.weight"
        self.write_base(left_out=(name,))
        self.refused(f"tensor '{name}' is missing", 3)
        self.write_base(tensors={**shapes(), name: [F + 1, D]})
        self.refused(f"tensor '{name}' is [25, 16]; this model has [24, 16]", 3)
        self.write_base(vocab_size=400)
        self.refused("'model.embed_tokens.weight' is [320, 16]; this model has [400, 16]", 3)
        self.write_base()
        weights = self.dir / "base" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-8])
        self.refused("model.safetensors", 3)
        shutil.rmtree(self.dir / "base")
        self.refused("model.from: no such file or folder: 'base'", 2)

    def test_a_vocabulary_that_is_larger_than_the_model_is_refused(self):
        (self.dir / "base" / "tokenizer.json").write_text(json.dumps(tokenizer_json(V)))
        self.refused("tokenizer.json: a vocabulary of 321 tokens, but the model has 320", 3)

    def test_without_such_a_model_there_is_nothing_without_a_checkpoint(self):
        (self.dir / "recipe.toml").write_text(RECIPE.replace('from = "base"', "layers = 1"))
        self.assertIn("model.from", self.run_program("eval", "recipe.toml", "--ckpt", "none", expect=2))


if __name__ == "__main__":
    unittest.main()
