#!/usr/bin/env python3
"""What the header shows to the world: checks it, and writes it down in out/api.json.

    python3 gen/symbols.py [--cc cc] [--no-compile]

Checks: external symbols of the compiled implementation start with wf_, and there are none under WF_STATIC; macros that the header defines start with WF_ or
WEIGHTFLOW_; each WF_API line is declared once and has a comment before or behind it (one comment may serve several lines that follow each other).
api.json lists each WF_API function (name, returns, parameters, comment, chapter) and the constants of the public part, for those who generate bindings.
"""
from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import whence

ROOT = Path(__file__).resolve().parent.parent
Problem = Tuple[int, str]


def public(text: str) -> str:
    """The declarations of the header, before the implementation; lines keep their numbers."""
    return text.split("#ifdef WEIGHTFLOW_IMPLEMENTATION")[0]


def functions(text: str, problems: List[Problem]) -> List[Dict[str, Any]]:
    out: List[Dict[str, Any]] = []
    lines = public(text).split("\n")
    comment: List[str] = []
    start = 0
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("/*"):
            start, comment = number, []
        if start and number >= start:
            comment.append(re.sub(r"^\s*(?:/\*|\*(?!/))?\s?|\s*\*/\s*$", "", line))
            if "*/" in line:
                start = 0
            continue
        if not line.startswith("WF_API "):
            comment = comment if line.strip() == "" and comment and lines[number - 2].rstrip().endswith("*/") else []
            continue
        found = re.match(r"^WF_API\s+(.*?[\s*])(wf_\w+)\s*\((.*)\)\s*;\s*(?:/\*(.*)\*/)?\s*$", line)
        if not found:
            problems.append((number, "cannot read this WF_API line: write the whole declaration on it"))
            continue
        doc = "\n".join(comment + [(found.group(4) or "").strip()]).strip()
        if not doc or re.match(r"^(---- .* ----|[\w ]+: [^.]*[^.;])$", doc) and "\n" not in doc:
            problems.append((number, "%s has no comment" % found.group(2)))
        if found.group(2) in [f["name"] for f in out]:
            problems.append((number, "%s is declared twice" % found.group(2)))
        out.append({"name": found.group(2), "returns": found.group(1).strip(), "parameters": parameters(found.group(3)), "doc": doc, "line": number})
    return out


def parameters(text: str) -> List[Dict[str, str]]:
    parts, depth = [""], 0
    for c in text:
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    out = []
    for part in (p.strip() for p in parts):
        found = re.match(r"^(.*\(\s*\*\s*)(\w+)(\).*)$", part) or re.match(r"^(.*?[\s*])(\w+)((?:\[[^]]*\])*)$", part)
        if part == "...":
            out.append({"name": "...", "type": "..."})
        elif found:
            out.append({"name": found.group(2), "type": (found.group(1).strip() + found.group(3)).strip()})
    return out


def constants(text: str) -> Dict[str, Any]:
    out: Dict[str, Any] = dict(re.findall(r"^#define (WF_\w+) +(-?\d+|\"[^\"]*\")", public(text), re.M))
    plain = re.sub(r"/\*.*?\*/", " ", public(text), flags=re.S)
    for body in re.findall(r"\benum\b[\w\s]*\{(.*?)\}", plain, re.S):
        last = "-1"
        for item in (i.strip() for i in body.split(",")):
            name, _, value = (w.strip() for w in item.partition("="))
            if name:
                last = value or (str(int(last) + 1) if re.match(r"^-?\d+$", last) else last + " + 1")
                out[name] = last
    return {name: int(v) if re.match(r"^-?\d+$", v) else v.strip('"') for name, v in out.items()}


def run(command: List[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=str(directory), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if done.returncode:
        sys.exit("%s\n%s" % (" ".join(command), done.stderr))
    return done.stdout


def leaks(header: Path, cc: str) -> List[str]:
    """Names that leave the header without its prefix."""
    out: List[str] = []
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        (here / "all.c").write_text('#define WEIGHTFLOW_IMPLEMENTATION\n#include "%s"\n' % header.resolve().as_posix(), encoding="utf-8")
        for flags, wanted in (([], re.compile(r"^wf_[a-z]")), (["-DWF_STATIC"], re.compile(r"^$"))):
            run([*cc.split(), "-std=c99", "-O0", "-w", *flags, "-c", "all.c", "-o", "all.o"], here)
            symbols = [row.split() for row in run(["nm", "-g", "all.o"], here).split("\n") if row]
            out += ["symbol %s is external%s" % (s[-1], " under WF_STATIC" if flags else "") for s in symbols if len(s) > 2 and s[-2] not in "Uwv" and not wanted.match(s[-1].lstrip("_") if s[-1].startswith("_wf") else s[-1])]
        file = ""
        for row in run([*cc.split(), "-std=c99", "-E", "-dD", "all.c"], here).split("\n"):
            marker = re.match(r'^# \d+ "(.*?)"', row)
            file = Path(marker.group(1)).name if marker else file
            macro = re.match(r"^#define (\w+)", row)
            if macro and file == header.name and not re.match(r"^(WF_|WEIGHTFLOW_)", macro.group(1)):
                out.append("macro %s is defined" % macro.group(1))
    return sorted(set(out))


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="Check the names that the header shows, write out/api.json.")
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--no-compile", action="store_true", help="only read the declarations")
    options = parser.parse_args(argv)
    header = options.root / "weightflow.h"
    text = header.read_text(encoding="utf-8")
    problems: List[Problem] = []
    api = functions(text, problems)
    file = options.root / "out" / "linemap.json"
    runs = json.loads(file.read_text(encoding="utf-8")).get(header.name, []) if file.is_file() else []
    for entry in api:
        place = whence.find(runs, entry["line"])
        entry["chapter"] = place[0] if place else ""
    for line, what in problems:
        place = whence.find(runs, line)
        print("%s:%d: %s" % (place[0] if place else header.name, place[1] if place else line, what), file=sys.stderr)
    bad = [] if options.no_compile else leaks(header, options.cc)
    for what in bad:
        print("weightflow.h: " + what, file=sys.stderr)
    (options.root / "out").mkdir(exist_ok=True)
    (options.root / "out" / "api.json").write_text(json.dumps({"functions": api, "constants": constants(text)}, indent=1) + "\n", encoding="utf-8")
    print("%d public functions, %d problems" % (len(api), len(problems) + len(bad)))
    return 1 if problems or bad else 0


if __name__ == "__main__":
    sys.exit(main())
