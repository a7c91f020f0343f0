#!/usr/bin/env python3
"""The peer of bench/cuda_bench: the same cases by PyTorch on the same card, a JSON object a line.

Whole steps run under torch.compile; attention is PyTorch's scaled_dot_product_attention, element-wise
cases are compiled. Usage: peer_cuda.py [SECONDS]: no case is begun after that time (default 120).
Without a GPU it ends with 9.
"""

import json
import statistics
import sys
import time

import torch
import torch.nn.functional as functional

ROWS, LENGTH = 16384, 2048


def median_seconds(f, calls=10, rounds=7):
    for _ in range(3):
        f()
    torch.cuda.synchronize()
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(calls):
            f()
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - begin) / calls)
    return statistics.median(seconds)


def report(name, seconds, work, unit):
    print(json.dumps({"program": "torch", "case": name, "ms": round(1e3 * seconds, 4),
                      unit: round(work / seconds * 1e-9, 2)}), flush=True)


def random(*shape, dtype=torch.bfloat16):
    return torch.randn(*shape, device="cuda", dtype=torch.float32).to(dtype)


def op(name, inputs, f, forward_work, backward_work, unit):
    if forward_work > 0.0:  # or else it does nothing outside of training
        with torch.no_grad():
            report(name + " forward", median_seconds(lambda: f(*inputs)), forward_work, unit)
    leaves = [x.detach().requires_grad_(x.is_floating_point()) for x in inputs]
    seed = torch.full_like(f(*leaves), 0.5)

    def both():
        for x in leaves:
            x.grad = None
        f(*leaves).backward(seed)

    report(name + " both", median_seconds(both), forward_work + backward_work, unit)


def bandwidth():
    a, b = (torch.empty(2**28, device="cuda") for _ in range(2))
    report("copy 1 GiB", median_seconds(lambda: b.copy_(a)), 2.0 * 4 * 2**28, "GB_per_s")


def product(m, n, k):
    a, w = random(m, k), random(n, k)
    report(f"linear {m}x{n}x{k}", median_seconds(lambda: functional.linear(a, w)), 2.0 * m * n * k,
           "GFLOP_per_s")


def attention(batch, heads, kv_heads, width):
    q = random(batch, heads, LENGTH, width)
    k, v = (random(batch, kv_heads, LENGTH, width) for _ in range(2))
    forward = 2.0 * batch * heads * width * LENGTH * LENGTH
    op(f"attention B{batch} H{heads}/{kv_heads} D{width}", [q, k, v],
       lambda q, k, v: functional.scaled_dot_product_attention(
           q, k, v, is_causal=True, enable_gqa=heads != kv_heads),
       forward, 2.5 * forward, "GFLOP_per_s")


def rotate(x):
    heads, half = 32, x.shape[-1] // 64
    angles = torch.arange(LENGTH, device=x.device)[:, None] * 10000.0 ** (
        -torch.arange(half, device=x.device) / half)
    c, s = angles.cos()[:, None], angles.sin()[:, None]
    first, second = x.unflatten(-1, (heads, 2, half)).float().unbind(-2)
    return torch.stack((first * c - second * s, second * c + first * s), -2).flatten(-3).to(x.dtype)


def rms_norm(x, w):
    x32 = x.float()
    return (x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + 1e-5) * w).to(x.dtype)


def elementwise():
    width = 2048
    x, y, w = random(8, LENGTH, width), random(8, LENGTH, width), random(width, dtype=torch.float32)
    size = 2.0 * ROWS * width
    op("rmsnorm", [x, w], torch.compile(rms_norm), 2 * size, 3 * size, "GB_per_s")
    op("gated silu", [x, y], torch.compile(lambda g, u: functional.silu(g) * u), 3 * size, 5 * size,
       "GB_per_s")
    op("add", [x, y], lambda a, b: a + b, 3 * size, 0.0, "GB_per_s")
    op("dropout", [x], torch.compile(lambda a: functional.dropout(a, 0.1)), 0.0, 4 * size,
       "GB_per_s")
    op("rope", [x], torch.compile(rotate), 2 * size, 2 * size, "GB_per_s")


def cross_entropy():
    logits = random(ROWS, 32768)
    targets = torch.arange(ROWS, device="cuda") * 7919 % 32768
    size = 2.0 * ROWS * 32768
    op("cross-entropy V32768", [logits],
       torch.compile(lambda x: functional.cross_entropy(x.float(), targets)), size, 2 * size, "GB_per_s")


def embedding():
    table = random(32768, 2048, dtype=torch.float32)
    ids = torch.arange(ROWS, device="cuda") * 7919 % 32768
    ids[::2] = 7
    elements = ROWS * 2048
    op("embedding V32768", [table],
       torch.compile(lambda w: functional.embedding(ids, w).to(torch.bfloat16)),
       6.0 * elements, 2.0 * elements + 4.0 * 32768 * 2048, "GB_per_s")


