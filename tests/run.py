#!/usr/bin/env python3
"""Build and run every test; the last line is "N passed, N failed, N skipped", and the exit status is 0 when nothing failed.

    python3 tests/run.py                     everything a machine with a C compiler, make and python3 can check; more where it has more
    python3 tests/run.py --only plans        tests/test_plans.c and tests/test_plans.py
    python3 tests/run.py --long              hours instead of minutes: WF_TEST_LONG=1 for every test, all tests under the sanitizers
    python3 tests/run.py --sanitize          only the runs under AddressSanitizer and UndefinedBehaviorSanitizer (with --long: all of them)

A test is a C file tests/test_*.c or a Python file tests/test_*.py that ends with the same line. What a test could not check it says in lines "SKIPPED name: why",
which are repeated at the end. Programs and logs are under out/tests/.
"""
from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Tuple

import tools
from tools import OUT, ROOT, SUMMARY, Fail, Skip

SANITIZE = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
# What runs under the sanitizers in `make test`; `make test-long` runs everything under both compilers.
SANITIZE_SHORT = {"gcc": ["ground", "files", "plans"], "clang": ["allocation"]}
# Python tests that take long are started first.
FIRST = ["test_matrix", "test_determinism"]


class Job(NamedTuple):
    name: str
    work: Callable[[], Tuple[int, str]]


def c_job(source: Path, cc: List[str], flags: List[str], folder: str, name: str, timeout: float) -> Job:
    def work() -> Tuple[int, str]:
        program = OUT / folder / source.stem
        tools.build(cc, flags, source, program)
        env = tools.environment()
        env.setdefault("ASAN_OPTIONS", "detect_leaks=1")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        return tools.run([str(program)], timeout, env=env)
    return Job(name, work)


def python_job(source: Path, timeout: float) -> Job:
    def work() -> Tuple[int, str]:
        env = tools.environment()
        env["WF_JOBS"] = "1"
        return tools.run([sys.executable, str(source)], timeout, env=env)
    return Job(source.stem + ".py", work)


def count(status: int, text: str) -> Tuple[int, int, int, str]:
    """Passed, failed, skipped, and a remark, from what a test printed and how it ended."""
    found = [SUMMARY.match(line) for line in text.split("\n")]
    last = [f for f in found if f]
    if not last:
        return 0, 1, 0, "ended with status %d and without its last line" % status
    passed, failed, skipped = (int(n) for n in last[-1].groups())
    if status and not failed:
        return passed, 1, skipped, "ended with status %d" % status
    return passed, failed, skipped, ""


