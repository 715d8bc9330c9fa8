"""What the Python tests share: finding tools, running commands, counting results. Standard library only, Python 3.9."""
from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "out"
LONG = os.environ.get("WF_TEST_LONG", "") not in ("", "0")
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")

# Every warning that the header promises to be free of; the first list holds for C and C++, the second for C alone.
WARNINGS = "-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Wcast-qual -Wdouble-promotion".split()
WARNINGS_C = "-Wstrict-prototypes -Wold-style-definition -Wc++-compat".split()


class Skip(Exception):
    """Raised by a test that cannot run here; the text says why."""


class Fail(Exception):
    """Raised by a test; the text says what is wrong."""


def environment() -> Dict[str, str]:
    """For programs under test: threads that wait do not spin, since several programs share the machine; data is where the tests expect it."""
    env = dict(os.environ)
    env.setdefault("OMP_WAIT_POLICY", "passive")
    env.setdefault("WF_SHARED", str(ROOT.parent / "shared"))
    return env


def run(command: Sequence[str], timeout: float = 300, cwd: Optional[Path] = None, env: Optional[Dict[str, str]] = None, stdin: Optional[str] = None) -> Tuple[int, str]:
    """Exit status and everything printed. A command that takes too long has the status 124."""
    try:
        done = subprocess.run([str(c) for c in command], cwd=str(cwd or ROOT), env=env or environment(), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True, errors="replace", timeout=timeout)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        text = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else late.stdout or ""
        return 124, text + "\nno end after %g seconds\n" % timeout
    except OSError as error:
        return 127, "%s: %s\n" % (command[0], error)


def must(command: Sequence[str], timeout: float = 300, cwd: Optional[Path] = None) -> str:
    """Run; fail unless the command succeeds."""
    status, text = run(command, timeout, cwd)
    if status:
        raise Fail("status %d from: %s\n%s" % (status, " ".join(str(c) for c in command), in_book(text)))
    return text


def in_book(text: str) -> str:
    """A compiler's message with lines of the header replaced by lines of the book, where the line map exists."""
    if "weightflow.h:" not in text or not (OUT / "linemap.json").is_file():
        return text
    status, better = run([sys.executable, str(ROOT / "gen" / "whence.py")], stdin=text)
    return better if status == 0 and better else text


def tool(*names: str) -> Optional[str]:
    """The first of these programs that exists."""
    for name in names:
        if shutil.which(name):
            return name
    return None


def need(*names: str) -> str:
    found = tool(*names)
    if not found:
        raise Skip("no %s here" % " or ".join(names))
    return found


def builds(command: Sequence[str], program: str = "int main(void){return 0;}", suffix: str = ".c") -> bool:
    """Does this compiler command turn a small program into something that links?"""
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / ("probe" + suffix)
        source.write_text(program + "\n", encoding="utf-8")
        return run([*command, str(source), "-o", str(Path(name) / "probe")], 60)[0] == 0


def openmp(cc: Sequence[str]) -> List[str]:
    program = "#include <omp.h>\nint main(void){return omp_get_max_threads() < 1;}"
    return ["-fopenmp"] if builds([*cc, "-fopenmp"], program) else []


def fingerprint(command: Sequence[str], files: Sequence[Path]) -> str:
    digest = hashlib.sha256(" ".join(str(c) for c in command).encode())
    compiler = shutil.which(str(command[0]))
    digest.update(str(os.path.getmtime(os.path.realpath(compiler)) if compiler else 0).encode())
    for file in files:
        digest.update(file.read_bytes() if file.is_file() else b"?")
    return digest.hexdigest()


def build(cc: Sequence[str], flags: Sequence[str], source: Path, program: Path, libraries: Sequence[str] = ("-lm",), timeout: float = 300) -> None:
    """Compile a program unless it has been made from the same text by the same command before."""
    program.parent.mkdir(parents=True, exist_ok=True)
    command = [*cc, *flags, "-I", str(ROOT / "tests"), "-I", str(ROOT), str(source), "-o", str(program), *libraries]
    text = source.read_text(encoding="utf-8", errors="replace")
    files = [source, ROOT / "weightflow.h", ROOT / "tests" / "wf_test.h"]
    files += [source.parent / f for f in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.M) if not f.endswith(("weightflow.h", "wf_test.h"))]
    key, stamp = fingerprint(command, files), program.with_name(program.name + ".key")
    if program.is_file() and stamp.is_file() and stamp.read_text() == key:
        return
    stamp.unlink(missing_ok=True)
    must(command, timeout)
    stamp.write_text(key)


class Tests:
    """A list of named tests; finish() runs them and prints the last line."""

    def __init__(self) -> None:
        self.list: List[Tuple[str, Callable[[], Optional[str]]]] = []

    def add(self, name: str, work: Callable[[], Optional[str]]) -> None:
        self.list.append((name, work))

    def test(self, work: Callable[[], Optional[str]]) -> Callable[[], Optional[str]]:
        """As a decorator: the function's name is the test's."""
        self.add(work.__name__.replace("_", " "), work)
        return work

    def finish(self) -> int:
        jobs = max(1, int(os.environ.get("WF_JOBS", "2")))
        wanted = sys.argv[1] if len(sys.argv) > 1 else ""
        chosen = [item for item in self.list if wanted in item[0]]
        count = {"passed": 0, "failed": 0, "skipped": 0}
        lock = threading.Lock()

        def one(item: Tuple[str, Callable[[], Optional[str]]]) -> None:
            name, work = item
            start = time.time()
            try:
                note, verdict = work() or "", "passed"
            except Skip as why:
                note, verdict = str(why), "skipped"
            except Fail as why:
                note, verdict = str(why), "failed"
            except Exception as error:  # a broken test is a failed test
                note, verdict = "%s: %s" % (type(error).__name__, error), "failed"
            with lock:
                count[verdict] += 1
                if verdict == "skipped":
                    print("SKIPPED %s: %s" % (name, note))
                elif verdict == "failed":
                    print("FAILED %s\n  %s" % (name, note.strip().replace("\n", "\n  ")))
                else:
                    print("  ok %s%s (%.1f s)" % (name, ": " + note if note else "", time.time() - start))
                sys.stdout.flush()

        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one, chosen))
        print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % count)
        return 1 if count["failed"] else 0
