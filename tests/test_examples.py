#!/usr/bin/env python3
"""The programs in examples/: they explain themselves, refuse bad input with a sentence that names it, leave nothing half written, and say the same for any number of threads."""
from __future__ import annotations

import hashlib
import json
import math
import os
import re
import resource
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from tools import OUT, ROOT, Fail, Skip, Tests, build, environment, openmp

tests = Tests()
CC = shlex.split(os.environ.get("CC", "cc"))
EXAMPLES = sorted((ROOT / "examples").glob("*.c"))


class Small(NamedTuple):
    """A run of an example that takes a few seconds: its arguments, the keys of its JSON line, the files it writes to --out, the folder of shared data it needs."""
    arguments: List[str]
    keys: List[str]
    files: List[str]
    data: str = ""


DATA = Path(environment()["WF_SHARED"]) / "data"
SMALL: Dict[str, Small] = {
    "epidemic": Small(
        ["--steps", "3", "--trajectories", "40"],
        "example w jsd w_weights_interpolated jsd_weights_interpolated w_marginals_interpolated jsd_marginals_interpolated w_floor jsd_floor train_seconds threads seed".split(),
        ["epidemic.safetensors", "epidemic.svg", "epidemic_error.svg"]),
    "porous_medium": Small(
        ["--steps", "2", "--points", "4"], "example moment_error energy_error profile_error action train_seconds threads seed".split(), ["porous_medium.safetensors", "porous_medium.svg"]),
    "double_well_path": Small(
        ["--steps", "2", "--points", "4"], "example kl_end action length spread least_cosine x2_end y_end train_seconds threads seed".split(),
        ["double_well_path.safetensors", "double_well_path.svg"]),
    "ring": Small(
        ["--steps", "2", "--points", "4"], "example energy_end energy_exact moment_error radius radius_spread action train_seconds threads seed".split(), ["ring.safetensors", "ring.svg"]),
    "density": Small(["--steps", "5", "--rows", "200"], "example dim rows log_density log_density_normal steps train_seconds threads seed".split(), ["density.safetensors", "density.svg", "density_draws.npy"]),
    "crowd": Small(
        ["--steps", "2", "--people", "50"], "example scene collisions collisions_noisy noise energy loss train_seconds threads seed".split(), ["crowd.safetensors", "crowd.svg"]),
    "cells": Small(
        ["--steps", "1", "--draws", "10", "--components", "4", "--train", str(DATA / "embryoid" / "EB_test_pc20.csv"), "--test", str(DATA / "embryoid" / "EB_val_pc20.csv")],
        "example test_nll floor emd emd_same_count emd_transported map_cost exact_w2 train_seconds threads seed".split(), ["cells.safetensors", "cells.svg"], "embryoid"),
    "earthquakes": Small(
        ["--epochs", "3", "--frames", "0", "--modes", "4", "--data", str(DATA / "earthquakes")],
        "example model train val_nll test_nll test_nll_unseen train_seconds threads seed".split(), ["density.safetensors", "density.svg"], "earthquakes"),
    "double_well": Small(
        ["--particles", "512"], "example right_true right_langevin right_weighted log_z_true log_z error_bar ess seed".split(), ["double_well.svg"]),
    "filter": Small(["--particles", "256", "--length", "60"], "example steps log_likelihood error_bar rms_error inside_two_sd seed".split(), ["filter.svg"]),
    "user_drift": Small(["--particles", "256", "--length", "4"], "example energy_true energy error_bar resamplings seed".split(), ["user_drift.svg"]),
    "graph_energy": Small(["--particles", "256"], "example log_z error_bar log_z_true right acceptance levels seed".split(), ["graph_energy.svg"]),
    "logistic_regression": Small(
        ["--particles", "64", "--rows", "40"], "example rows coefficients log_evidence error_bar accuracy levels acceptance seed".split(), ["logistic_regression.svg"]),
}
MAY_DIFFER = {"train_seconds", "seconds", "threads"}  # between runs with the same seed


class Said(NamedTuple):
    status: int
    out: str
    err: str


