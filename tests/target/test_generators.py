"""The moves of each kind of literal, and that every candidate is valid, new and reversible."""

import ast
import math
from pathlib import Path

import pytest
import toy
from hypothesis import example, given
from hypothesis import strategies as st

from autoresearch_rl.records import Candidate
from autoresearch_rl.target.edits import LIMIT_BYTES, apply, validate
from autoresearch_rl.target.generators.literals import Literals, moves
from autoresearch_rl.target.script import Script
from autoresearch_rl.target.space import Space

SCRIPTS = Path(__file__).parent / "scripts"
PLAIN = Script((SCRIPTS / "plain.txt").read_text(encoding="utf-8"))
ODD = Script((SCRIPTS / "odd.txt").read_text(encoding="utf-8"))
CRLF = Script(ODD.source.replace("\n", "\r\n"))
TRAIN = "\ndef train(env):\n    return env\n"


def found_in(script: Script, tried: tuple[str, ...] = ()) -> list[Candidate]:
    return Space([Literals()], compound=False).candidates(script, tried)


def news(literal: str, name: str = "X") -> list[str]:
    return [c.edit.changes[0].new for c in found_in(Script(f"{name} = {literal}{TRAIN}"))]


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ("3e-4", "9e-6 3e-5 9e-5 1.5e-4 2.1e-4 2.55e-4 3.6e-4 4.2e-4 6e-4 9e-4 3e-3 9e-3"),
        ("1E-3", "3E-5 1E-4 3E-4 5E-4 7E-4 8.5E-4 1.2E-3 1.4E-3 2E-3 3E-3 1E-2 3E-2"),
        ("100.", "3.0 10.0 30.0 50.0 70.0 85.0 120.0 140.0 200.0 300.0 1000.0 3000.0"),
        ("-0.25", "-0.0075 -0.025 -0.075 -0.125 -0.175 -0.212 -0.3 -0.35 -0.5 -0.75 -2.5 -7.5"),
        ("0.9", "0.99 0.97 0.95 0.93 0.915 0.88 0.86 0.8 0.7"),
        ("0.999", "0.9999 0.9997 0.9995 0.9993 0.99915 0.9988 0.9986 0.998 0.997 0.99"),
        ("0.0", "0.01 0.1"),
        ("1e400", ""),
        ("64", "8 16 32 48 56 72 80 96 128 256 512"),
        ("128", "16 32 64 96 112 144 160 192 256 512 1024"),
        ("96", "16 24 48 72 88 104 120 144 192 384 768"),
        ("100", "10 20 50 80 90 110 120 150 200 400 800"),
        ("37", "5 9 18 28 33 41 46 56 74 148 296"),
        ("-8", "-1 -2 -4 -6 -7 -9 -10 -12 -16 -32 -64"),
        ("1_000_000", "100_000 200_000 500_000 800_000 900_000 1_100_000 1_200_000 1_500_000 2_000_000 "
         "4_000_000 8_000_000"),
        ("4", "3 5 2 6 8 16 1"),
        ("3", "2 4 6 1 12"),
        ("2", "1 3 4 8"),
        ("1", "2 4"),
        ("0", "1"),
        ("-1", "-2 -4"),
        ("9" * 4300, ""),
        ("True", "False"),
        ("False", "True"),
        ('"cosine"', '"linear" "constant"'),
        ("nn.LayerNorm", "nn.RMSNorm"),
    ],
)  # fmt: skip
def test_moves(literal: str, expected: str) -> None:
    assert news(literal) == expected.split()


@pytest.mark.parametrize(
    ("name", "literal", "expected"),
    [
        ("BETA1", "0.4", "0.02 0.06 0.17 0.29 0.52 0.67 0.87 0.95"),  # never 1 or more
        ("MOMENTUM", "0.0", "0.5 0.9"),
        ("DROPOUT", "0.0", "0.02 0.05 0.1 0.2"),
        ("DROPOUT", "0.1", "0.0 0.003 0.01 0.03 0.06 0.15 0.25 0.53"),  # at most 0.7
        ("COOLDOWN", "0.5", "0.0 0.03 0.09 0.23 0.38 0.62 0.75 0.91 0.97"),
        ("WARMUP", "0.1", "0.0 0.003 0.01 0.03 0.06 0.15 0.25 0.53 0.77"),
        ("WARMUP", "100.0", "3.0 10.0 30.0 50.0 70.0 85.0 120.0 140.0 200.0 300.0 1000.0 3000.0"),
        ("LR", "0.6", "0.018 0.06 0.18 0.3 0.42 0.51 0.72 0.84 1.2 1.8 6.0 18.0"),  # no share
        ("EPS", "1e-8", "1e-11 1e-9 1e-7 1e-5"),
        ("FUSED", "True", "False"),
    ],
)  # fmt: skip
def test_moves_by_what_a_number_is_called(name: str, literal: str, expected: str) -> None:
    assert news(literal, name) == expected.split()


def test_a_bold_step_comes_before_a_nudge_a_leap_a_switch_and_another_name() -> None:
    source = "RATE = 1e-3\nTIE = False\nact = torch.nn.functional.gelu\n"
    odds = {c.edit.changes[0].new: c.odds for c in Literals().propose(Script(source))}
    assert odds["2e-3"] == odds["3e-4"] == 0.0
    assert odds["True"] == pytest.approx(math.log(0.5))
    assert odds["1.2e-3"] == odds["3e-2"] == odds["torch.nn.functional.relu"] == pytest.approx(math.log(0.25))


