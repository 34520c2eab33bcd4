r"""The adversarial suite: answers that execute, hang, eat memory or look right, with the statuses they may get.

Used by `tests/test_adversarial.py` and, by path, by `benchmarks/verify.py`. An attack of kind `code` tries to
create a file; `cost` wants time or memory; `near` looks like the reference and is not, or looks like nothing of
the kind and is. The texts are built here, since some have megabytes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["code", "cost", "near"]

CORRECT = frozenset({"correct"})
NOT_CORRECT = frozenset({"incorrect", "no_answer", "unparsable", "timeout", "unscored"})
# Where both sides are equal but nobody needs to see it, or where it is a matter of taste.
ANY = CORRECT | NOT_CORRECT
UNDECIDED = ANY - {"incorrect"}


class Attack(NamedTuple):
    """One case of the suite."""

    name: str
    kind: Kind
    reference: str
    response: str
    allowed: frozenset[str]
    "The statuses that it may get."


def attacks(trap: Path) -> list[Attack]:
    """All attacks; whoever executes one creates the file `trap`, or one whose name begins with it."""
    return [*_code(str(trap)), *_towers(), *_nesting(), *_long(), *_algebra(), *_near(), *_characters(), *_equal()]


def _boxed(
    kind: Kind, reference: str, answer: str, allowed: frozenset[str] = NOT_CORRECT, name: str | None = None
) -> Attack:
    name = name or f"{_short(reference)} / {_short(answer)}"
    return Attack(name, kind, reference, rf"So the answer is \boxed{{{answer}}}.", allowed)


def _short(text: str) -> str:
    line = text.encode("ascii", "backslashreplace").decode().replace("\n", " ").replace("\0", "NUL")
    return line if len(line) <= 36 else f"{line[:24]}... ({len(text):,})"


def _code(trap: str) -> Iterator[Attack]:
    texts = [
        f"__import__('os').system('touch {trap}')",
        f"().__class__.__base__.__subclasses__()[0]; open('{trap}','w')",
        f"exec(\"open('{trap}','w')\")",
        f"eval(compile(\"open('{trap}','w')\",'a','exec'))",
        f"(lambda: open('{trap}','w'))()",
        f"[open('{trap}','w') for x in [1]][0]",
        f"Symbol('x').__class__.__init__.__globals__['__builtins__']['open']('{trap}','w')",
        f"sympify(\"open('{trap}','w')\")",
        f"x.__reduce__(open('{trap}','w'))",
        f"f\"{{open('{trap}','w')}}\"",
        rf"\immediate\write18{{touch {trap}}}",
        rf"\newwrite\f\immediate\openout\f={trap}",
        r"\input{/etc/passwd}",
        r"\include{/dev/zero}",
        r"\def\x{\x\x}\x",
        r"\csname @@input\endcsname /etc/passwd",
        "{0.__class__.__init__.__globals__}",
        "{answer.__class__}",
        "%s%s%n%x%999999999d",
        "{:>999999999}",
        f"$(touch {trap})",
        f"`touch {trap}`",
        f"1; touch {trap}; echo 1",
        f"1 | tee {trap}",
        f"1 && touch {trap}",
        f"cos\nsystem\n(S'touch {trap}'\ntR.",
        f'!!python/object/apply:os.system ["touch {trap}"]',
        f"{{% for c in ().__class__.__mro__ %}}{{{{ c('{trap}') }}}}{{% endfor %}}",
        f"'; DROP TABLE traces; COPY 1 TO '{trap}'; --",
        "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>",
    ]
    for text in texts:
        yield _boxed("code", "0", text)
        yield Attack(f"plain {_short(text)}", "code", "0", f"The answer is: {text}", NOT_CORRECT)
        yield _boxed("code", text, "0", name=f"reference {_short(text)}")


def _towers() -> Iterator[Attack]:
    towers = [
        "9^{9^{9^9}}", "3^{100000000}", "999^{999^{9}}", "2^{2^{2^{2^{2^{2}}}}}", "10^{10^{10}}", "9**9**9**9",
        "(-2)^{10^{12}}", "0.5^{10^{12}}", "2^{-10^{15}}", "(1+10^{-9})^{10^{18}}", "1.0000001^{99999999999}",
        "^".join("{9" for _ in range(60)) + "}" * 60, "9" + "^9" * 200, "1e999999999", "1e-999999999",
        r"10^{999999999}\%", r"5\text{ cm}^{1000000000}", "1000000!", "((10!)!)!", "10^{9}!", "7!!!!!!",
        "(((3!)!)!)!", r"\frac{1000000!}{999998!}", r"\binom{1000000000}{500000000}", r"\binom{10^{12}}{10^{6}}",
        r"\Gamma(10^{9})", r"\gcd(10^{100000}, 6^{77777})", r"\lcm(10^{100000}, 7^{99999})",
        r"7^{10^{18}} \bmod 10^{100}", r"\sum_{n=1}^{10^9} n!", r"\sum_{n=1}^{\infty} \frac{1}{n^{1000}}",
        r"\sum_{i=1}^{10^6}\sum_{j=1}^{10^6} ij", r"\int_0^{10^9} e^{x^2} dx",
        r"\int_0^1\int_0^1\int_0^1 x^{y^{z}} dx dy dz", r"\prod_{k=1}^{10^{8}} k^k", r"\lim_{n\to\infty} n^{n^n}",
        r"\sin(10^{1000})", r"\sin(10^{10^{10}})", r"\tan(2^{1000000})", "e^{e^{e^{e^{e^{e}}}}}",
        r"\ln(9^{9^{9^9}})", r"\log_{1.0000000001}(10^{10^{6}})", r"\sqrt[1000000000]{2}",
        r"\sqrt{" * 400 + "2" + "}" * 400, r"\cos(\frac{\pi}{100003})", r"\sqrt[97]{2}+\sqrt[89]{3}+\sqrt[83]{5}",
        "+".join(rf"\sqrt{{{n}}}" for n in range(2, 80)), r"\varphi(10^{60}+1)", r"\lfloor \pi^{100000} \rfloor",
    ]  # fmt: skip
    for tower in towers:
        for small in ("5", "0", r"\frac{1}{7}"):
            yield _boxed("cost", small, tower)
    yield _boxed("cost", "9^{9^{9^9}}", "5")
    yield _boxed("cost", "1000000!", "3628800")
    yield _boxed("cost", "3^{100000000}", "3^{100000001}")
    yield _boxed("cost", "9^{9^{9^9}}", "9^{9^{9^8}}")
    yield _boxed("cost", "10^{10^{10}}", "10^{10^{10}}+1")
    yield _boxed("cost", "2^{1000000}", "2^{1000000}+1")
    yield _boxed("cost", "1000000!", "1000000!+1")
    yield _boxed("cost", "((10!)!)!", "((11!)!)!")
    yield _boxed("cost", "9^{9^{9^9}}", "9^{9^{9^9}} ", CORRECT)
    yield _boxed("cost", "3^{100000000}", "3^{10^8}", UNDECIDED)


def _nesting() -> Iterator[Attack]:
    fractions = r"\frac{1}{1+" * 200 + "1" + "}" * 200
    yield _boxed("cost", "1", fractions, name="200 nested fractions")
    yield _boxed("cost", fractions, fractions.replace("{1+1}", "{1+2}"), name="200 nested fractions, another core")
    yield _boxed("cost", "1", "1+1/(" * 2000 + "1" + ")" * 2000, name="2,000 levels of a continued fraction")
    for depth in (5_000, 100_000):
        yield _boxed("cost", "6", "(" * depth + "5" + ")" * depth, name=f"{depth:,} parentheses")
        yield _boxed("cost", "6", "{" * depth + "5" + "}" * depth, name=f"{depth:,} braces")
    yield _boxed("cost", "5", "(" * 5_000 + "5" + ")" * 5_000, UNDECIDED, "5,000 parentheses around the reference")
    yield _boxed("cost", "(" * 5_000 + "5" + ")" * 5_000, "6", name="5,000 parentheses in the reference")
    openings = [
        r"\left(",
        r"\left|",
        r"\{",
        r"\sqrt{",
        r"\frac{",
        r"\text{",
        "|",
        r"\|",
        "[",
        "{",
        "$",
        r"\[",
        r"\(",
    ]
    for opening in openings:
        yield _boxed("cost", "6", opening * 3_001 + "5", name=f"3,001 times {opening}")
        yield Attack(f"3,001 times {opening} in the text", "cost", "6", opening * 3_001 + "5", NOT_CORRECT)
    for command in (
        r"\frac",
        r"\sqrt",
        r"\pm",
        r"\cup",
        r"\overline",
        "^",
        "_",
        "-",
        "!",
        "'",
        "/",
        "=",
        "<",
        "\\",
    ):
        yield _boxed("cost", "6", command * 10_001 + "5", name=f"10,001 times {command}")
    yield _boxed("cost", "5", "-" * 10_001 + "5", name="10,001 minus signs")
    yield _boxed("cost", r"\{1\}", r"\{" * 500 + "1" + r"\}" * 500, name="sets in sets, 500 deep")
    yield _boxed("cost", "6", r"\boxed{" * 5_000 + "5" + "}" * 5_000, name="5,000 boxes in boxes")
    yield _boxed("cost", "x", "x^{x^{x^x}}")
    yield _boxed("cost", "x^{x^{x^{y}}}", "x^{x^{x^x}}")


def _long() -> Iterator[Attack]:
    prose = "and so we see that it cannot be, because the one is not the other; "
    yield Attack("500 kB of prose", "cost", "5", prose * 7_500, NOT_CORRECT)
    yield Attack("500 kB of prose and a box", "cost", "5", prose * 7_500 + r"\boxed{5}", CORRECT)
    yield Attack("500 kB of prose and a wrong box", "cost", "5", prose * 7_500 + r"\boxed{6}", NOT_CORRECT)
    yield Attack("10 MB of prose", "cost", "5", prose * 150_000, NOT_CORRECT)
    yield Attack("10 MB of prose and a box", "cost", "5", prose * 150_000 + r"\boxed{5}", UNDECIDED)
    yield _boxed("cost", "5", prose * 150_000, name="10 MB of prose in a box")
    yield _boxed("cost", "5", "7" * 10_000_000, name="10 MB of digits in a box")
    yield _boxed("cost", "7" * 1_000_000, "7" * 999_999 + "8", name="a million digits, the last differs")
    yield _boxed("cost", "0", "0" * 1_000_000, ANY, "a million zeros")
    yield _boxed("cost", "1", "0." + "9" * 5_000, name="0.99..., 5,000 digits")
    yield _boxed(
        "cost", r"\frac{1}{7}", r"0.\overline{" + "142857" * 2_000 + "3}", name="a period of 12,001 digits"
    )
    yield _boxed("cost", "5", " " * 1_000_000, name="a million spaces in a box")
    repeated = [
        "\n", "\t", "\r\n", "$", "$$", "1 ", "1.", "1,", "1,000,", "-1", "(A) ", "**", "**Answer", "#### ", "= ",
        "The answer is ", "Final Answer: ", "Therefore, the final answer is $", "A: ", "</think>", "<think>", ". ",
        r"\boxed", r"\boxed{", r"\boxed{}", r"\fbox{", r"\[", r"\] ", r"\(x", "答案", "a!", "and ", "or ", "\\\n",
    ]  # fmt: skip
    for text in repeated:
        name = f"60,000 times {_short(text)!r}"
        yield Attack(name, "cost", "77", text * 60_000, NOT_CORRECT)
        yield _boxed("cost", "77", text * 20_000, name=f"20,000 times {_short(text)!r} in a box")
    boxes = "".join(rf"perhaps \boxed{{{n}}}, " for n in range(1, 201))
    yield Attack("200 boxes", "cost", "77", boxes, NOT_CORRECT)
    yield Attack("200 equal boxes", "cost", "77", r"it is \boxed{77}. " * 200, CORRECT)
    numbers = [str(n) for n in range(10_000)]
    longer = [*numbers[:-1], "10007"]
    for name, left, right in (("set", r"\{", r"\}"), ("tuple", "(", ")"), ("list", "", "")):
        wanted, stated = (left + ",".join(parts) + right for parts in (numbers, longer))
        backwards = left + ",".join(reversed(longer)) + right
        yield _boxed("cost", wanted, stated, name=f"a {name} of 10,000, one differs")
        yield _boxed("cost", wanted, backwards, name=f"a {name} of 10,000 backwards, one differs")
        yield _boxed("cost", "5", wanted, name=f"a {name} of 10,000 against a number")
    hundred = ",".join(rf"\sqrt{{{n}}}" for n in range(2, 102))
    yield _boxed("cost", hundred, hundred.replace("101", "103").replace(",", ", "), name="100 roots, one differs")
    matrix = r"\begin{pmatrix}" + r"\\".join("&".join("1" * 200) for _ in range(200)) + r"\end{pmatrix}"
    other = matrix[: -len(r"1\end{pmatrix}")] + r"2\end{pmatrix}"
    yield _boxed("cost", matrix, other, name="a matrix of 200 x 200, one differs")
    yield _boxed("cost", "5", matrix, name="a matrix of 200 x 200 against a number")
    union = r" \cup ".join(f"({2 * n}, {2 * n + 1})" for n in range(1_000))
    yield _boxed("cost", union, union.replace("1999", "2000"), name="a union of 1,000 intervals, one differs")
    chain = r" \pm ".join(str(n) for n in range(1, 22))
    yield _boxed("cost", "5", chain, name=r"2^20 values by \pm")
    yield _boxed("cost", chain, chain + r" \pm 22", name=r"2^20 values by \pm against 2^21")
    yield _boxed("cost", "20002", "1+" * 20_000 + "1", name="a sum of 20,001 ones against 20,002")
    yield _boxed("cost", "2", "1/" * 5_000 + "1", name="5,000 divisions")
    words = " ".join(f"word{n}" for n in range(20_000))
    yield _boxed("cost", words, words + " more", name="20,000 words, one more")


def _algebra() -> Iterator[Attack]:
    names = "abcdefghjklmnpqrstuvwxyz"
    pairs = [
        ("(x+y+z+1)^{500}", "(x+y+z+1)^{500}+1"),
        ("(x+y+z+1)^{500}", "(x+y+z+2)^{500}"),
        ("x^{100000}-1", "(x-1)^{100000}"),
        ("(" + "+".join(names) + ")^{50}", "(" + "+".join(names) + ")^{51}"),
        ("".join(f"({a}+1)" for a in names), "".join(f"({a}+2)" for a in names)),
        ("+".join(f"|x-{n}|" for n in range(40)), "+".join(f"|x-{n}|" for n in range(41))),
        (r"\sin(" * 40 + "x" + ")" * 40, r"\sin(" * 41 + "x" + ")" * 41),
        (r"\sin^{40}x", "(" + "+".join(rf"\cos({n}x)^{{{n}}}" for n in range(2, 40)) + ")^{30}"),
        (r"\frac{1}{x^{200}+1}", "+".join(rf"\frac{{1}}{{x+{n}}}" for n in range(1, 100))),
        ("x^5-x+1=0", "(x^5-x+1)^{300}(x-1)=0"),
        ("x^{50}+y^{50}=z^{50}", "(x+y)^{50}=z^{50}"),
        ("x<5", "(x-5)^{201}(x^2+1)^{200}<1"),
        (r"\sqrt{x+\sqrt{x+\sqrt{x+\sqrt{x}}}}", r"\sqrt{x+\sqrt{x+\sqrt{x+\sqrt{x+1}}}}"),
        ("x^{y^{z}}", "x^{yz}"),
        (r"\log_x{y^{10^{9}}}", r"\log_x{y^{10^{8}}}"),
    ]
    for reference, answer in pairs:
        name = f"{_short(reference)} / {_short(answer)}"
        yield _boxed("cost", reference, answer, name=name)
        yield _boxed("cost", answer, reference, name=f"{name}, swapped")
    yield _boxed("cost", "(x+1)^{1000}", "(1+x)^{1000}", UNDECIDED)


def _near() -> Iterator[Attack]:
    digits = "123456789012345678901234567890123456789"
    pairs = [
        ("100", "101"), (r"\pi", "3.14"), (r"\pi", r"\frac{22}{7}"), ("0", "1e-7"), ("0", "10^{-1000}"),
        ("0", "1e-400"), ("1e400", "1e401"), (r"\infty", "1e400"), (r"\infty", r"-\infty"), ("inf", "-inf"),
        ("5", "NaN"), ("NaN", "5"), ("5", "inf"), ("5", "-inf"), ("1", "1+10^{-50}"),
        ("1", r"1-\frac{1}{10^{400}}"), ("0.3", "0.30000000000000004"), ("0.1+0.2", "0.30000000000000004"),
        (digits[:17] + "8", digits[:17] + "9"), (digits + "8", digits + "9"), ("7" * 4_000, "7" * 3_999 + "8"),
        ("7" * 5_000 + ".5", "7" * 5_000 + ".6"), (r"\frac{1}{2004!}", r"\frac{1}{2006!}"),
        (r"1-\frac{1}{e}", r"1+\frac{1}{e}"), ("262537412640768744", r"e^{\pi\sqrt{163}}"),
        (r"\sqrt{2}", "1.41421"), ("12:00", "1:00"), ("12:00", "12:01"), ("x=2", "y=2"), ("on", "no"),
        ("50", r"50\%"), (r"50\%", "50"), ("3", "3, 4"), ("3", "1,2,3"), ("3, 4", "3"), ("3", r"\{3, 4\}"),
        ("(1,2)", "(2,1)"), ("(0,1)", "[0,1]"), ("(0,1)", "(0,1]"), ("x<5", r"x\le 5"), ("x<5", "x>5"),
        ("1,234", "1.234"), (r"1\frac{1}{2}", r"\frac{11}{2}"), ("3", "3 or 4"), ("3", r"3 \text{ or } 4"),
        ("3", r"3 \pm 1"), ("3", r"\pm 3"), ("3", "-3"), ("3", "x"), ("3", "?"), ("3", r"\text{unknown}"),
        ("3", ""), ("3", "answer"), ("A", "B"), ("A", "A, B, C, D"), ("yes", "no"),
        ("5", r"5 \text{ or maybe } 6"), ("2^{10}", "2^{11}"), ("5 cm", "5 m"), (r"60^\circ", r"60'"),
        ("x^2", "x2"), ("10_2", "10_3"), ("1/3", "0.333"), ("1/3", "0.333333"), ("x+1", "x+2"),
        ("ab", "a+b"), (r"\sin x", r"\cos x"), ("x^2+1", "x^2-1"), (r"\frac{a}{b}", r"\frac{b}{a}"),
        ("2023-01-02", "2023-02-01"),
    ]  # fmt: skip
    for reference, answer in pairs:
        yield _boxed("near", reference, answer)
    hedges = [
        ("5", r"Either \boxed{4} or \boxed{5} or \boxed{6}."),
        ("5", r"\boxed{5}. No, wait, it must be \boxed{6}."),
        ("5", r"It could be \boxed{5}, but also \boxed{7}."),
    ]
    for number, (reference, response) in enumerate(hedges, start=1):
        yield Attack(f"hedge {number}", "near", reference, response, NOT_CORRECT)


def _characters() -> Iterator[Attack]:
    yield _boxed("near", "5", "5\x006")
    yield _boxed("near", "5", "\x00" * 10_000)
    yield _boxed("near", "12", "\u202e21")
    yield _boxed("near", "12", "\u200f21\u200e")
    yield _boxed("near", "5", "\ud800")
    yield _boxed("near", "5", "5\udfff6")
    yield _boxed("near", "\ud800", "5")
    yield _boxed("near", "a+1", "\u0430+1", ANY)
    yield _boxed("near", "12", "\uff11\uff12", CORRECT)
    yield _boxed("near", "12", "\uff11\uff13")
    yield _boxed("near", "-5", "\u22125", CORRECT)
    yield _boxed("near", "25", "2\u2075")
    yield _boxed("near", r"\frac{11}{2}", "1\u00bd")
    yield _boxed("near", "5", "\U0001d7d8" * 5_000 + "6")
    yield _boxed("near", "5", "e\u0301" * 20_000)
    yield _boxed("near", "5", "\ufdfa" * 50_000, name="50,000 characters that normalise to 18 each")
    yield Attack("null bytes around a box", "near", "5", "\x00" * 100 + r"\boxed{5}" + "\x00" * 100, CORRECT)
    yield Attack("only null bytes", "near", "5", "\x00" * 100_000, NOT_CORRECT)


def _equal() -> Iterator[Attack]:
    pairs = [
        (r"50\%", "0.5"), ("1/2", r"\dfrac{1}{2}"), (r"2\sqrt{2}", r"\sqrt{8}"), ("(x+1)^2", "x^2+2x+1"),
        ("1,000", "1000"), (r"\{1,2,3\}", r"\{3,2,1\}"), ("0.5", r"\frac{1}{3}+\frac{1}{6}"), ("5", "x=5"),
        ("0.3", "0.1+0.2"), ("7" * 18, "7" * 18), ("7" * 4_000, "7" * 4_000), (r"1-\frac{1}{e}", r"\frac{e-1}{e}"),
        ("1024", "2^{10}"), (r"\sin^2 x+\cos^2 x", "1"), ("10!", "3628800"), ("(1,2)", "(1, 2)"),
        (r"-\infty", r"-\infty"), ("[0,1)", "[0, 1)"), (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
        (r"\binom{10}{5}", "252"), ("x<5", "5>x"), ("yes", "Yes"), (r"\frac{1}{2004!}", r"\frac{1}{2004!}"),
        ("1000000!", "1000000!"), ("-1", "-1.0"), ("3, 4", "4, 3"),
    ]  # fmt: skip
    for reference, answer in pairs:
        yield _boxed("near", reference, answer, CORRECT, f"{_short(reference)} equals {_short(answer)}")
