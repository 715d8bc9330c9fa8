#!/usr/bin/env python3
"""tests/test_determinism.c by other compilers and for other processors: the same hash of the parameters after 100 steps of training, or the loss within its tolerance.

The program itself compares with the hash pinned in it; here it is built in many ways, and the hashes it prints are compared with each other too."""
from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from tools import OUT, ROOT, Fail, Skip, Tests, build, builds, in_book, need, openmp, run

tests = Tests()
SOURCE = ROOT / "tests" / "test_determinism.c"
FOLDER = OUT / "tests-determinism"
NODE = """import { readFileSync } from 'node:fs';
import { WASI } from 'node:wasi';
const wasi = new WASI({ version: 'preview1', args: process.argv.slice(2), returnOnExit: true });
const module = await WebAssembly.compile(readFileSync(process.argv[2]));
const imports = wasi.getImportObject ? wasi.getImportObject() : { wasi_snapshot_preview1: wasi.wasiImport };
process.exitCode = wasi.start(await WebAssembly.instantiate(module, imports));
"""
FUSED = ("avx2", "avx512", "neon")
hashes: Dict[Tuple[str, str], List[str]] = {}


def trained(name: str, compiler: List[str], flags: List[str], runner: List[str], arguments: List[str], libraries: List[str]) -> str:
    program = FOLDER / name
    build(compiler, [*flags, "-w"], SOURCE, program, libraries)
    status, text = run([*runner, str(program), *arguments], 400)
    found = re.findall(r"hash (\w+) (\w+) ([0-9a-f]{16}) loss (\S+)", text)
    if status or not found:
        raise Fail("status %d\n%s" % (status, text))
    for model, isa, value, _ in found:
        if isa in FUSED:
            others = hashes.setdefault((model, "fused"), [])
            if others and value not in others:
                raise Fail("%s, %s: %s, but others had %s" % (model, isa, value, " ".join(others)))
            others.append(value)
    return "  ".join("%s %s %s" % (m, i, v if i in FUSED else "loss " + l) for m, i, v, l in dict.fromkeys(found))


def native(name: str, compiler: str, *flags: str, whole: bool = False) -> None:
    def work() -> str:
        need(compiler)
        return trained(name, [compiler], [*flags, *openmp([compiler])], [], [] if whole else ["pinned"], ["-lm"])
    tests.add("%s %s" % (compiler, " ".join(flags)), work)


def emulated() -> str:
    compiler, emulator = need("aarch64-linux-gnu-gcc"), need("qemu-aarch64-static", "qemu-aarch64")
    if not builds([compiler, "-static"], "#include <stdio.h>\nint main(void){return 0;}"):
        raise Skip("no C library for AArch64 here (Debian: libc6-dev-arm64-cross)")
    return trained("aarch64", [compiler], ["-std=c99", "-O2", "-static"], [emulator], ["pinned"], ["-lm"])


def webassembly(name: str, *flags: str) -> str:
    compiler, node = [need("clang"), "--target=wasm32-wasi"], need("node")
    if not builds(compiler, "#include <stdio.h>\nint main(void){return 0;}"):
        raise Skip("clang cannot link for WebAssembly here (Debian: wasi-libc lld libclang-rt-14-dev-wasm32)")
    FOLDER.mkdir(parents=True, exist_ok=True)
    script = FOLDER / "run.mjs"
    script.write_text(NODE, encoding="utf-8")
    return trained(name, compiler, ["-std=c99", "-O2", *flags], [node, "--no-warnings", str(script)], ["pinned"], ["-lm"])


native("gcc", "gcc", "-std=c99", "-O2")
native("gcc-fast", "gcc", "-O3", "-march=native", "-ffp-contract=fast")
native("clang", "clang", "-std=c99", "-O1")
native("clang-contract", "clang", "-O1", "-ffp-contract=fast", "-DWF_NO_OPENMP")
native("g++", "g++", "-x", "c++", "-std=c++11", "-O0")
tests.add("AArch64 under qemu", emulated)
tests.add("WebAssembly", lambda: webassembly("scalar.wasm"))
tests.add("WebAssembly with SIMD", lambda: webassembly("simd.wasm", "-msimd128"))

if __name__ == "__main__":
    sys.exit(tests.finish())
