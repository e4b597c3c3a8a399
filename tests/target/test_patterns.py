"""Patterns match code whatever its spelling; rules act on it or leave the script alone."""

import ast
from pathlib import Path

import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.target.catalogue import catalogue, read_folder, read_recipe
from autoresearch_rl.target.generators.recipes import Recipes
from autoresearch_rl.target.patterns import Bound, Source, fill, find
from autoresearch_rl.target.rewrite import Rewrite, Rule, rewrite
from autoresearch_rl.target.script import Script

IMPORTS = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"


def found(pattern: str, code: str) -> list[dict[str, str]]:
    return [{k: b.text for k, b in m.bindings.items()} for m in find(pattern, Source(code), {})]


def rewritten(rule: Rule, code: str, **more: object) -> str | None:
    return rewrite(Source(code), Rewrite((rule,), **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "code", "bindings"),
    [
        ("f($X)", "f( a  +b )", [{"X": "a  +b"}]),
        ("f($X, $X)", "f(a, b); f(a.c, a . c)", [{"X": "a.c"}]),
        ("f($X, $$A)", "f(1); f(1, 2, k=3)", [{"X": "1", "A": ""}, {"X": "1", "A": "2, k=3"}]),
        ("f($X)", "f(1, 2); f(*a, k=1)", []),
        ("f(b=$B, a=$A)", "f(a=1, b=2)", [{"B": "2", "A": "1"}]),
        ("f($$R, k=$K)", "f(1, k=2, **more)", [{"R": "1, **more", "K": "2"}]),
        ("self.$A = nn.Linear($$B)", IMPORTS + "self.up = nn.Linear(3, 4)", [{"A": "up", "B": "3, 4"}]),
        ("F.gelu($X)", "from torch.nn import functional\nfunctional.gelu(x)", [{"X": "x"}]),
        ("F.gelu($X)", "import torch\ntorch.nn.functional.gelu(x)", [{"X": "x"}]),
        ("F.gelu($X)", "from torch.nn.functional import gelu as g\ng(x)", [{"X": "x"}]),
        ("torch.optim.AdamW($P)", "from torch.optim import AdamW\nAdamW(p)", [{"P": "p"}]),
        ("F.gelu($X)", "import other as F\nF.gelu(x)", []),
        ("F.gelu($X)", "F.gelu(x)", []),
        ("$G['lr'] = $L", 'g["lr"] = 3 * x', [{"G": "g", "L": "3 * x"}]),
        ("for $B in $L:\n    $X = $B($X)", "for b in ls:\n    h = b(h)\n", [{"B": "b", "L": "ls", "X": "h"}]),
        ("for $B in $L: ...", "for b in ls:\n    pass\n    pass\n", [{"B": "b", "L": "ls"}]),
        ("$X = $X + $A\nreturn $X", "def f(x):\n    x = x + g(x)\n    return x\n", [{"X": "x", "A": "g(x)"}]),
        ("def f(self, $X, $$M): ...", "def f(self, idx, y=None):\n    pass\n", [{"X": "idx", "M": "y"}]),
        ("1", "x = 1.0; y = True", []),
    ],
)
def test_matches(pattern: str, code: str, bindings: list[dict[str, str]]) -> None:
    assert found(pattern, code) == bindings


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ("g($X)", "g(a + b)"),
        ("2 * $X", "2 * (a + b)"),
        ("y = $X", "y = (a + b)"),
        ("g($X, $$N)", "g(a + b)"),
        ("g($$N, k=1)", "g(k=1)"),
        ("g($Y, $$M)", "g(c, 1, d=2)"),
        ("self.$Y_gate", "self.c_gate"),
    ],
)
def test_templates(template: str, result: str) -> None:
    bound = {
        "X": Bound("a + b", "", False),
        "Y": Bound("c", ""),
        "N": Bound("", ""),
        "M": Bound("1, d=2", ""),
    }
    assert fill(template, bound) == result


CODE = IMPORTS + (
    "\nA = 1\n# about f\ndef f(x):\n    y = g(x)  # é 🙂\n    if y: return h(y)\n\n    return g(y)\n"
)


def test_actions() -> None:
    def line(rule: Rule) -> str | None:
        text = rewritten(rule, CODE)
        return None if text is None else text.removeprefix(IMPORTS)

    head, tail = "\nA = 1\n# about f\n", "    if y: return h(y)\n\n    return g(y)\n"
    first = "    y = g(x)  # é 🙂\n"
    assert line(Rule(("g($X)",), replace="k($X)")) == head + "def f(x):\n    y = k(x)  # é 🙂\n" + tail
    assert line(Rule(("g($X)",), before="a($X)", after="b()")) == (
        head + "def f(x):\n    a(x)\n" + first + "    b()\n" + tail
    )
    assert line(Rule(("$Y = g($X)",), replace="")) == head + "def f(x):\n" + tail
    assert line(Rule(("g($X)",), every=True, replace="k($X)")) == (
        (head + "def f(x):\n" + first + tail).replace("g(", "k(")
    )
    assert line(Rule(("def f($X): ...",), prepend="a($X)\nb()", append="c()")) == (
        head + "def f(x):\n    a(x)\n    b()\n" + first + tail + "    c()\n"
    )
    assert line(Rule(("h($X)",), before="a()")) is None  # shares its line with `if`
    assert line(Rule(("g($X)",), scope="f", where={"X": "y"}, replace="z")) == (
        head + "def f(x):\n" + first + "    if y: return h(y)\n\n    return z\n"
    )
    assert line(Rule(("g($X)",), scope="other", replace="z")) is None
    assert line(Rule(("g($X)",), unless=("h($Y)",), replace="z")) is None


