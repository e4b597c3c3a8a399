"""The loop, on a real task in a real sandbox, with the real database."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from autoresearch_rl import create_study
from autoresearch_rl.judgement.acceptance import WAIT, Ledger
from autoresearch_rl.planner import trial_seed
from autoresearch_rl.records import (
    Candidate,
    Change,
    Edit,
    OutcomeStatus,
    State,
    StopReason,
    Trial,
    TrialKind,
    Verdict,
    script_id,
)
from autoresearch_rl.study import Study
from tiny import BIGRAM, make_task
from told import ask, measure_baseline, scored


@pytest.fixture
def study(tiny_task: Path, tmp_path: Path) -> Iterator[Study]:
    with create_study(str(tiny_task), "one", tmp_path / "home") as opened:
        yield opened


def test_a_real_study_runs_learns_and_resumes(tiny_task: Path, tmp_path: Path) -> None:
    home, told = tmp_path / "home", []
    with create_study(str(tiny_task), "one", home, callbacks=[lambda _, trial: told.append(trial)]) as study:
        stop = study.run(trials=1)
    assert stop.reason is StopReason.TRIALS
    assert [trial.kind for trial in told[:3]] == [TrialKind.REFERENCE] * 3
    assert all(trial.val_bpb is not None and trial.val_bpb < 5 for trial in told[:3])
    with create_study(name="one", home=home) as study:
        assert list(study.trials) == told
        study.run(trials=2)
        count = len(study.trials)
        assert count >= 5
        assert [trial.number for trial in study.trials] == list(range(count))
    folder = home / "one"
    assert len((folder / "results.tsv").read_text().splitlines()) == count + 1
    assert {path.name for path in (folder / "trials" / "0003").iterdir()} == {
        "edit.diff", "train.py", "run.log", "curve.jsonl", "result.json",
    }  # fmt: skip
    result = json.loads((folder / "trials" / "0003" / "result.json").read_text())
    assert result["val_bpb"] == study.trials[3].val_bpb
    for trial in study.trials:
        assert set(trial.seconds) == {"loop", "start", "run", "evaluate", "learn"}
        if trial.val_bpb is not None:
            before = Ledger.replay(trial.parent, study.trials[: trial.number])
            leads = trial.kind is not TrialKind.EXPLORE or trial.val_bpb < before.bar
            assert trial.challenges == (128 if leads else 64)


def test_two_workers_run_at_the_same_time_and_lose_nothing(tiny_task: Path, tmp_path: Path) -> None:
    with create_study(str(tiny_task), "two", tmp_path / "home") as study:
        stop = study.run(trials=2, workers=2)
        assert stop.reason is StopReason.TRIALS
        numbers = sorted(trial.number for trial in study.trials)
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= 5, "more if an edit led by noise and was measured again"
        spans = sorted((trial.started, trial.started + trial.wall_seconds) for trial in study.trials)
        assert any(later[0] < earlier[1] - 0.2 for earlier, later in pairwise(spans))


# --- what is made of outcomes


def ask_and_tell(study: Study, bpb: float) -> Trial:
    return study.tell(ask(study), scored(bpb))


def git_subjects(study: Study) -> list[str]:
    """The commits' messages, newest first."""
    command = ["git", "-C", study.notebook.folder / "repo", "log", "--format=%s", "autoresearch/one"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_clear_gain_is_kept_committed_and_leads(study: Study) -> None:
    measure_baseline(study)
    proposal = ask(study)
    trial = study.tell(proposal, scored(3.5))
    assert trial.verdict is Verdict.KEEP
    assert trial.gain == pytest.approx(0.5)
    assert trial.reward > 0.4
    assert study.ledger.incumbent == proposal.script
    assert git_subjects(study) == [str(proposal.candidate), "Baseline: 4.0000 val_bpb"]
    assert (study.notebook.folder / "repo" / "train.py").read_text() == proposal.source
    assert ask(study).parent == proposal.script


def test_what_was_not_challenged_on_every_row_cannot_lead(study: Study) -> None:
    measure_baseline(study)
    quick, thorough = replace(ask(study), bar=3.4), replace(ask(study), bar=3.6)
    trial = study.tell(quick, scored(3.5))
    assert trial.verdict is Verdict.DISCARD
    assert trial.reason.startswith(
        "not challenged on every row: the bar was lower when it began; gain +0.50000"
    )
    assert study.ledger.leader == script_id(BIGRAM)
    assert study.tell(thorough, scored(3.5)).verdict is Verdict.KEEP


def test_the_bar_of_a_proposal_is_the_mean_of_what_leads(study: Study) -> None:
    measure_baseline(study)
    proposal = ask(study)
    assert proposal.bar == study.ledger.bar == pytest.approx(4.0)
    assert study.tell(proposal, scored(proposal.bar + 1e-9)).verdict is Verdict.DISCARD
    assert study.tell(ask(study), scored(3.99)).verdict is Verdict.PROVISIONAL
    assert ask(study).bar == 3.99


def test_a_loss_is_discarded_and_the_next_edit_starts_from_the_incumbent_again(study: Study) -> None:
    measure_baseline(study)
    first = ask(study)
    assert study.tell(first, scored(4.5)).verdict is Verdict.DISCARD
    second = ask(study)
    assert second.parent == first.parent == script_id(BIGRAM)
    assert second.script != first.script, "the same script is not tried twice"


def test_a_small_gain_leads_and_is_kept_when_proven(study: Study) -> None:
    measure_baseline(study)
    first = ask(study)
    assert study.tell(first, scored(3.98)).verdict is Verdict.PROVISIONAL
    assert study.ledger.incumbent == script_id(BIGRAM)
    second = ask(study)
    assert (second.kind, second.parent) == (TrialKind.EXPLORE, first.script)
    assert study.tell(second, scored(3.93)).verdict is Verdict.PROVISIONAL
    for _ in range(WAIT):
        assert ask_and_tell(study, 4.2).kind is TrialKind.EXPLORE
    again = ask(study)
    assert (again.kind, again.confirms, again.script) == (TrialKind.CONFIRM, second.number, second.script)
    assert again.seed != second.seed
    assert again.bar == math.inf
    kept = study.tell(again, scored(3.925))
    assert (kept.verdict, study.ledger.incumbent) == (Verdict.KEEP, second.script)
    assert kept.gain == pytest.approx(0.075), "over the incumbent"
    subject = git_subjects(study)[0]
    assert subject == f"{first.candidate}; {second.candidate}", "a keep names all edits that it rests on"


def test_a_leader_that_led_by_luck_falls_back_to_the_incumbent(study: Study) -> None:
    measure_baseline(study)
    lucky = ask(study)
    study.tell(lucky, scored(3.98))
    for _ in range(WAIT):
        ask_and_tell(study, 4.2)
    assert ask_and_tell(study, 4.03).verdict is Verdict.DISCARD
    following = ask(study)
    assert (following.kind, following.parent) == (TrialKind.EXPLORE, script_id(BIGRAM))


def test_the_incumbent_is_measured_again_while_nothing_better_comes(study: Study) -> None:
    measure_baseline(study)
    for _ in range(3 * WAIT):
        assert ask_and_tell(study, 4.2).kind is TrialKind.EXPLORE
    again = ask_and_tell(study, 4.02)
    assert (again.kind, again.script, again.verdict) == (
        TrialKind.REFERENCE,
        script_id(BIGRAM),
        Verdict.KEEP,
    )
    assert ask(study).kind is TrialKind.EXPLORE
    assert study.ledger.noise.df == 3


def test_an_incumbent_that_fails_once_is_no_reason_to_stop(study: Study) -> None:
    measure_baseline(study)
    for _ in range(3 * WAIT):
        ask_and_tell(study, 4.2)
    failed = replace(scored(0.1), status=OutcomeStatus.CRASH, val_bpb=None, reason="by chance")
    assert study.tell(ask(study), failed).verdict is Verdict.CRASH
    assert ask(study).kind is TrialKind.EXPLORE


def test_noise_that_rises_has_the_incumbent_measured_anew(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoresearch_rl.judgement.acceptance.WAIT", 1)
    measure_baseline(study)
    for value in (4.0, 4.01, 4.5, 3.4):  # measured again and again, at last on a busy machine
        for _ in study.ledger.measurements(script_id(BIGRAM)):
            assert ask_and_tell(study, 4.9).kind is TrialKind.EXPLORE
        assert ask_and_tell(study, value).kind is TrialKind.REFERENCE
        if study.ledger.shifts:
            break
    assert study.ledger.shifts == 1
    assert study.ledger.measurements(script_id(BIGRAM)) == ()
    assert study.ledger.baseline_bpb is not None
    for _ in range(3):
        assert ask_and_tell(study, 4.4).kind is TrialKind.REFERENCE
    assert ask(study).bar == pytest.approx(4.4)


def test_a_trial_that_noise_overtook_is_run_again(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoresearch_rl.judgement.acceptance.WAIT", 1)
    measure_baseline(study)
    for value in (4.0, 4.01, 4.5, 3.4):
        while (again := ask(study)).kind is TrialKind.EXPLORE:
            study.tell(again, scored(4.9))
        late = ask(study)
        study.tell(again, scored(value))
        told = study.tell(late, scored(4.9 if not study.ledger.shifts else 3.9))
        if study.ledger.shifts:
            break
    assert (told.verdict, told.reward, told.gain) == (Verdict.PROVISIONAL, 0.0, None)
    for _ in range(3):
        assert ask_and_tell(study, 4.4).kind is TrialKind.REFERENCE
    assert ask(study).confirms == late.number


def test_an_incumbent_that_no_longer_runs_does_not_keep_a_study_from_ending(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure_baseline(study)
    assert ask_and_tell(study, 3.5).verdict is Verdict.KEEP
    failed = replace(scored(0.1), status=OutcomeStatus.TIMEOUT, val_bpb=None, reason="too slow")
    monkeypatch.setattr(study, "_experiment", lambda proposal: failed)
    assert study.run(trials=1).reason is StopReason.TRIALS
    assert [trial.verdict for trial in study.trials[4:]] == [Verdict.TIMEOUT]
    assert study.run(trials=1).reason is StopReason.TRIALS


def test_settling_keeps_to_the_other_limits(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    measure_baseline(study)
    ask_and_tell(study, 3.99)
    monkeypatch.setattr(study, "_experiment", lambda proposal: scored(3.99))
    assert study.run(trials=1, train_seconds=1.4).reason is StopReason.TRAIN_SECONDS
    assert len(study.trials) == 5, "0.3 s each: one of the runs that settle the leader fitted in"


def test_a_finished_study_has_settled_what_leads(tiny_task: Path, tmp_path: Path) -> None:
    with create_study(str(tiny_task), "one", tmp_path / "home", seed=3, forecast="none") as study:
        stop = study.run(trials=6)
        assert stop.reason is StopReason.TRIALS
        assert study.ledger.settled
        assert len(study.ledger.fresh) >= 2
        count = len(study.trials)
        assert study.run(trials=6).reason is StopReason.TRIALS
        assert len(study.trials) == count, "what is settled is not measured again"


def only_literals(study: Study) -> None:
    forbidden = ["compound", "grammar", "recipes", "recombination"]
    (study.notebook.folder / "program.md").write_text(f"+++\nforbid = {forbidden}\n+++\n")


def test_a_trial_that_beat_a_former_incumbent_is_applied_to_the_new_one(study: Study) -> None:
    only_literals(study)
    measure_baseline(study)
    first, second = ask(study), ask(study)
    while second.edit.changes[0].site == first.edit.changes[0].site:
        second = ask(study)
    assert study.tell(first, scored(3.5)).verdict is Verdict.KEEP
    late = study.tell(second, scored(3.4))
    assert late.verdict is Verdict.PROVISIONAL, "it never ran on the incumbent it would replace"
    assert study.ledger.incumbent == first.script
    rebased = ask(study)
    assert (rebased.kind, rebased.parent, rebased.confirms) == (
        TrialKind.CONFIRM,
        first.script,
        second.number,
    )
    for proposal in (first, second):
        change = proposal.edit.changes[0]
        assert change.new in rebased.source
    assert study.tell(rebased, scored(3.0)).verdict is Verdict.KEEP


def test_an_edit_that_does_not_fit_the_new_incumbent_is_rejected_not_run(study: Study) -> None:
    only_literals(study)
    measure_baseline(study)
    asked = {}
    while (second := ask(study)).edit.changes[0].site not in asked:
        asked[second.edit.changes[0].site] = second
    study.tell(asked[second.edit.changes[0].site], scored(3.5))
    study.tell(second, scored(3.4))
    following = ask(study)
    assert following.kind is TrialKind.EXPLORE
    resolved = study.trials[-1]
    assert (resolved.verdict, resolved.confirms) == (Verdict.REJECTED, second.number)
    assert "does not apply" in resolved.reason


def test_an_edit_of_an_agents_own_that_does_not_fit_is_rejected(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure_baseline(study)
    propose, wrong = study.agent.propose, [("NOWHERE", "1", "2"), ("BATCH_SIZE", "31", "2")]

    def own(state: State) -> Candidate:
        found = propose(state)
        return replace(found, edit=Edit((Change(*wrong.pop(0)),)), parts=()) if wrong else found

    monkeypatch.setattr(study.agent, "propose", own)
    assert ask(study).kind is TrialKind.EXPLORE
    reasons = [trial.reason for trial in study.trials if trial.verdict is Verdict.REJECTED]
    assert "found none" in reasons[0]
    assert "expected '31'" in reasons[1]


@pytest.mark.parametrize("status", [OutcomeStatus.CRASH, OutcomeStatus.TIMEOUT, OutcomeStatus.INVALID])
def test_a_run_without_a_score_is_recorded_and_punished(study: Study, status: OutcomeStatus) -> None:
    measure_baseline(study)
    failed = replace(scored(0.1), status=status, val_bpb=None, reason="because")
    trial = study.tell(ask(study), failed)
    assert (str(trial.verdict), trial.reason, trial.gain) == (str(status), "because", None)
    assert trial.reward < 0
    assert ask(study).parent == script_id(BIGRAM)


def test_a_tried_out_script_ends_the_study(tmp_path: Path) -> None:
    model = "nn.Embedding(env.vocab_size, env.vocab_size)"
    script = f"from torch import nn\nBIAS = True\n\n\ndef train(env):\n    return {model}\n"
    task = make_task(tmp_path / "small", script)
    with create_study(str(task), "small", tmp_path / "home") as study:
        measure_baseline(study)
        study.tell(ask(study), scored(4.5))
        assert study.ask() is None
        stop = study.run(trials=99)
    assert stop.reason is StopReason.EXHAUSTED


def test_a_leader_without_untried_edits_is_settled_before_the_study_ends(tmp_path: Path) -> None:
    model = "nn.Embedding(env.vocab_size, env.vocab_size)"
    script = f"from torch import nn\nA = True\nB = True\n\n\ndef train(env):\n    return {model}\n"
    with create_study(str(make_task(tmp_path / "small", script)), "one", tmp_path / "home") as study:
        only_literals(study)
        measure_baseline(study)
        assert ask_and_tell(study, 3.99).verdict is Verdict.PROVISIONAL
        assert ask_and_tell(study, 4.5).verdict is Verdict.DISCARD
        fallen = ask_and_tell(study, 4.5)
        assert (fallen.kind, fallen.verdict) == (TrialKind.CONFIRM, Verdict.DISCARD)
        assert ask(study).parent == script_id(script), "the baseline still has an untried edit"


def test_a_person_stops_it(tiny_task: Path, tmp_path: Path) -> None:
    def enough(study: Study, _: Trial) -> None:
        study.stop()

    with create_study(str(tiny_task), "one", tmp_path / "home", callbacks=[enough]) as study:
        stop = study.run(trials=50)
        assert (stop.reason, len(study.trials)) == (StopReason.PERSON, 1)


# --- the same seed, the same decisions


def test_the_same_seed_and_outcomes_give_the_same_proposals_across_a_restart(
    tiny_task: Path, tmp_path: Path
) -> None:
    outcomes = [4.2, 3.9, 4.4, 3.7, 4.1, 4.0, 3.6, 4.6, 3.9, 4.2, 4.3, 3.5, 4.4, 4.2]

    def play(home: Path, restart_at: int | None) -> list[tuple[str, int]]:
        done: list[tuple[str, int]] = []
        study = create_study(str(tiny_task), "one", home, seed=7)
        measure_baseline(study)
        for index, bpb in enumerate(outcomes):
            if index == restart_at:
                study.close()
                study = create_study(name="one", home=home)
            proposal = ask(study)
            done.append((proposal.script, proposal.seed))
            study.tell(proposal, scored(bpb))
        study.close()
        return done

    straight = play(tmp_path / "a", None)
    assert play(tmp_path / "b", 12) == straight
    assert len({script for script, _ in straight}) >= 5


def test_seeds_differ_between_trials_and_studies() -> None:
    seeds = {trial_seed(study, number) for study in range(20) for number in range(200)}
    assert len(seeds) == 4000
    assert all(0 <= seed < 2**31 for seed in seeds)
