"""What a person writes into program.md, and what the sandbox says of an edit, before it costs a trial."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch_rl import create_study
from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.records import Candidate, Change, Edit, StopReason, TrialKind, Verdict
from autoresearch_rl.study import Study
from autoresearch_rl.target.blocks import TEXT
from autoresearch_rl.target.script import Script
from autoresearch_rl.target.space import Space
from tiny import BIGRAM, make_task
from told import ask, measure_baseline, scored

ONLY_LITERALS = '+++\nforbid = ["compound", "grammar", "recipes", "recombination"]\nfreeze = {frozen}\n+++\n'
MODEL = "nn.Embedding(env.vocab_size, env.vocab_size)"


def opened(tmp_path: Path, script: str, program: str) -> Study:
    task = make_task(tmp_path / "task", script)
    (task / "program.md").write_text(program)
    return create_study(str(task), "one", tmp_path / "home", policy="random")


def test_the_agenda_is_copied_and_edits_of_it_count_from_the_next_trial(tmp_path: Path) -> None:
    with opened(
        tmp_path, BIGRAM, ONLY_LITERALS.format(frozen=["BETAS", "BATCH_SIZE", "DECAY", "train.optimizer"])
    ) as study:
        measure_baseline(study)
        assert {ask(study).edit.changes[0].site for _ in range(4)} == {"LEARNING_RATE"}
        program = study.notebook.folder / "program.md"
        program.write_text(
            ONLY_LITERALS.format(frozen=["LEARNING_RATE", "BETAS", "DECAY", "train.optimizer"])
        )
        assert {ask(study).edit.changes[0].site for _ in range(3)} == {"BATCH_SIZE"}
        program.write_text("+++\nfreeze = [\n+++\n")
        assert ask(study).edit.changes[0].site == "BATCH_SIZE"
        assert [n.partition(":")[0] for n in study.planner.notices] == ["program.md"]
        program.write_text("+++\nforbid = ['*']\nfreeze = ['TYPO']\n+++\n")
        assert study.ask() is None
        assert study.planner.notices == ("program.md: nothing to freeze is called 'TYPO'",)


def test_names_that_nothing_has_are_told_before_the_first_trial(tmp_path: Path) -> None:
    with opened(tmp_path, BIGRAM, "+++\nforbid = ['recipe']\nfreeze = ['BETA']\n+++\n") as study:
        study.planner.look_at_agenda()
        assert [notice.partition(";")[0] for notice in study.planner.notices] == [
            "program.md: nothing to freeze is called 'BETA'",
            "program.md: no generator is called 'recipe'",
        ]


def test_a_mistake_in_the_agenda_is_told_before_a_study_begins_or_goes_on(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"program\.md: expected freeze, forbid, weights; found 'frozen'"
    ):
        opened(tmp_path, BIGRAM, "+++\nfrozen = []\n+++\n")
    (tmp_path / "task" / "program.md").write_text("No front matter.\n")
    create_study(str(tmp_path / "task"), "two", tmp_path / "home").close()
    (tmp_path / "home" / "two" / "program.md").write_text("+++\n")
    with pytest.raises(ConfigurationError, match="the front matter has no end"):
        create_study(None, "two", tmp_path / "home")


def test_an_edit_that_does_not_build_is_remembered_and_another_is_drawn(tmp_path: Path) -> None:
    train = f"def train(env):\n    assert X\n    return {MODEL}\n"
    script = f"from torch import nn\nX = True\nY = True\n\n\n{train}"
    with opened(tmp_path, script, ONLY_LITERALS.format(frozen=[])) as study:
        measure_baseline(study)
        stop = study.run(trials=5)
        rejected = [trial for trial in study.trials if trial.verdict is Verdict.REJECTED]
        assert stop.reason is StopReason.EXHAUSTED
        assert [trial.what for trial in rejected] == ["X: True -> False"]
        assert rejected[0].reason == "shape check: AssertionError"
        assert rejected[0].reward < 0
        assert rejected[0].train_seconds == 0
        assert [t.what for t in study.trials if t.kind is TrialKind.EXPLORE and t.counts] == [
            "Y: True -> False"
        ]
    with create_study(None, "one", tmp_path / "home") as study:
        assert study.ask() is None or ask(study).kind is not TrialKind.EXPLORE


def test_a_check_that_the_best_script_does_not_pass_says_nothing(tmp_path: Path) -> None:
    """It stands in for real data, and a script may look at those."""
    look = "    assert (env.train_tokens[:4096] < 128).all()\n"
    script = f"from torch import nn\nX = True\n\n\ndef train(env):\n{look}    return {MODEL}\n"
    with opened(tmp_path, script, ONLY_LITERALS.format(frozen=[])) as study:
        measure_baseline(study)
        proposal = ask(study)
        assert str(proposal.edit) == "X: True -> False"
        assert study.tell(proposal, scored(3.9)).number == 3


def test_a_search_in_which_all_fails_ends_with_the_reason_and_a_person_may_end_it(tmp_path: Path) -> None:
    """Every edit of a literal breaks it: there are dozens of them, and more pairs."""
    names = "ABCDEFGH"
    values = "".join(f"{name} = 8\n" for name in names)
    train = f"def train(env):\n    assert {{{', '.join(names)}}} == {{8}}\n    return {MODEL}\n"
    with opened(tmp_path, f"from torch import nn\n{values}\n\n{train}", "") as study:
        measure_baseline(study)
        study.planner.interrupted = lambda: len(study.trials) >= 3 + 2
        assert study.ask() is None
        assert len(study.trials) == 3 + 2
        study.planner.interrupted = lambda: False
        stop = study.run(trials=9)
        assert stop.reason is StopReason.EXHAUSTED
        assert "20 edits in a row must not run, the last one because of: shape check: Asser" in stop.message


def test_an_edit_that_cannot_be_undone_is_rejected_and_does_not_end_the_study(tmp_path: Path) -> None:
    """Generators see to it that there is none; if one slips through, a night's work must go on."""

    class Careless:
        name, share, remembers = "careless", 1.0, False

        def propose(self, script: Script, history: object = ()) -> Iterator[Candidate]:
            twice = Edit((Change(TEXT, "LEARNING_RATE = 0.1\n", "BATCH_SIZE = 32\n"),))
            yield Candidate(twice, self.name, "x", 0, 1.0, "twice")

    with opened(tmp_path, BIGRAM, "") as study:
        measure_baseline(study)
        study.planner.space = Space([Careless()], compound=False)
        assert study.ask() is None
        assert study.trials[-1].verdict is Verdict.REJECTED
        assert "expected these lines once" in study.trials[-1].reason
        assert study.ask() is None
        assert len(study.trials) == 4
