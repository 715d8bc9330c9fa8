#!/usr/bin/env python3
"""Tests of the tangler, its tables, the weaver and the formulas. Each writes a small book into a temporary folder.

    python3 tests/test_gen.py [TestClass[.test]]
"""
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom
from html.parser import HTMLParser
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "gen"))
sys.dont_write_bytecode = True
import mathml  # noqa: E402
import names  # noqa: E402
import symbols  # noqa: E402
import tables  # noqa: E402
import tangle  # noqa: E402
import weave  # noqa: E402
import whence  # noqa: E402

CC = shutil.which(os.environ.get("CC", "cc"))


def fence(*lines, language="c"):
    return "```%s\n%s\n```\n" % (language, "\n".join(lines))


ROOT = "# Start\n\n" + fence("//: collect <<all>>") + "\n" + fence("//: file weightflow.h", "<<all>>")


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode("utf-8"))

    def call(self, function, *arguments):
        """Status, standard output, standard error."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = function(["--root", str(self.root), *arguments])
        return status, out.getvalue(), err.getvalue()

    def book(self, *chapters, root=ROOT):
        self.write("src-lit/00.md", root)
        for number, text in enumerate(chapters, 1):
            self.write("src-lit/%02d.md" % number, text)

    def tangled(self, *chapters, root=ROOT):
        """The text of the header made from these chapters."""
        self.book(*chapters, root=root)
        status, _, err = self.call(tangle.main)
        self.assertEqual((status, err), (0, ""))
        return (self.root / "weightflow.h").read_text(encoding="utf-8")

    def fails(self, message, *chapters, root=ROOT, function=tangle.main):
        """The book has exactly this error, and nothing is written."""
        self.book(*chapters, root=root)
        status, _, err = self.call(function)
        self.assertEqual(status, 1)
        self.assertRegex(err, r"^src-lit.*:\d+: ")
        self.assertIn(message, err)
        self.assertEqual(len(err.strip().split("\n")), 1, err)
        self.assertFalse((self.root / "weightflow.h").exists())


class Chunks(Case):
    def test_define_append_and_reference(self):
        text = self.tangled(fence("//: <<a: first>>=", "int a;") + fence("//: <<a: first>>+=", "int b;") + fence("//: <<all>>+=", "struct s {", "    <<a: first>>", "};"))
        self.assertEqual(text, "/* all */\n/* ---- src-lit/01.md ---- */\nstruct s {\n    /* a: first */\n    int a;\n    int b;\n};\n")

    def test_chapter_title_introduces_what_it_appends(self):
        text = self.tangled("# One\n" + fence("//: <<all>>+=", "int a;"), "# Two\n" + fence("//: <<all>>+=", "int b;"))
        self.assertEqual(text, "/* all */\n/* ---- One ---- */\nint a;\n\n/* ---- Two ---- */\nint b;\n")

    def test_fences_without_a_name_are_illustrations(self):
        text = self.tangled(fence("int no;") + fence("//: <<all>>+=", "int yes;") + "````\n```c\n//: <<x: y>>=\n```\n````\n~~~\n<<nothing: here>>\n~~~\n")
        self.assertIn("yes", text)
        self.assertNotIn("no;", text)

    def test_no_comment_inside_macros_or_comments(self):
        inner = fence("//: <<a: b>>=", "x")
        self.assertIn("#define M \\\n    x\n", self.tangled(inner + fence("//: <<all>>+=", "#define M \\", "    <<a: b>>")))
        self.assertIn("/* c\nx\n*/", self.tangled(inner + fence("//: <<all>>+=", "/* c", "<<a: b>>", "*/")))
        self.assertIn("/* c */ f(\"/*\");\n\n/* a: b */\nx\n", self.tangled(inner + fence("//: <<all>>+=", "/* c */ f(\"/*\");", "<<a: b>>")))

    def test_shifts_are_not_references(self):
        self.assertIn("a = b << c >> d;", self.tangled(fence("//: <<all>>+=", "a = b << c >> d;", "c = x <<y>> z;")))

    def test_include_copies_a_file_as_a_comment(self):
        self.write("LICENSE", "One.\n\n\nTwo <<three: four>>.\n")
        text = self.tangled(fence("//: include <<the: licence>> LICENSE") + fence("//: <<all>>+=", "<<the: licence>>"))
        self.assertTrue(text.endswith("/*\nOne.\n\n\nTwo <<three: four>>.\n*/\n"), text)

    def test_chapters_in_the_order_of_their_paths(self):
        self.write("src-lit/10-b/11.md", fence("//: <<all>>+=", "int third;"))
        self.write("src-lit/10-b/10.md", fence("//: <<all>>+=", "int second;"))
        self.write("src-lit/05-a/99.md", fence("//: <<all>>+=", "int first;"))
        self.assertEqual(re.findall(r"int (\w+);", self.tangled()), ["first", "second", "third"])

    def test_generate_runs_once(self):
        self.write("gen/g.py", "import sys\nopen('count', 'a').write('x')\nprint('int', sys.argv[1] + ';', sys.stdin.read())\n")
        chapter = fence("//: generate <<a: b>> gen/g.py nine", "more") + fence("//: <<all>>+=", "<<a: b>>")
        for _ in range(2):
            self.assertIn("/* a: b */\nint nine; more\n", self.tangled(chapter))
        self.assertEqual((self.root / "count").read_text(), "x")
        self.tangled(chapter.replace("nine", "ten"))
        self.assertEqual((self.root / "count").read_text(), "xx")

    def test_unchanged_files_are_not_touched(self):
        self.tangled(fence("//: <<all>>+=", "int a;"))
        os.utime(str(self.root / "weightflow.h"), (1, 1))
        self.tangled(fence("//: <<all>>+=", "int a;"))
        self.assertEqual((self.root / "weightflow.h").stat().st_mtime, 1)
        self.tangled(fence("//: <<all>>+=", "int b;"))
        self.assertNotEqual((self.root / "weightflow.h").stat().st_mtime, 1)

    def test_same_bytes_under_any_hash_seed(self):
        self.book(fence("//: table errors <<e: t>> name | value | text", "WF_A | 0 | fine", language="text") + fence("//: stamp isa <<k: k>>=", "int wf__k_ISA;")
                  + fence("//: <<all>>+=", "<<e: t: enum>>", "<<k: k>>"))
        seen = set()
        for seed in "012":
            for made in ("weightflow.h", "out/linemap.json", "out/weightflow_line.h"):
                if (self.root / made).exists():
                    (self.root / made).unlink()
            subprocess.run([sys.executable, str(REPOSITORY / "gen" / "tangle.py"), "--root", str(self.root), "--line"], check=True, stdout=subprocess.DEVNULL, env=dict(os.environ, PYTHONHASHSEED=seed))
            seen.add(tuple(hashlib.sha256((self.root / made).read_bytes()).hexdigest() for made in ("weightflow.h", "out/linemap.json", "out/weightflow_line.h")))
        self.assertEqual(len(seen), 1)
        self.assertNotIn(str(self.root).encode(), (self.root / "weightflow.h").read_bytes() + (self.root / "out/linemap.json").read_bytes())


class Errors(Case):
    ALL = fence("//: <<all>>+=", "int all;")

    def test_undefined(self):
        self.fails("src-lit/01.md:4: undefined chunk <<a: b>>", "\n" + fence("//: <<all>>+=", "<<a: b>>"))

    def test_unused(self):
        self.fails("src-lit/01.md:2: unused chunk <<a: b>>", fence("//: <<a: b>>=", "x"))

    def test_unused_even_where_another_unused_chunk_refers_to_it(self):
        self.book(self.ALL + fence("//: <<a: b>>=", "<<c: d>>") + fence("//: <<c: d>>=", "x"))
        self.assertEqual(self.call(tangle.main)[2].count("unused"), 2)

    def test_duplicate(self):
        self.fails("src-lit/01.md:6: duplicate <<a: b>>: first defined at src-lit/01.md:2", fence("//: <<a: b>>=", "x") + fence("//: <<a: b>>=", "x") + fence("//: <<all>>+=", "<<a: b>>"))

    def test_recursive(self):
        self.fails("recursive chunk: <<a: b>> -> <<c: d>> -> <<a: b>>", fence("//: <<a: b>>=", "<<c: d>>") + fence("//: <<c: d>>=", "<<a: b>>") + fence("//: <<all>>+=", "<<a: b>>"))

    def test_append_before_definition(self):
        self.fails("<<a: b>> is appended to before it is defined", fence("//: <<a: b>>+=", "x") + fence("//: <<all>>+=", "<<a: b>>"))

    def test_collect_is_not_defined_again(self):
        self.fails("duplicate <<all>>", fence("//: <<all>>=", "int a;"))

    def test_junk_after_reference(self):
        self.fails("src-lit/01.md:7: a reference stands alone", fence("//: <<a: b>>=", "x") + fence("//: <<all>>+=", "<<a: b>>;") + fence("//: <<all>>+=", "<<a: b>>"))

    def test_reference_inside_a_line(self):
        self.fails("a reference stands alone", fence("//: <<a: b>>=", "x") + fence("//: <<all>>+=", "int y = <<a: b>>") + fence("//: <<all>>+=", "<<a: b>>"))

    def test_tab_carriage_return_and_encoding(self):
        self.fails("src-lit/01.md:1: tab", "a\tb\n" + self.ALL)
        self.fails("src-lit/01.md:2: carriage return", "a\nb\r\n" + self.ALL)
        self.book()
        (self.root / "src-lit/01.md").write_bytes(b"\xff\n")
        self.assertIn("src-lit/01.md:0: not UTF-8", self.call(tangle.main)[2])

    def test_no_root(self):
        self.fails("no root", root="# Nothing\n")

    def test_two_roots_and_a_root_outside(self):
        self.fails("duplicate root weightflow.h", self.ALL + fence("//: file weightflow.h", "x"))
        self.fails("inside the repository", self.ALL + fence("//: file ../x.h", "x"))

    def test_fence_never_closed(self):
        self.fails("src-lit/01.md:5: fence is never closed", self.ALL + "```c\nint x;\n")

    def test_words_nobody_knows(self):
        self.fails("cannot read `//: chunk <<a: b>>=`", self.ALL + fence("//: chunk <<a: b>>=", "x"))
        self.fails("belongs on the first line", fence("//: <<all>>+=", "x", "//: file other.h", "y"))

    def test_include_of_nothing(self):
        self.fails("cannot include LICENSE", fence("//: include <<a: b>> LICENSE") + fence("//: <<all>>+=", "<<a: b>>"))

    def test_script_that_fails(self):
        self.write("gen/g.py", "import sys\nsys.exit('no such function')\n")
        self.fails("gen/g.py failed: no such function", fence("//: generate <<a: b>> gen/g.py x") + fence("//: <<all>>+=", "<<a: b>>"))
        self.fails("no script gen/h.py", fence("//: generate <<a: b>> gen/h.py x") + fence("//: <<all>>+=", "<<a: b>>"))

    def test_draft_forgives_but_says_so(self):
        self.book(fence("//: <<all>>+=", "<<a: b>>", "int x;") + fence("//: <<c: d>>=", "x") + fence('//: quote tests/none.c "r"'))
        status, _, err = self.call(tangle.main, "--draft")
        self.assertEqual((status, err.count("warning:")), (0, 3))
        self.assertIn("/* missing: a: b */", (self.root / "weightflow.h").read_text())


class Quotes(Case):
    def test_quote(self):
        self.write("tests/t.c", "int a;\n    // region: the middle\n    int b;\n      int c;\n    // end region\n")
        chapter = fence('//: quote tests/t.c "the middle"')
        self.assertNotIn("int b", self.tangled(Errors.ALL + chapter))
        book = tangle.Book(self.root)
        self.assertEqual(book.quote("tests/t.c", "the middle", tangle.Line("", "x", 1)), ["int b;", "  int c;"])

    def test_missing_file_region_and_end(self):
        self.fails("no file tests/t.c to quote", Errors.ALL + fence('//: quote tests/t.c "r"'))
        self.write("tests/t.c", "// region: r\nint a;\n// region: q\n")
        self.fails('tests/t.c has no region "r" with an end', Errors.ALL + fence('//: quote tests/t.c "r"'))
        self.fails('no region "x"', Errors.ALL + fence('//: quote tests/t.c "x"'))
        self.write("tests/t.c", "// region: r\n// end region\n")
        self.fails("a quote has no text of its own", Errors.ALL + fence('//: quote tests/t.c "r"', "int a;"))


class Stamps(Case):
    def test_instruction_sets(self):
        text = self.tangled(fence("//: table <<stamp: isa>> name | suffix | guard", "scalar | _c | ", "avx2 | _avx2 | defined(WF__HAVE_AVX2) \\|\\| 0", language="text")
                            + fence("//: <<k: inner>>=", "x = WFV_ADD(x, wf__y_ISA); // WF_ISA_MAX")
                            + fence("//: stamp isa <<k: kernel>>=", "void wf__k_ISA(void) {", "    <<k: inner>>", "}") + fence("//: <<all>>+=", "<<k: kernel>>"))
        self.assertIn("/* k: kernel (scalar) */\nvoid wf__k_c(void) {\n    /* k: inner */\n    x = WF__SCALAR_ADD(x, wf__y_c); // WF_ISA_MAX\n}\n", text)
        self.assertIn("#if defined(WF__HAVE_AVX2) || 0\nvoid wf__k_avx2(void) {\n    x = WF__AVX2_ADD(x, wf__y_avx2); // WF_ISA_MAX\n}\n#endif\n", text)

    def test_default_sets(self):
        text = self.tangled(fence("//: stamp isa <<k: k>>=", "int wf__k_ISA;") + fence("//: <<all>>+=", "<<k: k>>"))
        self.assertEqual(re.findall(r"wf__k_(\w+);", text), ["scalar", "sse2", "avx2", "avx512", "neon", "wasm"])
        self.assertEqual(re.findall(r"#if (.*)", text)[1], "defined(WF__ISA_AVX2)")

    def test_element_types(self):
        text = self.tangled(fence("//: stamp real <<k: k>>=", "REAL wf__sum_REAL(const REAL *REALLY);") + fence("//: stamp real <<k: k>>+=", "REAL wf__x_REAL;") + fence("//: <<all>>+=", "<<k: k>>"))
        self.assertIn("float wf__sum_f32(const float *REALLY);\nfloat wf__x_f32;\n\n/* k: k (f64) */\ndouble wf__sum_f64(const double *REALLY);\n", text)

    def test_both(self):
        text = self.tangled(fence("//: stamp real <<r: r>>=", "REAL wf__k_REAL_ISA;") + fence("//: stamp isa <<k: k>>=", "<<r: r>>") + fence("//: <<all>>+=", "<<k: k>>"))
        self.assertEqual(len(set(re.findall(r"wf__k_(\w+);", text))), 12)
        self.assertIn("double wf__k_f64_avx512;", text)

    def test_stamp_errors(self):
        self.fails("is stamped already", fence("//: stamp real <<r: r>>=", "x") + fence("//: stamp real <<k: k>>=", "<<r: r>>") + fence("//: <<all>>+=", "<<k: k>>"))
        self.fails("stamped in one place and not in another", fence("//: stamp real <<r: r>>=", "x") + fence("//: <<r: r>>+=", "x") + fence("//: <<all>>+=", "<<r: r>>"))


OPS = ["none | leaf | 0 | | nothing", "neg | unary | 1 | -1 | -x", "exp | unary | 1 | y | e^x", "lt | zero | 2 | | a<b", "add | binary | 2 | 1 ; 1 | a+b", "sub | binary | 2 | 1 ; -1 | a-b",
       "mul | binary | 2 | b ; a | a*b", "div | binary | 2 | 1/b ; -y/b | a/b", "tanh | unary | 1 | 1-y*y | tanh x", "odd | unary | 1 | -(2.5e-1*x+pi)*u-exp(--3) | nonsense",
       "select | special | 3 | | a ? b : c", "max | binary | 2 | select(lt(b,a),1,0) ; select(lt(b,a),0,1) | max", "count | leaf | 0 | | how many", "cat | linear | n | | side by side"]


def ops_table(rows=OPS):
    return fence("//: table ops <<t: o>> op | kind | arity | derivative | meaning", *rows, language="text")


class Tables(Case):
    PARTS = fence("//: <<all>>+=", "<<t: o: enum>>", "<<t: o: names>>", "<<t: o: kinds>>", "<<t: o: rules>>", "/* <<", "<<t: o: doc>>", "*/")

    def test_errors(self):
        text = self.tangled(fence("//: table errors <<e: t>> name | value | text", "WF_OK | 0 | success", "WF_ERROR_IO | -6 | reading \\| writing failed", language="text")
                            + fence("//: <<all>>+=", "<<e: t: enum>>", "    <<e: t: cases>>", "/*", "   <<e: t: doc>>", "*/"))
        self.assertIn("enum {\n    WF_OK       = 0, /* success */\n    WF_ERROR_IO = -6 /* reading | writing failed */\n};\n", text)
        self.assertIn('    case WF_ERROR_IO: return "reading | writing failed";\n', text)
        self.assertIn("   WF_OK          0  success\n", text)

    def test_errors_in_errors(self):
        make = lambda *rows: fence("//: table errors <<e: t>> name | value | text", *rows, language="text") + fence("//: <<all>>+=", "<<e: t: enum>>")  # noqa: E731
        self.fails("src-lit/01.md:4: `0` stands here twice", make("WF_A | 0 | a", "WF_B | 0 | b"))
        self.fails("expected WF_NAME", make("OK | 0 | a"))
        self.fails("2 cells for 3 columns", make("WF_A | 0"))
        self.fails("cannot hold a comment", make("WF_A | 0 | */"))

    def test_table_errors(self):
        self.fails("unused chunk <<e: t>>", Errors.ALL + fence("//: table rows <<e: t>> a", "1", language="text"))
        self.fails("undefined chunk <<e: t: none>>", fence("//: table rows <<e: t>> a", "1", language="text") + fence("//: <<all>>+=", "<<e: t>>", "<<e: t: none>>"))
        self.book(fence("//: table sorts <<e: t>> a", "1", language="text") + fence("//: <<all>>+=", "<<e: t>>"))
        self.assertIn("no kind of table `sorts`", self.call(tangle.main)[2])
        self.book(fence("//: table ops <<e: t>> a | b", "1 | 2", language="text") + fence("//: <<all>>+=", "<<e: t: enum>>"))
        self.assertIn("has the columns op | kind | arity | derivative | meaning", self.call(tangle.main)[2])
        self.fails("duplicate <<e: t>>", fence("//: table rows <<e: t>> a", "1") + fence("//: table rows <<e: t>> a", "1") + fence("//: <<all>>+=", "<<e: t>>"))

    def test_rows(self):
        self.assertIn("    { 1, \"a\" },\n    { 2, \"b\" },\n", self.tangled(fence("//: table rows <<e: t>> n | s", '1 | "a"', '2 | "b"') + fence("//: <<all>>+=", "x = {", "    <<e: t>>", "};")))

    def test_macros(self):
        text = self.tangled(fence("//: table macros <<v: m>> op | scalar | avx2", "ADD(a, b) | ((a) + (b)) | _mm256_add_ps(a, b)", "OR(a, b) | ((a) \\| (b)) |", "TWICE(a) | WFV_ADD(a, a) | WFV_ADD(a, wf__id_ISA(a))", language="text")
                            + fence("//: <<all>>+=", "<<v: m>>"))
        self.assertIn("#define WF__SCALAR_OR(a, b) ((a) | (b))\n#define WF__SCALAR_TWICE(a) WF__SCALAR_ADD(a, a)\n", text)
        self.assertIn("#if defined(WF__ISA_AVX2)\n#define WF__AVX2_ADD(a, b) _mm256_add_ps(a, b)\n#define WF__AVX2_TWICE(a) WF__AVX2_ADD(a, wf__id_avx2(a))\n#endif\n", text)
        self.assertNotIn("AVX2_OR", text)

    def test_macros_of_an_unknown_set(self):
        self.fails("no instruction set `vax`", fence("//: table macros <<v: m>> op | vax", "A | 1", language="text") + fence("//: <<all>>+=", "<<v: m>>"))

    def rules(self, text, arity=2):
        return " ".join(tables.Rules(dict(neg=1, add=2, sub=2, mul=2, div=2, exp=1, select=3, lt=2)).compile(text, arity))

    def test_rule_items(self):
        self.assertEqual(self.rules("1-y*y"), "=1 $Y $Y mul sub")
        self.assertEqual(self.rules("y*(1-y)"), "$Y =1 $Y sub mul")
        self.assertEqual(self.rules("a-b-u"), "$A $B sub $U sub")
        self.assertEqual(self.rules("a/b*x+1e-3"), "$A $B div $A mul =1e-3 add")
        self.assertEqual(self.rules("-y/b"), "$Y neg $B div")
        self.assertEqual(self.rules("-2*--x"), "=-2 $A neg neg mul")
        self.assertEqual(self.rules("select(lt(b,a),1,-0.5)"), "$B $A lt =1 =-0.5 select")
        self.assertEqual(self.rules("exp(-(x*x))*c", 3), "$A $A mul neg exp $C mul")

    def test_rule_errors(self):
        for text, message in (("1-", "ends too early"), ("q", "unknown `q`"), ("(1", "expected `)`"), ("1 2", "did not expect `2`"), ("sin(x)", "no operation `sin`"), ("exp(x,y)", "takes 1 arguments, not 2"),
                              ("c", "unknown `c`"), ("1@2", "did not expect `@`"), ("", "ends too early"), ("exp()", "unknown `)`")):
            with self.assertRaises(ValueError) as caught:
                self.rules(text)
            self.assertIn(message, str(caught.exception), text)

    def test_ops_errors(self):
        for row, message in (("twice | unary | 1 | | x", "0 derivatives for 1 arguments"), ("add | zero | 2 | | x", "stands here twice"), ("new | unary | q | 1 | x", "an arity is"), ("new | binary | 2 | 1 | x", "1 derivatives for 2"),
                             ("new | unary | 1 | sin(x) | x", "no operation `sin`")):
            self.book(ops_table(OPS + [row]) + self.PARTS)
            status, _, err = self.call(tangle.main)
            self.assertEqual(status, 1)
            self.assertIn("src-lit/01.md:%d: " % (3 + len(OPS)), err)
            self.assertIn(message, err)

    @unittest.skipUnless(CC, "no C compiler")
    def test_rule_bytes_mean_the_expression(self):
        """A stack machine in C, as the book has one, gives the numbers that Python gives for the same text."""
        self.tangled(ops_table() + self.PARTS)
        self.write("t.c", r'''
#include <stdio.h>
#include <math.h>
#include "weightflow.h"
static double run(const unsigned char *r, const double *v) {
    double s[WF__RULE_STACK]; int n = 0;
    for (; *r != WF__RULE_END; r++) {
        if (*r >= WF__RULE_A) s[n++] = v[*r - WF__RULE_A];
        else if (*r >= WF__RULE_CONST) s[n++] = wf__rule_number[*r - WF__RULE_CONST];
        else {
            double *a = s + (n -= wf__op_arity[*r]);
            *a = *r == WF__OP_NEG ? -a[0] : *r == WF__OP_EXP ? exp(a[0]) : *r == WF__OP_LT ? a[0] < a[1] : *r == WF__OP_ADD ? a[0] + a[1] : *r == WF__OP_SUB ? a[0] - a[1]
               : *r == WF__OP_MUL ? a[0] * a[1] : *r == WF__OP_DIV ? a[0] / a[1] : a[0] != 0 ? a[1] : a[2];
            n++;
        }
    }
    return n == 1 ? s[0] : NAN;
}
int main(void) {
    double v[5] = { 0.3, -1.7, 0, 0.9, 2.5 };
    for (int op = 0; op < WF__OPS; op++)
        for (int i = 0; i < 2; i++)
            if (wf__op_rule[op][i]) printf("%s %d %d %.17g\n", wf__op_name[op], i, wf__op_kind[op] == WF__KIND_BINARY, run(wf__rule_byte + wf__op_rule[op][i], v));
    return WF__OP_COUNT == WF__OPS || wf__op_arity[WF__OP_CAT] != WF__ARITY_ANY;
}''')
        subprocess.run([CC, "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "t.c", "-o", "t", "-lm"], cwd=str(self.root), check=True)
        lines = subprocess.run([str(self.root / "t")], check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout.strip().split("\n")
        import math
        space = dict(x=0.3, a=0.3, b=-1.7, y=0.9, u=2.5, pi=math.pi, exp=math.exp, lt=lambda a, b: float(a < b), select=lambda c, a, b: a if c else b)
        wanted = []
        for row in OPS:
            op, kind, _, derivative, _ = [c.strip() for c in row.split("|")]
            wanted += [(op, k, kind == "binary", eval(t.strip(), space)) for k, t in enumerate(derivative.split(";")) if t.strip()]
        self.assertEqual(len(lines), len(wanted))
        for line, (op, k, binary, value) in zip(lines, wanted):
            words = line.split()
            self.assertEqual(words[:3], [op, str(k), str(int(binary))])
            self.assertLessEqual(abs(float(words[3]) - value), 4e-16 * max(1, abs(value)) * 8, op)  # a handful of roundings


class Order(Case):
    def upward(self, early, late):
        self.fails("only a later chapter defines: src-lit/02.md:4", "# One\n" + fence("//: <<all>>+=", *early), "# Two\n" + fence("//: <<all>>+=", *late))

    def test_kinds_of_definitions(self):
        for use, definition in (("int x = WF_LATE;", "#define WF_LATE 1"), ("    wf__late();", "static void wf__late(void)"), ("x = wf_late(1);", "WF_API const char *wf_late(int a);"), ("wf_late *p;", "typedef struct wf_late wf_late;"),
                                ("wf_fn f;", "typedef int (*wf_fn)(void *user);"), ("x = WF_B;", "enum { WF_A = 1, WF_B };"), ("x = wf__t[3];", "static const int wf__t[4] = { 1 };"), ("wf_s v;", "} wf_s;"),
                                ("struct wf_s v;", "struct wf_s {"), ("wf__k_avx2(x);", "WF_TARGET(\"avx2\") static void wf__k_ISA(float *x)"), ("x = wf__k_f64(y);", "REAL wf__k_REAL(REAL y)"),
                                ("x = WFV_ADD(a, b);", "#define WF__AVX2_ADD(a, b) _mm256_add_ps(a, b)")):
            self.upward([use], [definition])

    def test_what_is_no_use(self):
        self.tangled("# One\n" + fence("//: <<all>>+=", "/* wf_late", "   wf_late", "wf_late */ // wf_late", 'x = "wf_late";', "struct wf_late *p;", "struct wf_late;", "int wf_other;", "return wf_unknown(1);"), "# Two\n" + fence("//: <<all>>+=", "struct wf_late {", "int wf_late(int a)"))

    def test_downward_is_fine(self):
        self.tangled(fence("//: <<all>>+=", "#define WF_EARLY 1", "static int wf__twice(void);"), fence("//: <<all>>+=", "int x = WF_EARLY;", "static int wf__twice(void)"))

    def test_tables_define_too(self):
        self.fails("uses WF_ERROR_X, which only", fence("//: <<all>>+=", "return WF_ERROR_X;"), fence("//: table errors <<e: t>> name | value | text", "WF_ERROR_X | -1 | x") + fence("//: <<all>>+=", "<<e: t: enum>>"))

    def test_statements_are_not_definitions(self):
        found = [n for n, _ in names.definitions([tangle.Line(t, "a", 1) for t in ("return wf_x(1);", "else wf_y(2);", "wf_z(3);", "if (a) wf_w();", "int a = wf_v(1);", "    static void wf_u(void)")])]
        self.assertEqual(found, [])


class Outputs(Case):
    CHAPTER = "# One\n\ntext\n\n" + fence("//: <<a: b>>=", "int a;", "int b;") + "\n" + fence("//: <<all>>+=", "<<a: b>>", "#define M(x) \\", "    (x)", "int c;")

    def test_check(self):
        self.tangled(self.CHAPTER)
        self.assertEqual(self.call(tangle.main, "--check"), (0, "", ""))
        self.write("weightflow.h", (self.root / "weightflow.h").read_text().replace("int b;", "int bad;"))
        status, out, _ = self.call(tangle.main, "--check")
        self.assertEqual(status, 1)
        self.assertIn("-int bad;\n+int b;\n", out)
        self.assertIn("make header", out)
        self.assertIn("bad", (self.root / "weightflow.h").read_text())
        (self.root / "weightflow.h").unlink()
        self.assertEqual(self.call(tangle.main, "--check")[0], 1)
        self.assertFalse((self.root / "weightflow.h").exists())

    def test_line_map(self):
        text = self.tangled(self.CHAPTER).split("\n")
        runs = json.loads((self.root / "out/linemap.json").read_text())["weightflow.h"]
        self.assertEqual(sum(run[1] for run in runs), len(text) - 1)
        chapter = self.CHAPTER.split("\n")
        for number, line in enumerate(text[:-1], 1):
            path, at, chunk = whence.find(runs, number)
            if path == "src-lit/01.md" and line.startswith("int"):
                self.assertEqual(chapter[at - 1], line)
                self.assertEqual(chunk, "all" if "c" in line else "a: b")
        self.assertIsNone(whence.find(runs, 0))
        self.assertIsNone(whence.find(runs, len(text)))

    def test_whence(self):
        line = self.tangled(self.CHAPTER).split("\n").index("int b;") + 1
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(whence.main(["weightflow.h:%d" % line, str(line)], self.root), 0)
            self.assertEqual(whence.main(["99999"], self.root), 1)
        self.assertEqual(out.getvalue(), "src-lit/01.md:8: <<a: b>>\n" * 2)
        maps = json.loads((self.root / "out/linemap.json").read_text())
        self.assertEqual(whence.translate("In file x.c:1,\n../weightflow.h:%d:5: error, weightflow.h:9999\n" % line, maps), "In file x.c:1,\nsrc-lit/01.md:8:5: error, weightflow.h:9999\n")

    def test_line_twin(self):
        self.book(self.CHAPTER)
        self.call(tangle.main, "--line")
        twin = (self.root / "out/weightflow_line.h").read_text()
        self.assertEqual("".join(t + "\n" for t in twin.split("\n")[:-1] if not t.startswith("#line")), (self.root / "weightflow.h").read_text())
        self.assertIn('#line 7 "src-lit/01.md"\nint a;\nint b;\n', twin)
        self.assertIn("#define M(x) \\\n    (x)\nint c;\n", twin)

    def test_line_twin_keeps_out_of_macros_and_comments(self):
        self.book(fence("//: <<a: b>>=", "one \\", "two") + fence("//: <<all>>+=", "#define M \\", "    <<a: b>>", "/*", "<<a: b>>", "*/", "int c;"))
        self.call(tangle.main, "--line")
        twin = (self.root / "out/weightflow_line.h").read_text()
        self.assertIn("#define M \\\n    one \\\n    two\n", twin)
        self.assertIn('/*\none \\\ntwo\n*/\n#line 13 "src-lit/01.md"\nint c;\n', twin)

    @unittest.skipUnless(CC, "no C compiler")
    def test_line_twin_speaks_of_the_book(self):
        self.book(self.CHAPTER.replace("int b;", "int b = nothing;"))
        self.call(tangle.main, "--line")
        err = subprocess.run([CC, "-c", "-x", "c", "out/weightflow_line.h", "-o", os.devnull], cwd=str(self.root), stderr=subprocess.PIPE, universal_newlines=True).stderr
        self.assertIn("src-lit/01.md:8:", err)


HEADER = ("#ifndef H\n#define H_OK\n#endif\n", """
/* A thing. */
typedef struct wf_x wf_x;
enum { WF_A = 4, WF_B /* , WF_Z */ };
#define WF_N 7
/* Make
   one; the caller frees it. */
