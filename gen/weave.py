#!/usr/bin/env python3
"""Make the book: src-lit/**/*.md -> out/book/*.html, static pages that need neither network nor scripts.

    python3 gen/weave.py [--draft]

Markdown as the book uses it: headings, paragraphs, lists, tables, quotations, fences, links, images, emphasis, code, $`formula`$ and ```math blocks (gen/mathml.py).
Chunks show their name, where they begin and continue, and who uses them; references and names of the library are links; a quote shows the region of its file.
Every relative link must lead somewhere: to a chapter, a heading, or a file of the repository, which is copied beside the pages (a missing file under out/ is forgiven:
the demo draws it). Errors are `file:line: message`.
"""
from __future__ import annotations

import argparse
import html
import re
import sys
from pathlib import Path
from typing import Dict, List, Optional, Set, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
import names  # noqa: E402
from mathml import TexError, mathml  # noqa: E402
from tangle import NAME, REFERENCE, Book, Chunk, Fence, Line, Table, code_pieces, name_index, tangle, write_if_changed  # noqa: E402

Text = List[Tuple[int, str]]  # numbered lines
INLINE = re.compile(r"""\$`(?P<math>[^`]+)`\$|(?P<tick>`+)(?P<code>.+?)(?P=tick)(?!`)|!\[(?P<alt>[^\]]*)\]\((?P<src>[^)\s]+)[^)]*\)|\[(?P<label>(?:[^\[\]]|\[[^\]]*\])+)\]\((?P<href>[^)\s]+)\)
|<(?P<auto>https?://[^>\s]+)>|\*\*(?P<bold>.+?)\*\*|(?<![\w*])\*(?P<em>[^*\s](?:[^*]*[^*\s])?)\*(?![\w*])|(?<!\w)_(?P<under>[^_\s](?:[^_]*[^_\s])?)_(?!\w)|\\(?P<escape>[\\`*_{}\[\]()<>#+.!|$-])""".replace("\n", ""), re.S)
KEYWORDS = set("auto break case char const continue default do double else enum extern float for goto if inline int long register return short signed sizeof static struct switch typedef "
               "union unsigned void volatile while size_t int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t REAL".split())
C_TOKEN = re.compile(r'(?P<comment>/\*.*?(?:\*/|$)|//.*)|(?P<string>"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\')|(?P<directive>^\s*#\s*\w+)|(?P<number>\b(?:0[xX][\da-fA-F]+|\d+\.?\d*(?:[eE][-+]?\d+)?)[uUlLfF]*\b)|(?P<word>[A-Za-z_]\w*)')
LIST = re.compile(r"^(\s*)([-*+]|\d+[.)])\s+")
STYLE = """:root { color-scheme: light dark; --paper: #fdfcf9; --ink: #222; --faint: #777; --line: #ddd8cc; --code: #f4f1ea; --link: #1a5a96; --word: #7a3e9d; --text: #3a7a3a; --note: #8a6d3b; --number: #a04020; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #d8d6d0; --faint: #8b8b8b; --line: #35383d; --code: #1f2226; --link: #7fb4e6; --word: #c49ae0; --text: #8fc78f; --note: #c0a878; --number: #e09a78; } }
body { background: var(--paper); color: var(--ink); font: 17px/1.55 Georgia, 'DejaVu Serif', serif; max-width: 46em; margin: 0 auto; padding: 1em 1.2em 4em; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
nav { font: 14px/1.5 system-ui, sans-serif; display: flex; gap: 1.5em; flex-wrap: wrap; border-bottom: 1px solid var(--line); padding-bottom: .5em; } nav.end { border: 0; border-top: 1px solid var(--line); padding-top: .5em; margin-top: 3em; }
h1, h2, h3, h4 { line-height: 1.2; margin: 1.8em 0 .6em; } h1 { font-size: 2em; margin-top: 1em; } h2 { font-size: 1.4em; } h3 { font-size: 1.15em; }
pre, code { font: 13.5px/1.45 'DejaVu Sans Mono', Menlo, Consolas, monospace; } code { background: var(--code); padding: .1em .25em; border-radius: 3px; } pre { background: var(--code); padding: .7em .9em; overflow-x: auto; border-radius: 4px; margin: .8em 0; } pre code { padding: 0; background: none; }
.chunk { border-left: 3px solid var(--line); margin: 1.2em 0; min-width: 100%; width: max-content; max-width: max(100%, 50vw + 21em); box-sizing: border-box; } .chunk pre { margin: 0; border-radius: 0; } .chunk .name, .chunk .notes { font: 13px/1.5 system-ui, sans-serif; background: var(--code); padding: .35em .9em; color: var(--faint); } .chunk .name b { color: var(--ink); }
.chunk:target, tr:target, h1:target, h2:target, h3:target { outline: 2px solid var(--link); } .reference { font-style: italic; }
.comment { color: var(--note); } .string { color: var(--text); } .keyword, .directive { color: var(--word); } .number { color: var(--number); } pre a.wf { color: inherit; }
.table { overflow-x: auto; } table { border-collapse: collapse; margin: 1em 0; font-size: .93em; } th, td { border-bottom: 1px solid var(--line); padding: .3em .8em .3em 0; text-align: left; vertical-align: top; } .chunk table { margin: 0 .9em .6em; }
math { font-size: 1.05em; } math[display=block] { margin: 1em 0; overflow-x: auto; overflow-y: hidden; } .aligned mtd:nth-child(odd) { text-align: right; } .aligned mtd:nth-child(even), .cases mtd { text-align: left; } .aligned mtd { padding-left: 0; padding-right: .15em; } .boxed { border: 1px solid; padding: .3em; }
blockquote { border-left: 3px solid var(--line); margin: 1em 0; padding-left: 1em; color: var(--faint); } img, svg { max-width: 100%; } .index td:first-child { font-family: monospace; } ol.contents ol { font-size: .9em; }
"""


