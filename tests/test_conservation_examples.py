#!/usr/bin/env python3
"""The examples of the chapter on conservation laws, examples/crowd.c, examples/cells.c and examples/earthquakes.c, on small made-up data: figures, files, the same for any number of threads, and bad data refused by name."""
from __future__ import annotations

import json
import math
import os
import random
import shlex
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Any, Dict, List, Sequence

from tools import OUT, ROOT, Fail, Tests, build, environment, openmp

tests = Tests()
CC = shlex.split(os.environ.get("CC", "cc"))


def call(name: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    path = OUT / "tests" / "examples" / name
    build(CC, ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", *openmp(CC)], ROOT / "examples" / (name + ".c"), path)
    return subprocess.run([str(path), *arguments], cwd=str(folder), env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=300)


def refused(name: str, folder: Path, parts: Sequence[str], *arguments: str) -> None:
    said = call(name, folder, *arguments)
    if not 0 < said.returncode < 126 or '{"example"' in said.stdout or any(p not in said.stderr for p in parts):
        raise Fail("%s %s: status %d, %r does not contain %s" % (name, " ".join(arguments), said.returncode, said.stderr, " and ".join(parts)))


def twice(name: str, folder: Path, files: Sequence[str], *arguments: str) -> Dict[str, Any]:
    """Run with one thread and with two: the same figures and the same files."""
    lines: List[Dict[str, Any]] = []
    content: List[List[bytes]] = []
    for threads in ("1", "2"):
        said = call(name, folder, *arguments, "--seed", "5", "--threads", threads, "--json", "--out", "out" + threads)
        if said.returncode or said.stderr or said.stdout.count("\n") != 1:
            raise Fail("%s: status %d, %r, %r" % (name, said.returncode, said.stdout, said.stderr))
        figures = json.loads(said.stdout)
        if figures["example"] != name or figures["seed"] != 5 or figures["threads"] != int(threads):
            raise Fail("the line does not say what was asked for: " + said.stdout)
        for v in figures.values():
            for number in v if isinstance(v, list) else [v]:
                if not isinstance(number, str) and not math.isfinite(number):
                    raise Fail("not a number in " + said.stdout)
        wrote = sorted(p.name for p in (folder / ("out" + threads)).iterdir())
        if wrote != sorted(files):
            raise Fail("wrote " + " ".join(wrote))
        for file in files:
            if file.endswith(".svg") and len(xml.parse(str(folder / ("out" + threads) / file)).getroot()) < 10:
                raise Fail("%s is not much of a picture" % file)
        lines.append({k: v for k, v in figures.items() if k not in ("train_seconds", "threads")})
        content.append([(folder / ("out" + threads) / f).read_bytes() for f in files])
    if lines[0] != lines[1] or content[0] != content[1]:
        raise Fail("one thread and two differ: %s %s" % (lines[0], lines[1]))
    return lines[0]


def quakes(folder: Path, part: str, n: int, seed: int, change: str = "") -> None:
    """Two clusters and an arc, some events in two windows; `change` replaces the tenth line."""
    r = random.Random(seed)
    rows = ["seq,t,lon,lat"]
    for i in range(n):
        a = r.random()
        lon, lat = (139 + r.gauss(0, 0.3), 35 + r.gauss(0, 0.3)) if i % 3 else (130 + 14 * a, 31 + 12 * a * a + r.gauss(0, 0.2))
        t = 30 * r.random()
        rows.append("%d,%.9f,%.3f,%.3f" % (i // 20, t, lon, lat))
        if i % 4 == 0 and t > 7:
            rows.append("%d,%.9f,%.3f,%.3f" % (i // 20, t - 7, lon, lat))
    if change:
        rows[10] = change
    (folder / ("Earthquake_%s.csv" % part)).write_text("\n".join(rows) + "\n")


@tests.test
def earthquakes() -> str:
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        for k, (part, n) in enumerate((("train", 600), ("val", 150), ("test", 200))):
            quakes(folder, part, n, k)
        small = ["--data", ".", "--modes", "12"]
        frames = ["frame_00.svg", "frame_01.svg", "film.safetensors"]
        chain = twice("earthquakes", folder, ["density.svg", "density.safetensors", *frames], *small, "--epochs", "8", "--frames", "2")
        mixture = twice("earthquakes", folder, ["density.svg", "density.safetensors", *frames][:2] + frames, *small, "--model", "mixture", "--rows", "--epochs", "5", "--frames", "2")
        for figures in (chain, mixture):
            if not -3 < figures["test_nll"] < 2.6:  # a normal distribution in standardised units: 2.84
                raise Fail("nothing was learned: %s" % figures)
        refused("earthquakes", folder, ["--model", "both"], "--model", "both")
        refused("earthquakes", folder, ["Earthquake_train.csv"], "--data", "nowhere")
        for change, parts in (("0,31.5,139,35", ["event 9", "31.5", "outside 0 to 30"]), ("0,nan,139,35", ["Earthquake_val.csv", "line 11"]), ("0,1,139", ["Earthquake_val.csv", "line 11"])):
            quakes(folder, "val", 150, 1, change)
            refused("earthquakes", folder, parts, *small, "--epochs", "1")
        return "chain %.2f, mixture %.2f" % (chain["test_nll"], mixture["test_nll"])


def population(folder: Path, name: str, seed: int, times: int = 3, change: str = "") -> None:
    r = random.Random(seed)
    rows = ["ts,idx,pc1,pc2,pc3"]
    for t in range(times):
        for i in range(60):
            side = 1 if i % 2 else -1
            rows.append("%d,%d,%.6f,%.6f,%.6f" % (t, i, 2 * t + r.gauss(0, 0.5), side * t + r.gauss(0, 0.4), r.gauss(0, 1)))
    if change:
        rows[10] = change
    (folder / name).write_text("\n".join(rows) + "\n")


@tests.test
def cells() -> str:
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        population(folder, "train.csv", 1)
        population(folder, "test.csv", 2)
        small = ["--train", "train.csv", "--test", "test.csv", "--dim", "3", "--components", "8", "--steps", "60", "--draws", "60"]
        figures = twice("cells", folder, ["cells.svg", "cells.safetensors"], *small)
        for k in range(2):
            if not figures["emd_transported"][k] < 2 * figures["floor"][k] or not 0.7 < figures["map_cost"][k] / figures["exact_w2"][k] < 1.3:
                raise Fail("carried cells do not arrive: %s" % figures)
        refused("cells", folder, ["--steps"], *small, "--steps", "0")
        refused("cells", folder, ["pc1 ... pc8"], *small, "--dim", "8")
        population(folder, "test.csv", 2, 2)
        refused("cells", folder, ["3 snapshots", "2 to judge by"], *small)
        population(folder, "test.csv", 2)
        population(folder, "train.csv", 1, 1)
        refused("cells", folder, ["one snapshot"], *small)
        for change, parts in (("0.5,9,1,1,1", ["row 9", "0.5"]), ("0,9,nan,1,1", ["train.csv", "line 11"]), ("7,9,1,1,1", ["no cells at time 3"])):
            population(folder, "train.csv", 1, 3, change)
            refused("cells", folder, parts, *small)
        return "carried %.2f of a floor of %.2f" % (figures["emd_transported"][0], figures["floor"][0])


@tests.test
def crowd() -> str:
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        figures = twice("crowd", folder, ["crowd.svg", "crowd.safetensors"], "--steps", "150", "--people", "100", "--components", "12")
        if not figures["collisions"] < 0.3 or not 38 < figures["energy"] < 60:  # the straight way: 40.5
            raise Fail("the crowd does not walk as it should: %s" % figures)
        refused("crowd", folder, ["--steps"], "--steps", "0")
        refused("crowd", folder, ["--noise"], "--noise", "0")
        (folder / "file").write_text("in the way")
        refused("crowd", folder, ["--out file"], "--out", "file", "--steps", "100000")
        return "%.1f %% touch an obstacle" % (100 * figures["collisions"])


if __name__ == "__main__":
    sys.exit(tests.finish())
