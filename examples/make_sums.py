#!/usr/bin/env python3
"""Writes samples to fine-tune on: sums as prompts, their results as completions, a JSON object a line.

Usage: examples/make_sums.py [FILE]      (default: data/cache/sums/sums.jsonl)
The same lines every time: all pairs of numbers below 50, in a random order.
"""
import json
import pathlib
import random
import sys

BELOW = 50
ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen").split()
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def spelled(n):
    if n < 20:
        return ONES[n]
    return TENS[n // 10] + ("-" + ONES[n % 10] if n % 10 else "")


out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "data/cache/sums/sums.jsonl")
pairs = [(a, b) for a in range(BELOW) for b in range(BELOW)]
random.Random(1).shuffle(pairs)
out.parent.mkdir(parents=True, exist_ok=True)
with out.open("w") as file:
    for a, b in pairs:
        file.write(json.dumps({"prompt": f"What is {spelled(a)} plus {spelled(b)}?",
                               "completion": f" It is {spelled(a + b)}."}) + "\n")
