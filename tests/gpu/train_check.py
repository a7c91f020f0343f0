#!/usr/bin/env python3
"""Trains train.toml with the program, on the CPU and on a GPU, and compares.

train_check.py GRADWIRE FOLDER [DEVICE]: works in a new folder inside FOLDER; DEVICE ("cuda") is what is
compared with the CPU. Says OK or BAD for each of: the losses of all steps and evaluations against the
CPU's; a run that was stopped and went on, against one that was not, bit for bit; bf16 against the CPU's
f32; two ranks on the device against two on the CPU, dense and compressed; other commands. One JSON line for each speed. Exit status 1 if something was BAD. Needs nothing but Python's own library.
"""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
from manifest import tensor_hashes  # noqa: E402

# Largest difference of a step's losses, as a share of the loss.
CLOSE = 1e-3  # f32 on both: sums are made in other orders
CLOSE_BF16 = 2**-7  # the spacing of bf16 at 1
CLOSE_ONEBIT = 2e-2  # of elements near zero the sign differs, and only the sign travels
STOPPED = 75
# As the step of bench/cuda_bench: what the program adds to the operations.
LARGE = [word for setting in (
    'precision="bf16"', "model.layers=12", "model.width=768", "model.heads=12", "model.ffn_width=2048",
    "model.dropout=0", "data.vocab_size=32768", "data.context=2048", "batch.global=16", "batch.micro=16",
) for word in ("--set", setting)]
ONEBIT = ('optim.name="onebit_adam"', "optim.freeze_step=40", "compress.least_gain=0")

gradwire, folder = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2])
device = sys.argv[3] if len(sys.argv) > 3 else "cuda"
bad = False


def say(good, text):
    global bad
    bad = bad or not good
    print("OK  " if good else "BAD ", text, flush=True)


def command(run, settings, ranks=1):
    launch = ["launch", "-n", str(ranks), "--"] if ranks > 1 else []
    words = [gradwire, *launch, "train", "train.toml"]
    for setting in (f'run.dir="{run}"', *settings):
        words += ["--set", setting]
    return words


def rows(run, kind="step"):
    """What a run has logged; of steps that were computed twice, the last."""
    found = {}
    try:
        for line in (work / run / "metrics.jsonl").read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue  # being written
            if row["event"] == kind:
                found[row["step"]] = row
    except FileNotFoundError:
        pass
    return found


def train(run, *settings, ranks=1):
    done = subprocess.run(command(run, settings, ranks), cwd=work, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        say(False, f"{run}: exit status {done.returncode}\n{done.stdout[-3000:]}")
        return False
    return True


def train_stopped(run, *settings, after):
    """Asks for a stop once a step is logged, then goes on in a new process."""
    process = subprocess.Popen(command(run, settings), cwd=work, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while process.poll() is None and after not in rows(run):
        time.sleep(0.005)  # a look at what another process writes
    process.send_signal(signal.SIGUSR1)
    out, _ = process.communicate()
    if process.returncode != STOPPED:
        say(False, f"{run}: exit status {process.returncode}, not {STOPPED}\n{out[-3000:]}")
        return False
    at = max(rows(run))
    print(f"     {run}: stopped after step {at}")
    return train(run, *settings)


def use(name, *words):
    """Another command, on the device, with the run that was trained there."""
    done = subprocess.run([gradwire, *words, "--set", 'run.dir="device"', "--set", on_device], cwd=work,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    say(done.returncode == 0, f"{name}: {done.stdout.strip()[-600:]}")
    return done.stdout.strip().split("\n")[-1] if done.returncode == 0 else None


def compare(name, run, other, close):
    steps, others = rows(run), rows(other)
    losses = [(abs(steps[s]["loss"] / others[s]["loss"] - 1), s) for s in others if s in steps]
    evaluations, other_evaluations = rows(run, "evaluation"), rows(other, "evaluation")
    losses += [(abs(evaluations[s]["loss"] / e["loss"] - 1), s)
               for s, e in other_evaluations.items() if s in evaluations]
    whole = steps.keys() == others.keys() and evaluations.keys() == other_evaluations.keys()
    most, at = max(losses, default=(float("inf"), 0))
    last = max(others, default=0)
    first_loss, last_loss = others[min(others)]["loss"], others[last]["loss"]
    say(whole and most <= close,
        f"{name}: losses {first_loss:.4f} to {last_loss:.4f} over {len(others)} steps differ by at most "
        f"{most:.2e} of the loss (step {at}; allowed {close:.1e})")


def newest(run):
    return max(p for p in (work / run / "checkpoints").glob("step-*") if "." not in p.name)


def speed(case, run):
    times = sorted(r["tokens_per_s"] for r in rows(run).values())
    print(json.dumps({"program": "gradwire", "case": case, "tokens_per_s": times[len(times) // 2]}),
          flush=True)


work = pathlib.Path(tempfile.mkdtemp(prefix="train-", dir=folder))
shutil.copy(HERE / "train.toml", work)
texts = [HERE / "text.md"] if (HERE / "text.md").exists() else sorted(HERE.glob("../../docs/*.md"))
(work / "text.md").write_text("".join(t.read_text() for t in texts))
on_device, on_cpu = f'run.device="{device}"', 'run.device="cpu"'

if train("cpu", on_cpu) and train("device", on_device):
    compare(f"{device} against cpu", "device", "cpu", CLOSE)
    speed("train small, cpu", "cpu")
    speed(f"train small, {device}", "device")
    if train_stopped("stopped", on_device, after=30):
        say(tensor_hashes(newest("stopped")) == tensor_hashes(newest("device")),
            "stopped and gone on: the last checkpoint is the same, bit for bit")
        compare("stopped and gone on", "stopped", "device", 0.0)
    if train("bf16", on_device, 'precision="bf16"'):
        compare(f"bf16 on {device} against f32 on cpu", "bf16", "cpu", CLOSE_BF16)
        speed(f"train small bf16, {device}", "bf16")
    if train("cpu_two", on_cpu, ranks=2) and train("two", on_device, ranks=2):
        compare(f"two ranks on {device} against two on cpu", "two", "cpu_two", CLOSE)
    if train("cpu_1bit", on_cpu, *ONEBIT, ranks=2) and train("1bit", on_device, *ONEBIT, ranks=2):
        compare(f"1-bit Adam by two ranks on {device}", "1bit", "cpu_1bit", CLOSE_ONEBIT)
    use("eval", "eval", "train.toml")
    use("generate", "generate", "train.toml", "--prompt", "The ", "--tokens", "20")
    of_step = LARGE if device == "cuda" else ()
    timed = use("bench step", "bench", "step", "train.toml", "--warmup", "3", "--steps", "10", *of_step)
    if timed and of_step:
        print(json.dumps({"program": "gradwire", "case": "step 125M, the whole program",
                          "tokens_per_s": json.loads(timed)["tokens_per_s"]["median"]}), flush=True)
shutil.rmtree(work, ignore_errors=True)
sys.exit(1 if bad else 0)
