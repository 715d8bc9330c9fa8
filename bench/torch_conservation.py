#!/usr/bin/env python3
"""Conservation laws in PyTorch, eager: a step of training (loss and gradient) of a chain of mixtures of logistics, by likelihood, and by likelihood with the energy of the drift. Lines of JSON.

    python3 bench/torch_conservation.py                          one thread, dimensions 2 and 5, batches of 256 and 512
    python3 bench/torch_conservation.py --check FILE             the loss at the parameters and points that bench_conservation --check DIM FILE has kept, by all three ways, against the loss in the file

The network is a masked one (MADE) as PyTorch users write it: one dense matrix a layer, times a mask. The derivatives in time can be had in three ways, all measured:
forward  dual numbers through the network (torch.autograd.forward_ad), then the formulas written out: the same arithmetic as ours;
double   the same derivatives of the network's outputs by torch.autograd.grad twice (backwards through a gradient);
grad     torch.autograd.grad of each coordinate's density and mass, one after the other.
The case "drift" is the fastest of the three on each dimension and batch; the three times stand beside it; "drift_autograd" is the last of them. Time is CPU time where BENCH_CPU is set.
"""
from __future__ import annotations

import argparse
import json
import math
import os
import struct
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import torch
import torch.nn.functional as F
from torch.autograd import forward_ad

Modes = Tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # log weights, means, log inverse scales: [batch, dim, modes] each
MODES, WIDTH, LAYERS, REFERENCE, LOW, HIGH, BACKGROUND, STEEP = 16, 256, 3, 8, -3.0, 6.0, 1e-3, 0.6
WAYS = ("forward", "double", "grad")


