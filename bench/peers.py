"""Our programs against those of others, in one run.

A Peer below names a program of another library, where it lies, and how its lines of JSON are matched with ours. `compare` runs the two in turns, several rounds, one thread each, and prints for each
case that both have measured the median of the ratios of neighbours in time, with the lowest and the highest: `ratio_to_torch`, `ratio_to_numpy`, ... (the other's time over ours).

Pythons: those of the environment variable PEER_PYTHON (several, separated by a colon, are all measured), else the first of python3 and /usr/bin/python3 that can import the module. Programs of peers: in the
folder peers of WF_SHARED, or of ../shared. What is not there is SKIPPED, with the reason.
"""
from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

ROOT = Path(__file__).resolve().parent.parent
Line = Dict[str, Any]


class Peer(NamedTuple):
    module: str                              # what the other's Python has to import; also the name in ratio_to_NAME
    script: str                              # a program in the folder of peers, or bench/NAME.py of ours
    runs: List[Tuple[List[str], List[str]]]  # arguments of our program and of the other's, run in turns
    our_case: str                            # a format of fields of our lines ...
    peer_case: str                           # ... and of the other's: cases with equal text are compared. A line without these fields is none
    our_time: Tuple[str, float]              # field with the time, and its unit in seconds
    peer_time: Tuple[str, float]
    wanted: float = 0                        # the least ratio that is good enough
    rounds: int = 5
    unit: str = "microseconds"               # or the name of another field that is compared, as it is: the smaller, the better


FLOW_RUNS = [(["--peer", flow, str(dim)], ["--threads", "1", "--act", "tanh", "--flow", flow, "--d", str(dim), "--batch", "1024", "--sample_batch", "1024", "--reps", "3", "--budget", "0.1"])
             for flow in ("realnvp", "rqs") for dim in (2, 16)]

TOYS = ("crescent", "sine", "checkerboard", "eight_gaussians", "rings")

PEERS: Dict[str, List[Peer]] = {  # by the name of our program, bench/bench_NAME.c
    "flows": [Peer("torch", "torch_flow.py", FLOW_RUNS, "{flow} {bench} dim={dim} batch={batch}", "{flow} {bench} dim={d} batch={batch}", ("microseconds", 1e-6), ("us", 1e-6), 8)],
    "toys": [Peer("torch", "bench/reference_toys.py", [([toy], [toy]) for toy in TOYS], "{toy}", "{toy}", ("kl", 1), ("kl", 1), 1, 1, "kl")],
    "conservation": [Peer("torch", "bench/torch_conservation.py", [(["--steps"], [])], "{step} dim={dim} batch={batch}", "{step} dim={dim} batch={batch}", ("microseconds", 1e-6), ("us", 1e-6), 8, 3)],
}


def pythons(module: str) -> List[str]:
    """Interpreters that can import `module`."""
    named = [p for p in os.environ.get("PEER_PYTHON", "").split(os.pathsep) if p]
    found: List[str] = []
    for candidate in named or ["python3", "/usr/bin/python3"]:
        try:
            if subprocess.run([candidate, "-c", "import " + module], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                found.append(candidate)
        except OSError:
            continue
        if found and not named:
            break
    return found


def place(script: str) -> Path:
    shared = Path(os.environ.get("WF_SHARED", str(ROOT.parent / "shared")))
    own = ROOT / script
    return own if own.is_file() else shared / "peers" / script


def environment() -> Dict[str, str]:
    """One thread; processor time; and the fast kernels of OpenBLAS, which older versions do not choose by themselves."""
    env = dict(os.environ, BENCH_CPU="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    try:
        if "avx512f" in Path("/proc/cpuinfo").read_text():
            env["OPENBLAS_CORETYPE"] = "SKYLAKEX"
    except OSError:
        pass
    return env


def times(command: List[str], case: str, field: Tuple[str, float]) -> Tuple[Dict[str, float], str]:
    """Seconds of each case that a program prints, and the library that it names."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, env=environment(), cwd=str(ROOT))
    result: Dict[str, float] = {}
    library = ""
    if done.returncode:
        print("SKIPPED %s: it ended with status %d: %s" % (" ".join(command), done.returncode, (done.stderr.strip().split("\n") or [""])[-1]))
        return result, library
    for text in done.stdout.split("\n"):
        if not text.startswith("{"):
            continue
        line = json.loads(text)
        # a peer that names its cases flow_what, as torch_flow.py does, has the two parts apart as well
        flow, _, what = str(line.get("case", "")).rpartition("_")
        line = {"flow": flow, "bench": "flow_" + what, **line}
        library = line.get("lib", library)
        try:
            result[case.format(**line)] = line[field[0]] * field[1]
        except KeyError:
            continue
    return result, library


def middle(x: List[float]) -> float:
    return sorted(x)[len(x) // 2]


def compare(name: str, binary: Path, quick: bool) -> List[Line]:
    """All peers of bench_NAME, built as `binary`; lines of JSON, printed as well."""
    lines: List[Line] = []
    for peer in PEERS.get(name, []):
        script, found = place(peer.script), pythons(peer.module)
        if not found or not script.is_file():
            why = "there is no %s" % peer.script if found else "no Python here can import %s (PEER_PYTHON=... names one)" % peer.module
            print("SKIPPED %s against %s: %s" % (name, peer.module, why))
            continue
        for ours, theirs in peer.runs:
            lines += turns(name, peer, [str(binary), *ours], {p: [p, str(script), *theirs] for p in found}, 1 if quick else peer.rounds)
    return lines


def turns(name: str, peer: Peer, ours: List[str], theirs: Dict[str, List[str]], rounds: int) -> List[Line]:
    pairs: Dict[Tuple[str, str], List[Tuple[float, float]]] = {}
    libraries: Dict[str, str] = {}
    for _ in range(rounds):
        for python, command in theirs.items():
            mine, _ = times(ours, peer.our_case, peer.our_time)
            other, libraries[python] = times(command, peer.peer_case, peer.peer_time)
            for case in mine:
                if case in other:
                    pairs.setdefault((case, python), []).append((mine[case], other[case]))
    lines: List[Line] = []

    def shown(values: List[float]) -> float:
        return round(1e6 * middle(values), 2) if peer.unit == "microseconds" else round(middle(values), 4)

    for (case, python), both in pairs.items():
        ratios = [b / a for a, b in both]
        line: Line = {"bench": name + "_peer", "case": case, "peer": libraries[python] or peer.module, peer.unit: shown([a for a, _ in both]), "peer_" + peer.unit: shown([b for _, b in both]),
                      "ratio_to_" + peer.module: round(middle(ratios), 2), "low": round(min(ratios), 2), "high": round(max(ratios), 2), "rounds": len(both)}
        if peer.wanted:
            line["wanted"] = peer.wanted
        print(json.dumps(line, separators=(",", ":")), flush=True)
        lines.append(line)
    if not pairs:
        print("SKIPPED %s against %s: no case in common" % (name, peer.module))
    return lines
