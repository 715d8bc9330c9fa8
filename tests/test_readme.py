#!/usr/bin/env python3
"""README.md says what is so: its program compiles and learns, its links lead somewhere, its tables name every chapter and every switch, its commands exist."""
from __future__ import annotations

import os
import re
import shlex
import sys
import xml.etree.ElementTree as xml

from tools import OUT, ROOT, Fail, Tests, build, must, openmp

tests = Tests()
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


@tests.test
def program_compiles_and_learns() -> str:
    found = re.search(r"^```c\n(.*?)^```", TEXT, re.M | re.S)
    if not found:
        raise Fail("README.md contains no C program")
    lines = [line for line in found.group(1).split("\n") if line.strip()]
    if len(lines) > 25:
        raise Fail("the program has %d lines; it should have about 20" % len(lines))
    source = OUT / "tests" / "readme.c"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(found.group(1), encoding="utf-8")
    cc = shlex.split(os.environ.get("CC", "cc"))
    build(cc, ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", *openmp(cc)], source, OUT / "tests" / "readme")
    said = must([str(OUT / "tests" / "readme")])
    error = re.match(r"mean square error (\S+) *\n$", said)
    # the mean square of sin(4x) is about 0.44; a network that has learned nothing but the mean stays there
    if not error or not float(error.group(1)) < 1e-3:
        raise Fail("the program said %r" % said)
    return "%d lines; %s" % (len(lines), said.strip())


@tests.test
def short_enough() -> str:
    lines = TEXT.count("\n")
    if lines > 150:
        raise Fail("%d lines; 150 are allowed" % lines)
    return "%d lines" % lines


@tests.test
def links_lead_somewhere() -> str:
    links = [link for link in re.findall(r"\]\(([^)#]+)", TEXT) if "://" not in link]
    dead = [link for link in links if not (ROOT / link).exists()]
    if dead:
        raise Fail("no such file: " + " ".join(dead))
    return "%d links" % len(links)


@tests.test
def picture_is_small_and_whole() -> str:
    """The picture is what the demo draws: SVG that parses, small enough for a page, and named in the README with the command that makes it."""
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+\.svg)\)", TEXT)
    if not pictures or "`make demo`" not in TEXT:
        raise Fail("README.md shows no picture, or does not say that `make demo` draws it")
    for picture in pictures:
        size = (ROOT / picture).stat().st_size
        root = xml.parse(str(ROOT / picture)).getroot()
        if not root.tag.endswith("}svg") or size > 60000:
            raise Fail("%s: %d bytes (60000 are allowed), root %s" % (picture, size, root.tag))
    return "%d bytes" % sum((ROOT / p).stat().st_size for p in pictures)


@tests.test
def every_chapter_is_listed() -> str:
    chapters = [c.relative_to(ROOT).as_posix() for c in sorted((ROOT / "src-lit").rglob("*.md"))]
    missing = [c for c in chapters if "(%s)" % c not in TEXT]
    if missing:
        raise Fail("README.md does not link " + " ".join(missing))
    return "%d chapters" % len(chapters)


@tests.test
def every_example_is_listed() -> str:
    examples = {e.stem for e in (ROOT / "examples").glob("*.c")}
    missing = sorted(e for e in examples if "`%s`" % e not in TEXT)
    if missing:
        raise Fail("README.md does not name " + " ".join("examples/%s.c" % e for e in missing))
    return "%d examples" % len(examples)


@tests.test
def every_switch_is_listed() -> None:
    header = (ROOT / "weightflow.h").read_text(encoding="utf-8")
    manual = header.split("SWITCHES", 1)[1].split("*/", 1)[0]
    wanted = set(re.findall(r"\bWF_[A-Z_]+[A-Z]\b", manual.replace("a WF_ISA_ number", "")))
    listed = {name for row in re.findall(r"^\| (`WF_[^|]*)\|", TEXT, re.M) for name in re.findall(r"`(WF_\w+)", row)}
    if not wanted or wanted != listed:
        raise Fail("in the header's manual alone: %s; in README.md alone: %s" % (" ".join(sorted(wanted - listed)), " ".join(sorted(listed - wanted))))


@tests.test
def commands_exist() -> None:
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+)%?:", make, re.M))
    for target in set(re.findall(r"\bmake ([a-z][a-z-]*)", TEXT)) - {"and"}:
        if target not in targets:
            raise Fail("README.md names `make %s`, which the Makefile does not know" % target)
    for topic in re.findall(r"make test ONLY=(\w+)", TEXT):
        if not [f for f in (ROOT / "tests").glob("test_%s.*" % topic)]:
            raise Fail("README.md names `make test ONLY=%s`, but there is no such test" % topic)


if __name__ == "__main__":
    sys.exit(tests.finish())