class Masked(torch.nn.Linear):
    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class Made(torch.nn.Module):
    """Outputs [dim, out] for coordinate i depend on the coordinates before it, and on time where `times` columns of it are given."""

    def __init__(self, dim: int, times: int, out: int) -> None:
        super().__init__()
        self.first = 0 if times else 1
        rungs = dim - self.first
        self.units = [WIDTH // rungs + (i < WIDTH % rungs) for i in range(rungs)]
        hidden = torch.cat([torch.full((n,), i + self.first) for i, n in enumerate(self.units)])  # a unit of degree i sees coordinates below i
        inputs = torch.cat([torch.arange(dim), torch.full((times,), -1)])
        last = torch.arange(dim).repeat_interleave(out)
        degrees = [hidden] * LAYERS
        masks = [(hidden[:, None] > inputs[None, :]).float()] + [(a[:, None] >= b[None, :]).float() for a, b in zip(degrees[1:], degrees)] + [(last[:, None] >= hidden[None, :]).float()]
        self.layers = torch.nn.ModuleList(Masked(m) for m in masks)
        self.dim, self.out = dim, out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = F.silu(layer(x))
        return self.layers[-1](x).view(-1, self.dim, self.out)


def waves(t: torch.Tensor) -> torch.Tensor:
    angle = t[:, None] * (2 * math.pi * 0.25 * 4.0 ** (torch.arange(4) / 3))
    return torch.cat([t[:, None], torch.sin(angle), torch.cos(angle)], 1)


def squash(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    half, middle = 0.5 * (high - low), 0.5 * (high + low)
    return half * torch.tanh((x - middle) / half) + middle


class Law(torch.nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.shapes, self.weights = Made(dim, 9, 2 * MODES), Made(dim, 0, MODES)
        self.marginal = torch.nn.Parameter(torch.randn(dim, 3 * REFERENCE))
        self.marginal_time = torch.nn.Linear(9, WIDTH)
        self.marginal_move = torch.nn.Linear(WIDTH, dim * 3 * REFERENCE, bias=False)

    def modes(self, x: torch.Tensor, t: torch.Tensor) -> Modes:
        shapes = self.shapes(torch.cat([x, waves(t)], 1))
        one = shapes.new_ones(shapes.shape[0], self.dim, 1)
        weight = torch.cat([F.log_softmax(self.weights(x), 2) + math.log1p(-BACKGROUND), math.log(BACKGROUND) * one], 2)
        return weight, torch.cat([shapes[..., :MODES], 0 * one], 2), torch.cat([squash(shapes[..., MODES:], LOW, HIGH), math.log(STEEP) * one], 2)

    def reference(self, t: torch.Tensor) -> Modes:
        p = self.marginal + self.marginal_move(F.silu(self.marginal_time(waves(t)))).view(-1, self.dim, 3 * REFERENCE)
        return F.log_softmax(p[..., 2 * REFERENCE:], 2), p[..., :REFERENCE], squash(p[..., REFERENCE:2 * REFERENCE], math.log(STEEP), HIGH)


class At:
    """Mixtures of logistics at points x [batch, dim], in logarithms."""

    def __init__(self, m: Modes, x: torch.Tensor) -> None:
        weight, mean, steep = m
        self.z = torch.exp(steep) * (x[..., None] - mean)
        up, down = F.softplus(self.z), F.softplus(-self.z)
        each = weight + steep + self.z - 2 * up
        self.density = torch.logsumexp(each, 2)
        self.below, self.above = torch.logsumexp(weight - down, 2), torch.logsumexp(weight - up, 2)
        self.each = each


def shift_and_rate(m: Modes, dm: Modes, at: At) -> Tuple[torch.Tensor, torch.Tensor]:
    """The derivatives in time of the mass below over the density, and of the density's logarithm; weights do not move."""
    share, steep = torch.exp(at.each - at.density[..., None]), torch.exp(m[2])
    shift = (share * (at.z * dm[2] / steep - dm[1])).sum(2)
    rate = (share * (dm[2] - torch.tanh(0.5 * at.z) * (at.z * dm[2] - steep * dm[1]))).sum(2)
    return shift, rate


def by_forward(law: Law, x: torch.Tensor, t: torch.Tensor) -> Tuple[At, torch.Tensor, torch.Tensor]:
    with forward_ad.dual_level():
        both = [forward_ad.unpack_dual(v) for v in law.modes(x, forward_ad.make_dual(t, torch.ones_like(t)))]
        m, dm = tuple(v.primal for v in both), tuple(v.tangent for v in both)
    at = At(m, x)
    return (at, *shift_and_rate(m, dm, at))


def by_double(law: Law, x: torch.Tensor, t: torch.Tensor) -> Tuple[At, torch.Tensor, torch.Tensor]:
    t = t.detach().requires_grad_()
    m = law.modes(x, t)
    dummy = [torch.zeros_like(v, requires_grad=True) for v in m[1:]]
    back = torch.autograd.grad(m[1:], t, dummy, create_graph=True)[0]
    dm = (m[0], *torch.autograd.grad(back, dummy, torch.ones_like(t), create_graph=True))
    at = At(m, x)
    return (at, *shift_and_rate(m, dm, at))


def by_grad(law: Law, x: torch.Tensor, t: torch.Tensor) -> Tuple[At, torch.Tensor, torch.Tensor]:
    t = t.detach().requires_grad_()
    at = At(law.modes(x, t), x)
    mass, rate = [], []
    for i in range(law.dim):
        lower = at.below[:, i] < -math.log(2)
        small = torch.where(lower, at.below[:, i], at.above[:, i])
        mass.append(torch.where(lower, 1.0, -1.0) * torch.exp(small - at.density[:, i]) * torch.autograd.grad(small.sum(), t, create_graph=True)[0])
        rate.append(torch.autograd.grad(at.density[:, i].sum(), t, create_graph=True)[0])
    return at, torch.stack(mass, 1), torch.stack(rate, 1)


DERIVATIVES: Dict[str, Callable[..., Any]] = {"forward": by_forward, "double": by_double, "grad": by_grad}


def loss_of(law: Law, x: torch.Tensor, t: torch.Tensor, way: str = "") -> torch.Tensor:
    if not way:
        return -At(law.modes(x, t), x).density.sum(1).mean()
    f, shift, rate = DERIVATIVES[way](law, x, t)
    g = At(law.reference(t), x)
    lower = (f.below < -math.log(2)) & (g.below < -math.log(2))
    gap = torch.exp(torch.where(lower, g.below, f.above) - f.density) - torch.exp(torch.where(lower, f.below, g.above) - f.density)
    logs, zero = g.density - f.density, torch.zeros_like(x[:, :1])
    after = torch.cat([logs[:, 1:].flip(1).cumsum(1).flip(1), zero], 1)  # sums over the coordinates after, and before
    before = torch.cat([zero, rate[:, :-1].cumsum(1)], 1)
    drift = torch.exp(after) * (gap * before - shift)
    return -f.density.sum(1).mean() + (drift ** 2).sum(1).mean()


def tensors(path: str) -> Dict[str, torch.Tensor]:
    raw = Path(path).read_bytes()
    start = 8 + struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:start])
    return {k: torch.frombuffer(bytearray(raw[start + v["data_offsets"][0]:start + v["data_offsets"][1]]), dtype=torch.float32).view(v["shape"]) for k, v in head.items() if k != "__metadata__"}


def fill(made: Made, part: str, kept: Dict[str, torch.Tensor], times: int) -> None:
    """Our rungs, one coordinate each, into the rows of the masked matrices."""
    with torch.no_grad():
        rows = [0]
        for n in made.units:
            rows.append(rows[-1] + n)
        for layer in made.layers:
            layer.weight.zero_()
        for i in range(made.dim):
            own, k = slice(i * made.out, (i + 1) * made.out), i - made.first
            made.layers[-1].bias[own] = kept["law.%s.%d.start" % (part, i)]
            if k < 0:
                continue
            at = slice(rows[k], rows[k + 1])
            for layer in range(LAYERS):
                weight = kept["law.%s.%d.%d.weight" % (part, i, layer)]
                made.layers[layer].bias[at] = kept["law.%s.%d.bias%d" % (part, i, layer)]
                if layer:
                    made.layers[layer].weight[at, :weight.shape[1]] = weight
                else:
                    made.layers[0].weight[at, :i] = weight[:, :i]
                    made.layers[0].weight[at, made.dim:made.dim + times] = weight[:, i:]
            last = kept["law.%s.%d.out.weight" % (part, i)]
            made.layers[-1].weight[own, :last.shape[1]] = last


def check(path: str) -> int:
    kept = tensors(path)
    law = Law(kept["x"].shape[1])
    fill(law.shapes, "chain", kept, 9)
    fill(law.weights, "weights", kept, 0)
    with torch.no_grad():
        law.marginal.copy_(kept["law.marginal"])
        law.marginal_time.weight.copy_(kept["law.marginal.time.weight"])
        law.marginal_time.bias.copy_(kept["law.marginal.time.bias"])
        law.marginal_move.weight.copy_(kept["law.marginal.move.weight"])
    bad = 0
    for way in WAYS:
        value, ours = float(loss_of(law, kept["x"], kept["t"], way).detach()), float(kept["loss"])
        good = abs(value - ours) <= 1e-4 * abs(ours)  # single precision, different orders of summation
        bad += not good
        print(json.dumps({"bench": "torch_conservation_check", "way": way, "dim": law.dim, "loss": value, "ours": ours, "agrees": good}))
    return bad


def measure(run: Callable[[], torch.Tensor], law: Law, reps: int, blocks: int) -> float:
    clock = time.process_time if os.environ.get("BENCH_CPU") else time.perf_counter
    best = math.inf
    for block in range(blocks + 1):  # the first is to get warm
        begin = clock()
        for _ in range(reps):
            law.zero_grad(set_to_none=True)
            run().backward()
        if block:
            best = min(best, (clock() - begin) / reps)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check")
    parser.add_argument("--reps", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=2)
    o = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    if o.check:
        return check(o.check)
    library = "torch " + torch.__version__
    for dim in (2, 5):
        for batch in (256, 512):
            law, x, t = Law(dim), torch.randn(batch, dim), torch.arange(batch) / batch
            times = {way: measure(lambda way=way: loss_of(law, x, t, way), law, o.reps, o.blocks) for way in ("", *WAYS)}
            line: Dict[str, Any] = {"bench": "torch_conservation", "lib": library, "dim": dim, "batch": batch}
            print(json.dumps({**line, "step": "likelihood", "us": round(1e6 * times[""], 1)}), flush=True)
            print(json.dumps({**line, "step": "drift_autograd", "us": round(1e6 * times["grad"], 1)}), flush=True)
            print(json.dumps({**line, "step": "drift", "us": round(1e6 * min(times[w] for w in WAYS), 1), **{w + "_us": round(1e6 * times[w], 1) for w in WAYS}}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
