#!/usr/bin/env python3
"""The table of bench/slow_network.sh, and a picture of it.

Usage: bench/slow_network_table.py RESULTS [--plot FILE.svg]
RESULTS: lines of "RATE PROGRAM EXCHANGE JSON", as `gradwire bench step` and bench/peer_torch.py print.
"""

import argparse
import json

NAMES = {"f32": "f32", "none": "f32", "bf16": "bf16", "onebit": "1-bit Adam, compressed stage",
         "econtrol-top1": "EControl, top 1 %", "powersgd": "PowerSGD, rank 4"}
COLORS = {"f32": "#888888", "bf16": "#4c72b0", "1-bit Adam, compressed stage": "#c44e52",
          "EControl, top 1 %": "#dd8452", "PowerSGD, rank 4": "#55a868"}
PROGRAMS = {"gradwire-tcp": ("Gradwire, TCP", "-"), "gradwire-mpi": ("Gradwire, MPI", "--"),
            "torch": ("PyTorch DDP, gloo", ":")}


def print_table(rows):
    first = rows[0][1]
    base = {r[0]: r[3]["tokens_per_s"]["median"] for r in rows if r[1:3] == (first, "f32")}
    print(f"rate     program       exchange       tokens/s  (min .. max)       of {first}'s f32  "
          "MB sent per step   step s  predicted  of it")
    for rate, program, name, r in rows:
        speed = r["tokens_per_s"]
        sent = f"{r['wire_bytes_per_step'] / 1e6:8.2f}" if "wire_bytes_per_step" in r else "       -"
        of = speed["median"] / base[rate] if rate in base else float("nan")
        print(f"{rate:8} {program:13} {name:13} {speed['median']:9.1f}  "
              f"({speed['min']:7.1f} .. {speed['max']:7.1f})  {of:6.2f}  {sent}", end="")
        if "predicted_step_s" in r:
            step, predicted = r["step_s"], r["predicted_step_s"]
            print(f"         {step:8.3f}  {predicted:9.3f}  {predicted / step:5.2f}", end="")
        print()


def plot(path, rows):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "gradwire"
    from matplotlib import pyplot

    rates = list(dict.fromkeys(r[0] for r in rows))
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for program, (label, style) in PROGRAMS.items():
        for exchange in dict.fromkeys(r[2] for r in rows if r[1] == program):
            points = [(rates.index(r[0]), r[3]["tokens_per_s"]) for r in rows
                      if r[1:3] == (program, exchange)]
            middle = [t["median"] for _, t in points]
            spread = [[t["median"] - t["min"] for _, t in points],
                      [t["max"] - t["median"] for _, t in points]]
            axes.errorbar([x for x, _ in points], middle, yerr=spread, linestyle=style, marker="o",
                          markersize=3, capsize=3, color=COLORS[NAMES[exchange]],
                          label=f"{label}: {NAMES[exchange]}")
    axes.set_yscale("log")
    axes.set_xticks(range(len(rates)), rates)
    axes.set_xlim(-0.2, len(rates) - 0.8)
    axes.set_xlabel("links between four hosts, a second")
    axes.set_ylabel("tokens a second")
    axes.grid(axis="y", which="both", alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("results")
    p.add_argument("--plot", help="SVG file")
    a = p.parse_args()
    rows = []
    with open(a.results) as lines:
        for line in lines:
            rate, program, name, text = line.split(" ", 3)
            rows.append((rate, program, name, json.loads(text)))
    print_table(rows)
    if a.plot:
        plot(a.plot, rows)


if __name__ == "__main__":
    main()