def slug(text: str) -> str:
    text = re.sub(r"\$`.*?`\$|[`*]", "", text)
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text.lower()).strip())


def page_of(path: str) -> str:
    return re.sub(r"^src-lit/", "", path)[:-3].replace("/", "-") + ".html"


class Weaver:
    def __init__(self, book: Book) -> None:
        self.book, self.root = book, book.root
        self.pieces = code_pieces(book)
        self.index = name_index(book, self.pieces)
        self.users: Dict[str, List[Tuple[Chunk, int]]] = {}
        for chunk in [*book.roots.values(), *book.chunks.values()]:
            for number, piece in enumerate(chunk.pieces):
                for line in piece:
                    reference = None if chunk.verbatim else REFERENCE.match(line.text)
                    target = self.target(reference.group(2)) if reference else None
                    if target and (chunk, number) not in self.users.setdefault(target.name, []):
                        self.users[target.name].append((chunk, number))
        self.found: Dict[str, Optional[str]] = {}
        self.places: Dict[Tuple[str, int], str] = {}  # the anchor of each line of code
        for (path, number), (item, piece) in book.made.items():
            for k in range(len(book.fences[path, number].lines)):
                self.places[path, number + 1 + k] = "%s#%s" % (page_of(path), self.anchor(item, piece))
        self.anchors: Dict[str, Set[str]] = {}
        self.headings: Dict[str, List[Tuple[int, str, str]]] = {}
        self.links: List[Tuple[str, int, str]] = []
        self.copies: Dict[str, str] = {}
        self.path = ""

    def error(self, number: int, text: str, forgivable: bool = False) -> None:
        self.book.error(self.path, number, text, forgivable)

    # ---- chunks

    def target(self, name: str):  # -> Chunk or Table or None
        return self.book.chunks.get(name) or self.book.tables.get(name) or self.book.tables.get(name.rpartition(": ")[0])

    def anchor(self, item, piece: int = -1) -> str:
        """The id of a piece, or of the place where the whole is defined: that is its first piece, but for a collecting chunk."""
        number = piece + 1 if isinstance(item, Table) or not item.collect else piece + 2
        return "chunk-" + slug(re.sub(r"[/.]", " ", item.name)) + ("-%d" % number if number > 1 else "")

    def link(self, item, piece: int = -1, text: str = "") -> str:
        return '<a href="%s#%s">%s</a>' % (page_of(item.homes[piece] if piece > 0 or (piece == 0 and item.collect) else item.path), self.anchor(item, piece), html.escape(text or item.name))

    def name_link(self, name: str) -> Optional[str]:
        """Where a name of the library is defined: page and anchor."""
        if name not in self.found:
            line = self.index.find(name)
            self.found[name] = self.places.get((line.path, line.number)) if line else None
        return self.found[name]

    def chunk(self, fence: Fence, item, piece: int) -> str:
        if isinstance(item, Table):
            head, body = "table", self.table_html(item)
        else:
            quoted = item.name not in self.book.chunks and not item.name.startswith("file ")
            head = "quoted" if quoted else "+=" if piece or item.collect else "="
            head += {"isa": " &nbsp;for each instruction set", "real": " &nbsp;for each element type"}.get(item.stamp, "")
            body = "<pre><code>%s</code></pre>" % self.c("\n".join(line.text for line in item.pieces[piece]).strip("\n").split("\n"), quoted or item.verbatim)
        notes = []
        if isinstance(item, Chunk):
            if piece or item.collect:
                notes.append("begins " + self.link(item, -1, self.book.titles[item.path]))
            later = [self.link(item, k, self.book.titles[item.homes[k]]) for k in range(piece + 1, len(item.homes))]
            if later:
                notes.append("continues " + later[0] + (" and %d more times" % (len(later) - 1) if len(later) > 1 else ""))
        users = self.users.get(item.name, [])
        if users:
            notes.append("used in " + ", ".join(self.link(c, k) for c, k in users))
        return '<div class="chunk" id="%s"><div class="name"><b>%s</b> %s</div>%s%s</div>' % (
            self.anchor(item, piece), html.escape(item.name), head, body, '<div class="notes">%s</div>' % "; ".join(notes) if notes else "")

    def collected(self, item: Chunk) -> str:
        chapters = [self.link(item, k, self.book.titles[path]) for k, path in enumerate(item.homes)]
        return '<div class="chunk" id="%s"><div class="name"><b>%s</b> collects what chapters append</div><div class="notes">%s; used in %s</div></div>' % (
            self.anchor(item), html.escape(item.name), ", ".join(chapters), ", ".join(self.link(c, k) for c, k in self.users.get(item.name, [])))

    def table_html(self, table: Table) -> str:
        out = ["<tr>%s</tr>" % "".join("<th>%s</th>" % html.escape(c) for c in table.columns)]
        for row, _ in table.rows:
            out.append("<tr>%s</tr>" % "".join("<td>%s</td>" % ("<code>%s</code>" % html.escape(c) if c and (k + 1 < len(row) or table.kind == "macros") else html.escape(c)) for k, c in enumerate(row)))
        return '<div class="table"><table>%s</table></div>' % "".join(out)

    def c(self, lines: List[str], plain: bool = False) -> str:
        """C with colours, links from references and from names."""
        out, inside = [], False
        for line in lines:
            reference = None if plain else REFERENCE.match(line)
            target = self.target(reference.group(2)) if reference else None
            if reference and target:
                out.append('%s<a class="reference" href="%s#%s">&lt;&lt;%s&gt;&gt;</a>' % (reference.group(1), page_of(target.path), self.anchor(target), html.escape(reference.group(2))))
                continue
            if inside:
                head, end, line = line.partition("*/")
                inside = not end
                out.append('<span class="comment">%s</span>' % html.escape(head + end, False))
                if inside:
                    continue
            else:
                out.append("")
            at = 0
            for token in C_TOKEN.finditer(line):
                text, kind = token.group(), token.lastgroup or ""
                if kind == "comment" and text.startswith("/*") and not text.endswith("*/"):
                    inside = True
                shown = html.escape(text, False)
                if kind == "word":
                    link = self.name_link(text) if re.match(names.WORD, text) else None
                    shown = '<a class="wf" href="%s">%s</a>' % (link, shown) if link else '<span class="keyword">%s</span>' % shown if text in KEYWORDS else shown
                else:
                    shown = '<span class="%s">%s</span>' % (kind, shown)
                out[-1] += html.escape(line[at:token.start()], False) + shown
                at = token.end()
            out[-1] += html.escape(line[at:], False)
        return "\n".join(out)

    # ---- Markdown

    def math(self, text: str, number: int, block: bool = False) -> str:
        try:
            return mathml(text, block)
        except TexError as problem:
            self.error(number + text[:problem.at].count("\n"), str(problem), True)
            return "<code>%s</code>" % html.escape(text)

    def inline(self, text: str, number: int) -> str:
        out, at = "", 0
        for m in INLINE.finditer(text):
            here = number + text[:m.start()].count("\n")
            out += html.escape(text[at:m.start()], False)
            at = m.end()
            if m["math"]:
                out += self.math(m["math"], here)
            elif m["code"]:
                word = m["code"].strip()
                link = self.name_link(word.split("(")[0]) if re.match(r"^%s(\(\))?$" % names.WORD, word) else None
                shown = "<code>%s</code>" % html.escape(word, False)
                out += '<a href="%s">%s</a>' % (link, shown) if link else shown
            elif m["src"]:
                out += '<img src="%s" alt="%s">' % (self.address(m["src"], here), html.escape(m["alt"]))
            elif m["href"]:
                out += '<a href="%s">%s</a>' % (self.address(m["href"], here), self.inline(m["label"], here))
            elif m["auto"]:
                out += '<a href="%s">%s</a>' % (html.escape(m["auto"]), html.escape(m["auto"]))
            elif m["bold"]:
                out += "<strong>%s</strong>" % self.inline(m["bold"], here)
            elif m["em"] or m["under"]:
                out += "<em>%s</em>" % self.inline(m["em"] or m["under"], here)
            else:
                out += html.escape(m["escape"], False)
        return out + html.escape(text[at:], False)

    def address(self, href: str, number: int) -> str:
        """A link of a chapter as a link of its page; remembers it for the check."""
        if re.match(r"^[a-z]+:", href):
            return html.escape(href)
        file, _, fragment = href.partition("#")
        path = Path((self.root / self.path).parent / file).resolve() if file else self.root / self.path
        try:
            inside = path.relative_to(self.root.resolve()).as_posix() if file else self.path
        except ValueError:
            inside = file
        if inside in self.book.titles:
            self.links.append((self.path, number, inside + "#" + fragment))
            return page_of(inside) + ("#" + fragment if fragment else "")
        if not path.exists():
            if not inside.startswith("out/"):
                self.error(number, "dead link: %s" % href, True)
            return html.escape(href)
        if path.is_dir():
            return html.escape(href)
        self.copies["files/" + inside] = inside
        return html.escape("files/" + inside + ("#" + fragment if fragment else ""))

    def heading(self, level: int, text: str, number: int) -> str:
        anchor, n = slug(text), 0
        while anchor + ("-%d" % n if n else "") in self.anchors[self.path]:
            n += 1
        anchor += "-%d" % n if n else ""
        self.anchors[self.path].add(anchor)
        shown = self.inline(text, number)
        self.headings[self.path].append((level, anchor, re.sub(r"</?a[^>]*>", "", shown)))
        return '<h%d id="%s">%s</h%d>' % (level, anchor, shown, level)

    def fence(self, fence: Fence) -> str:
        made = self.book.made.get((fence.path, fence.number))
        text = [line.text for line in fence.lines]
        if made:
            return self.chunk(fence, *made)
        if fence.language == "math":
            return self.math("\n".join(text), fence.number + 1, True)
        if text and re.match(r"^(//|#): ?collect ", text[0]):
            return "\n".join(self.collected(self.book.chunks[name]) for name in re.findall(NAME, "\n".join(text)) if name in self.book.chunks)
        return "<pre><code>%s</code></pre>" % (self.c(text) if fence.language in ("c", "C", "cpp", "c++") else html.escape("\n".join(text), False))

    def block(self, lines: Text, tight: bool = False) -> str:
        out: List[str] = []
        at = 0
        while at < len(lines):
            number, line = lines[at]
            text = line.strip()
            fence = self.book.fences.get((self.path, number))
            item = LIST.match(line)
            if not text:
                at += 1
            elif fence:
                out.append(self.fence(fence))
                at += len(fence.lines) + 2
            elif re.match(r"^#{1,6} ", line):
                marks, _, title = line.partition(" ")
                out.append(self.heading(len(marks), title.strip().rstrip("#").strip(), number))
                at += 1
            elif re.match(r"^(-{3,}|\*{3,}|_{3,})$", text):
                out.append("<hr>")
                at += 1
            elif text.startswith("<!--"):
                while at < len(lines) and "-->" not in lines[at][1]:
                    at += 1
                at += 1
            elif "|" in line and at + 1 < len(lines) and re.match(r"^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$", lines[at + 1][1]) and "|" in lines[at + 1][1]:
                end = at
                while end < len(lines) and "|" in lines[end][1]:
                    end += 1
                out.append(self.markdown_table(lines[at:end]))
                at = end
            elif text.startswith(">"):
                end = at
                while end < len(lines) and lines[end][1].strip():
                    end += 1
                out.append("<blockquote>%s</blockquote>" % self.block([(n, re.sub(r"^\s*> ?", "", t)) for n, t in lines[at:end]]))
                at = end
            elif item:
                made, at = self.list(lines, at)
                out.append(made)
            elif line.startswith("    "):
                end = at
                while end < len(lines) and (lines[end][1].startswith("    ") or not lines[end][1].strip()):
                    end += 1
                out.append("<pre><code>%s</code></pre>" % html.escape("\n".join(t[4:] for _, t in lines[at:end]).rstrip(), False))
                at = end
            else:
                end = at + 1
                while end < len(lines) and lines[end][1].strip() and (self.path, lines[end][0]) not in self.book.fences and not re.match(r"^(#{1,6} |>|\s*([-*+]|1[.)]) +\S)", lines[end][1]):
                    end += 1
                made = self.inline("\n".join(t.strip() for _, t in lines[at:end]), number)
                out.append(made if tight else "<p>%s</p>" % made)
                at = end
        return "\n".join(out)

    def list(self, lines: Text, at: int) -> Tuple[str, int]:
        first = LIST.match(lines[at][1])
        assert first
        ordered, margin = first.group(2)[0].isdigit(), len(first.group(1))
        items: List[Text] = []
        loose = False
        while at < len(lines):
            start = LIST.match(lines[at][1])
            if not start or len(start.group(1)) != margin or start.group(2)[0].isdigit() != ordered:
                break
            width = start.end()
            items.append([(lines[at][0], lines[at][1][width:])])
            at += 1
            while at < len(lines):
                number, line = lines[at]
                if not line.strip():
                    after = next((t for _, t in lines[at:] if t.strip()), "")
                    if len(after) - len(after.lstrip()) <= margin and not (LIST.match(after) and LIST.match(after).group(2)[0].isdigit() == ordered):
                        break
                    if LIST.match(after) and len(after) - len(after.lstrip()) == margin:
                        loose = True
                elif len(line) - len(line.lstrip()) <= margin and (LIST.match(line) or not lines[at - 1][1].strip() or (self.path, number) in self.book.fences):
                    break
                items[-1].append((number, line[min(width, len(line) - len(line.lstrip())):]))
                at += 1
        tag = "ol" if ordered else "ul"
        return "<%s>%s</%s>" % (tag, "".join("<li>%s</li>" % self.block(i, not loose) for i in items), tag), at

    def markdown_table(self, lines: Text) -> str:
        rows = []
        for k, (number, line) in enumerate(lines):
            if k == 1:
                continue
            guarded = re.sub(r"\$`[^`]*`\$|`[^`]*`", lambda m: m.group().replace("\\|", "|").replace("|", "\0"), line.strip())
            cells = [c.strip().replace("\\|", "|").replace("\0", "|") for c in re.split(r"(?<!\\)\|", re.sub(r"^\||(?<!\\)\|$", "", guarded))]
            tag = "td" if k else "th"
            rows.append("<tr>%s</tr>" % "".join("<%s>%s</%s>" % (tag, self.inline(c, number), tag) for c in cells))
        return '<div class="table"><table>%s</table></div>' % "".join(rows)

    # ---- pages

    def weave(self) -> Dict[str, str]:
        paths = list(self.book.titles)
        bodies: Dict[str, str] = {}
        for path in paths:
            self.path, self.anchors[path], self.headings[path] = path, set(), []
            lines = (self.root / path).read_text(encoding="utf-8").split("\n")
            bodies[path] = self.block(list(enumerate((line.rstrip() for line in lines), 1)))
            for (where, _), (item, piece) in self.book.made.items():
                if where == path:
                    self.anchors[path].add(self.anchor(item, piece))
        for path, number, link in self.links:
            target, _, fragment = link.partition("#")
            if fragment and fragment not in self.anchors[target]:
                self.book.error(path, number, "dead link: %s has no heading #%s" % (target, fragment), True)
        pages = {"book.css": STYLE}
        for k, path in enumerate(paths):
            before, after = paths[k - 1] if k else "", paths[k + 1] if k + 1 < len(paths) else ""
            pages[page_of(path)] = self.page(self.book.titles[path], bodies[path], before, after)
        pages["index.html"] = self.page("Contents", self.contents(paths), "", paths[0] if paths else "")
        pages["names.html"] = self.page("Names", self.name_page(), "", "")
        return pages

    def page(self, title: str, body: str, before: str, after: str) -> str:
        ways = ['<a href="%s">← %s</a>' % (page_of(before), html.escape(self.book.titles[before]))] if before else []
        ways += ['<a href="index.html">Contents</a>', '<a href="names.html">Names</a>']
        ways += ['<a href="%s">%s →</a>' % (page_of(after), html.escape(self.book.titles[after]))] if after else []
        return ('<!doctype html>\n<html lang="en-GB"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>%s</title>'
                '<link rel="stylesheet" href="book.css"></head><body>\n<nav>%s</nav>\n<main>\n%s\n</main>\n<nav class="end">%s</nav>\n</body></html>\n') % (html.escape(re.sub(r"[`*]", "", title)), " ".join(ways), body, " ".join(ways))

    def contents(self, paths: List[str]) -> str:
        out, part = ["<h1>Contents</h1>"], None
        for path in paths:
            folder = path.split("/")[1] if path.count("/") > 1 else ""
            if folder != part:
                out.append(("</ol>" if part is not None else "") + ("<h2>%s</h2>" % html.escape(re.sub(r"^\d+-", "", folder).capitalize()) if folder else "") + '<ol class="contents">')
                part = folder
            sections = "".join('<li><a href="%s#%s">%s</a></li>' % (page_of(path), anchor, text) for level, anchor, text in self.headings[path] if level == 2)
            out.append('<li><a href="%s">%s</a>%s</li>' % (page_of(path), html.escape(self.book.titles[path]), "<ol>%s</ol>" % sections if sections else ""))
        return "\n".join(out) + "</ol>"

    def name_page(self) -> str:
        uses: Dict[str, Set[str]] = {}
        for piece in self.pieces:
            for text, line in names.code(piece):
                for name in re.findall(r"\b%s" % names.WORD, text):
                    uses.setdefault(name, set()).add(line.path)
        rows = []
        for name in sorted(self.index.where, key=lambda n: (n.lower(), n)):
            line = self.index.where[name]
            others = ", ".join('<a href="%s">%s</a>' % (page_of(p), html.escape(self.book.titles[p])) for p in sorted(uses.get(name, set()) - {line.path}))
            rows.append('<tr id="%s"><td><a href="%s">%s</a></td><td>%s</td><td>%s</td></tr>' % (name, self.name_link(name) or page_of(line.path), name, html.escape(self.book.titles[line.path]), others))
        return '<h1>Names</h1>\n<div class="table"><table class="index"><tr><th>name</th><th>defined in</th><th>used in</th></tr>\n%s\n</table></div>' % "\n".join(rows)


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="Make the book as HTML under out/book/.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--draft", action="store_true", help="forgive what a half-written book lacks")
    options = parser.parse_args(argv)
    book = Book(options.root, options.draft)
    tangle(book)
    weaver = Weaver(book)
    pages = weaver.weave()
    if book.report():
        return 1
    out = options.root / "out" / "book"
    for name, text in pages.items():
        write_if_changed(out / name, text)
    for name, source in weaver.copies.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes((options.root / source).read_bytes())
    for old in out.glob("*.html"):
        if old.name not in pages:
            old.unlink()
    print("%d chapters in out/book/index.html" % len(book.titles))
    return 0


if __name__ == "__main__":
    sys.exit(main())