building = threading.Lock()
built: Dict[str, Path] = {}


def program(name: str) -> Path:
    """Build an example, without warnings. The demo is built as its user builds it; the others share one compiled library, which saves minutes and shows that they need no private name."""
    with building:
        if name not in built:
            built[name] = compiled(name)
    return built[name]


def compiled(name: str) -> Path:
    source, folder = ROOT / "examples" / (name + ".c"), OUT / "tests" / "examples"
    parallel = openmp(CC)
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", *(["-Wno-format-truncation"] if "clang" not in CC[0] else []), *parallel]
    if name == "epidemic":
        build(CC, flags, source, folder / name)
        return folder / name
    build(CC, ["-std=c99", "-O2", "-c", *parallel], ROOT / "weightflow.c", folder / "weightflow.o", ())
    headers = hashlib.sha256(b"".join(h.read_bytes() for h in sorted(source.parent.glob("*.h")))).hexdigest()
    copy = folder / (name + ".c")
    text = source.read_text(encoding="utf-8").replace("#define WEIGHTFLOW_IMPLEMENTATION\n", "\n")
    copy.write_text(text + "/* with headers " + headers + " */\n", encoding="utf-8")
    build(CC, [*flags, "-I", str(source.parent)], copy, folder / name, [str(folder / "weightflow.o"), "-lm"])
    return folder / name


def call(name: str, arguments: Sequence[str], folder: Path, file_limit: int = 0) -> Said:
    """Run an example in a folder. With a limit no file can grow beyond that many bytes, as on a full disk."""
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    done = subprocess.run([str(program(name)), *arguments], cwd=str(folder), env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, errors="replace", timeout=300, preexec_fn=limit if file_limit else None)
    return Said(done.returncode, done.stdout, done.stderr)


def refused(said: Said, *parts: str) -> None:
    """It ended with an error of its own (not a signal), printed no result, and its last line of errors contains the parts."""
    last = said.err.strip().split("\n")[-1]
    missing = [p for p in parts if p not in last]
    if not 0 < said.status < 126:
        raise Fail("ended with status %d, having said %r" % (said.status, said.err))
    if missing:
        raise Fail("its message %r does not contain %s" % (last, " and ".join(repr(p) for p in missing)))
    if '{"example"' in said.out:
        raise Fail("it printed a result though it failed")


def listing(folder: Path) -> List[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def npy(path: Path, shape: Sequence[int], values: Optional[Sequence[float]] = None, kind: str = "<i4", code: str = "i", claimed: Optional[Sequence[int]] = None) -> None:
    """A .npy file, version 1; `claimed` is the shape that its header pretends."""
    text = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }" % (kind, "".join("%d, " % s for s in (shape if claimed is None else claimed)))
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    count = math.prod(shape)
    data = struct.pack("<%d%s" % (count, code), *([5] * count if values is None else values))
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data)


# ---- every example ----


def explains_itself(name: str) -> str:
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        said = call(name, ["--help"], folder)
        if said.status or "--help" not in said.out or said.err:
            raise Fail("--help: status %d, %r, %r" % (said.status, said.out[:80], said.err))
        refused(call(name, ["--nonsense"], folder), "--nonsense")
        refused(call(name, ["nonsense"], folder), "nonsense")
        if name in SMALL:
            for option in ("--help", "--seed", "--json", "--out"):
                if "\n  %s " % option not in said.out:
                    raise Fail("--help does not list %s" % option)
            refused(call(name, ["--seed"], folder), "--seed", "value")
            refused(call(name, ["--seed", "x7"], folder), "--seed", "x7")
            refused(call(name, ["--seed", "2.5"], folder), "--seed", "2.5")
        if name == "epidemic":
            refused(call(name, ["--steps", "0"], folder), "--steps")
            refused(call(name, ["--threads", "-1"], folder), "--threads")
            refused(call(name, ["--seed", "-1"], folder), "--seed")
        if listing(folder):
            raise Fail("a refused call wrote " + " ".join(listing(folder)))
    return "%d options" % said.out.count("\n  --")


