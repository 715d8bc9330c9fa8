"""TeX formulas as MathML: the part of TeX that the book uses. Anything else is an error which says where."""
from __future__ import annotations

import html
import re
from typing import Dict, List, Optional, Tuple


class TexError(ValueError):
    """A message and the offset in the formula."""

    def __init__(self, text: str, at: int) -> None:
        super().__init__(text)
        self.at = at


def pairs(text: str) -> Dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2]))


LETTERS = pairs("alpha α beta β gamma γ delta δ epsilon ϵ varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι kappa κ lambda λ mu μ nu ν xi ξ pi π rho ρ varrho ϱ "
                "sigma σ tau τ upsilon υ phi ϕ varphi φ chi χ psi ψ omega ω Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω "
                "partial ∂ nabla ∇ infty ∞ ell ℓ hbar ℏ emptyset ∅ forall ∀ exists ∃ Re ℜ Im ℑ top ⊤ bot ⊥ dots … ldots … cdots ⋯ vdots ⋮ ddots ⋱ prime ′ "
                "square □ blacksquare ■ checkmark ✓ dagger † star ⋆ degree °")
OPERATORS = pairs("cdot ⋅ times × odot ⊙ otimes ⊗ oplus ⊕ ominus ⊖ pm ± mp ∓ circ ∘ ast ∗ div ÷ le ≤ leq ≤ ge ≥ geq ≥ ne ≠ neq ≠ approx ≈ sim ∼ simeq ≃ cong ≅ equiv ≡ "
                  "propto ∝ in ∈ notin ∉ ni ∋ subset ⊂ subseteq ⊆ supset ⊃ supseteq ⊇ cup ∪ cap ∩ setminus ∖ to → rightarrow → leftarrow ← leftrightarrow ↔ mapsto ↦ "
                  "Rightarrow ⇒ Leftarrow ⇐ Leftrightarrow ⇔ implies ⇒ iff ⇔ gets ← longrightarrow ⟶ rightharpoonup ⇀ uparrow ↑ downarrow ↓ ll ≪ gg ≫ prec ≺ succ ≻ preceq ⪯ "
                  "succeq ⪰ perp ⟂ parallel ∥ mid ∣ land ∧ lor ∨ wedge ∧ vee ∨ neg ¬ lnot ¬ bullet ∙ colon : coloneqq ≔ triangleq ≜ asymp ≍ doteq ≐ models ⊨ vdash ⊢")
BIG = pairs("sum ∑ prod ∏ coprod ∐ bigcup ⋃ bigcap ⋂ bigoplus ⨁ bigotimes ⨂")
INTEGRALS = pairs("int ∫ iint ∬ iiint ∭ oint ∮")
FUNCTIONS = set("log ln exp sin cos tan sinh cosh tanh arcsin arccos arctan arg det dim ker deg gcd tr sgn".split())
LIMITS = set("max min sup inf lim limsup liminf argmax argmin".split())
DELIMITERS = pairs("langle ⟨ rangle ⟩ lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉ lvert | rvert | lVert ‖ rVert ‖ vert | Vert ‖ lbrace { rbrace } { { } } | ‖")
ACCENTS = pairs("hat ^ widehat ^ bar ¯ overline ¯ tilde ~ widetilde ~ vec → dot ˙ ddot ¨ check ˇ breve ˘ overrightarrow →")
SPACES = {",": "0.167em", ":": "0.222em", ";": "0.278em", "!": "-0.167em", " ": "0.25em", "quad": "1em", "qquad": "2em", "enspace": "0.5em", "thinspace": "0.167em"}
BIGGER = {w + s: z for w, z in (("big", "1.2em"), ("Big", "1.8em"), ("bigg", "2.4em"), ("Bigg", "3em")) for s in ("", "l", "r", "m")}
FONTS = {"mathbb": (0x1D538, 0x1D552, 0x1D7D8, dict(zip("CHNPQRZ", "ℂℍℕℙℚℝℤ"))), "mathcal": (0x1D49C, 0x1D4B6, 0, dict(zip("BEFHILMRego", "ℬℰℱℋℐℒℳℛℯℊℴ"))),
         "mathscr": (0x1D49C, 0x1D4B6, 0, dict(zip("BEFHILMRego", "ℬℰℱℋℐℒℳℛℯℊℴ"))), "mathbf": (0x1D400, 0x1D41A, 0x1D7CE, {}), "mathsf": (0x1D5A0, 0x1D5BA, 0x1D7E2, {}),
         "mathfrak": (0x1D504, 0x1D51E, 0, dict(zip("CHIRZ", "ℭℌℑℜℨ"))), "boldsymbol": (0x1D468, 0x1D482, 0x1D7CE, dict(zip("αβγδεζηθικλμνξοπρςστυφχψω", map(chr, range(0x1D736, 0x1D74F)))))}
