"""Tables of the book, as C.

    //: table KIND <<name>> column | column ...

A chunk refers to a part of a table by `<<name: part>>`, or by `<<name>>` where there is one part only.

errors   name | value | text
         <<name: enum>> an enumeration; <<name: cases>> the cases of a switch which returns the text; <<name: doc>> lines for a comment.

rows     any columns
         <<name>> one line `{ cell, cell },` for each row.

macros   op | scalar | sse2 | ...          (columns are instruction sets of the table <<stamp: isa>>)
         <<name>> for each set, inside its guard, `#define WF__AVX2_ADD(a, b) cell` for each row `ADD(a, b) | ...`. In a cell, `WFV_X` and `x_ISA` are stamped
         as in a stamped chunk. An empty cell defines nothing.

ops      op | kind | arity | derivative | meaning
         <<name: enum>>   WF__OP_EXP ..., WF__OPS
         <<name: names>>  wf__op_name[op]: the names as strings
         <<name: kinds>>  WF__KIND_UNARY ..., wf__op_kind[op]; wf__op_arity[op], where `n` is WF__ARITY_ANY = 255
         <<name: rules>>  the derivatives as bytes, see below
         <<name: doc>>    lines `exp   e^x` for a comment

A derivative is one expression for each argument, separated by `;`: numbers, `pi`, + - * / ( ), calls of operations of the same table, and the variables
`x` or `a` (first argument), `b` (second), `c` (third), `y` (the result), `u` (the cotangent). It becomes bytes in postfix order, which a stack machine reads from
wf__rule_byte + wf__op_rule[op][i] for argument i (offset 0: no rule) up to WF__RULE_END:

    byte < WF__OPS                        an operation: pop its wf__op_arity[byte] arguments (the last is on top), push its result
    WF__RULE_CONST <= byte < WF__RULE_A        push the number wf__rule_number[byte - WF__RULE_CONST]
    WF__RULE_A, _B, _C, _Y, _U                 push the first, second, third argument, the result, the cotangent
    WF__RULE_END                               the result is the one element left

WF__RULE_STACK is the deepest stack that any rule of the table needs.
"""
from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Tuple

CONST, STOP = 192, "\n"
VARIABLES = {"x": "A", "a": "A", "b": "B", "c": "C", "y": "Y", "u": "U"}
OPERATORS = {"+": "add", "-": "sub", "*": "mul", "/": "div"}
Parts = Dict[str, List[Tuple[str, Any]]]  # part -> (text, the row's Line)


