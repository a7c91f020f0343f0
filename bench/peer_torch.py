#!/usr/bin/env python3
"""The peer of `gradwire bench step`: the same decoder trained by PyTorch, timed a step at a time.

A LLaMA-style decoder (RMSNorm, rotary positions, SwiGLU, tied head) with AdamW on random tokens.
Prints one JSON object; bench/peer.sh pairs it with Gradwire's. With --ranks above 1 the script
starts itself once per rank and averages gradients with DistributedDataParallel over gloo; with
PEER_RANK, MASTER_ADDR and MASTER_PORT set, it is one rank of several hosts. --hook compresses what
travels: bf16, or PowerSGD with the rank that its authors use for language models.
"""

import argparse
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import time


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--threads", type=int, default=1, help="of each rank")
    p.add_argument("--ranks", type=int, default=1)
    p.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    p.add_argument("--steps", type=int, default=10, help="timed steps")
    p.add_argument("--warmup", type=int, default=3, help="steps before them")
    p.add_argument("--batch", type=int, default=8, help="rows of all ranks together")
    p.add_argument("--sequence", type=int, default=256)
    p.add_argument("--layers", type=int, default=6)
    p.add_argument("--width", type=int, default=384)
    p.add_argument("--heads", type=int, default=6)
    p.add_argument("--ffn", type=int, default=1024)
    p.add_argument("--vocabulary", type=int, default=4096)
    p.add_argument("--hook", choices=["none", "bf16", "powersgd"], default="none")
    p.add_argument("--rank-of-powersgd", type=int, default=4)
    p.add_argument("--compile", action="store_true", help="the model under torch.compile")
    arguments = p.parse_args()
    if arguments.batch % arguments.ranks != 0:
        p.error(f"{arguments.batch} rows do not divide into {arguments.ranks} ranks")
    return arguments


def make_model(torch, a):
    nn = torch.nn
    functional = nn.functional

    class RmsNorm(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(width))

        def forward(self, x):
            x32 = x.float()
            return (x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + 1e-5)) * self.weight

    head_width = a.width // a.heads
    inverse = 10000.0 ** (-torch.arange(0, head_width, 2).float() / head_width)
    angles = torch.arange(a.sequence).float()[:, None] * inverse[None, :]
    cosine, sine = angles.cos(), angles.sin()
    mask = torch.full((a.sequence, a.sequence), float("-inf")).triu(1)

    def rotate(x):  # [B, H, T, Dh]
        first, second = x[..., : head_width // 2], x[..., head_width // 2 :]
        c, s = cosine.to(x.dtype), sine.to(x.dtype)
        return torch.cat((first * c - second * s, second * c + first * s), -1)

    def attend(q, k, v):
        if hasattr(functional, "scaled_dot_product_attention"):
            return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        scores = q @ k.transpose(-1, -2) * head_width**-0.5 + mask.to(q.dtype)
        return scores.softmax(-1) @ v

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention_norm = RmsNorm(a.width)
            self.q = nn.Linear(a.width, a.width, bias=False)
            self.k = nn.Linear(a.width, a.width, bias=False)
            self.v = nn.Linear(a.width, a.width, bias=False)
            self.out = nn.Linear(a.width, a.width, bias=False)
            self.ffn_norm = RmsNorm(a.width)
            self.gate = nn.Linear(a.width, a.ffn, bias=False)
            self.up = nn.Linear(a.width, a.ffn, bias=False)
            self.down = nn.Linear(a.ffn, a.width, bias=False)

        def forward(self, x):
            batch, length, width = x.shape
            h = self.attention_norm(x)
            q, k, v = (
                m(h).view(batch, length, a.heads, head_width).transpose(1, 2)
                for m in (self.q, self.k, self.v)
            )
            mixed = attend(rotate(q), rotate(k), v).transpose(1, 2).reshape(batch, length, width)
            x = x + self.out(mixed)
            h = self.ffn_norm(x)
            return x + self.down(functional.silu(self.gate(h)) * self.up(h))

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(a.vocabulary, a.width)
            nn.init.normal_(self.embedding.weight, std=0.02)
            self.blocks = nn.ModuleList(Block() for _ in range(a.layers))
            self.norm = RmsNorm(a.width)

        def forward(self, inputs, targets):
            x = self.embedding(inputs)
            for block in self.blocks:
                x = block(x)
            logits = functional.linear(self.norm(x), self.embedding.weight)
            return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    return Decoder()


def make_optimizer(torch, parameters):
    options = dict(lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1)
    try:  # a fused CPU update is the fastest there is, if this version has one
        return torch.optim.AdamW(parameters, fused=True, **options), True
    except (RuntimeError, TypeError):
        return torch.optim.AdamW(parameters, **options), False


def distributed(torch, model, a):
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook

    parallel = torch.nn.parallel.DistributedDataParallel
    if a.hook == "none":
        return parallel(model)
    if a.hook == "bf16":
        model = parallel(model)
        try:
            model.register_comm_hook(None, default_hooks.bf16_compress_hook)
        except TypeError:  # old versions want NCCL for it; as many bytes travel in the other type
            model.register_comm_hook(None, default_hooks.fp16_compress_hook)
        return model
    # Over gloo the second all-reduce of one bucket may overtake the first of the next on one rank
    # only, which ends the job: everything in one bucket. The hook starts as early as it may; its
    # first steps exchange gradients as they are.
    torch.distributed._DEFAULT_FIRST_BUCKET_BYTES = 1 << 40
    model = parallel(model, bucket_cap_mb=1 << 20)
    state = powerSGD_hook.PowerSGDState(
        None, matrix_approximation_rank=a.rank_of_powersgd, start_powerSGD_iter=2
    )
    model.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
    return model


def blas_in_use():
    """The files of the linear algebra libraries mapped into this process."""
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "/" in line}
    wanted = re.compile(r"lib(blas|openblas|mkl|blis|dnnl)[^/]*\.so")
    return sorted(os.path.realpath(p) for p in paths if wanted.search(p))