MATRICES = {"matrix": "", "pmatrix": "()", "bmatrix": "[]", "Bmatrix": "{}", "vmatrix": "||", "Vmatrix": "‖‖", "cases": "{", "array": ""}
ALIGNED = {"aligned", "align", "align*", "split", "gathered", "gather", "gather*"}
TOKEN = re.compile(r"\s*(\\(?:operatorname\*|[A-Za-z]+|.)|\d+(?:\.\d+)?|.)", re.S)


def font(kind: str, text: str) -> str:
    upper, lower, digit, special = FONTS[kind]
    out = ""
    for c in text:
        base = upper + ord(c) - 65 if "A" <= c <= "Z" else lower + ord(c) - 97 if "a" <= c <= "z" else digit + ord(c) - 48 if c.isascii() and c.isdigit() and digit else ord(c)
        out += special.get(c, chr(base))
    return out


def mo(text: str, more: str = "") -> str:
    return "<mo%s>%s</mo>" % (more, html.escape(text, False))


def mi(text: str, more: str = "") -> str:
    return "<mi%s>%s</mi>" % (more, html.escape(text, False))


class Tex:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def peek(self) -> str:
        found = TOKEN.match(self.text, self.at)
        return found.group(1) if found else ""

    def next(self) -> str:
        found = TOKEN.match(self.text, self.at)
        if not found:
            raise TexError("formula ends too early", len(self.text))
        self.start, self.at = found.start(1), found.end()
        return found.group(1)

    def fail(self, text: str) -> TexError:
        return TexError(text, self.start)

    def expect(self, token: str) -> None:
        if self.next() != token:
            raise self.fail("expected `%s`" % token)

    def raw(self) -> str:
        """The text of a {group}, unread."""
        self.expect("{")
        depth, begin = 1, self.at
        while depth:
            if self.at >= len(self.text):
                raise TexError("a brace is never closed", begin)
            depth += {"{": 1, "}": -1}.get(self.text[self.at], 0)
            self.at += 1
        return self.text[begin:self.at - 1]

    def row(self, *ends: str) -> str:
        """Everything up to one of the ends, which is left unread."""
        out: List[str] = []
        while self.peek() not in ends:
            if not self.peek():
                raise TexError("formula ends where `%s` is missing" % ends[0], len(self.text))
            out.append(self.scripted())
        return out[0] if len(out) == 1 else "<mrow>%s</mrow>" % "".join(out)

    def argument(self) -> str:
        if self.peek() == "{":
            self.next()
            inner = self.row("}")
            self.next()
            return inner
        if self.peek() in ("", "}", "&", "^", "_"):
            self.start = self.at
            raise self.fail("an argument is missing")
        if self.peek()[0].isdigit():
            digit = self.next()[0]  # TeX takes one digit: \frac12
            self.at = self.start + 1
            return "<mn>%s</mn>" % digit
        return self.atom()[0]

    def scripted(self) -> str:
        base, kind = ("<mrow></mrow>", "") if self.peek() in ("^", "_", "'") else self.atom()
        sub: Optional[str] = None
        sup: Optional[str] = None
        while self.peek() in ("^", "_", "'"):
            token = self.next()
            if token == "'":
                primes = "′"
                while self.peek() == "'":
                    self.next()
                    primes += "′"
                sup = mo(primes) if sup is None else "<mrow>%s%s</mrow>" % (sup, mo(primes))
            elif token == "^":
                if sup is not None and not sup.startswith("<mo>′"):
                    raise self.fail("two superscripts")
                sup = self.argument() if sup is None else "<mrow>%s%s</mrow>" % (sup, self.argument())
            elif sub is not None:
                raise self.fail("two subscripts")
            else:
                sub = self.argument()
        if sub is not None or sup is not None:
            tags = ("munder", "mover", "munderover") if kind == "limits" else ("msub", "msup", "msubsup")
            base = "<%s>%s</%s>" % (tags[0], base + (sub or ""), tags[0]) if sup is None else "<%s>%s</%s>" % (tags[1], base + sup, tags[1]) if sub is None else "<%s>%s</%s>" % (tags[2], base + sub + sup, tags[2])
        return base + mo("\u2061") if kind == "function" else base

    def atom(self) -> Tuple[str, str]:
        """One element, and whether scripts go to its limits or a function's argument follows."""
        token = self.next()
        if token[0] == "\\":
            return self.command(token[1:])
        if token == "{":
            inner = self.row("}")
            self.next()
            return "<mrow>%s</mrow>" % inner, ""
        if token[0].isdigit():
            return "<mn>%s</mn>" % token, ""
        if token[0].isalpha():
            return mi(token), ""
        if token in "}&$#%":
            raise self.fail("did not expect `%s`" % token)
        return mo({"-": "−", "*": "∗"}.get(token, token), ' stretchy="false"' if token in "()[]|" else ""), ""

    def delimiter(self) -> str:
        token = self.next()
        if token[0] == "\\":
            if token[1:] not in DELIMITERS and token[1:] not in ("uparrow", "downarrow"):
                raise self.fail("`%s` is not a delimiter" % token)
            return DELIMITERS.get(token[1:]) or OPERATORS[token[1:]]
        if token not in "()[]|./<>":
            raise self.fail("`%s` is not a delimiter" % token)
        return {".": "", "<": "⟨", ">": "⟩"}.get(token, token)

    def command(self, name: str) -> Tuple[str, str]:
        if name in LETTERS:
            return mi(LETTERS[name], ' mathvariant="normal"' if LETTERS[name].isupper() or name in ("partial", "nabla", "infty") else ""), ""
        if name in OPERATORS:
            return mo(OPERATORS[name]), ""
        if name in BIG:
            return mo(BIG[name]), "limits"
        if name in INTEGRALS:
            return mo(INTEGRALS[name]), ""
        if name in FUNCTIONS:
            return mi(name), "function"
        if name in LIMITS:
            return mo({"argmax": "arg\u2009max", "argmin": "arg\u2009min"}.get(name, name), ' movablelimits="true" form="prefix" lspace="0" rspace="0.167em"'), "limits"
        if name in DELIMITERS:
            return mo(DELIMITERS[name], ' stretchy="false"'), ""
        if name in SPACES:
            return '<mspace width="%s"/>' % SPACES[name], ""
        if name in ACCENTS:
            wide = name.startswith(("wide", "over"))
            return '<mover accent="true">%s%s</mover>' % (self.argument(), mo(ACCENTS[name], ' stretchy="%s"' % ("true" if wide else "false"))), ""
        if name in FONTS:
            text = self.raw() if self.peek() == "{" else self.next()
            text = re.sub(r"\\([A-Za-z]+)\s*", lambda m: LETTERS.get(m.group(1), "\0"), text)
            if "\0" in text or not re.match(r"^[\w\s]*$", text):
                raise self.fail("\\%s takes letters" % name)
            return mi(font(name, text.strip())), ""
        if name in ("mathrm", "mathit", "operatorname", "operatorname*", "text", "textrm", "textit", "textbf"):
            text = (self.raw() if self.peek() == "{" else self.next()).replace("\\,", "\u2009").replace("~", "\u00a0").replace("\\_", "_").replace("\\ ", " ")
            if "\\" in text:
                raise self.fail("\\%s takes plain text" % name)
            if name.startswith("text"):
                return "<mtext>%s</mtext>" % html.escape(re.sub(r"^ | $", "\u00a0", text), False), ""
            kind = {"operatorname": "function", "operatorname*": "limits"}.get(name, "")
            return (mo(text, ' movablelimits="true" form="prefix"') if kind == "limits" else mi(text, ' mathvariant="normal"' if len(text) == 1 and name != "mathit" else "")), kind
        if name in ("frac", "tfrac", "dfrac", "binom"):
            inner = self.argument() + self.argument()
            style = {"tfrac": ' displaystyle="false"', "dfrac": ' displaystyle="true"'}.get(name)
            made = "<mfrac%s>%s</mfrac>" % (' linethickness="0"' if name == "binom" else "", inner)
            return ("<mrow>%s%s%s</mrow>" % (mo("("), made, mo(")")) if name == "binom" else "<mstyle%s>%s</mstyle>" % (style, made) if style else made), ""
        if name == "sqrt":
            if self.peek() != "[":
                return "<msqrt>%s</msqrt>" % self.argument(), ""
            self.next()
            index = self.row("]")
            self.next()
            return "<mroot>%s%s</mroot>" % (self.argument(), index), ""
        if name in ("overset", "stackrel", "underset"):
            first, second = self.argument(), self.argument()
            return "<m%s>%s%s</m%s>" % (("under" if name == "underset" else "over"), second, first, ("under" if name == "underset" else "over")), "limits" if name == "underset" else ""
        if name in ("underbrace", "overbrace", "underline"):
            tag, sign = {"underbrace": ("munder", "⏟"), "overbrace": ("mover", "⏞"), "underline": ("munder", "_")}[name]
            return "<%s>%s%s</%s>" % (tag, self.argument(), mo(sign, ' stretchy="true"'), tag), "limits"
        if name in ("mathrel", "mathbin", "mathop"):
            text = self.raw()
            while name == "mathrel" and self.peek() == "=":
                text += self.next()  # `\mathrel{+}=` is one sign
            return mo(text), "limits" if name == "mathop" else ""
        if name == "left":
            return self.fenced(), ""
        if name in BIGGER:
            return mo(self.delimiter(), ' stretchy="true" minsize="%s" maxsize="%s"' % (BIGGER[name], BIGGER[name])), ""
        if name == "begin":
            return self.environment(), ""
        if name == "boxed":
            return '<mrow class="boxed">%s</mrow>' % self.argument(), ""
        if name in ("bmod", "pmod"):
            return (mo("mod") if name == "bmod" else "<mrow>%s%s%s%s</mrow>" % (mo("("), mi("mod") + '<mspace width="0.3em"/>', self.argument(), mo(")"))), ""
        if name == "not":
            return mo(OPERATORS.get(self.next().lstrip("\\"), "=") + "\u0338"), ""
        if name in ("displaystyle", "textstyle", "limits", "nolimits"):
            return "<mrow></mrow>", ""
        if name in "%_&#$" and name:
            return mo(name), ""
        raise self.fail("unknown TeX command `\\%s`" % name)

    def fenced(self) -> str:
        out = [mo(self.delimiter(), ' fence="true" form="prefix"')]
        while True:
            out.append(self.row("\\right", "\\middle"))
            token = self.next()
            out.append(mo(self.delimiter(), ' fence="true" form="%s"' % ("postfix" if token == "\\right" else "infix")))
            if token == "\\right":
                return "<mrow>%s</mrow>" % "".join(out)

    def environment(self) -> str:
        name = self.raw()
        if name not in MATRICES and name not in ALIGNED:
            raise self.fail("unknown environment `%s`" % name)
        if name == "array":
            self.raw()
        rows: List[List[str]] = [[]]
        while True:
            rows[-1].append(self.row("&", "\\\\", "\\end"))
            token = self.next()
            if token == "\\\\":
                rows.append([])
            elif token == "\\end":
                break
        if self.raw() != name:
            raise self.fail("\\begin{%s} has another \\end" % name)
        if rows[-1] == ["<mrow></mrow>"] and len(rows) > 1:
            rows.pop()
        body = "".join("<mtr>%s</mtr>" % "".join("<mtd>%s</mtd>" % c for c in r) for r in rows)
        if name in ALIGNED:
            return '<mtable displaystyle="true" class="%s">%s</mtable>' % ("gathered" if name.startswith("gather") else "aligned", body)
        signs = MATRICES[name]
        table = "<mtable%s>%s</mtable>" % (' class="cases"' if name == "cases" else "", body)
        left = mo(signs[0], ' fence="true" form="prefix"') if signs else ""
        return "<mrow>%s%s%s</mrow>" % (left, table, mo(signs[1], ' fence="true" form="postfix"') if len(signs) > 1 else "")


def mathml(text: str, block: bool = False) -> str:
    """The formula as a <math> element; raises TexError."""
    tex = Tex(text.rstrip())
    tex.start = 0
    out = []
    while tex.peek():
        if tex.peek() in ("\\\\", "&"):
            return mathml("\\begin{aligned}%s\\end{aligned}" % text, block)
        out.append(tex.scripted())
    if block:
        return '<math display="block"><mrow>%s</mrow></math>' % "".join(out)
    return "<math><mrow>%s</mrow></math>" % "".join(out)