def sanitizer_jobs(sources: List[Path], timeout: float, everything: bool) -> Tuple[List[Job], List[str]]:
    jobs: List[Job] = []
    skipped: List[str] = []
    for compiler in ("gcc", "clang"):
        chosen = sources if everything else [s for s in sources if s.stem[5:] in SANITIZE_SHORT[compiler]]
        if not tools.builds([compiler, *SANITIZE]):
            skipped.append("sanitizers with %s: %s" % (compiler, "not installed" if not tools.tool(compiler) else "it cannot link -fsanitize=address,undefined"))
            continue
        jobs += [c_job(s, [compiler], ["-std=c99", *SANITIZE], "tests-" + compiler + "-san", "%s (%s, sanitizers)" % (s.stem, compiler), timeout * 3) for s in chosen]
    return jobs, skipped


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cc", default=os.environ.get("CC", "cc"))
    parser.add_argument("--cflags", default="-std=c99 -O2")
    parser.add_argument("--only", default="", help="a topic: tests/test_TOPIC.c and tests/test_TOPIC.py")
    parser.add_argument("--filter", default="", help="with --only: run the tests whose name contains this")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--sanitize", action="store_true", help="only the runs under sanitizers")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    o = parser.parse_args()
    if o.long:
        os.environ["WF_TEST_LONG"] = "1"
    os.environ["CC"] = o.cc
    cc, flags = shlex.split(o.cc), shlex.split(o.cflags)
    here = ROOT / "tests"
    sources, scripts = sorted(here.glob("test_*.c")), sorted(here.glob("test_*.py"))
    start, timeout = time.time(), 7200.0 if o.long else 1800.0
    skipped: List[str] = []
    if not tools.builds(cc):
        print("FAILED the compiler %r does not work; choose another: make test CC=gcc" % o.cc)
        print("0 passed, 1 failed, 0 skipped")
        return 1
    parallel = tools.openmp(cc)
    if not parallel:
        skipped.append("OpenMP: %s does not offer it; programs run on one thread" % o.cc)
    flags += parallel + ["-Wall", "-Wextra"]

    if o.only:
        wanted = [s for s in sources + scripts if s.stem == "test_" + o.only]
        if not wanted:
            print("FAILED there is no test %r; there are: %s" % (o.only, " ".join(sorted({s.stem[5:] for s in sources + scripts}))))
            print("0 passed, 1 failed, 0 skipped")
            return 1
        sources, scripts = [s for s in wanted if s.suffix == ".c"], [s for s in wanted if s.suffix == ".py"]
    jobs: List[Job] = []
    if not o.sanitize:
        jobs += [python_job(s, timeout) for s in sorted(scripts, key=lambda s: (FIRST + [s.stem]).index(s.stem))]
        jobs += [c_job(s, cc, flags, "tests", s.stem, timeout) for s in sources]
    if o.sanitize or not o.only:
        more, missing = sanitizer_jobs(sources, timeout, o.long or bool(o.only))
        at = len(scripts) if not o.sanitize else 0
        jobs[at:at] = more
        skipped += missing

    print("%d test programs, %d at a time; compiler %s %s" % (len(jobs), o.jobs, o.cc, " ".join(flags)))
    total, failures = [0, 0, len(skipped)], []
    for why in skipped:
        print("SKIPPED " + why)
    done, lock = [0], threading.Lock()
    logs = OUT / "tests"
    logs.mkdir(parents=True, exist_ok=True)

    def one(job: Job) -> None:
        begun = time.time()
        try:
            status, text = job.work()
        except Fail as why:
            status, text = 1, str(why)
        except Skip as why:
            status, text = 0, "SKIPPED %s: %s\n0 passed, 0 failed, 1 skipped\n" % (job.name, why)
        except Exception as error:
            status, text = 1, "%s: %s" % (type(error).__name__, error)
        (logs / (re.sub(r"\W+", "_", job.name) + ".log")).write_text(text, encoding="utf-8")
        passed, failed, missed, remark = count(status, text)
        lines = text.rstrip().split("\n")
        with lock:
            done[0] += 1
            for i, n in enumerate((passed, failed, missed)):
                total[i] += n
            print("[%2d/%d] %-4s %-36s %3d passed %s%s %6.1f s" % (done[0], len(jobs), "FAIL" if failed else "ok", job.name, passed, "%d failed " % failed if failed else "",
                                                                "%d skipped" % missed if missed else "", time.time() - begun))
            for line in lines:
                if line.startswith("SKIPPED"):
                    skipped.append("%s: %s" % (job.name, line[8:]))
                    print("        " + line)
            if failed:
                failures.append(job.name + (": " + remark if remark else ""))
                shown = lines if len(lines) <= 80 else lines[:40] + ["... (%d lines; all in out/tests/)" % len(lines)] + lines[-40:]
                print("\n".join("        | " + line for line in shown))
            sys.stdout.flush()

    with ThreadPoolExecutor(max(1, o.jobs)) as pool:
        list(pool.map(one, jobs))
    print("-" * 80)
    if skipped:
        print("Not checked here:")
        for why in skipped:
            print("  SKIPPED " + why)
    for name in failures:
        print("FAILED " + name)
    print("%.0f seconds; logs and programs under out/tests/" % (time.time() - start))
    print("%d passed, %d failed, %d skipped" % tuple(total))
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
