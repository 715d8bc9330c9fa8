#!/usr/bin/env python3
"""Particles over MPI: one, two and four processes say what a single program without MPI says, bit by bit. tests/test_ranks.c has the runs. Needs mpicc and mpirun (Debian: libopenmpi-dev, openmpi-bin)."""
from __future__ import annotations

import os
import shlex
import sys
import threading
from pathlib import Path
from typing import Dict, List

from tools import OUT, ROOT, WARNINGS, Fail, Skip, Tests, build, environment, must, need, run

tests = Tests()
CC = shlex.split(os.environ.get("CC", "cc"))
SOURCE = ROOT / "tests" / "test_ranks.c"
FLAGS = ["-std=c99", "-O2"]
building = threading.Lock()


def alone() -> List[str]:
    program = OUT / "tests" / "ranks" / "alone"
    with building:
        build(CC, [*FLAGS, "-pthread"], SOURCE, program)
    lines = must([program, "--lines"]).strip().split("\n")
    if len(lines) != 11 or any(line.endswith(" 0000000000000000") or ": " not in line for line in lines):
        raise Fail("without MPI: %s" % "\n".join(lines))
    return lines


def by_mpi(ranks: int) -> List[str]:
    program = OUT / "tests" / "ranks" / "mpi"
    with building:
        build([need("mpicc")], [*FLAGS, "-Wall", "-Wextra", "-Werror", "-DWF_WITH_MPI"], SOURCE, program)
    # as root, and on fewer processors than ranks: an MPI that is not Open MPI does not look at these
    env: Dict[str, str] = dict(environment(), OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_mpi_yield_when_idle="1", OMP_NUM_THREADS="1")
    status, text = run([need("mpirun"), "-n", str(ranks), str(program)], 300, env=env)
    if status:
        raise Fail("mpirun -n %d ended with status %d\n%s" % (ranks, status, text))
    return [line for line in text.strip().split("\n") if ": " in line]


def same(ranks: int) -> str:
    wanted, found = alone(), by_mpi(ranks)
    if found != wanted:
        raise Fail("%d ranks:\n%s\none process without MPI:\n%s" % (ranks, "\n".join(found), "\n".join(wanted)))
    return "%d runs" % len(found)


@tests.test
def one_rank() -> str:
    need("mpicc")
    return same(1)


@tests.test
def two_ranks() -> str:
    need("mpicc")
    return same(2)


@tests.test
def four_ranks() -> str:
    need("mpicc")
    return same(4)


@tests.test
def compiles_without_warnings_as_c_and_cxx() -> str:
    """mpi.h itself is not free of the strictest warnings, so its folder counts as the system's."""
    show = must([need("mpicc"), "-show"]).split()
    paths = [word[2:] for word in show if word.startswith("-I")]
    system = [part for path in paths for part in ("-isystem", path)]
    text = "#define WF_WITH_MPI\n#define WEIGHTFLOW_IMPLEMENTATION\n#include \"weightflow.h\"\n"
    done = []
    for command, suffix in ((["gcc", "-std=c99"], ".c"), (["clang", "-std=c99"], ".c"), (["g++", "-std=c++11"], ".cpp")):
        try:
            need(command[0])
        except Skip:
            continue
        source = Path(OUT / "tests" / "ranks" / ("mpi" + suffix))
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text, encoding="utf-8")
        names = "WF_NO_WEIGHTFLOW WF_NO_FLOWS WF_NO_CONSERVATION WF_NO_PATHS WF_NO_BRIDGES WF_NO_SIMD".split()
        must([*command, *WARNINGS, "-Werror", "-O0", "-fsyntax-only", *system, *["-D" + n for n in names], "-I", str(ROOT), str(source)])
        done.append(command[0])
    return ", ".join(done)


if __name__ == "__main__":
    sys.exit(tests.finish())