def test_a_function_within_another_returns_for_itself() -> None:
    rule = Rule(("return $X",), scope="train", before="use($X)")
    text = rewritten(rule, "import torch\ndef train(env):\n    def f(a):\n        return a\n    return f\n")
    assert text is not None
    assert text.endswith("    def f(a):\n        return a\n    use(f)\n    return f\n")


def test_the_only_statement_of_a_body_becomes_pass() -> None:
    assert rewritten(Rule(("g($X)",)), "import torch\ndef f():\n    g(1)\n") is not None
    text = rewritten(Rule(("x = 1",), replace=""), "import torch\ndef f():\n    x = 1  # one\n")
    assert text == "import torch\ndef f():\n    pass  # one\n"


def test_what_goes_to_the_top() -> None:
    rule = Rule(("g($X)",), replace="G($X)")
    helper = "def G(x):\n    return math.exp(x)\n\n\n@deco\ndef H():\n    pass"
    text = rewritten(rule, CODE, helper=helper, constants=("B = 2.0  # two",))
    assert text is not None
    assert text.startswith(
        IMPORTS + "import math\n\nA = 1\nB = 2.0  # two\n" + helper + "\n\n\n# about f\ndef f(x):\n"
    )
    assert rewritten(rule, CODE, constants=("A = 2",)) is None
    assert rewritten(rule, CODE, helper="def f():\n    pass") is None
    assert rewritten(rule, CODE, absent=("h($X)",)) is None
    again = rewritten(rule, text, helper=helper)
    assert again is not None
    assert again.count("def H") == 1


def test_rules_that_touch_the_same_place_do_not_fit() -> None:
    outer, inner = Rule(("y = g($X)",), replace="y = 1"), Rule(("g($Z)",), scope="f", replace="2")
    text = rewrite(Source(CODE), Rewrite((outer, inner)))
    assert text is not None
    assert "y = 1" in text
    assert "return 2" in text  # the next match


def test_a_later_rule_decides_which_match_of_an_earlier_one_counts() -> None:
    code = "import torch\na = f(1)\nb = f(2)\nuse(b)\n"
    rules = (Rule(("$V = f($N)",), replace="$V = k($N)"), Rule(("use($V)",)))
    assert rewrite(Source(code), Rewrite(rules)) == code.replace("f(2)", "k(2)")


HEAD = 'family = "a"\nsummary = "b"\nsource = "c"\n[prior]\nodds = 0.5\nevidence = "d"\n'
GOOD = HEAD + '[[rule]]\nmatch = "f($X)"\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD.replace('family = "a"\n', ""), "recipe r: expected a key 'family', found none"),
        ("colour = 1\n" + GOOD, "recipe r: expected a key among .*; found 'colour'"),
        (GOOD + "colour = 1\n", "expected a key of a rule among .*; found 'colour'"),
        (GOOD.replace("f($X)", "f($X"), "rule 1: .* is no pattern"),
        (GOOD + 'replace = "g($Y)"\n', r"rule 1: expected metavariables bound before, found \['Y'\]"),
        (GOOD.replace("0.5", "inf"), "expected finite odds, found inf"),
        ("= 1", "recipe r: "),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        read_recipe("r", text)


def test_a_persons_own_recipes(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD.replace("f($X)", "F.gelu($X)") + 'replace = "F.silu($X)"\n')
    recipes = read_folder(tmp_path)
    assert [c.topic for c in Recipes(recipes=recipes).propose(Script(toy.STDLIB))] == ["mine"]


def test_the_catalogue_is_complete() -> None:
    assert len(catalogue()) >= 60
    for recipe in catalogue().values():
        assert recipe.summary.endswith(".")
        assert recipe.source
        assert recipe.evidence
        assert -2 <= recipe.odds <= 2
        assert all(c.partition(" =")[0].isupper() for v in recipe.variants for c in v.constants)


@settings(deadline=None, max_examples=20)
@given(st.data(), st.sampled_from([toy.STDLIB, toy.NANOGPT, toy.MINIMAL]))
def test_no_script_is_an_error(data: st.DataObject, text: str) -> None:
    """Scripts with statements dropped or repeated: a recipe fits or does not, and what it gives parses."""
    body = ast.parse(text)
    for _ in range(data.draw(st.integers(1, 4))):
        blocks = [n for n in ast.walk(body) if isinstance(getattr(n, "body", None), list) and len(n.body) > 1]
        block = data.draw(st.sampled_from(blocks)).body
        at = data.draw(st.integers(0, len(block) - 1))
        block[at : at + 1] = [block[at]] * data.draw(st.sampled_from([0, 2])) or block[at + 1 : at + 2]
    source = Source(ast.unparse(body))
    for recipe in catalogue().values():
        after = recipe.apply(source)
        assert after is None or ast.parse(after)
