"""Logits and greedy continuations of SmolLM2 beside llama.cpp's: logits_test.py DECODER_LOGITS.

Both compute in f32 with the same dequantised weights: ours from the package's Q4_1 file, llama.cpp
from a copy in f32 (dequantise.py). Compared are log-probabilities of the token after each prompt,
for the whole vocabulary: they differ from logits by a constant that is the same for all tokens.
"""
import os
import subprocess
import sys
import tempfile

import numpy
import tokenizers
import xllamacpp

import smollm2

PROMPTS = [
    "The capital of France is", "Once upon a time, in a village by the sea,", "2 + 2 =",
    "def fibonacci(n):\n    ", "Water boils at", "El perro come", "Die Hauptstadt von Deutschland",
    "In the beginning God created", "The three primary colours are", "A haiku about autumn:\n",
    "SELECT name FROM users WHERE", "To be, or not to be,", "The speed of light is about",
    "<html>\n  <body>\n", "Dear Sir or Madam,", "1, 1, 2, 3, 5, 8,", "\u00c9t\u00e9 comme hiver,",
    "\u6771\u4eac\u306f", "The quick brown fox", "Q: Who wrote Hamlet?\nA:",
]
TOKENS = 64


def llama(path, prompts, vocabulary):
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx = 512
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    rows, texts = [], []
    for ids in prompts:
        ask = {"prompt": ids, "temperature": 0, "cache_prompt": False}
        first = server.handle_completions({**ask, "n_predict": 1, "n_probs": vocabulary})
        row = numpy.full(vocabulary, numpy.nan)
        for entry in first["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            row[entry["id"]] = entry["logprob"]
        rows.append(row)
        more = server.handle_completions({**ask, "n_predict": TOKENS, "n_probs": 1})
        texts.append([e["id"] for e in more["choices"][0]["logprobs"]["content"]])
    return rows, texts


def ours(program, path, prompts, vocabulary):
    lines = "".join(" ".join(map(str, ids)) + "\n" for ids in prompts)
    done = subprocess.run([program, path, str(TOKENS)], input=lines.encode(), check=True,
                          capture_output=True)
    logits = numpy.frombuffer(done.stdout, numpy.float32).reshape(len(prompts), vocabulary)
    return logits.astype(float), [list(map(int, line.split()))
                                  for line in done.stderr.decode().splitlines()]


def main(program):
    path = smollm2.model_file()
    tokens = smollm2.tokenizer(path)
    prompts = [tokens.encode(p).ids for p in PROMPTS]
    with tempfile.TemporaryDirectory() as folder:
        plain = os.path.join(folder, "f32.gguf")
        subprocess.run([sys.executable, os.path.join(os.path.dirname(__file__), "dequantise.py"),
                        path, plain], check=True)
        want, want_texts = llama(plain, prompts, tokens.get_vocab_size())
    got, got_texts = ours(program, path, prompts, tokens.get_vocab_size())
    worst, failed = 0.0, 0
    for prompt, logits, row, text, want_text in zip(PROMPTS, got, want, got_texts, want_texts):
        there = numpy.isfinite(row)
        assert there.sum() > 0.99 * len(row), f"llama.cpp gave {there.sum()} of {len(row)}"
        log_probs = logits - numpy.logaddexp.reduce(logits)
        difference = numpy.abs(log_probs - row)[there].max() / (logits.max() - logits.min())
        length = min(len(text), len(want_text))
        same = text[:length] == want_text[:length] and length == TOKENS
        worst = max(worst, difference)
        failed += difference > 1e-3 or not same
        print(f"{prompt[:32]!r:36} {difference:.1e} of the range, "
              f"{'equal' if same else 'other'} continuation of {length}")
    print(f"largest difference {worst:.1e} of the logit range")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
