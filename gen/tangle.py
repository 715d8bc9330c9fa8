#!/usr/bin/env python3
"""Collect the header from the book.

    python3 gen/tangle.py            write every root file of src-lit/**/*.md (only where it changed)
    python3 gen/tangle.py --check    compare instead, exit 1 and show the difference
    python3 gen/tangle.py --line     also write out/weightflow_line.h, the same with #line, for debuggers, coverage and editors
    python3 gen/tangle.py --draft    the same, but forgive what a half-written book lacks (undefined, unused, missing quotes)

A fence whose first line starts with `//:` (or `#:`) is part of the program; any other fence is an illustration. Those lines are

    //: <<topic: imperative phrase>>=        define a chunk;  += appends to one
    //: file weightflow.h                    a root: the text of a file
    //: stamp isa <<name>>=                  a chunk emitted once per instruction set (or +=)
    //: stamp real <<name>>=                 ... once per element type
    //: collect <<name>>                     a chunk that any chapter may append to without defining it (several such lines may stand in one fence)
    //: include <<name>> LICENSE             a chunk: the text of a file as one C comment
    //: table [kind] <<name>> col | col      a table; each further line is a row; a bar inside a cell is written \\|
    //: generate <<name>> gen/x.py words     a chunk: what the script prints (with the rest of the fence as its input), kept under out/cache
    //: quote tests/test_x.c "region"        shows the lines between `// region: region` and `// end region` of an ordinary file

A reference `<<name>>` stands alone on its line; the text it stands for inherits the indent. A chunk is introduced in the header by a comment with its name.
All chunks inside a stamped chunk are expanded first, then the whole is stamped; comments and blank lines stand in the first copy alone:

    isa    `wf__gemm_ISA` -> `wf__gemm_avx2`, `WFV_ADD` -> `WF__AVX2_ADD`, each copy between `#if guard` and `#endif`
    real   `wf__sum_REAL` -> `wf__sum_f32`, the word `REAL` -> `float`

The kinds of tables are described in gen/tables.py. The rows of a stamp come from the tables `<<stamp: isa>> name | suffix | guard` and `<<stamp: real>> name | suffix | type`, or from the defaults below where the book has none.
A chapter may use a name (wf_*, WF_*) only if it or an earlier one defines it: gen/names.py. out/linemap.json says which line of the book each line of a root
comes from: gen/whence.py reads it. Errors are `file:line: message`, all of them, and exit status 1.
"""
from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
import names  # noqa: E402
import tables  # noqa: E402

STAMPS = {
    "isa": [[n, "_" + n, "" if n == "scalar" else "defined(WF__ISA_%s)" % n.upper()] for n in ("scalar", "sse2", "avx2", "avx512", "neon", "wasm")],
    "real": [["f32", "_f32", "float"], ["f64", "_f64", "double"]],
}
NAME = r"<<([^<>]*[^<>\s])>>"
WHOLE_COMMENT = re.compile(r"^\s*/\*(?:(?!\*/).)*\*/$")
DEFINE = re.compile(r"^(?:stamp (isa|real) )?" + NAME + r"(\+?=)$")
TABLE = re.compile(r"^table (?:(\w+) )?" + NAME + r"\s*(.*)$")
REFERENCE = re.compile(r"^(\s*)" + NAME + r"(.*)$")
INLINE = re.compile(r"<<[a-z][^<>]*: [^<>]+>>")


class Line(NamedTuple):
    text: str
    path: str
    number: int
    chunk: str = ""


class Chunk:
    def __init__(self, name: str, path: str, number: int, stamp: str = "") -> None:
        self.name, self.path, self.number, self.stamp = name, path, number, stamp
        self.pieces: List[List[Line]] = []
        self.homes: List[str] = []  # the chapter of each piece
        self.collect = self.verbatim = self.used = False


class Table:
    def __init__(self, kind: str, name: str, columns: List[str], path: str, number: int) -> None:
        self.kind, self.name, self.columns, self.path, self.number = kind, name, columns, path, number
        self.rows: List[Tuple[List[str], Line]] = []
        self.parts: Dict[str, List[Tuple[str, Any]]] = {}
        self.used = False


class Fence(NamedTuple):
    path: str
    number: int  # of the opening line
    language: str
    lines: List[Line]


