"""Golden values of optimizer steps and schedules: python3 golden.py > golden.txt

An independent implementation (PyTorch in float64) of the problem that optimizer_golden_test.cpp
builds from the same integer formulas: every value and gradient is a small binary fraction, so both
sides start from exactly the same numbers. One line per case: a name, then the values.
"""
import torch

N, STEPS = 37, 12


def start():
    return torch.tensor([((i * 79) % 101 - 50) / 64 for i in range(N)], dtype=torch.float64)


def gradient(step):
    return torch.tensor([((i * 31 + step * 17) % 41 - 20) / 16 for i in range(N)],
                        dtype=torch.float64)


def run(name, make):
    w = start().requires_grad_()
    optimizer = make([w])
    for step in range(1, STEPS + 1):
        w.grad = gradient(step)
        optimizer.step()
    print(name, *(repr(float(x)) for x in w.detach()))


run("adamw", lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1))
run("adamw_no_decay",
    lambda p: torch.optim.AdamW(p, lr=0.003, betas=(0.8, 0.95), eps=0.05, weight_decay=0.0))
run("sgd", lambda p: torch.optim.SGD(p, lr=0.05))
run("sgd_momentum", lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=0.01))
run("sgd_nesterov",
    lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=0.01, nesterov=True))
