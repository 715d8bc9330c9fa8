#!/usr/bin/env python3
"""The header under many compilers, languages and switches: no warning anywhere, and it links as a single-header library must."""
from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Tuple

from tools import LONG, ROOT, WARNINGS, WARNINGS_C, Fail, Skip, Tests, builds, in_book, must, need, openmp, run

tests = Tests()
scratch = tempfile.TemporaryDirectory()
HERE = Path(scratch.name)
WHOLE = '#define WEIGHTFLOW_IMPLEMENTATION\n#include "weightflow.h"\n'
USE = "wf_arena *A = wf_arena_new(NULL); wf_arena_free(A);"
COMPILERS = [("gcc", "g++"), ("clang", "clang++")]
serial = [0]
kept: Dict[Tuple[str, ...], Path] = {}


def source(text: str, suffix: str) -> Path:
    serial[0] += 1
    file = HERE / ("t%d%s" % (serial[0], suffix))
    file.write_text(text, encoding="utf-8")
    return file


def compiles(command: List[str], text: str, suffix: str = ".c", optimise: str = "-O0") -> Path:
    """Compile to an object, or find the one that was made of the same before. Any warning fails, through -Werror."""
    key = (*command, optimise, suffix, text)
    if key not in kept:
        file = source(text, suffix)
        made = file.with_suffix(".o")
        must([*command, optimise, "-I", str(ROOT), "-c", str(file), "-o", str(made)])
        kept[key] = made
    return kept[key]


def strict(cc: str, standard: str) -> List[str]:
    plus = "++" in standard
    return [cc, "-std=" + standard, *WARNINGS, *([] if plus else WARNINGS_C), "-Werror"]


# ---- languages ----
# The front end finds nearly all that the list of warnings names, so most rows stop there (-fsyntax-only); one row for each compiler and language goes through the optimiser,
# which finds the rest. The long run sends every row through it.

def warning_free(command: List[str], standard: str, how: Tuple[str, ...]) -> None:
    need(command[0])
    suffix = ".cpp" if "++" in standard else ".c"
    if not builds([*command, "-std=" + standard, "-c"], "#include <stdint.h>\n#include <math.h>\nint x;", suffix):
        raise Skip("%s does not know -std=%s, or has no library for it" % (" ".join(command), standard))
    flags = [f for f in how if not f.startswith("-O")] + (openmp(command) if "-fopenmp" in how else [])
    optimise = [f for f in how if f.startswith("-O")]
    if LONG and not optimise:
        flags.remove("-fsyntax-only")
    compiles([*command, *strict("", standard)[1:], *dict.fromkeys(flags)], WHOLE, suffix, optimise[0] if optimise else "-O1" if LONG else "-O0")


def row(command: List[str], standard: str, *how: str) -> None:
    tests.add("warning-free: %s -std=%s %s" % (" ".join(command), standard, " ".join(how)), lambda: warning_free(command, standard, how))


for c, cpp in COMPILERS:
    row([c], "gnu17", "-O2" if c == "gcc" else "-O1", "-fopenmp")
    row([cpp], "c++11", "-O1" if cpp == "g++" else "-O0", "-fopenmp")
    for standard in ("c99", "c11", "c17", "c++11", "c++20"):
        row([cpp if "++" in standard else c], standard, "-fsyntax-only")
    row([c, "-m32"], "c99", "-fsyntax-only", "-msse2", "-mfpmath=sse")
    if LONG:
        row([c], "c99", "-O3", "-march=native")
        row([c], "gnu11", "-O2", "-ffast-math")

# ---- other processors ----

row(["aarch64-linux-gnu-gcc"], "c99", "-fsyntax-only")
row(["clang", "--target=aarch64-linux-gnu"], "c99", "-fsyntax-only")
row(["clang", "--target=wasm32-wasi"], "c99", "-fsyntax-only")
row(["clang", "--target=wasm32-wasi", "-msimd128"], "c99", "-fsyntax-only")


# ---- declarations alone ----

def declarations(command: List[str], suffix: str) -> None:
    need(command[0])
    compiles(command, '#include "weightflow.h"\n#include "weightflow.h"\nint wf_unused_here;\n', suffix)


LANGUAGES: List[Tuple[str, str]] = [("c89", ".c"), ("c99", ".c"), ("c11", ".c"), ("c++11", ".cpp"), ("c++20", ".cpp")]
for c, cpp in COMPILERS:
    for standard, suffix in LANGUAGES:
        cc = cpp if suffix == ".cpp" else c
        # stdint.h itself needs long long, which C89 knows only as an extension
        flags = ["-Wno-long-long"] if standard == "c89" else []
        tests.add("declarations alone: %s -std=%s" % (cc, standard), lambda cc=cc, standard=standard, suffix=suffix, flags=flags: declarations([*strict(cc, standard), *flags], suffix))


# ---- switches ----

MODULES = ["WEIGHTFLOW", "FLOWS", "CONSERVATION", "PATHS", "PARTICLES", "BRIDGES"]
SWITCHES: List[List[str]] = [["WF_NO_STDIO"], ["WF_NO_OPENMP"], ["WF_NO_SIMD"], ["WF_STATIC"], *[["WF_NO_" + m] for m in MODULES], ["WF_NO_MALLOC"], ["WF_SIMD_MAX=1"], ["WF_SIMD_MAX=2"],
                             ["WF_ASSERT(x)=((x)?(void)0:__builtin_trap())"], ["WF_NO_STDIO", "WF_NO_MALLOC", "WF_NO_OPENMP", "WF_NO_SIMD", "WF_STATIC", *["WF_NO_" + m for m in MODULES]]]