def numbers(value: object) -> bool:
    """A finite number, or a list of such."""
    return all(map(numbers, value)) if isinstance(value, list) else isinstance(value, (int, float)) and math.isfinite(value)


def small_run(name: str) -> str:
    small = SMALL[name]
    if small.data and not (DATA / small.data).is_dir():
        raise Skip("there is no data/%s beside the project" % small.data)
    results = []
    with tempfile.TemporaryDirectory() as where:
        threaded = "\n  --threads " in call(name, ["--help"], Path(where)).out
        for threads in ("1", "2"):
            folder = Path(where) / threads
            folder.mkdir()
            said = call(name, [*small.arguments, "--seed", "5", "--json", "--out", "out", *(["--threads", threads] if threaded else [])], folder)
            lines = said.out.split("\n")
            if said.status or said.err or len(lines) != 2 or lines[1]:
                raise Fail("--json should print one line and nothing else; status %d, %r, %r" % (said.status, said.out, said.err))
            figures = json.loads(lines[0])
            if list(figures) != small.keys:
                raise Fail("keys %s, wanted %s" % (" ".join(figures), " ".join(small.keys)))
            if figures["example"] != name or figures.get("seed", 5) != 5 or figures.get("threads", int(threads)) != int(threads):
                raise Fail("the line does not say what was asked for: " + lines[0])
            bad = [k for k, v in figures.items() if not isinstance(v, str) and not numbers(v)]
            if bad:
                raise Fail("not finite: " + " ".join(bad))
            files = sorted(small.files)
            if listing(folder) != ["out/" + f for f in files]:
                raise Fail("wrote " + " ".join(listing(folder)))
            for file in files:
                if file.endswith(".svg"):
                    root = xml.parse(str(folder / "out" / file)).getroot()
                    if not root.tag.endswith("}svg") or len(root) < 10:
                        raise Fail("%s is not much of a picture" % file)
            results.append(({k: v for k, v in figures.items() if k not in MAY_DIFFER}, {f: (folder / "out" / f).read_bytes() for f in files}))
    if results[0][0] != results[1][0]:
        raise Fail("one thread says %s, two say %s" % (results[0][0], results[1][0]))
    differ = [f for f, content in results[0][1].items() if content != results[1][1][f]]
    if differ:
        raise Fail("one thread and two write different " + " ".join(differ))
    return "%d figures and %d files, the same %s" % (len(results[0][0]), len(results[0][1]), "for 1 and 2 threads" if threaded else "twice")


for example in EXAMPLES:
    tests.add(example.stem + " explains itself", lambda name=example.stem: explains_itself(name))
for example in EXAMPLES:
    if example.stem in SMALL:
        tests.add(example.stem + " small run", lambda name=example.stem: small_run(name))


@tests.test
def every_example_is_run_by_a_test() -> None:
    others = [t for t in (ROOT / "tests").glob("test_*.py") if t.name != Path(__file__).name]
    missing = [e.stem for e in EXAMPLES if e.stem not in SMALL and not any("examples/%s.c" % e.stem in t.read_text(encoding="utf-8") for t in others)]
    if missing:
        raise Fail("neither tests/test_examples.py nor another test runs " + " ".join("examples/%s.c" % name for name in missing))


# ---- the epidemic ----


