#!/usr/bin/env python3
"""Where a line of the header comes from, by the map that `make header` leaves in out/linemap.json.

    python3 gen/whence.py 1234 1300               prints src-lit/....md:88: <<chunk>> for each line of weightflow.h
    cc ... 2>&1 | python3 gen/whence.py           passes a compiler's output on, with weightflow.h:1234 replaced
"""
from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

ROOT = Path(__file__).resolve().parent.parent
Run = Tuple[int, int, str, int, str]  # header line, lines, chapter, its line, chunk


def find(runs: List[Any], line: int) -> Optional[Tuple[str, int, str]]:
    low, high = 0, len(runs)
    while low < high:
        middle = (low + high) // 2
        first, count, path, at, chunk = runs[middle]
        if first <= line < first + count:
            return path, at + line - first, chunk
        low, high = (middle + 1, high) if line >= first + count else (low, middle)
    return None


def translate(text: str, maps: Dict[str, List[Any]]) -> str:
    def place(match: "re.Match[str]") -> str:
        found = find(maps[match.group(1)], int(match.group(2)))
        return "%s:%d" % found[:2] if found else match.group()
    for name in maps:
        text = re.sub(r"(?:[^\s:\"]*/)?(%s):(\d+)\b" % re.escape(name), place, text)
    return text


def main(argv: List[str], root: Path = ROOT) -> int:
    file = root / "out" / "linemap.json"
    if not file.is_file():
        print("no out/linemap.json: run `make header`", file=sys.stderr)
        return 1
    maps = json.loads(file.read_text(encoding="utf-8"))
    if not argv:
        for line in sys.stdin:
            sys.stdout.write(translate(line, maps))
        return 0
    for word in argv:
        name, _, number = word.rpartition(":")
        found = find(maps.get(Path(name).name or "weightflow.h", []), int(number)) if number.isdigit() else None
        if not found:
            print("%s: no such line" % word, file=sys.stderr)
            return 1
        print("%s:%d: <<%s>>" % found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