class Rules:
    """Compiles derivative expressions to postfix items: the name of an operation, `=number`, or `$VARIABLE`."""

    def __init__(self, arities: Dict[str, int]) -> None:
        self.arities = arities
        self.numbers: List[str] = []
        self.deepest = 0

    def compile(self, text: str, arguments: int) -> List[str]:
        self.tokens = re.findall(r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[A-Za-z_]\w*|\S", text) + [STOP, STOP]
        self.arguments = arguments
        self.code: List[str] = []
        self.sum()
        if self.tokens[0] != STOP:
            raise ValueError("`%s`: did not expect `%s`" % (text, self.tokens[0]))
        depth = 0
        for item in self.code:
            depth += 1 if item[0] in "=$" else 1 - self.arities[item]
            self.deepest = max(self.deepest, depth)
        return self.code

    def sum(self) -> None:
        self.chain(self.product, "+-")

    def product(self) -> None:
        self.chain(self.factor, "*/")

    def chain(self, inner: Callable[[], None], signs: str) -> None:
        inner()
        while self.tokens[0] in signs:
            sign = self.tokens.pop(0)
            inner()
            self.call(OPERATORS[sign], 2)

    def factor(self) -> None:
        token = self.tokens.pop(0)
        if token == "-":
            start = len(self.code)
            self.factor()
            if len(self.code) == start + 1 and self.code[start][0] == "=":
                self.code[start] = "=-" + self.code[start][1:] if self.code[start][1] != "-" else "=" + self.code[start][2:]
            else:
                self.call("neg", 1)
        elif token == "(":
            self.sum()
            self.expect(")")
        elif re.match(r"[\d.]+\d|\d", token) or token == "pi":
            self.code.append("=" + ("3.14159265358979323846" if token == "pi" else token))
        elif self.tokens[0] == "(":
            self.tokens.pop(0)
            count = 0
            while count == 0 or self.tokens[0] == ",":
                if count:
                    self.tokens.pop(0)
                self.sum()
                count += 1
            self.expect(")")
            self.call(token, count)
        elif token in VARIABLES and "ABC".find(VARIABLES[token]) < self.arguments:
            self.code.append("$" + VARIABLES[token])
        else:
            raise ValueError("unknown `%s` in a derivative" % token if token != STOP else "a derivative ends too early")

    def expect(self, token: str) -> None:
        if self.tokens[0] != token:
            raise ValueError("expected `%s`, found `%s`" % (token, self.tokens[0]))
        self.tokens.pop(0)

    def call(self, op: str, count: int) -> None:
        if op not in self.arities:
            raise ValueError("no operation `%s` in the table" % op)
        if self.arities[op] not in (count, 255):
            raise ValueError("`%s` takes %d arguments, not %d" % (op, self.arities[op], count))
        self.code.append(op)

    def byte(self, item: str) -> str:
        if item[0] == "=":
            if item[1:] not in self.numbers:
                self.numbers.append(item[1:])
            return "WF__RULE_CONST + %d" % self.numbers.index(item[1:])
        return "WF__RULE_" + item[1:] if item[0] == "$" else "WF__OP_" + item.upper()


def ops(table: Any, error: Callable[[Any, str], None]) -> Parts:
    rows = [(dict(zip(table.columns, row)), line) for row, line in table.rows]
    head = table
    arities: Dict[str, int] = {}
    for row, line in rows:
        if not re.match(r"^[a-z]\w*$", row["op"]) or row["op"] in arities:
            error(line, "`%s` is not a name, or stands here twice" % row["op"])
        if not re.match(r"^(\d|n)$", row["arity"]) or not re.match(r"^[a-z]\w*$", row["kind"]):
            error(line, "an arity is a digit or n, a kind a lower-case word")
            row["arity"] = "n"
        arities[row["op"]] = 255 if row["arity"] == "n" else int(row["arity"])
    if len(rows) > CONST:
        error(head, "more than %d operations" % CONST)
    rules = Rules(arities)
    code: List[Tuple[str, Any]] = []
    offsets: Dict[str, List[int]] = {}
    at = 1
    for row, line in rows:
        texts = [t.strip() for t in row["derivative"].split(";")] if row["derivative"] else []
        if len(texts) != arities[row["op"]] and (texts or row["kind"] in ("unary", "binary")):
            error(line, "%d derivatives for %s arguments" % (len(texts), row["arity"]))
        for text in texts:
            try:
                items = rules.compile(text, arities[row["op"]])
            except ValueError as problem:
                error(line, str(problem))
                continue
            offsets.setdefault(row["op"], []).append(at)
            at += len(items) + 1
            code.append(("    %s, WF__RULE_END, /* %s: %s */" % (", ".join(map(rules.byte, items)), row["op"], text), line))
    if len(rules.numbers) > 248 - CONST:
        error(head, "more than %d different numbers in derivatives" % (248 - CONST))
    width = max([len(o) for o in arities] or [0])
    most = max([len(o) for o in offsets.values()] + [2])
    kinds = list(dict.fromkeys(row["kind"] for row, _ in rows))
    pad = lambda name: " " * (width - len(name))  # noqa: E731
    zero = [0] * most
    entry = lambda op: ", ".join(map(str, (offsets.get(op, []) + zero)[:most]))  # noqa: E731
    return {
        "enum": [("enum {", head)] + [("    WF__OP_%s,%s /* %s */" % (r["op"].upper(), pad(r["op"]), r["meaning"]), n) for r, n in rows] + [("    WF__OPS", head), ("};", head)],
        "names": [("static const char *const wf__op_name[WF__OPS] = {", head)] + [('    "%s",' % r["op"], n) for r, n in rows] + [("};", head)],
        "kinds": [("enum { %s };" % ", ".join("WF__KIND_" + k.upper() for k in kinds), head), ("enum { WF__ARITY_ANY = 255 };", head),
                  ("static const unsigned char wf__op_kind[WF__OPS] = {", head)]
                 + [("    WF__KIND_%s,%s /* %s */" % (r["kind"].upper(), " " * (max(map(len, kinds)) - len(r["kind"])), r["op"]), n) for r, n in rows]
                 + [("};", head), ("static const unsigned char wf__op_arity[WF__OPS] = {", head)]
                 + [("    %s, /* %s */" % ("WF__ARITY_ANY" if r["arity"] == "n" else r["arity"], r["op"]), n) for r, n in rows] + [("};", head)],
        "rules": [("enum { WF__RULE_CONST = 192, WF__RULE_A = 248, WF__RULE_B, WF__RULE_C, WF__RULE_Y, WF__RULE_U, WF__RULE_END = 255, WF__RULE_STACK = %d };" % rules.deepest, head),
                  ("static const double wf__rule_number[] = { %s };" % (", ".join(n if re.search(r"[.eE]", n) else n + ".0" for n in rules.numbers) or "0.0"), head),
                  ("static const unsigned char wf__rule_byte[] = {", head), ("    WF__RULE_END,", head)] + code
                 + [("};", head), ("static const unsigned short wf__op_rule[WF__OPS][%d] = {" % most, head)]
                 + [("    { %s }, /* %s */" % (entry(r["op"]), r["op"]), n) for r, n in rows] + [("};", head)],
        "doc": [("%s%s  %s" % (r["op"], pad(r["op"]), r["meaning"]), n) for r, n in rows],
    }


def errors(table: Any, error: Callable[[Any, str], None]) -> Parts:
    width = max([len(row[0]) for row, _ in table.rows] or [0])
    for row, line in table.rows:
        if not re.match(r"^WF_\w+$", row[0]) or not re.match(r"^-?\d+$", row[1]) or '"' in row[2]:
            error(line, "expected WF_NAME | number | text without quotation marks")
    for column in (0, 1):
        values = [row[column] for row, _ in table.rows]
        for at, (row, line) in enumerate(table.rows):
            if row[column] in values[:at]:
                error(line, "`%s` stands here twice" % row[column])
    last = len(table.rows) - 1
    return {
        "enum": [("enum {", table)] + [("    %-*s = %s%s /* %s */" % (width, row[0], row[1], "," if i < last else "", row[2]), n) for i, (row, n) in enumerate(table.rows)] + [("};", table)],
        "cases": [('case %s: return "%s";' % (row[0], row[2]), n) for row, n in table.rows],
        "doc": [("%-*s %4s  %s" % (width, row[0], row[1], row[2]), n) for row, n in table.rows],
    }


def rows(table: Any, error: Callable[[Any, str], None]) -> Parts:
    return {"": [("{ %s }," % ", ".join(row), n) for row, n in table.rows]}


def macros(table: Any, error: Callable[[Any, str], None], sets: List[List[str]], stamp: Callable[[str, str, List[str]], str]) -> Parts:
    out: List[Tuple[str, Any]] = []
    for column in table.columns[1:]:
        if column not in [row[0] for row in sets]:
            error(table, "no instruction set `%s`" % column)
    for row in sets:
        if row[0] not in table.columns[1:]:
            continue
        column = table.columns.index(row[0])
        if out:
            out.append(("", table))
        if row[2]:
            out.append(("#if " + row[2], table))
        for values, line in table.rows:
            if values[column]:
                out.append(("#define WF__%s_%s %s" % (row[0].upper(), values[0], stamp(values[column], "isa", row)), line))
        if row[2]:
            out.append(("#endif", table))
    return {"": out}


KINDS: Dict[str, Tuple[Callable[..., Parts], List[str]]] = {
    "ops": (ops, ["op", "kind", "arity", "derivative", "meaning"]), "errors": (errors, ["name", "value", "text"]), "rows": (rows, []), "macros": (macros, ["op"]),
}


def parts(table: Any, error: Callable[[Any, str], None], sets: List[List[str]], stamp: Callable[[str, str, List[str]], str]) -> Parts:
    """Every part of a table, as lines of C."""
    if table.kind not in KINDS:
        error(table, "no kind of table `%s`; there are %s" % (table.kind, ", ".join(KINDS)))
        return {}
    make, columns = KINDS[table.kind]
    if table.columns[:len(columns)] != columns:
        error(table, "a table of kind %s has the columns %s" % (table.kind, " | ".join(columns)))
        return {}
    for row, line in table.rows:
        if "*/" in "|".join(row) or "/*" in "|".join(row):
            error(line, "a table cannot hold a comment")
    return make(table, error, sets, stamp) if table.kind == "macros" else make(table, error)