def bad_data(folder: Path) -> List[Tuple[str, Tuple[str, ...]]]:
    """Files that are wrong, one way each, with what the message must name."""
    whole = (8, 11, 3)
    values = [5.0] * 264
    npy(folder / "good.npy", whole)
    good = (folder / "good.npy").read_bytes()
    wrong: List[Tuple[str, Tuple[str, ...]]] = [("missing.npy", ("opened",))]

    def add(name: str, *parts: str) -> None:
        wrong.append((name, parts))

    for name, content in (("empty.npy", b""), ("text.npy", b"time,count\n0,5\n1,6\n"), ("picture.npy", b"\x89PNG\r\n\x1a\n" + bytes(200))):
        (folder / name).write_bytes(content)
        add(name, ".npy file")
    (folder / "folder.npy").mkdir()
    add("folder.npy")
    (folder / "header.npy").write_bytes(good[:40])
    add("header.npy", "header")
    (folder / "cut.npy").write_bytes(good[:-7])
    add("cut.npy", "1056", "1049")
    npy(folder / "more.npy", whole, claimed=(8, 110, 3))
    add("more.npy", "10560", "1056")
    npy(folder / "overflow.npy", whole, claimed=(1 << 40, 1 << 40, 3))
    add("overflow.npy", "shape")
    npy(folder / "complex.npy", (8, 11, 3), [5] * 264, "<c8", "q")
    add("complex.npy", "c8")
    npy(folder / "scalar.npy", ())
    add("scalar.npy", "trajectories x times x species", "one number")
    npy(folder / "flat.npy", (8, 33))
    add("flat.npy", "trajectories x times x species", "8 x 33")
    npy(folder / "four.npy", (2, 4, 11, 3))
    add("four.npy", "2 x 4 x 11 x 3")
    npy(folder / "nobody.npy", (0, 11, 3))
    add("nobody.npy", "at least 4 trajectories", "0 x 11 x 3")
    npy(folder / "few.npy", (3, 11, 3))
    add("few.npy", "at least 4 trajectories", "3 x 11 x 3")
    npy(folder / "times.npy", (8, 12, 3))
    add("times.npy", "10 k + 1 times", "8 x 12 x 3")
    npy(folder / "timeless.npy", (8, 1, 3))
    add("timeless.npy", "10 k + 1 times", "8 x 1 x 3")
    npy(folder / "long.npy", (4, 2561, 1))
    add("long.npy", "255", "4 x 2561 x 1")
    npy(folder / "species.npy", (4, 11, 33))
    add("species.npy", "at most 32 species", "4 x 11 x 33")
    for name, value, shown in (("nan", math.nan, "nan"), ("infinite", math.inf, "inf"), ("negative", -3.0, "-3"), ("fraction", 2.5, "2.5"), ("large", 4096.0, "4096")):
        changed = list(values)
        changed[100] = value  # trajectory 3, time 0, species 1
        npy(folder / (name + ".npy"), whole, changed, "<f8", "d")
        add(name + ".npy", "trajectory 3, time 0, species 1", shown, "count")
    npy(folder / "below.npy", whole, [5] * 263 + [-1])
    add("below.npy", "trajectory 7, time 10, species 2", "-1")
    return wrong


@tests.test
def epidemic_refuses_bad_data() -> str:
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        wrong = bad_data(folder)
        before = listing(folder)
        for name, parts in wrong:
            for extra in ([], ["--published"]):
                refused(call("epidemic", ["--data", name, "--steps", "3", "--json", *extra], folder), name, *parts)
        if listing(folder) != before:
            raise Fail("a refused call wrote " + " ".join(sorted(set(listing(folder)) - set(before))))
    return "%d files" % len(wrong)


@tests.test
def epidemic_reads_what_is_right() -> str:
    """The same counts in other types and orders give the same figures; counts that never change, and never are, are learned like any others."""
    lines = []
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        values = [(i * 7 + j * (i % 3)) % 13 for i in range(8) for j in range(33)]
        for name, kind, code in (("i4", "<i4", "i"), ("f8", "<f8", "d"), ("u1", "|u1", "B")):
            npy(folder / (name + ".npy"), (8, 11, 3), values, kind, code)
        npy(folder / "same.npy", (4, 11, 1), [0] * 44)
        for name in ("i4", "f8", "u1", "same"):
            said = call("epidemic", ["--data", name + ".npy", "--steps", "1", "--threads", "1", "--json"], folder)
            if said.status or said.err:
                raise Fail("%s.npy: status %d, %s" % (name, said.status, said.err))
            figures = json.loads(said.out)
            lines.append({k: v for k, v in figures.items() if k not in MAY_DIFFER})
    if lines[0] != lines[1] or lines[0] != lines[2]:
        raise Fail("the type of the file changes the figures: %s" % lines)
    if lines[3]["w_floor"] or lines[3]["w_marginals_interpolated"] or not numbers([v for v in lines[3].values() if not isinstance(v, str)]):
        raise Fail("data without any counts are told apart: %s" % lines[3])
    return "three types"