WF_API wf_x *wf_x_new(const char *name, int (*callback)(void *user, int n), double range[2]);
WF_API void wf_x_free(wf_x *x);
WF_API int wf_count(void); /* how many */
""", "\n#ifdef WEIGHTFLOW_IMPLEMENTATION\nstatic int wf__n;\nint wf_count(void) { return wf__n; }\n")


class Symbols(Case):
    def header(self, declarations=HEADER[1], implementation=HEADER[2]):
        self.write("weightflow.h", "#ifdef WF_STATIC\n#define WF_API static\n#else\n#define WF_API extern\n#endif\n" + declarations + implementation + "#endif\n")

    def test_api(self):
        self.header()
        status, out, err = self.call(symbols.main, "--no-compile")
        self.assertEqual((status, err), (0, ""))
        api = json.loads((self.root / "out/api.json").read_text())
        self.assertEqual([f["name"] for f in api["functions"]], ["wf_x_new", "wf_x_free", "wf_count"])
        self.assertEqual(api["functions"][0]["parameters"], [{"name": "name", "type": "const char *"}, {"name": "callback", "type": "int (*)(void *user, int n)"}, {"name": "range", "type": "double[2]"}])
        self.assertEqual([f["doc"] for f in api["functions"]], ["Make\none; the caller frees it."] * 2 + ["Make\none; the caller frees it.\nhow many"])
        self.assertEqual(api["constants"], {"WF_N": 7, "WF_A": 4, "WF_B": 5})

    def test_complaints(self):
        for text, message in (("int x;\nWF_API int wf_x(void);\n", "wf_x has no comment"), ("/* platform: count things */\nWF_API int wf_x(void);\n", "wf_x has no comment"), ("/* A. */\nWF_API int wf_x(void);\nWF_API int wf_x(void);\n", "declared twice"),
                              ("/* A. */\nWF_API int wf_x(int a,\n int b);\n", "whole declaration")):
            self.header(text)
            status, _, err = self.call(symbols.main, "--no-compile")
            self.assertEqual(status, 1)
            self.assertIn(message, err)

    @unittest.skipUnless(CC and shutil.which("nm"), "no C compiler or no nm")
    def test_leaks(self):
        declarations = "/* A. */\nWF_API int wf_count(void);\n"
        self.header(declarations, HEADER[2].replace("int wf_count", "WF_API int wf_count"))
        self.assertEqual(symbols.leaks(self.root / "weightflow.h", CC), [])
        self.header(declarations, "\n#include <limits.h>\n#define BAD 1\n#define GONE 1\n#undef GONE\nint wf_count(void) { return 0; }\nint helper(void) { return 1; }\nint wf__helper(void) { return 1; }\n#ifdef WEIGHTFLOW_IMPLEMENTATION\n")
        bad = symbols.leaks(self.root / "weightflow.h", CC)
        for part in ("macro BAD", "symbol helper is external", "symbol wf__helper is external"):
            self.assertTrue([b for b in bad if part in b], part)
        self.assertFalse([b for b in bad if "CHAR_BIT" in b])


class Formulas(unittest.TestCase):
    def plain(self, text, block=False):
        made = mathml.mathml(text, block)
        xml.dom.minidom.parseString(made)
        return re.sub(r"^<math[^>]*><mrow>|</mrow></math>$", "", made)

    def test_elements(self):
        for tex, wanted in ((r"x_i^2", "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>"), (r"\frac12", "<mfrac><mn>1</mn><mn>2</mn></mfrac>"), (r"\frac{a}{bc}", "<mfrac><mi>a</mi><mrow><mi>b</mi><mi>c</mi></mrow></mfrac>"),
                            (r"\sqrt[3]x", "<mroot><mi>x</mi><mn>3</mn></mroot>"), (r"\mathbb{R}", "<mi>ℝ</mi>"), (r"\mathcal N", "<mi>𝒩</mi>"), (r"\mathbf{x}", "<mi>𝐱</mi>"), (r"f'", "<msup><mi>f</mi><mo>′</mo></msup>"),
                            (r"\log x", "<mi>log</mi><mo>\u2061</mo><mi>x</mi>"), (r"\alpha*2", "<mi>α</mi><mo>∗</mo><mn>2</mn>"), (r"a<b", "<mi>a</mi><mo>&lt;</mo><mi>b</mi>"), (r"3.14", "<mn>3.14</mn>"), (r"\text{if } x", "<mtext>if\u00a0</mtext><mi>x</mi>"),
                            (r"\sum_{i}^n", "<munderover><mo>∑</mo><mi>i</mi><mi>n</mi></munderover>"), (r"\int_0^1", "<msubsup><mo>∫</mo><mn>0</mn><mn>1</mn></msubsup>"), (r"\mathrel{+}=", "<mo>+=</mo>"), (r"\dot x", '<mover accent="true"><mi>x</mi><mo stretchy="false">˙</mo></mover>')):
            self.assertEqual(self.plain(tex), wanted, tex)

    def test_everything_promised_is_known(self):
        for tex in (r"\partial \nabla \ddot x \hat{x} \bar x \tilde x \vec x \mathrm{KL} \operatorname{Im} \prod \cdots \ldots \times \cdot \odot \otimes \le \ge \ne \approx \sim \propto \infty \in \to \mapsto \Rightarrow \exp \sin \cos \tanh \max \min \arg "
                    r"\lfloor x \rfloor \langle u, v \rangle | \| \quad \prime \Gamma \varepsilon \bigl( \Big) \, \; \! \{ \} \% \_ \mid \pm \dots \equiv \binom{n}{k} \underbrace{x}_{y} \boxed{x} \tfrac12 \mathsf{T} \overline{x} \widehat{x}", r"\left( \frac{a}{b} \middle| c \right]", r"\left\| x \right.",
                    r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}", r"\begin{bmatrix} 1 \end{bmatrix}", r"f = \begin{cases} 1 & x < 0 \\ 0 & \text{else} \end{cases}", "\\begin{aligned}\na &= b \\\\\n &= c\n\\end{aligned}", "a &= b \\\\ c &= d", r"\max_{x} f \quad \lim_{n\to\infty}"):
            self.assertIn("<m", self.plain(tex, True))

    def test_errors(self):
        for tex, message in ((r"\nonsense", "unknown TeX command `\\nonsense`"), ("{a", "missing"), ("a}", "did not expect `}`"), (r"\frac{a}", "argument is missing"), (r"x^", "argument is missing"), (r"\left( x", "missing"), ("a^b^c", "two superscripts"), ("a_b_c", "two subscripts"),
                             (r"\begin{what}x\end{what}", "unknown environment"), (r"\begin{cases}x\end{matrix}", "another"), (r"\left q x \right)", "not a delimiter"), (r"\text{a", "never closed"), (r"\mathbb{\frac}", "takes letters")):
            with self.assertRaises(mathml.TexError, msg=tex) as caught:
                mathml.mathml(tex)
            self.assertIn(message, str(caught.exception), tex)


class Balance(HTMLParser):
    EMPTY = {"meta", "link", "img", "hr", "br", "mspace"}

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.links, self.ids = [], [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in self.EMPTY:
            self.open.append(tag)
        self.links += [v for k, v in attributes if k in ("href", "src")]
        self.ids += [v for k, v in attributes if k == "id"]

    def handle_endtag(self, tag):
        if tag not in self.EMPTY and (not self.open or self.open.pop() != tag):
            self.wrong.append((tag, self.getpos()))


class Weaver(Case):
    def woven(self, *chapters):
        self.book(*chapters)
        status, _, err = self.call(weave.main)
        self.assertEqual((status, err), (0, ""))
        pages = {f.name: f.read_text(encoding="utf-8") for f in (self.root / "out/book").glob("*.html")}
        parsed = {}
        for name, text in pages.items():
            parsed[name] = page = Balance()
            page.feed(text)
            self.assertEqual((page.wrong, page.open, len(page.ids)), ([], [], len(set(page.ids))), name)
        for name, page in parsed.items():
            for link in page.links:
                if not link.startswith("http"):
                    file, _, fragment = link.partition("#")
                    self.assertTrue((self.root / "out/book" / (file or name)).exists(), link)
                    self.assertTrue(not fragment or fragment in parsed[file or name].ids, link)
        return pages

    def body(self, text):
        return re.search(r"<main>\n(.*)\n</main>", self.woven(Errors.ALL, text)["02.html"], re.S).group(1)

    def test_markdown(self):
        for text, wanted in (("# A *b* `c`", '<h1 id="a-b-c">A <em>b</em> <code>c</code></h1>'), ("one\ntwo", "<p>one\ntwo</p>"), ("**a** <b> & \\*", "<p><strong>a</strong> &lt;b&gt; &amp; *</p>"), ("* a\n* b\n  c", "<ul><li>a</li><li>b\nc</li></ul>"),
                             ("1. a\n   * b\n2. c", "<ol><li>a\n<ul><li>b</li></ul></li><li>c</li></ol>"), ("1. a\n\n   b\n\n2. c", "<ol><li><p>a</p>\n<p>b</p></li><li><p>c</p></li></ol>"), ("> q", "<blockquote><p>q</p></blockquote>"), ("---", "<hr>"), ("    x < y", "<pre><code>x &lt; y</code></pre>"),
                             ("| a | b |\n|---|---|\n| `x|y` | $`|z|`$ |", '<div class="table"><table><tr><th>a</th><th>b</th></tr>\n<tr><td><code>x|y</code></td><td>'), ("[w](https://e.org/a)", '<p><a href="https://e.org/a">w</a></p>'), ("<https://e.org>", '<p><a href="https://e.org">https://e.org</a></p>'),
                             ("a_b_c 2*3*4", "<p>a_b_c 2*3*4</p>"), ("```text\n<<a: b>>\n```", "<pre><code>&lt;&lt;a: b&gt;&gt;</code></pre>"), ("a\n<!-- hidden -->", "<p>a\n&lt;!-- hidden --&gt;</p>")):
            self.assertIn(wanted.replace("\n<tr>", "<tr>"), self.body(text), text)

    def test_chunks_are_linked(self):
        pages = self.woven("# One\n" + fence("//: <<a: b>>=", "int wf_x(void); // note") + fence("//: <<all>>+=", "<<a: b>>"), "# Two\n" + fence("//: <<a: b>>+=", "return wf_x();") + "see `wf_x` and `wf_x()`\n")
        one, two = pages["01.html"], pages["02.html"]
        self.assertIn('<div class="chunk" id="chunk-a-b"><div class="name"><b>a: b</b> =', one)
        self.assertIn('continues <a href="02.html#chunk-a-b-2">Two</a>; used in <a href="01.html#chunk-all-2">all</a>', one)
        self.assertIn('<a class="reference" href="01.html#chunk-a-b">&lt;&lt;a: b&gt;&gt;</a>', one)
        self.assertIn('begins <a href="01.html#chunk-a-b">One</a>', two)
        self.assertIn('return</span> <a class="wf" href="01.html#chunk-a-b">wf_x</a>();', two)
        self.assertEqual(two.count('<a href="01.html#chunk-a-b"><code>wf_x'), 2)
        self.assertIn('<span class="comment">// note</span>', one)
        self.assertIn('<tr id="wf_x"><td><a href="01.html#chunk-a-b">wf_x</a></td><td>One</td><td><a href="02.html">Two</a></td></tr>', pages["names.html"])

    def test_navigation_and_contents(self):
        pages = self.woven("# One\n## Part\n" + Errors.ALL, "# Two\n")
        self.assertIn('<a href="00.html">← Start</a> <a href="index.html">Contents</a> <a href="names.html">Names</a> <a href="02.html">Two →</a>', pages["01.html"])
        self.assertIn('<li><a href="01.html">One</a><ol><li><a href="01.html#part">Part</a></li></ol></li>', pages["index.html"])

    def test_quotes_tables_and_stamps(self):
        self.write("tests/t.c", "// region: r\nint quoted;\n// end region\n")
        text = self.body(fence('//: quote tests/t.c "r"') + fence("//: table errors <<e: t>> name | value | text", "WF_A | 0 | fine", language="text") + fence("//: stamp real <<k: k>>=", "REAL x;") + fence("//: <<all>>+=", "<<e: t: enum>>", "<<k: k>>"))
        for part in ('<span class="keyword">int</span> quoted;', "tests/t.c: r", "<td><code>WF_A</code></td><td><code>0</code></td><td>fine</td>", "for each element type", '<a class="reference" href="02.html#chunk-e-t">&lt;&lt;e: t: enum&gt;&gt;</a>'):
            self.assertIn(part, text)

    def test_formulas(self):
        self.assertIn('<math display="block"><mrow><mi>x</mi></mrow></math>', self.body("```math\nx\n```"))
        self.assertIn("<math><mrow><mi>y</mi></mrow></math>", self.body("so $`y`$."))
        self.fails("src-lit/01.md:8: unknown TeX command `\\nope`", Errors.ALL + "text\n```math\nx\n\\nope\n```\n", "", function=weave.main)
        self.fails("src-lit/01.md:6: unknown TeX command `\\nope`", Errors.ALL + "text\n$`\\nope`$\n", "", function=weave.main)

    def test_links(self):
        self.write("README.md", "hello\n")
        pages = self.woven(Errors.ALL + "## A Place!\n[x](02.md#other) [y](#a-place) [r](../README.md)\n", "# Two\n## Other\n[z](01.md#a-place)\n")
        self.assertIn('<a href="02.html#other">x</a> <a href="#a-place">y</a>'.replace('"#a', '"01.html#a'), pages["01.html"])
        self.assertEqual((self.root / "out/book/files/README.md").read_text(), "hello\n")
        self.fails("src-lit/01.md:5: dead link: ../none.md", Errors.ALL + "[x](../none.md)\n", "", function=weave.main)
        self.fails("src-lit/01.md:5: dead link: src-lit/02.md has no heading #no", Errors.ALL + "[x](02.md#no)\n", "# Two\n", function=weave.main)

    def test_same_bytes_and_no_old_pages(self):
        first = self.woven(Errors.ALL, "# Two\n")
        self.assertEqual(first, self.woven(Errors.ALL, "# Two\n"))
        (self.root / "src-lit/02.md").unlink()
        self.assertNotIn("02.html", self.woven(Errors.ALL))


class ThisRepository(unittest.TestCase):
    def test_generator_is_plain(self):
        for file in sorted((REPOSITORY / "gen").glob("*.py")):
            data = file.read_bytes()
            self.assertNotIn(b"\r", data, file.name)
            self.assertNotIn(b"\t", data, file.name)

    @unittest.skipUnless((REPOSITORY / "src-lit").is_dir() and (REPOSITORY / "weightflow.h").is_file(), "no book here")
    def test_header_is_what_the_book_says(self):
        done = subprocess.run([sys.executable, str(REPOSITORY / "gen" / "tangle.py"), "--check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=1)
    result = program.result
    bad = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print("%d passed, %d failed, %d skipped" % (result.testsRun - bad - len(result.skipped), bad, len(result.skipped)))
    sys.exit(1 if bad else 0)