def time_steps(torch, a, rank):
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    model = make_model(torch, a)
    parameters = sum(p.numel() for p in model.parameters())
    if a.ranks > 1:
        model = distributed(torch, model, a)
    if a.compile:
        model = torch.compile(model)
    optimizer, fused = make_optimizer(torch, model.parameters())
    torch.manual_seed(100 + rank)
    rows = a.batch // a.ranks
    seconds, loss_value = [], 0.0
    for step in range(a.warmup + a.steps):
        tokens = torch.randint(a.vocabulary, (rows, a.sequence + 1))
        if a.ranks > 1:
            torch.distributed.barrier()
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.precision == "bf16"):
            loss = model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        optimizer.step()
        loss_value = loss.item()
        if a.ranks > 1:
            torch.distributed.barrier()
        if step >= a.warmup:
            seconds.append(time.perf_counter() - begin)
    return seconds, loss_value, parameters, fused


def run_rank(a, rank):
    import torch

    if a.ranks > 1:
        torch.distributed.init_process_group("gloo", rank=rank, world_size=a.ranks)
    seconds, loss, parameters, fused = time_steps(torch, a, rank)
    # Linux gives kibibytes. The largest rank counts.
    rss = torch.tensor(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    if a.ranks > 1:
        torch.distributed.all_reduce(rss, torch.distributed.ReduceOp.MAX)
        torch.distributed.destroy_process_group()
    if rank != 0:
        return
    rates = [a.batch * a.sequence / s for s in seconds]
    print(
        json.dumps(
            {
                "program": "torch",
                "version": torch.__version__,
                "blas": blas_in_use(),
                "precision": a.precision,
                "threads": a.threads,
                "ranks": a.ranks,
                "hook": a.hook,
                "compiled": a.compile,
                "batch": a.batch,
                "sequence": a.sequence,
                "parameters": parameters,
                "fused_optimizer": fused,
                "warmup": a.warmup,
                "steps": a.steps,
                "tokens_per_s": {
                    "median": statistics.median(rates),
                    "min": min(rates),
                    "max": max(rates),
                },
                "peak_rss_bytes": int(rss),
                "loss": loss,
            }
        )
    )


def start_ranks(a):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(a.ranks):
        environment = dict(os.environ, PEER_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        children.append(subprocess.Popen([sys.executable] + sys.argv, env=environment))
    codes = [child.wait() for child in children]
    if any(codes):
        sys.exit(f"peer_torch.py: the ranks ended with {codes}")


def main():
    a = parse_arguments()
    os.environ["OMP_NUM_THREADS"] = str(a.threads)
    if a.ranks > 1 and "PEER_RANK" not in os.environ:
        start_ranks(a)
    else:
        run_rank(a, int(os.environ.get("PEER_RANK", "0")))


if __name__ == "__main__":
    main()
