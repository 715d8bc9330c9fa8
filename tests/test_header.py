#!/usr/bin/env python3
"""The header as a file: it is what the book says, ends with the licence, shows only names of its own, and declares itself modestly."""
from __future__ import annotations

import os
import re
import sys

from tools import ROOT, Fail, Skip, Tests, must, run, tool

tests = Tests()
HEADER = ROOT / "weightflow.h"


def declarations() -> str:
    return HEADER.read_text(encoding="utf-8").split("#ifdef WEIGHTFLOW_IMPLEMENTATION")[0]


@tests.test
def header_is_what_the_book_says() -> str:
    return must([sys.executable, "gen/tangle.py", "--check"]).strip().split("\n")[-1]


@tests.test
def header_ends_with_the_licence() -> None:
    footer = re.search(r"/\*((?:(?!\*/).)*)\*/\s*$", HEADER.read_text(encoding="utf-8"), re.S)
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    if not footer:
        raise Fail("weightflow.h does not end with a comment")
    words = [line.strip() for line in footer.group(1).strip().split("\n")]
    wanted = [line.strip() for line in licence.strip().split("\n")]
    if words != wanted:
        raise Fail("the comment at the end of weightflow.h is not the text of LICENSE")


@tests.test
def names_are_our_own() -> str:
    cc = os.environ.get("CC", "cc")
    if not tool("nm"):
        must([sys.executable, "gen/symbols.py", "--no-compile"])
        raise Skip("no nm here: external symbols not looked at")
    return must([sys.executable, "gen/symbols.py", "--cc", cc]).strip().split("\n")[-1]


@tests.test
def declarations_include_only_sizes_and_integers() -> None:
    found = re.findall(r"^\s*#\s*include\s*(\S+)", re.sub(r"/\*.*?\*/", "", declarations(), flags=re.S), re.M)
    if sorted(found) != ["<stddef.h>", "<stdint.h>"]:
        raise Fail("the declarations include %s" % " ".join(found))


@tests.test
def header_is_plain_text() -> str:
    data = HEADER.read_bytes()
    lines = data.count(b"\n")
    for what, bad in (("a tab", b"\t"), ("a carriage return", b"\r"), ("a #line", b"\n#line")):
        if bad in data:
            raise Fail("weightflow.h:%d: %s" % (data[:data.index(bad)].count(b"\n") + 1, what))
    if lines > 30000:
        raise Fail("weightflow.h has %d lines; 30000 is the limit" % lines)
    return "%d lines" % lines


@tests.test
def version_is_one_number_and_one_string() -> None:
    text = declarations()
    number = re.search(r"^#define WF_VERSION (\d+)", text, re.M)
    string = re.search(r'^#define WF_VERSION_STRING "(\d+)\.(\d+)\.(\d+)"', text, re.M)
    if not number or not string or int(number.group(1)) != int(string.group(1)) * 10000 + int(string.group(2)) * 100 + int(string.group(3)):
        raise Fail("WF_VERSION and WF_VERSION_STRING differ")


if __name__ == "__main__":
    sys.exit(tests.finish())
