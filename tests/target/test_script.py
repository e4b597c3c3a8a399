"""What is a site, what it is called, and that names stay when other parts of the script change."""

import ast
import warnings
from pathlib import Path

import pytest

from autoresearch_rl.errors import EditError
from autoresearch_rl.records import script_id
from autoresearch_rl.target.normal import normal_id
from autoresearch_rl.target.script import MAX_DEPTH, Script

SCRIPTS = Path(__file__).parent / "scripts"
PLAIN = (SCRIPTS / "plain.txt").read_text(encoding="utf-8")
ODD = (SCRIPTS / "odd.txt").read_text(encoding="utf-8")
STYLES = {
    "plain": PLAIN,
    "odd": ODD,
    "crlf": ODD.replace("\n", "\r\n"),
    "mixed": ODD.replace("\n", "\r\n", 4),
}


def codes(source: str) -> dict[str, str]:
    return {name: site.code for name, site in Script(source).sites.items()}


def test_sites_of_a_script_are_exactly_its_knobs() -> None:
    assert codes(PLAIN) == {
        "WIDTH": "64",
        "HIDDEN": "4",
        "HIDDEN#2": "2",
        "BETAS[0]": "0.9",
        "BETAS[1]": "0.95",
        "STEPS": "1_000",
        "DROPOUT": "0.0",
        "SCHEDULE": '"cosine"',
        "COMPILE": "False",
        "Config.depth": "4",
        "Config.rates[0]": "3e-4",
        "Config.rates[1]": "-1.5E-2",
        "Block.__init__.dropout": "0.1",
        "Block.__init__.act": "F.gelu",
        "Block.__init__.bias": "True",
        "Block.__init__.norm": "nn.LayerNorm",
        "Block.__init__.norm(eps)": "1e-5",
        "Block.__init__.norm#2": "nn.LayerNorm",
        "Block.__init__.norm(eps)#2": "1e-6",
        "Block.__init__.Linear(1)": "256",
        "Block.__init__.Linear(bias)": "False",
        "Block.forward.activation": "F.silu",
        "train.Block(0)": "64",
        "train.Dropout(0)": "0.2",
        "train.Block(dim)": "32",
        "train.Block(act)": "nn.ReLU",
        "train.optimizer": "torch.optim.AdamW",
        "train.optimizer(lr)": "3e-4",
        "train.optimizer(betas)[0]": "0.8",
        "train.optimizer(betas)[1]": "0.99",
        "train.optimizer(weight_decay)": "0.1",
        "train.batches(0)": "32",
    }


def test_kinds_lines_and_choices() -> None:
    sites = Script(PLAIN).sites
    assert [sites[n].kind for n in ("WIDTH", "DROPOUT", "COMPILE", "SCHEDULE")] == [
        "int",
        "float",
        "bool",
        "choice",
    ]
    assert sites["WIDTH"].line == 1 + PLAIN[: PLAIN.index("WIDTH = 64")].count("\n")
    assert sites["SCHEDULE"].choices == ('"cosine"', '"linear"', '"constant"')
    assert sites["Block.__init__.norm"].choices == ("nn.LayerNorm", "nn.RMSNorm")
    assert {"F.relu", "F.silu"} <= set(sites["Block.forward.activation"].choices)
    assert sites["WIDTH"].choices == ()


@pytest.mark.parametrize("style", STYLES)
def test_spans_hold_the_code_in_characters_and_never_overlap(style: str) -> None:
    source = STYLES[style]
    end_before = 0
    sites = Script(source).sites
    assert len(sites) >= 20
    for site in sites.values():
        start, end = site.span
        assert source[start:end] == site.code
        assert start >= end_before
        end_before = end
        assert site.kind == "choice" or ast.literal_eval(site.code) is not None


def test_odd_writing_is_understood() -> None:
    found = codes(STYLES["crlf"])
    expected = {
        "RATE": "3e-4",
        "BREITE": "96",
        "BETAS[0]": ".9",
        "BETAS[2]": "0.999",
        "BIG": "1E+3",
        "MIX": "2",
        "MIX#3": "2",
        "Ä.tief": "2",
        "Ä.__init__.名前": "'relu'",
        "Ä.__init__.norm": "nn . LayerNorm",
        "Ä.forward.activation#2": "F.gelu",
        "train.warm": "-3",
    }
    assert expected.items() <= found.items()


@pytest.mark.parametrize(
    "other",
    [
        PLAIN.replace("WIDTH = 64", "NEW = 5\nEXTRA = (1, 2.5)\nWIDTH = 64"),
        PLAIN.replace(
            "    def forward", "    def extra(self, p=0.3):\n        return F.gelu(p)\n\n    def forward"
        ),
        PLAIN.replace("class Config:", "# a comment\n\n\nclass Config:"),
        PLAIN.replace("    local = 7", "    local = nn.Dropout(0.5)"),
    ],
)
def test_names_stay_when_another_part_changes(other: str) -> None:
    assert other != PLAIN
    assert codes(PLAIN).items() < codes(other).items() or codes(PLAIN) == codes(other)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = 1\ny = (\n", "line 2: "),
        ("x = 1\ny = \0\n", "line "),
        ("x = 1\n\ny = '\ud800'\n", "line 3: expected UTF-8 text"),
        ("x = 1\n\x0cy = 2\n", "line 2: .*form feeds"),
        ("\ufeffx = 1\n", "line 1: "),
        ("x = 1\ny = " + "-" * (MAX_DEPTH + 1) + "1\n", "line 2: nested deeper"),
        ("x = " + "-" * 60_000 + "1\n", "nested too deeply"),
        ("x = " + "(" * 9_000 + "1" + ")" * 9_000, "too many nested parentheses"),
        ("x = y" + ".a" * 30_000, "nested too deeply"),
    ],
)
def test_what_cannot_be_edited_is_refused_in_one_line(source: str, reason: str) -> None:
    with pytest.raises(EditError, match=reason) as caught:
        Script(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source", ["x = 1", "x = 1\n\n   \n", "x = 1\n\t", "if 1:\n    x = 1\n    # end\n  # odd\n"]
)
def test_any_end_of_file_can_be_edited(source: str) -> None:
    assert codes(source) == {"x": "1"}


def test_parsing_warns_nobody_about_the_scripts_own_text() -> None:
    assert codes('x = 1\ny = "\\d"\n') == {"x": "1"}


def test_a_script_is_a_value() -> None:
    script = Script(PLAIN)
    assert script == Script(PLAIN)
    assert script != Script(PLAIN + "\n")
    assert script.id == script_id(PLAIN)
    assert script.sites is script.sites
    with pytest.raises(AttributeError):
        script.source = "x = 1"  # type: ignore[misc]
    with pytest.raises(TypeError):
        script.sites["WIDTH"] = script.sites["STEPS"]  # type: ignore[index]


def test_an_integer_that_cannot_be_printed_is_refused() -> None:
    with pytest.raises(EditError, match="line 2: expected integers of up to 4300 digits"):
        Script("x = 1\ny = 0x" + "f" * 5000 + "\n")


def test_what_a_text_deserves_is_no_warning_about_this_program() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        script = Script("x = 1if True else 2\ny = '\\d'\nassert (x, 'always')\nz = 3\n")
        assert "z" in script.sites
        assert "z" in script.syntax.names
        assert normal_id(script.source) == script.normal.id