BANNED: Dict[str, str] = {"WF_NO_STDIO": r"f(open|close|read|write|seek|tell|printf|puts|flush)$|remove$|rename$|s?n?printf$", "WF_NO_MALLOC": r"(malloc|calloc|realloc|free|aligned_alloc|posix_memalign)$",
                          "WF_NO_OPENMP": r"(omp_|GOMP_|__kmpc)"}


def switch(cc: str, names: List[str]) -> None:
    """The front end of clang sees what a switch has left without a declaration, a body or a use; what must not be called any more shows in the object alone."""
    need(cc)
    flags = openmp([cc]) if names == ["WF_NO_OPENMP"] else []
    needs_object = LONG or len(names) > 1 or names[0] in BANNED or not shutil.which("clang")
    if not needs_object:
        cc = "clang"
    made = compiles([*strict(cc, "c99"), *flags, *([] if needs_object else ["-fsyntax-only"]), *["-D" + n for n in names]], WHOLE)
    if not needs_object or not shutil.which("nm"):
        return
    undefined = {row.split()[-1] for row in must(["nm", "-u", str(made)]).split("\n") if row.strip()}
    for name in names:
        bad = sorted(u for u in undefined if name in BANNED and re.match(BANNED[name], u))
        if bad:
            raise Fail("%s still calls %s" % (name, " ".join(bad)))


for names in SWITCHES:
    for cc in ("gcc", "clang") if LONG else ("gcc",):
        tests.add("switch: %s%s" % (" ".join(names), ", " + cc if LONG else ""), lambda cc=cc, names=names: switch(cc, names))


@tests.test
def never_exits_aborts_or_prints() -> None:
    cc = need("gcc", "clang", "cc")
    if not shutil.which("nm"):
        raise Skip("no nm here")
    made = compiles([cc, "-std=c99"], WHOLE)
    undefined = {row.split()[-1] for row in must(["nm", "-u", str(made)]).split("\n") if row.strip()}
    bad = sorted(undefined & {"exit", "abort", "_exit", "printf", "puts", "putchar", "perror", "stdout", "stderr", "getenv", "rand", "srand", "time", "signal", "__errno_location", "system", "__assert_fail"})
    if bad:
        raise Fail("the implementation uses %s" % " ".join(bad))


# ---- linking ----

def link(cc: str, files: List[Tuple[str, str]]) -> str:
    command = cc.split()
    need(command[0])
    objects = [compiles(command, text, suffix) for text, suffix in files]
    program = HERE / ("p%d" % serial[0])
    must([*command, *[str(o) for o in objects], "-o", str(program), "-lm"])
    return must([str(program)])


def implementation_and_user(cc: str, suffix: str) -> None:
    link(cc, [(WHOLE, suffix), ('#include "weightflow.h"\nint main(void) { %s return wf_version() != WF_VERSION; }\n' % USE, suffix)])


def both_languages() -> None:
    need("g++")
    first = compiles(["gcc", "-std=c99"], WHOLE, ".c")
    second = compiles(["g++", "-std=c++11"], '#include "weightflow.h"\nint main() { %s return wf_version() != WF_VERSION; }\n' % USE, ".cpp")
    must(["g++", str(first), str(second), "-o", str(HERE / "both"), "-lm"])
    must([str(HERE / "both")])


def two_static_copies(cc: str) -> None:
    text = "#define WF_STATIC\n#define WF_NO_SIMD\n" + WHOLE
    link(cc, [(text + "int other(void);\nint other(void) { %s return wf_version(); }\n" % USE, ".c"),
              (text + "int other(void);\nint main(void) { %s return other() != wf_version(); }\n" % USE, ".c")])


def declarations_first_implementation_later(cc: str) -> None:
    link(cc, [('#include "weightflow.h"\n#define WF_NO_SIMD\n' + WHOLE + WHOLE + "int main(void) { %s return 0; }\n" % USE, ".c")])


tests.add("two files, C", lambda: implementation_and_user("gcc -std=c99", ".c"))
tests.add("two files, C++", lambda: implementation_and_user("g++", ".cpp"))
tests.add("implementation in C, user in C++", both_languages)
tests.add("two static copies in one program", lambda: two_static_copies("gcc"))
tests.add("declarations first, implementation later in the same file", lambda: declarations_first_implementation_later("gcc"))
tests.add("one file, clang", lambda: declarations_first_implementation_later("clang"))


@tests.test
def weightflow_c_compiles() -> None:
    cc = need("gcc", "clang", "cc")
    must([cc, "-std=c99", "-fsyntax-only", str(ROOT / "weightflow.c")])


@tests.test
def tcc_compiles() -> None:
    need("tcc")
    must(["tcc", "-I", str(ROOT), "-c", str(source(WHOLE, ".c")), "-o", str(HERE / "tcc.o")])


if __name__ == "__main__":
    sys.exit(tests.finish())
