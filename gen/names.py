"""The names of the library (wf_*, WF_*, WFV_*): where the book defines them, and whether a chapter uses one that only a later chapter defines.

A definition is what looks like one at the start of a line: `#define`, a function or its prototype, static data, a typedef, the tag of a struct, union or enum that
opens a brace, the closing `} wf_name;`, and the constants of an enum. What a name is made of when stamped counts as the same name (`wf__gemm_avx2` is `wf__gemm_ISA`,
`WF__AVX2_ADD` is `WFV_ADD`). To point at a struct that a later chapter defines, `struct wf_x *p`, is not a use of it.
"""
from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Tuple

WORD = r"(?:wf|WF|WFV)_\w+"
COMMENT = re.compile(r'/\*.*?(?:\*/|$)|//.*|"(?:\\.|[^"\\])*"')
DEFINITIONS = [re.compile(p) for p in (
    r"^\s*#\s*define\s+(%s)" % WORD,
    r"^(?!return\b|else\b|do\b|case\b|goto\b)(?:(?:WF_\w+\([^()]*\)|[A-Za-z_]\w*)[\s*]+)+(wf_\w+)\s*\(",
    r"^(?:static|extern|const)\b[\w\s*]*[\s*](wf_\w+)\s*(?:\[|=|;)",
    r"^typedef\b.*?\b(wf_\w+)\s*(?:\[[^]]*\])?;",
    r"^typedef\b.*?\(\s*\*\s*(wf_\w+)\s*\)",
    r"^}\s*(wf_\w+)\s*;",
    r"\b(?:struct|union|enum)\s+(wf_\w+)\s*\{",
)]


def code(lines: List[Any]) -> Iterator[Tuple[str, Any]]:
    """Each line without its comments and strings."""
    inside = False
    for line in lines:
        text = line.text
        if inside:
            head, end, text = text.partition("*/")
            if not end:
                yield "", line
                continue
        text = COMMENT.sub(lambda m: '""' if m.group()[0] == '"' else m.group() if m.group().startswith("/*") and not m.group().endswith("*/") else " ", text)
        text, inside = text.partition("/*")[0], "/*" in text
        yield text, line


def definitions(lines: List[Any]) -> Iterator[Tuple[str, Any]]:
    """The names that a piece of code defines, each with its line."""
    in_enum = False
    for text, line in code(lines):
        for pattern in DEFINITIONS:
            for found in pattern.finditer(text):
                yield found.group(1), line
        begin = re.search(r"\benum\b[\w\s]*\{", text)
        if begin or in_enum:
            body, end, _ = (text[begin.end():] if begin else text).partition("}")
            in_enum = not end
            for constant in re.findall(r"(?:^|,)\s*(WF_\w+)", body):
                yield constant, line


class Index:
    """Where each name is first defined, in the order of the chapters."""

    def __init__(self, pieces: List[List[Any]], isa: List[str], real: List[str], sets: List[str]) -> None:
        self.isa, self.real = isa, real
        self.set = re.compile("^WF__(?:%s)_" % "|".join(s.upper() for s in sets))
        self.where: Dict[str, Any] = {}
        for piece in sorted(pieces, key=lambda p: (p[0].path, p[0].number) if p else ("", 0)):
            for name, line in definitions(piece):
                self.where.setdefault(name, line)
                if self.set.match(name):
                    self.where.setdefault(self.set.sub("WFV_", name), line)

    def find(self, name: str) -> Any:
        """The line that defines a name, or what it is a stamp of; None where the book does not."""
        if name in self.where:
            return self.where[name]
        for suffixes, mark in ((self.isa, "_ISA"), (self.real, "_REAL"), ([s + "_ISA" for s in self.real], "_REAL_ISA")):
            for suffix in suffixes:
                if suffix and name.endswith(suffix) and not name.endswith(mark):
                    found = self.find(name[:-len(suffix)] + mark)
                    if found:
                        return found
        return None

    def upward(self, pieces: List[List[Any]]) -> Iterator[Tuple[str, Any, Any]]:
        """Uses of names that a later chapter defines: name, use, definition. One for each name and chapter."""
        seen = set()
        for piece in pieces:
            for text, line in code(piece):
                for name in re.findall(r"\b%s" % WORD, re.sub(r"\b(?:struct|union)\s+\w+\s*(?=[*;])", "", text)):
                    if (name, line.path) in seen:
                        continue
                    seen.add((name, line.path))
                    home = self.find(name)
                    if home and home.path > line.path:
                        yield name, line, home
