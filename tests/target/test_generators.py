"""The moves of each kind of literal, and that every candidate is valid, new and reversible."""

import ast
import math
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autoresearch_rl.records import Candidate, script_id
from autoresearch_rl.target.edits import LIMIT_BYTES, apply, validate
from autoresearch_rl.target.generators import Literals, moves
from autoresearch_rl.target.script import Script

SCRIPTS = Path(__file__).parent / "scripts"
PLAIN = Script((SCRIPTS / "plain.txt").read_text(encoding="utf-8"))
ODD = Script((SCRIPTS / "odd.txt").read_text(encoding="utf-8"))
CRLF = Script(ODD.source.replace("\n", "\r\n"))
TRAIN = "\ndef train(env):\n    return env\n"


def candidates(literal: str) -> list[Candidate]:
    return Literals().candidates(Script(f"X = {literal}{TRAIN}"))


def news(literal: str) -> list[str]:
    return [candidate.edit.changes[0].new for candidate in candidates(literal)]


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ("3e-4", "3e-5 9e-5 1.5e-4 2.1e-4 2.55e-4 3.6e-4 4.2e-4 6e-4 9e-4 3e-3"),
        ("1E-3", "1E-4 3E-4 5E-4 7E-4 8.5E-4 1.2E-3 1.4E-3 2E-3 3E-3 1E-2"),
        ("0.1", "0.01 0.03 0.05 0.07 0.085 0.12 0.14 0.2 0.3 1.0"),
        ("100.", "10.0 30.0 50.0 70.0 85.0 120.0 140.0 200.0 300.0 1000.0"),
        ("-0.25", "-0.025 -0.075 -0.125 -0.175 -0.212 -0.3 -0.35 -0.5 -0.75 -2.5"),
        ("0.9", "0.99 0.97 0.95 0.93 0.915 0.88 0.86 0.8 0.7"),
        ("0.999", "0.9999 0.9997 0.9995 0.9993 0.99915 0.9988 0.9986 0.998 0.997 0.99"),
        ("0.0", "0.01 0.1"),
        ("1e400", ""),
        ("64", "16 32 48 96 128 256"),
        ("100", "25 50 75 150 200 400"),
        ("-8", "-2 -4 -6 -12 -16 -32"),
        ("1_000_000", "250_000 500_000 750_000 1_500_000 2_000_000 4_000_000"),
        ("4", "3 5 8 2"),
        ("2", "1 3 4"),
        ("1", "2"),
        ("0", "1"),
        ("-1", "-2"),
        ("9" * 4300, ""),
        ("True", "False"),
        ("False", "True"),
        ('"cosine"', '"linear" "constant"'),
        ("nn.LayerNorm", "nn.RMSNorm"),
    ],
)
def test_moves(literal: str, expected: str) -> None:
    assert news(literal) == expected.split()


def test_a_candidate_knows_its_operator_direction_and_magnitude() -> None:
    def known(literal: str, new: str) -> tuple[str, int, float]:
        found = next(c for c in candidates(literal) if c.edit.changes[0].new == new)
        return found.operator, found.direction, found.magnitude

    assert known("64", "16") == ("scale", -1, pytest.approx(math.log(4)))
    assert known("4", "5") == ("step", 1, pytest.approx(math.log(5 / 4)))
    assert known("4", "8") == ("scale", 1, pytest.approx(math.log(2)))
    assert known("-0.25", "-0.5") == ("scale", -1, pytest.approx(math.log(2)))
    assert known("0.9", "0.99") == ("scale", 1, pytest.approx(math.log(0.99 / 0.9)))
    assert known("0.0", "0.1") == ("scale", 1, 1.0)
    assert known("0", "1") == ("step", 1, 1.0)
    assert known("True", "False") == ("toggle", 0, 1.0)
    assert known('"gelu"', '"relu"') == ("choose", 0, 1.0)


literals = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(0.5, 1).map(repr),
    st.decimals(-1000, 1000, places=4).map(str),
    st.integers().map(str),
    st.integers(-20, 20).map(str),
)


@given(literals)
@example("0.9999999999999999")  # the nearest other text is the same float
def test_a_number_keeps_its_type_and_sign(literal: str) -> None:
    site = Script(f"X = {literal}\n").sites["X"]
    old = ast.literal_eval(site.code)
    for move in moves(site):
        new = ast.literal_eval(move.new)
        assert type(new) is type(old)
        assert math.isfinite(new)
        assert new != old
        assert new * old >= 0
        assert new != 0
        assert move.direction == (1 if new > old else -1)
        assert Script(f"X = {move.new}\n").sites["X"].kind == site.kind


@pytest.mark.parametrize("script", [PLAIN, CRLF], ids=["plain", "crlf"])
def test_every_candidate_is_valid_new_and_what_apply_gives(script: Script) -> None:
    found = Literals().candidates(script)
    results = [apply(script, candidate.edit) for candidate in found]
    assert len(found) > 60
    assert all(validate(result.source) is None for result in results)
    assert len({result.id for result in results} | {script.id}) == len(found) + 1
    assert {candidate.generator for candidate in found} == {"literals"}


def test_tried_scripts_do_not_come_up_again() -> None:
    found = Literals().candidates(PLAIN)
    tried = [apply(PLAIN, candidate.edit).id for candidate in found[::3]]
    assert Literals().candidates(PLAIN, tried) == [c for i, c in enumerate(found) if i % 3]


def test_moves_with_the_same_result_are_one_candidate() -> None:
    script = Script("X = 1" + TRAIN)  # 1 + 1 and 1 * 2
    assert [m.new for m in moves(script.sites["X"])] == ["2", "2"]
    assert [str(c.edit) for c in Literals().candidates(script)] == ["X: 1 -> 2"]


def test_no_candidates_where_the_script_does_not_validate() -> None:
    assert Literals().candidates(Script("X = 64\n")) == []


def test_candidates_respect_the_size_limit() -> None:
    source = "X = 64" + TRAIN + "# "
    script = Script(source + "é" * ((LIMIT_BYTES - len(source)) // 2))
    room = LIMIT_BYTES - len(script.source.encode())
    assert {len(c.edit.changes[0].new) for c in Literals().candidates(script)} == set(range(2, 3 + room))


def test_five_hundred_candidates_take_less_than_a_second() -> None:
    block = "def f{0}(a=0.1, b=64, c=True):\n    x = {0}  # é\n    return a + b * x\n\n\n"
    source = "".join(block.format(i) for i in range(40)) + TRAIN
    assert len(source.splitlines()) >= 200
    started = time.process_time()
    found = Literals().candidates(Script(source), {script_id(source)})
    assert len(found) >= 500
    assert time.process_time() - started < 1.0