def test_a_candidate_knows_its_operator_direction_and_magnitude() -> None:
    def known(literal: str, new: str) -> tuple[str, int, float]:
        candidates = found_in(Script(f"X = {literal}{TRAIN}"))
        found = next(c for c in candidates if c.edit.changes[0].new == new)
        return found.operator, found.direction, found.magnitude

    assert known("64", "16") == ("scale", -1, pytest.approx(math.log(4)))
    assert known("4", "5") == ("step", 1, pytest.approx(math.log(5 / 4)))
    assert known("4", "8") == ("scale", 1, pytest.approx(math.log(2)))
    assert known("-0.25", "-0.5") == ("scale", -1, pytest.approx(math.log(2)))
    assert known("0.9", "0.99") == ("scale", 1, pytest.approx(math.log(10)))  # ten times nearer to 1
    assert known("0.9", "0.7") == ("scale", -1, pytest.approx(math.log(3)))
    assert known("0.0", "0.1") == ("scale", 1, 1.0)
    assert known("0", "1") == ("step", 1, 1.0)
    assert known("True", "False") == ("toggle", 0, 1.0)
    assert known('"gelu"', '"relu"') == ("choose", 0, 1.0)


def test_moves_run_from_fine_to_drastic_and_are_few() -> None:
    by_site: dict[str, list[float]] = {}
    for candidate in found_in(Script(toy.STDLIB)):
        by_site.setdefault(candidate.edit.changes[0].site, []).append(candidate.magnitude)
    assert max(map(len, by_site.values())) <= 12
    for name in ("WIDTH", "BATCH_SIZE", "LEARNING_RATE", "WEIGHT_DECAY"):
        sizes = sorted(by_site[name])
        assert sizes[0] < 0.2
        assert any(0.4 < size < 1.2 for size in sizes)
        assert sizes[-1] > 2


literals = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(0.5, 1).map(repr),
    st.decimals(-1000, 1000, places=4).map(str),
    st.integers().map(str),
    st.integers(-20, 20).map(str),
)
names = st.sampled_from(["X", "lr", "BETA", "DROPOUT", "warmup", "eps", "block_size", "momentum", "ratio"])


@given(names, literals)
@example("X", "0.9999999999999999")  # the nearest other text is the same float
@example("momentum", "0.5")
@example("momentum", "0.9999999999999999")
@example("DROPOUT", "0.9999999")
@example("ratio", "5e-324")
def test_a_number_keeps_its_type_and_sign_and_its_bounds(name: str, literal: str) -> None:
    script = Script(f"{name} = {literal}\n")
    for (site,), move in moves(script):
        old, new = ast.literal_eval(site.code), ast.literal_eval(move.new)
        assert type(new) is type(old)
        assert math.isfinite(new)
        assert new != old
        assert new * old >= 0
        assert new != 0 or name in ("DROPOUT", "warmup", "ratio")
        assert new < 1 or old >= 1 or name in ("X", "lr", "eps", "block_size") or type(new) is int
        assert move.direction == (1 if new > old else -1)
        assert math.isfinite(move.magnitude)
        assert Script(f"{name} = {move.new}\n").sites[name].kind == site.kind


STYLES = {
    "plain": PLAIN,
    "crlf": CRLF,
    "stdlib": Script(toy.STDLIB),
    "nanochat": Script((toy.TASKS / "nanochat" / "train.py").read_text(encoding="utf-8")),
    **{
        style: Script((SCRIPTS / f"{style}_style.txt").read_text(encoding="utf-8"))
        for style in ("nanogpt", "minimal", "hub", "grouped")
    },
}


@pytest.mark.parametrize("style", STYLES)
def test_every_candidate_is_valid_new_and_can_be_undone(style: str) -> None:
    script = STYLES[style]
    found = found_in(script)
    assert len(found) > 60
    assert {candidate.generator for candidate in found} == {"literals"}
    some = found[:: len(found) // 12]  # parsing takes its time
    results = [apply(script, candidate.edit) for candidate in some]
    assert len({result.normal.id for result in results} | {script.normal.id}) == len(some) + 1
    for candidate, result in zip(some, results, strict=True):
        assert validate(result.source) is None
        assert result.sites.keys() == script.sites.keys()
        assert apply(result, candidate.edit.inverse).source == script.source


def test_tried_scripts_do_not_come_up_again() -> None:
    found = found_in(PLAIN)
    tried = tuple(apply(PLAIN, candidate.edit).normal.id for candidate in found[::3])
    assert found_in(PLAIN, tried) == [c for i, c in enumerate(found) if i % 3]


def test_moves_with_the_same_result_are_one_candidate() -> None:
    script = Script("X = 1" + TRAIN)  # 1 + 1 and 1 * 2
    assert [move.new for _, move in moves(script)] == ["2", "2", "4"]
    assert [str(c.edit) for c in found_in(script)] == ["X: 1 -> 2", "X: 1 -> 4"]


def test_no_candidates_where_the_script_does_not_validate() -> None:
    assert found_in(Script("X = 64\n")) == []


def test_candidates_respect_the_size_limit() -> None:
    source = "X = 64" + TRAIN + "# "
    script = Script(source + "é" * ((LIMIT_BYTES - len(source)) // 2))
    room = LIMIT_BYTES - len(script.source.encode())
    assert {len(c.edit.changes[0].new) for c in found_in(script)} == set(range(1, 3 + room))


def test_the_baseline_has_many_literals() -> None:
    assert len(found_in(Script(toy.STDLIB))) >= 150


def test_so_has_a_long_script() -> None:
    block = "def f{0}(a=0.1, b=64, c=True):\n    x = {0}  # é\n    return a + b * x\n\n\n"
    source = "".join(block.format(i) for i in range(40)) + TRAIN
    assert len(source.splitlines()) >= 200
    assert len(found_in(Script(source))) >= 500
