"""What `gradwire export` writes, in other programs: export_test.py GRADWIRE DECODER_LOGITS TOKEN_IDS.

Small models and adapters on one of them are trained here, exported, and asked for the log-probabilities of
all tokens after each prompt, and for greedy continuations. llama.cpp reads GGUF files: f32 beside our
own forward of the exported Hugging Face folder; f16, bf16, q8_0 and q4_0 beside our own forward of the
same file; merged LoRA, rsLoRA, DoRA and IA3; LoRA and rsLoRA as GGUF LoRA on the base's file, beside the
merged model. Token ids of 400 lines are compared too. The packages safetensors and gguf read what they
are for; PEFT's names and scale are checked by adding up in NumPy what a PEFT folder says.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy
import xllamacpp
from safetensors.numpy import load_file

import tokenizer_test
import tokenizer_texts
from trained_models import END, PROMPTS, TOKENS, VOCABULARY, TrainedModels, corpus

# With the caches in f32 llama.cpp still rounds activations for products with narrow weights.
MOST = {"f32": 1e-5, "f16": 1e-3, "bf16": 5e-3, "q8_0": 2e-2, "q4_0": 2e-2}


def llama(path, adapter=None):
    """Rows of log-probabilities and continuations."""
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = 64
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if adapter is not None:
        lora = xllamacpp.CommonAdapterLoraInfo()
        lora.path, lora.scale = str(adapter), 1.0
        params.lora_adapters = [lora]
    server = xllamacpp.Server(params)
    rows, texts = [], []
    for ids in PROMPTS:
        ask = {"prompt": ids, "temperature": 0, "cache_prompt": False}
        first = server.handle_completions({**ask, "n_predict": 1, "n_probs": VOCABULARY})
        row = numpy.full(VOCABULARY, numpy.nan)
        for entry in first["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            row[entry["id"]] = entry["logprob"]
        rows.append(row)
        more = server.handle_completions({**ask, "n_predict": TOKENS, "n_probs": 1})
        texts.append([e["id"] for e in more["choices"][0]["logprobs"]["content"]])
    return numpy.array(rows), texts


def until_end(ids):
    return ids[:ids.index(END) + 1] if END in ids else ids


class Test(TrainedModels):
    def compare(self, name, got, want, most, texts=True):
        there = numpy.isfinite(got[0])
        assert there.mean() > 0.9, f"{name}: llama.cpp gave {there.mean():.0%} of the tokens"
        scale = want[0].max(axis=1, keepdims=True) - want[0].min(axis=1, keepdims=True)
        worst = (numpy.abs(got[0] - want[0]) / scale)[there].max()
        # llama.cpp ends a text with the token that ends documents.
        same = [until_end(t) for t in got[1]] == [until_end(t) for t in want[1]]
        good = worst <= most and (same or not texts)
        self.failed += not good
        print(f"{name:34} {worst:.1e} of the range (at most {most:.0e}), "
              f"{'equal' if same else 'other'} continuations  {'' if good else 'FAILED'}")

    def models(self, run):
        want = self.ours(self.export(run, "hf"))
        for dtype, most in MOST.items():
            file = self.export(run, "gguf", dtype) / "model.gguf"
            reader = gguf.GGUFReader(file)
            assert len(reader.tensors) > 0
            exact = dtype in ("f32", "f16", "bf16")
            self.compare(f"{run}: gguf {dtype}", llama(file), want if dtype == "f32" else self.ours(file), most,
                         texts=exact)
        return want

    def vocabulary(self, run, token_ids):
        """Of the exported files beside llama.cpp's reading of the GGUF file."""
        lines = corpus().splitlines()[:200] + tokenizer_texts.texts(200)
        file = self.dir / f"{run}-gguf-f32" / "model.gguf"
        want = tokenizer_test.llama_ids(str(file), lines)
        for path in (file, self.dir / f"{run}-hf-f32" / "tokenizer.model"):
            got, _ = tokenizer_test.ours(token_ids, str(path), lines)
            self.failed += tokenizer_test.compare(f"{path.name} beside llama.cpp", lines, got, want)

    def hugging_face(self, run):
        folder = self.dir / f"{run}-hf-f32"
        tensors = load_file(folder / "model.safetensors")
        assert tensors["model.embed_tokens.weight"].shape == (VOCABULARY, 64)
        assert json.loads((folder / "config.json").read_text())["hidden_size"] == 64

    def adapter(self, run, base, gguf_lora):
        want = self.ours(self.export(run, "hf"))
        self.compare(f"{run}: merged gguf f32", llama(self.export(run, "gguf") / "model.gguf"), want, MOST["f32"])
        unmerged = self.ours(base.parent / "base-hf-f32")
        assert numpy.abs(want[0] - unmerged[0]).max() > 0.1, f"{run}: the adapter does nothing"
        if not gguf_lora:
            return
        file = self.export(run, "gguf-lora") / "adapter.gguf"
        self.compare(f"{run}: gguf-lora on the base", llama(base / "model.gguf", file), want, MOST["f32"])
        self.peft(run)

    def peft(self, run):
        """W + s B A of the folder's own words, beside the merged model."""
        folder = self.export(run, "peft")
        config = json.loads((folder / "adapter_config.json").read_text())
        scale = config["lora_alpha"] / (config["r"] ** 0.5 if config["use_rslora"] else config["r"])
        parts = load_file(folder / "adapter_model.safetensors")
        base = load_file(self.dir / "base-hf-f32" / "model.safetensors")
        merged = load_file(self.dir / f"{run}-hf-f32" / "model.safetensors")
        worst, sites = 0.0, 0
        for name, a in parts.items():
            if not name.endswith(".lora_A.weight"):
                continue
            stem = name.removesuffix(".lora_A.weight")
            module = stem.removeprefix("base_model.model.")
            assert module.rsplit(".", 1)[1] in config["target_modules"]
            b, weight = parts[stem + ".lora_B.weight"], base[module + ".weight"]
            worst = max(worst, numpy.abs(weight + scale * b @ a - merged[module + ".weight"]).max())
            sites += 1
        self.failed += worst > 1e-5 or sites == 0
        print(f"{run + ': peft folder, added up':34} {worst:.1e} in the weights of {sites} layers")


def main(program, logits, token_ids):
    with tempfile.TemporaryDirectory() as folder:
        test = Test(os.path.abspath(program), os.path.abspath(logits), folder)
        test.train("untied", "model.tie_embeddings=false")
        test.models("base")
        test.models("untied")
        test.vocabulary("base", os.path.abspath(token_ids))
        test.hugging_face("base")
        base = test.dir / "base-gguf-f32"
        for run in test.train_adapters():
            test.adapter(run, base, gguf_lora=run in ("lora", "rslora"))
    return 1 if test.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
