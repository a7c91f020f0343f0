"""Small models that are trained here, exported, and asked for log-probabilities."""
import pathlib
import random
import subprocess

import numpy

TOKENS = 24
PROMPTS = [[1, 70], [1, 270, 280, 290], [1, 300, 310, 320, 330, 340, 350, 360], [1, 261, 262, 263], [1, 5, 260, 299]]
VOCABULARY = 384
END = 2  # of a document

RECIPE = """
task = "language_model"
precision = "f32"
[model]
layers = 2
width = 64
heads = 4
kv_heads = 2
ffn_width = 128
tie_embeddings = true
[data]
text = ["corpus.txt"]
cache = "cache"
vocab_size = 384
context = 64
[batch]
global = 8
micro = 8
[optim]
lr = 1e-2
[train]
steps = 60
eval_every = 30
log_every = 50
threads = 1
[checkpoint]
every = 60
[run]
dir = "base"
"""


def corpus():
    draw = random.Random(3)
    words = "the a my king shepherd people river mountain altar city went spoke built remembered unto before".split()
    lines = [" ".join(draw.choice(words) for _ in range(draw.randint(5, 12))) + "." for _ in range(1500)]
    return "\n".join(line if draw.random() < 0.8 else line + "\n" for line in lines)


class TrainedModels:
    """Runs of the program in a folder; `failed` counts what was not as it should be."""

    def __init__(self, program, logits, folder):
        self.program, self.logits, self.dir, self.failed = program, logits, pathlib.Path(folder), 0
        (self.dir / "corpus.txt").write_text(corpus())
        (self.dir / "recipe.toml").write_text(RECIPE)
        self.train("base")

    def run(self, *args):
        done = subprocess.run([self.program, *args], cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        assert done.returncode == 0, done.stdout

    def train(self, run, *sets):
        self.run("train", "recipe.toml", "--set", f'run.dir="{run}"', *(x for s in sets for x in ("--set", s)))

    def train_adapters(self):
        """On the base, with enough steps and rate to change what it says; gives the names of their runs."""
        for run, method, more in (("lora", "lora", ()), ("rslora", "lora", ("adapters.rslora=true",)),
                                  ("dora", "dora", ()), ("ia3", "ia3", ())):
            self.train(run, f'adapters.method="{method}"', 'adapters.base="base"', "adapters.rank=4", "optim.lr=0.02",
                       *more)
            yield run

    def export(self, run, fmt, dtype="f32"):
        out = f"{run}-{fmt}-{dtype}"
        if (self.dir / out).exists():
            return self.dir / out
        for verify in ((), ("--verify",)):
            self.run("export", "--format", fmt, "--ckpt", run, "--out", out, "--dtype", dtype, *verify)
        return self.dir / out

    def ours(self, path):
        lines = "".join(" ".join(map(str, ids)) + "\n" for ids in PROMPTS)
        done = subprocess.run([self.logits, str(path), str(TOKENS)], input=lines.encode(), check=True, capture_output=True)
        rows = numpy.frombuffer(done.stdout, numpy.float32).reshape(len(PROMPTS), -1).astype(float)
        rows -= numpy.logaddexp.reduce(rows, axis=1, keepdims=True)
        return rows, [list(map(int, line.split())) for line in done.stderr.decode().splitlines()]
