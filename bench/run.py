#!/usr/bin/env python3
"""Measure speed, as ratios within one run: lines of JSON, then a table of what was reached and what was wanted.

    python3 bench/run.py                  everything
    python3 bench/run.py --only engine    the gradient of a network against the processor's peak (bench/bench_engine.c)
    python3 bench/run.py --only kernels   matrix kernels and elementary functions (bench/bench_kernels.c)
    python3 bench/run.py --only compile   the time to compile the header against stb_image.h
    python3 bench/run.py --only NAME      bench/bench_NAME.c: one for each method

Where a program of another library is to be had (bench/peers.py says which and how), it runs in turns with ours: ratio_to_torch, ratio_to_numpy.

All figures are CPU time of one thread. A ratio compares neighbours in time; absolute numbers depend on the machine and on who else uses it.
"""
from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional

import peers

ROOT = Path(__file__).resolve().parent.parent
STB = ["/usr/include/stb/stb_image.h", "/usr/local/include/stb/stb_image.h", "/usr/include/stb_image.h"]
Line = Dict[str, Any]


def emit(line: Line) -> Line:
    print(json.dumps(line, separators=(",", ":")), flush=True)
    return line


def program(name: str, cc: List[str], flags: List[str], arguments: List[str]) -> List[Line]:
    """Build bench/NAME.c and collect the JSON lines that it prints."""
    source, out = ROOT / "bench" / (name + ".c"), ROOT / "out" / "bench"
    if not source.is_file():
        print("SKIPPED %s: there is no %s" % (name, source.relative_to(ROOT)))
        return []
    out.mkdir(parents=True, exist_ok=True)
    made = subprocess.run([*cc, *flags, "-I", str(ROOT), str(source), "-o", str(out / name), "-lm"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if made.returncode:
        sys.exit("bench/%s.c does not compile\n%s" % (name, made.stdout))
    lines: List[Line] = []
    with subprocess.Popen([str(out / name), *arguments], stdout=subprocess.PIPE, universal_newlines=True, env=dict(os.environ, OMP_NUM_THREADS="1")) as running:
        assert running.stdout
        for text in running.stdout:
            print(text, end="", flush=True)
            if text.startswith("{"):
                lines.append(json.loads(text))
    if running.returncode:
        sys.exit("bench/%s.c ended with status %d" % (name, running.returncode))
    return lines


def cpu_seconds(command: List[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit("%s\n%s" % (" ".join(command), done.stdout))
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def middle(x: List[float]) -> float:
    return sorted(x)[len(x) // 2]


def compile_time(cc: List[str], rounds: int) -> List[Line]:
    stb: Optional[str] = next((f for f in STB if Path(f).is_file()), None)
    if not stb:
        print("SKIPPED compile_time against stb_image.h: not found (Debian: libstb-dev)")
    header = '#include "%s"\n' % (ROOT / "weightflow.h").as_posix()
    texts = {"weightflow": "#define WEIGHTFLOW_IMPLEMENTATION\n" + header, "declarations": header}
    methods = ["WEIGHTFLOW", "FLOWS", "CONSERVATION", "PATHS", "PARTICLES", "BRIDGES"]
    texts["engine"] = "".join("#define WF_NO_%s\n" % m for m in methods) + texts["weightflow"]
    if stb:
        texts["stb_image"] = '#define STB_IMAGE_IMPLEMENTATION\n#include "%s"\n' % stb
    times: Dict[str, List[float]] = {what: [] for what in texts}
    with tempfile.TemporaryDirectory() as name:
        for what, text in texts.items():
            (Path(name) / (what + ".c")).write_text(text, encoding="utf-8")
        for _ in range(rounds):
            for what in texts:
                times[what].append(cpu_seconds([*cc, "-O2", "-c", str(Path(name) / (what + ".c")), "-o", str(Path(name) / "x.o")]))
    line: Line = {"bench": "compile_time", "compiler": " ".join(cc), "flags": "-O2", "seconds": round(middle(times["weightflow"]), 2), "without_methods_seconds": round(middle(times["engine"]), 2), "declarations_seconds": round(middle(times["declarations"]), 3)}
    if stb:
        line["stb_image_seconds"] = round(middle(times["stb_image"]), 2)
        line["ratio_without_methods"] = round(middle([a / b for a, b in zip(times["engine"], times["stb_image"])]), 2)
        line["ratio_to_stb_image"] = round(middle([a / b for a, b in zip(times["weightflow"], times["stb_image"])]), 2)
    return [emit(line)]


def machine(cc: List[str]) -> None:
    model = platform.processor() or platform.machine()
    try:
        for row in Path("/proc/cpuinfo").read_text().split("\n"):
            if row.startswith("model name"):
                model = row.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    version = subprocess.run([*cc, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True).stdout.split("\n")[0]
    print("processor: %s; compiler: %s" % (model, version))


def goal(line: Line) -> Optional[str]:
    """What was wanted, as `reached` against a bound, where a bound exists."""
    def at_least(key: str, bound: float) -> str:
        return "%s %.3g, goal >= %g: %s" % (key, line[key], bound, "reached" if line[key] >= bound else "MISSED")

    for key in line:
        if key.startswith("ratio_to_") and "rounds" in line:
            return "%s %.3g (%.3g to %.3g)" % (key, line[key], line["low"], line["high"]) + (", goal >= %g: %s" % (line["wanted"], "reached" if line[key] >= line["wanted"] else "MISSED") if "wanted" in line else "") + "; " + line["peer"]
    if "symmetric_kl" in line:
        value = "symmetric KL %.3g, goal <= %.3g: %s" % (line["symmetric_kl"], line["wanted"], "reached" if line["symmetric_kl"] <= line["wanted"] else "MISSED")
        return value + "".join("; %s %.3g" % (name, line[key]) for key, name in (("icnn_jko", "published: ICNN-JKO"), ("particles_50k", "50000 particles")) if line.get(key))
    for key, bound in (("ou_kl_end", 6e-5), ("double_well_kl_end", 7.6e-3)):
        if key in line:
            return "%s %.3g, goal <= %g: %s" % (key, line[key], bound, "reached" if line[key] <= bound else "MISSED")
    if "kl_end_per_dim" in line:
        return "kl_end_per_dim %.3g, least cosine %.3g" % (line["kl_end_per_dim"], line["least_cosine"])
    if not line.get("ratio_to_peak", 1):
        return "no fused multiply-add: no peak to compare with"
    if line["bench"] == "compile_time" and "ratio_to_stb_image" in line:
        value = line["ratio_to_stb_image"]
        return "ratio_to_stb_image %.2f, goal <= 2: %s; ground and engine alone %.2f" % (value, "reached" if value <= 2 else "MISSED", line["ratio_without_methods"])
    if line["bench"] == "mlp_gradient" and "ratio_to_peak" in line and line["batch"] >= 256:
        return at_least("ratio_to_peak", 0.6)
    if line["bench"] == "matrix_kernel" and "ratio_to_peak" in line and line.get("m", 64) == 64 and line.get("k", 64) == 64:
        return at_least("ratio_to_peak", 0.85)
    return "ratio_to_peak %.3g" % line["ratio_to_peak"] if "ratio_to_peak" in line else None


def table(lines: List[Line]) -> None:
    print()
    for line in lines:
        keys = [k for k in ("isa", "type", "kind", "case", "flow", "dim", "batch", "m", "n", "k", "function", "size", "compiler") if k in line]
        name = "%s %s" % (line["bench"], " ".join("%s=%s" % (k, line[k]) for k in keys))
        speed = "%.1f GFLOP/s" % line["gflops"] if "gflops" in line else "%.2f s" % line["seconds"] if "seconds" in line else "%.1f us" % line["microseconds"] if "microseconds" in line else "%.3f ns" % line["ns_per_element"] if "ns_per_element" in line else ""
        print("%-48s %14s   %s" % (name, speed, goal(line) or ""))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cc", default=os.environ.get("CC", "cc"))
    parser.add_argument("--cflags", default="-std=c99 -O2")
    programs = sorted(f.stem[len("bench_"):] for f in (ROOT / "bench").glob("bench_*.c"))
    parser.add_argument("--only", default="", choices=["", "compile", *programs])
    parser.add_argument("--quick", action="store_true", help="few repetitions: is everything in order?")
    o = parser.parse_args()
    cc, flags, quick = shlex.split(o.cc), shlex.split(o.cflags), ["--quick"] if o.quick else []
    machine(cc)
    lines: List[Line] = []
    for name in programs:
        if o.only in ("", name):
            lines += program("bench_" + name, cc, flags, quick)
            lines += peers.compare(name, ROOT / "out" / "bench" / ("bench_" + name), o.quick)
    if o.only in ("", "compile", "engine"):
        lines += compile_time(cc, 1 if o.quick else 3)
    table(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