def transpose():
    size = 4.0 * ROWS * 2048
    op("transpose", [random(ROWS, 2048)], lambda x: x.t().contiguous(), size, size, "GB_per_s")


def adamw():
    params = [torch.nn.Parameter(random(2**21, dtype=torch.float32)) for _ in range(64)]
    for p in params:
        p.grad = random(2**21, dtype=torch.float32)
    optimizer = torch.optim.AdamW(params, lr=1e-4, fused=True)
    report("AdamW 134 M f32", median_seconds(optimizer.step), 28.0 * 64 * 2**21, "GB_per_s")


def decoder(layers, width, heads, kv_heads, ffn, vocabulary):
    nn, head_width = torch.nn, width // heads
    inverse = 10000.0 ** (-torch.arange(0, head_width, 2).float() / head_width)
    angles = (torch.arange(LENGTH).float()[:, None] * inverse[None, :]).cuda()
    cosine, sine = angles.cos(), angles.sin()

    def turn(x):
        first, second = x[..., : head_width // 2], x[..., head_width // 2 :]
        c, s = cosine.to(x.dtype), sine.to(x.dtype)
        return torch.cat((first * c - second * s, second * c + first * s), -1)

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(width))

        def forward(self, x):
            return rms_norm(x, self.weight)

    def matrix(inputs, outputs):
        return nn.Linear(inputs, outputs, bias=False)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = Norm(), Norm()
            self.q, self.out = matrix(width, width), matrix(width, width)
            self.k, self.v = (matrix(width, kv_heads * head_width) for _ in range(2))
            self.gate, self.up, self.down = matrix(width, ffn), matrix(width, ffn), matrix(ffn, width)

        def forward(self, x):
            h = self.norm1(x)
            q, k, v = (m(h).unflatten(-1, (-1, head_width)).transpose(1, 2)
                       for m in (self.q, self.k, self.v))
            mixed = functional.scaled_dot_product_attention(
                turn(q), turn(k), v, is_causal=True, enable_gqa=heads != kv_heads)
            x = x + self.out(mixed.transpose(1, 2).flatten(2))
            h = self.norm2(x)
            return x + self.down(functional.silu(self.gate(h)) * self.up(h))

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, width)
            nn.init.normal_(self.embedding.weight, std=0.02)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm = Norm()

        def forward(self, tokens):
            x = self.embedding(tokens).to(torch.bfloat16)
            for block in self.blocks:
                x = block(x)
            logits = functional.linear(self.norm(x), self.embedding.weight)
            return functional.cross_entropy(logits.float().flatten(0, 1), tokens.flatten())

    return Decoder().cuda()


def step(name, layers, width, heads, kv_heads, ffn, vocabulary, batch):
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model = decoder(layers, width, heads, kv_heads, ffn, vocabulary)
    count = sum(p.numel() for p in model.parameters())
    compiled = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)
    tokens = torch.randint(vocabulary, (batch, LENGTH), device="cuda")

    def train():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = compiled(tokens)
        loss.backward()
        optimizer.step()

    seconds = median_seconds(train, 2, 5)
    rate = batch * LENGTH / seconds
    flops = 6.0 * count + 6.0 * layers * width * LENGTH
    print(json.dumps({"program": "torch", "case": "step " + name, "ms": round(1e3 * seconds, 3),
                      "tokens_per_s": round(rate), "TFLOP_per_s": round(rate * flops * 1e-12, 1),
                      "peak_GiB": round(torch.cuda.max_memory_allocated() / 2**30, 2),
                      "parameters": count}), flush=True)


def main():
    budget = float(sys.argv[1]) if len(sys.argv) > 1 else 120.0
    if not torch.cuda.is_available():
        print("peer_cuda.py: no GPU that PyTorch can use", file=sys.stderr)
        sys.exit(9)
    cases = {
        "copy": bandwidth,
        "linear": lambda: product(8192, 8192, 8192),
        "step 125M": lambda: step("125M", 12, 768, 12, 12, 2048, 32768, 16),
        "attention D64": lambda: attention(8, 12, 12, 64),
        "attention D128": lambda: attention(4, 16, 4, 128),
        "cross-entropy": cross_entropy,
        "elementwise": elementwise,
        "embedding": embedding,
        "transpose": transpose,
        "AdamW": adamw,
        "step 1B": lambda: step("1B", 16, 2048, 32, 8, 8192, 32768, 4),
    }
    begin, failed = time.monotonic(), 0
    for name, case in cases.items():
        if time.monotonic() - begin > budget:
            print(json.dumps({"program": "torch", "case": name, "left_out": "no time"}), flush=True)
            continue
        try:
            case()
        except Exception as e:  # one case must not end the others
            failed += 1
            print(json.dumps({"program": "torch", "case": name, "failed": True}), flush=True)
            print(f"{name}: {e}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