@tests.test
def logistic_regression_reads_a_table() -> str:
    """Names of columns appear in what is printed; the coefficient that made the labels is found; tables that make no sense are refused."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = ["%d,%.2f,%d" % (i % 7, 1.5 * math.sin(i), math.sin(i) > 0) for i in range(80)]
        (folder / "a.csv").write_text("week,in & out,gone\n" + "\n".join(rows) + "\n")
        said = call("logistic_regression", ["--data", "a.csv", "--particles", "128"], folder)
        found = re.search(r"in & out +([-0-9.]+) \+-", said.out)
        if said.status or not found or not float(found.group(1)) > 1:
            raise Fail("status %d, printed %r" % (said.status, said.out))
        if "in &amp; out" not in (folder / "out" / "logistic_regression.svg").read_text():
            raise Fail("the picture does not name the column")
        bad = [(["--data", "nothing.csv"], ("nothing.csv",)), (["--data", "a.csv", "--label", "0"], ("two different values",)), (["--data", "a.csv", "--label", "3"], ("not a column",)),
               (["--data", "b.csv"], ("b.csv", "line 3", "'x'"))]
        (folder / "b.csv").write_text("1,2,0\n2,1,1\n3,x,0\n")
        for arguments, parts in bad:
            refused(call("logistic_regression", [*arguments, "--particles", "64"], folder), *parts)
        return "%d tables refused" % len(bad)


@tests.test
def epidemic_refuses_a_folder_before_the_work() -> None:
    """That a folder cannot be written to is said at once, not after the training: with so many steps the test would not end."""
    steps = ["--steps", "1000000", "--trajectories", "4"]
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        (folder / "file").write_text("in the way")
        refused(call("epidemic", [*steps, "--out", "file"], folder), "--out file")
        refused(call("epidemic", [*steps, "--out", "file/deeper"], folder), "--out file/deeper")
        refused(call("epidemic", [*steps, "--out", "no/such/folder"], folder), "no/such/folder")
        refused(call("epidemic", [*steps, "--out", "x" * 2000], folder), "--out")
        if os.geteuid():  # root may write anywhere
            (folder / "closed").mkdir(mode=0o555)
            refused(call("epidemic", [*steps, "--out", "closed"], folder), "--out closed")
        if listing(folder) != ["file"] or (folder / "file").read_text() != "in the way":
            raise Fail("left behind: " + " ".join(listing(folder)))


@tests.test
def epidemic_leaves_nothing_half_written() -> str:
    """Where the disk is full or a name is taken, a file is there whole or not at all, what was there before stays, and nothing is left over."""
    small = SMALL["epidemic"]
    quick = ["--steps", "1", "--trajectories", "8", "--threads", "1", "--json"]
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        said = call("epidemic", quick, folder)
        if said.status:
            raise Fail("status %d: %s" % (said.status, said.err))
        before = {f: (folder / "out" / f).read_bytes() for f in small.files}
        room = len(before["epidemic.safetensors"]) // 2
        refused(call("epidemic", [*quick, "--seed", "9"], folder, room), "out/epidemic.safetensors", "writing failed")
        if listing(folder / "out") != sorted(small.files) or any((folder / "out" / f).read_bytes() != before[f] for f in small.files):
            raise Fail("a run without room changed or left files: " + " ".join(listing(folder)))
        (folder / "taken" / "epidemic.svg").mkdir(parents=True)
        refused(call("epidemic", [*quick, "--out", "taken"], folder), "taken/epidemic.svg")
        if listing(folder / "taken") != ["epidemic.safetensors"]:
            raise Fail("a picture that could not be put in its place left " + " ".join(listing(folder / "taken")))
    return "room for %d bytes of %d" % (room, len(before["epidemic.safetensors"]))


if __name__ == "__main__":
    sys.exit(tests.finish())