class Book:
    """Everything the chapters say, and the errors in it."""

    def __init__(self, root: Path, draft: bool = False) -> None:
        self.root, self.draft = root, draft
        self.errors: List[Tuple[str, int, str]] = []
        self.warnings: List[Tuple[str, int, str]] = []
        self.titles: Dict[str, str] = {}
        self.chunks: Dict[str, Chunk] = {}
        self.roots: Dict[str, Chunk] = {}
        self.tables: Dict[str, Table] = {}
        self.fences: Dict[Tuple[str, int], Fence] = {}
        self.made: Dict[Tuple[str, int], Tuple[Any, int]] = {}  # what a fence defines: a chunk and which piece of it, a table, or a quote
        for path in sorted((root / "src-lit").rglob("*.md"), key=lambda p: p.relative_to(root).as_posix()):
            self.read(path.relative_to(root).as_posix(), path.read_bytes())
        if not self.roots:
            self.error("src-lit", 0, "no root: no chapter says `//: file weightflow.h`")

    def error(self, path: str, number: int, text: str, forgivable: bool = False) -> None:
        (self.warnings if self.draft and forgivable else self.errors).append((path, number, text))

    def report(self) -> bool:
        """Print warnings and errors; are there errors?"""
        for word, messages in ((" warning:", self.warnings), ("", self.errors)):
            for path, number, text in sorted(set(messages)):
                print("%s:%d:%s %s" % (path, number, word, text), file=sys.stderr)
        return bool(self.errors)

    def read(self, path: str, data: bytes) -> None:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return self.error(path, 0, "not UTF-8")
        self.titles[path] = path
        fence: Optional[Fence] = None
        mark = indent = ""
        for number, line in enumerate(text.split("\n"), 1):
            for bad, what in (("\t", "tab: use spaces"), ("\r", "carriage return: lines end in LF")):
                if bad in line:
                    self.error(path, number, what)
            line = line.rstrip()
            if fence is None:
                start = re.match(r"^(\s*)(`{3,}|~{3,})\s*([^`]*)$", line)
                if start:
                    indent, mark = start.group(1), start.group(2)
                    fence = Fence(path, number, start.group(3).strip(), [])
                elif line.startswith("# ") and self.titles[path] == path:
                    self.titles[path] = line[2:].strip()
            elif line.strip().startswith(mark) and not line.strip().strip(mark[0]):
                self.fences[path, fence.number] = fence
                self.take(fence)
                fence = None
            else:
                fence.lines.append(Line(line[len(indent):] if line.startswith(indent) else line.lstrip(), path, number))
        if fence is not None:
            self.error(path, fence.number, "fence is never closed")

    def take(self, fence: Fence) -> None:
        """Add what one fence defines."""
        if not fence.lines or not re.match(r"^(//|#):", fence.lines[0].text):
            return
        head, body = fence.lines[0], fence.lines[1:]
        words = re.sub(r"^(//|#):\s*", "", head.text)
        if words.startswith("collect"):
            for line in fence.lines:
                name = re.match(r"^(?://|#):\s*collect " + NAME + "$", line.text)
                if name:
                    self.define(name.group(1), "=", line).collect = True
                elif line.text:
                    self.error(line.path, line.number, "expected `//: collect <<name>>`")
            return
        for line in body:
            if re.match(r"^\s*(//|#):", line.text):
                self.error(line.path, line.number, "`//:` belongs on the first line of a fence")
        define, table = DEFINE.match(words), TABLE.match(words)
        include = re.match(r"^include " + NAME + r" (\S+)$", words)
        generate = re.match(r"^generate " + NAME + r" (\S.*)$", words)
        quote = re.match(r'^quote (\S+) "([^"]+)"$', words)
        root = re.match(r"^file (\S+)$", words)
        if define:
            stamp, name, how = define.groups()
            chunk = self.define(name, how, head, stamp or "")
            self.add(fence, chunk, [line._replace(chunk=name) for line in body])
        elif root:
            if root.group(1) in self.roots:
                self.error(head.path, head.number, "duplicate root %s" % root.group(1))
            if root.group(1).startswith("/") or ".." in root.group(1):
                self.error(head.path, head.number, "a root is a path inside the repository")
            chunk = self.roots.setdefault(root.group(1), Chunk("file " + root.group(1), head.path, head.number))
            self.add(fence, chunk, [line._replace(chunk=root.group(1)) for line in body])
        elif table:
            kind, name, columns = table.groups()
            if name in self.tables or name in self.chunks:
                self.error(head.path, head.number, "duplicate <<%s>>" % name)
            made = self.tables[name] = Table(kind or "", name, cells(columns), head.path, head.number)
            self.made[fence.path, fence.number] = (made, 0)
            for line in body:
                if line.text:
                    row = cells(line.text)
                    if len(row) != len(made.columns):
                        self.error(line.path, line.number, "%d cells for %d columns" % (len(row), len(made.columns)))
                        row = (row + [""] * len(made.columns))[:len(made.columns)]
                    made.rows.append((row, line))
        elif include:
            chunk = self.define(include.group(1), "=", head)
            chunk.verbatim = True
            file = self.root / include.group(2)
            text = file.read_text(encoding="utf-8") if file.is_file() else ""
            if not text or "*/" in text:
                self.error(head.path, head.number, "cannot include %s: missing, empty, or ends the comment" % include.group(2))
            self.add(fence, chunk, [head._replace(text=t, chunk=chunk.name) for t in ["/*"] + text.rstrip("\n").split("\n") + ["*/"]])
        elif generate:
            chunk = self.define(generate.group(1), "=", head)
            self.add(fence, chunk, [head._replace(text=t, chunk=chunk.name) for t in self.generate(generate.group(2).split(), body, head)])
        elif quote:
            shown = Chunk('%s: %s' % quote.groups(), head.path, head.number)
            self.add(fence, shown, [head._replace(text=t) for t in self.quote(quote.group(1), quote.group(2), head)])
            if any(line.text for line in body):
                self.error(head.path, head.number, "a quote has no text of its own")
        else:
            self.error(head.path, head.number, "cannot read `//: %s`" % words)

    def add(self, fence: Fence, chunk: Chunk, lines: List[Line]) -> None:
        chunk.pieces.append(lines)
        chunk.homes.append(fence.path)
        self.made[fence.path, fence.number] = (chunk, len(chunk.pieces) - 1)

    def define(self, name: str, how: str, head: Line, stamp: str = "") -> Chunk:
        old = self.chunks.get(name)
        if name in self.tables or (old and how == "="):
            first = old or self.tables[name]
            self.error(head.path, head.number, "duplicate <<%s>>: first defined at %s:%d" % (name, first.path, first.number))
        elif not old and how == "+=":
            self.error(head.path, head.number, "<<%s>> is appended to before it is defined" % name)
        elif old and old.stamp != stamp:
            self.error(head.path, head.number, "<<%s>> is stamped in one place and not in another" % name)
        if not old:
            old = self.chunks[name] = Chunk(name, head.path, head.number, stamp)
        return old

    def generate(self, command: List[str], body: List[Line], head: Line) -> List[str]:
        """What a script prints, from out/cache where neither script nor words nor input have changed."""
        script = self.root / command[0]
        if not script.is_file():
            self.error(head.path, head.number, "no script %s" % command[0], True)
            return []
        given = "\n".join(line.text for line in body)
        key = hashlib.sha256(b"\0".join([script.read_bytes(), " ".join(command).encode(), given.encode()])).hexdigest()[:24]
        cache = self.root / "out" / "cache" / (key + ".txt")
        if not cache.is_file():
            done = subprocess.run([sys.executable, *command], cwd=str(self.root), input=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
            if done.returncode:
                self.error(head.path, head.number, "%s failed: %s" % (command[0], (done.stderr.strip().split("\n") or [""])[-1]))
                return []
            write_if_changed(cache, done.stdout)
        return cache.read_text(encoding="utf-8").rstrip("\n").split("\n")

    def quote(self, path: str, region: str, head: Line) -> List[str]:
        """The lines of a region of an ordinary file, without their common indent."""
        file = self.root / path
        if not file.is_file():
            self.error(head.path, head.number, "no file %s to quote" % path, True)
            return []
        found: Optional[List[str]] = None
        for line in file.read_text(encoding="utf-8").split("\n"):
            if re.match(r"^\s*(//|#|/\*) end region", line) and found is not None:
                margin = min([len(t) - len(t.lstrip()) for t in found if t.strip()] or [0])
                return [t[margin:].rstrip() for t in found]
            if re.match(r"^\s*(//|#|/\*) region: %s\s*(\*/)?$" % re.escape(region), line):
                found = []
            elif found is not None:
                found.append(line)
        self.error(head.path, head.number, '%s has no region "%s" with an end' % (path, region), True)
        return []

    def stamps(self, kind: str) -> List[List[str]]:
        table = self.tables.get("stamp: " + kind)
        if not table:
            return STAMPS[kind]
        table.used = True
        return [row for row, _ in table.rows]


def cells(text: str) -> List[str]:
    return [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", text)]


class Output:
    """Lines of a file on the way out; knows where a comment or a blank line may be put."""

    def __init__(self) -> None:
        self.lines: List[Line] = []
        self.in_comment = self.after_name = False

    def put(self, line: Line, keep: bool = False) -> None:
        if not line.text and not keep and (not self.lines or not self.lines[-1].text):
            return
        self.lines.append(line)
        self.after_name = False
        if "*/" in line.text or "/*" in line.text:
            for token in re.findall(r'/\*|\*/|//|"(?:\\.|[^"\\])*"', line.text):
                if token == "//" and not self.in_comment:
                    break
                self.in_comment = token == "/*" if token in ("/*", "*/") else self.in_comment

    def name(self, indent: str, text: str, at: Line) -> None:
        """A comment with the name of the chunk that follows, where C allows it; behind a function it separates well enough without a blank line."""
        if self.in_comment or (self.lines and self.lines[-1].text.endswith("\\")):
            return
        if not indent and self.lines and not self.after_name and self.lines[-1].text != "}":
            self.put(at._replace(text=""))
        self.put(at._replace(text="%s/* %s */" % (indent, text)))
        self.after_name = True


class Tangle:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.stack: List[str] = []
        self.stamping: List[str] = []

    def root(self, chunk: Chunk) -> List[Line]:
        out = Output()
        self.pieces(chunk, "", out)
        return out.lines

    def pieces(self, chunk: Chunk, indent: str, out: Output) -> None:
        chapter = ""
        for piece in chunk.pieces:
            if chunk.collect and piece and piece[0].path != chapter:
                chapter = piece[0].path
                out.name(indent, "---- %s ----" % self.book.titles[chapter], piece[0])
            for line in piece:
                reference = None if chunk.verbatim else REFERENCE.match(line.text)
                if reference and reference.group(3):
                    self.book.error(line.path, line.number, "a reference stands alone on its line")
                elif reference:
                    self.expand(reference.group(2), indent + reference.group(1), out, line)
                else:
                    if not chunk.verbatim and INLINE.search(line.text):
                        self.book.error(line.path, line.number, "a reference stands alone on its line")
                    out.put(line._replace(text=(indent + line.text).rstrip()), chunk.verbatim)

    def expand(self, name: str, indent: str, out: Output, at: Line) -> None:
        chunk = self.book.chunks.get(name) or self.table(name)
        if name in self.stack:
            return self.book.error(at.path, at.number, "recursive chunk: " + " -> ".join("<<%s>>" % n for n in self.stack[self.stack.index(name):] + [name]))
        if chunk is None:
            self.book.error(at.path, at.number, "undefined chunk <<%s>>" % name, True)
            return out.name(indent, "missing: " + name, at)
        chunk.used = True
        self.stack.append(name)
        if chunk.stamp:
            self.stamp(chunk, indent, out, at)
        else:
            if not chunk.verbatim:
                out.name(indent, name, at)
            self.pieces(chunk, indent, out)
        self.stack.pop()

    def table(self, name: str) -> Optional[Chunk]:
        """A part of a table, as a chunk."""
        table, part = self.book.tables.get(name), ""
        if not table:
            table, part = self.book.tables.get(name.rpartition(": ")[0]), name.rpartition(": ")[2]
        if not table:
            return None
        if not table.used:
            complain = lambda at, text: self.book.error(at.path, at.number, text)  # noqa: E731
            table.parts = tables.parts(table, complain, self.book.stamps("isa"), stamp)
        table.used = True
        if part not in table.parts:
            return None
        chunk = Chunk(name, table.path, table.number)
        chunk.pieces.append([Line(text, at.path, at.number, name) for text, at in table.parts[part]])
        return chunk

    def stamp(self, chunk: Chunk, indent: str, out: Output, at: Line) -> None:
        if chunk.stamp in self.stamping:
            return self.book.error(at.path, at.number, "<<%s>> is stamped already by the chunk around it" % chunk.name)
        self.stamping.append(chunk.stamp)
        body = Output()
        self.pieces(chunk, indent, body)
        self.stamping.pop()
        terse = [line for line in body.lines if line.text and not WHOLE_COMMENT.match(line.text)]
        for number, row in enumerate(self.book.stamps(chunk.stamp)):
            out.name(indent, "%s (%s)" % (chunk.name, row[0]), at)
            guard = row[2] if chunk.stamp == "isa" else ""
            if guard:
                out.put(at._replace(text="#if " + guard))
            for line in terse if number else body.lines:
                out.put(line._replace(text=stamp(line.text, chunk.stamp, row)))
            if guard:
                out.put(at._replace(text="#endif"))


def stamp(text: str, kind: str, row: List[str]) -> str:
    if kind == "isa":
        if "WFV_" in text:
            text = re.sub(r"\bWFV_(?=\w)", "WF__%s_" % row[0].upper(), text)
        return re.sub(r"(?<=\w)_ISA\b", row[1], text) if "_ISA" in text else text
    if "REAL" not in text:
        return text
    return re.sub(r"\bREAL\b", row[2], re.sub(r"(?<=\w)_REAL(?=_ISA\b|\b)", row[1], text))


def write_if_changed(path: Path, text: str) -> bool:
    data = text.encode("utf-8")
    if path.is_file() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return True


def tangle(book: Book) -> Dict[str, List[Line]]:
    """The lines of every root; complains about chunks that no root reaches, and about names used before their chapter."""
    work = Tangle(book)
    files = {path: work.root(chunk) for path, chunk in sorted(book.roots.items())}
    for item in [*book.chunks.values(), *book.tables.values()]:
        if not item.used:
            book.error(item.path, item.number, "unused chunk <<%s>>" % item.name, True)
    pieces = code_pieces(book)
    for name, use, home in name_index(book, pieces).upward(pieces):
        book.error(use.path, use.number, "uses %s, which only a later chapter defines: %s:%d" % (name, home.path, home.number), True)
    return files


def code_pieces(book: Book) -> List[List[Line]]:
    """All C of the book, in pieces as it is written, generated parts of tables included."""
    pieces = [piece for chunk in [*book.roots.values(), *book.chunks.values()] if not chunk.verbatim for piece in chunk.pieces]
    for table in book.tables.values():
        pieces += [[Line(text, at.path, at.number) for text, at in part] for name, part in table.parts.items() if name != "doc"]
    return sorted((p for p in pieces if p), key=lambda p: (p[0].path, p[0].number))


def name_index(book: Book, pieces: List[List[Line]]) -> names.Index:
    isa, real = book.stamps("isa"), book.stamps("real")
    return names.Index(pieces, [row[1] for row in isa], [row[1] for row in real], [row[0] for row in isa])


def line_map(lines: List[Line]) -> List[List[Any]]:
    """Runs [line, how many, chapter, its line, chunk] in which both sides advance together."""
    runs: List[List[Any]] = []
    for at, line in enumerate(lines, 1):
        if runs and runs[-1][2] == line.path and runs[-1][3] + runs[-1][1] == line.number and runs[-1][4] == line.chunk:
            runs[-1][1] += 1
        else:
            runs.append([at, 1, line.path, line.number, line.chunk])
    return runs


def with_lines(lines: List[Line]) -> str:
    """The text with #line wherever the source jumps, except inside comments and continued lines."""
    out: List[str] = []
    state, path, number = Output(), "", 0
    for line in lines:
        continued = bool(state.lines) and state.lines[-1].text.endswith("\\")
        if (line.path, line.number) != (path, number) and line.text and not continued and not state.in_comment:
            out.append('#line %d "%s"' % (line.number, line.path))
            path, number = line.path, line.number
        state.put(line, True)
        out.append(line.text)
        number += 1
    return "\n".join(out) + "\n"


def check(root: Path, texts: Dict[str, str]) -> int:
    """Show how the files differ from what the book says."""
    wrong = 0
    for path, text in texts.items():
        old = (root / path).read_bytes().decode("utf-8", "replace") if (root / path).is_file() else ""
        if old != text:
            wrong += 1
            difference = list(difflib.unified_diff(old.split("\n"), text.split("\n"), path, path + " by the book", lineterm="", n=1))
            print("\n".join(difference[:60] + (["... %d more lines" % (len(difference) - 60)] if len(difference) > 60 else [])))
            print("%s is not what the book says. Edit the chapters in src-lit/, then run `make header` and commit both." % path)
    return 1 if wrong else 0


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="Collect the header from the book.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent, help="the repository")
    parser.add_argument("--check", action="store_true", help="compare, write nothing, exit 1 where a file differs")
    parser.add_argument("--line", action="store_true", help="also write out/NAME_line.h with #line directives")
    parser.add_argument("--draft", action="store_true", help="forgive what a half-written book lacks")
    options = parser.parse_args(argv)
    book = Book(options.root, options.draft)
    files = tangle(book)
    if book.report():
        return 1
    texts = {path: "\n".join(line.text for line in lines) + "\n" for path, lines in files.items()}
    if options.check:
        return check(options.root, texts)
    for path, text in texts.items():
        if write_if_changed(options.root / path, text):
            print("wrote %s (%d lines)" % (path, len(files[path])))
        if options.line:
            name = Path(path)
            write_if_changed(options.root / "out" / (name.stem + "_line" + name.suffix), with_lines(files[path]))
    maps = {path: line_map(lines) for path, lines in files.items()}
    write_if_changed(options.root / "out" / "linemap.json", json.dumps(maps, separators=(",", ":")).replace("],[", "],\n[") + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
