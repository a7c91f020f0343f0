#!/usr/bin/env python3
"""Final validation loss of compressed training against dense AdamW, on the King James model.

First sweeps the learning rate of the dense baseline (one seed) unless --rate gives it, then trains
every variant at the best rate with every seed, all for the same number of steps, and prints the mean
gap to dense AdamW in nats with its spread over the seeds. Finished runs are kept under --runs and
not repeated. With --plot the curves of the first seed are drawn into an SVG file.

Usage: bench/quality.py GRADWIRE [--steps 300] [--seeds 3] [--ranks 2] [--precision f32] [--rate LR]
                        [--only NAME]... [--set KEY=VALUE]...
       (after `launch/install.sh bench`, `launch/prepare_kjv.sh` and `gradwire prepare
       examples/lm_kjv.toml`; --plot wants the distribution's own /usr/bin/python3)
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

RECIPE = "examples/lm_kjv.toml"
RATES = [1e-3, 2e-3, 4e-3]
BASELINE = "dense AdamW"


def variants(steps):
    """Name -> settings. Warm-up is a share of the run: dense exchange, then compressed."""
    share = lambda part: round(part * steps)
    one_bit = lambda part: {"optim.name": "onebit_adam", "optim.freeze_step": share(part)}
    gradient = lambda method, codec, **more: {
        "compress.method": method, "compress.codec": codec,
        "compress.dense_steps": share(0.15), **{f"compress.{k}": v for k, v in more.items()}}
    return {
        BASELINE: {},
        "1-bit Adam, 15 % warm-up": one_bit(0.15),
        "1-bit Adam, 30 % warm-up": one_bit(0.30),
        "1-bit Adam, 15 %, sharded": {**one_bit(0.15), "parallel.shard_optimizer": True},
        "1-bit Adam, 15 %, no feedback": {**one_bit(0.15), "compress.method": "plain"},
        "1-bit Adam, top-10 %": {**one_bit(0.15), "compress.codec": "topk", "compress.ratio": 0.1},
        "1-bit Adam, EControl sign": {**one_bit(0.15), "compress.method": "econtrol"},
        "1-bit Adam, EF21 sign": {**one_bit(0.15), "compress.method": "ef21"},
        "0/1 Adam": {"optim.name": "zero_one_adam"},
        "0/1 Adam, exchange in every step": {"optim.name": "zero_one_adam", "optim.local_steps": 1},
        "0/1 Adam, last refresh at 15 %": {"optim.name": "zero_one_adam",
                                           "optim.freeze_step": share(0.15)},
        "AdamW, EF top-10 % of the gradient": gradient("ef", "topk", ratio=0.1),
        "AdamW, EF top-1 % of the gradient": gradient("ef", "topk", ratio=0.01),
        "AdamW, EControl top-10 %": gradient("econtrol", "topk", ratio=0.1),
        "AdamW, EControl top-1 %": gradient("econtrol", "topk", ratio=0.01),
        "AdamW, EControl top-10 %, eta 0.05": gradient("econtrol", "topk", ratio=0.1, eta=0.05),
        "1-bit Adam, EControl top-10 %": {**one_bit(0.15), "compress.method": "econtrol",
                                          "compress.codec": "topk", "compress.ratio": 0.1},
        "AdamW, EF21-SGDM top-10 %": gradient("ef21_sgdm", "topk", ratio=0.1),
        "AdamW, EControl sign": gradient("econtrol", "sign"),
        "AdamW, EF sign of the gradient": gradient("ef", "sign"),
        "AdamW, PowerSGD rank 4": {"compress.method": "powersgd", "compress.rank": 4,
                                   "compress.dense_steps": share(0.15)},
        "1-bit Adam, PowerSGD rank 4": {**one_bit(0.15), "compress.method": "powersgd",
                                        "compress.rank": 4},
    }


def train(a, folder, settings):
    """Trains unless that run is there, and returns its metrics."""
    metrics = os.path.join(folder, "metrics.jsonl")
    done = os.path.join(folder, "done")
    if not os.path.exists(done):
        settings = {
            "run.dir": folder, "train.steps": a.steps, "train.eval_every": max(1, a.steps // 6),
            "checkpoint.every": 0, "compress.least_gain": 0.0, "precision": a.precision,
            "generate.prompt": [], "batch.micro": 32 // a.ranks, **settings}
        command = ["mpirun", "-n", str(a.ranks), "--bind-to", "none", a.gradwire, "train", RECIPE,
                   "--resume", "none"]
        for key, value in settings.items():
            command += ["--set", f"{key}={json.dumps(value)}"]
        for setting in a.set:
            command += ["--set", setting]
        environment = dict(os.environ, OMPI_MCA_rmaps_base_oversubscribe="1",
                           OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        if result.returncode != 0:
            sys.exit(f"{' '.join(command)}\nended with {result.returncode}:\n{result.stderr[-2000:]}")
        open(done, "w").close()
    with open(metrics) as lines:
        return [json.loads(line) for line in lines]


def final_loss(metrics):
    return [m["loss"] for m in metrics if m["event"] == "evaluation"][-1]


def sent_bytes(metrics):
    return sum(m["wire_bytes"] for m in metrics if m["event"] == "step")


def plot(path, curves):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "gradwire"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, metrics in curves.items():
        points = [(m["step"], m["loss"]) for m in metrics if m["event"] == "evaluation"]
        axes.plot(*zip(*points), marker=".", label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("validation loss, nats per token")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("gradwire")
    p.add_argument("--steps", type=int, default=300)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    p.add_argument("--rate", type=float, help="learning rate; none: the best of a sweep")
    p.add_argument("--only", action="append", help="part of a variant's name; may be repeated")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                   help="of every run; may be repeated (and wants --runs of its own)")
    p.add_argument("--runs", default="runs/quality")
    p.add_argument("--plot", help="SVG file for the curves")
    a = p.parse_args()
    a.gradwire = os.path.realpath(a.gradwire)
    os.chdir(os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))

    sweep = {}
    for rate in RATES if a.rate is None else []:
        folder = os.path.join(a.runs, f"{a.steps}-{a.ranks}-{a.precision}", f"sweep-{rate:g}")
        sweep[rate] = final_loss(train(a, folder, {"optim.lr": rate, "seed": 1}))
        print(f"{BASELINE}, lr {rate:g}: {sweep[rate]:.4f}", flush=True)
    best = a.rate or min(sweep, key=sweep.get)
    print(f"learning rate {best:g}, {a.steps} steps, {a.ranks} ranks, {a.precision}")
    if sweep and best in (RATES[0], RATES[-1]):
        print("note: the best rate is at an end of the sweep")

    losses, curves = {}, {}
    print(f"{'variant':40} {'loss':>8} {'gap':>8} {'spread of gaps':>18} {'bytes of dense f32':>20}")
    for name, settings in variants(a.steps).items():
        if name != BASELINE and a.only and not any(part in name for part in a.only):
            continue
        losses[name] = []
        for seed in range(1, a.seeds + 1):
            slug = "".join(c if c.isalnum() else "-" for c in name)
            folder = os.path.join(a.runs, f"{a.steps}-{a.ranks}-{a.precision}", f"{slug}-{seed}")
            metrics = train(a, folder, {"optim.lr": best, "seed": seed, **settings})
            losses[name].append(final_loss(metrics))
            if seed == 1:
                curves[name] = metrics
        share = sent_bytes(curves[name]) / max(1, sent_bytes(curves[BASELINE]))
        gaps = [x - y for x, y in zip(losses[name], losses[BASELINE])]
        print(f"{name:40} {statistics.mean(losses[name]):8.4f} {statistics.mean(gaps):+8.4f} "
              f"{min(gaps):+8.4f} .. {max(gaps):+.4f} {100 * share:18.1f} %", flush=True)
    if a.plot:
        plot(a.plot, curves)


if __name__ == "__main__":
    main()
