"""Trials and outcomes for the tests of storage: arbitrary ones by Hypothesis, and a plain one."""

from dataclasses import replace

from hypothesis import strategies as st

from autoresearch_rl.records import (
    Candidate,
    Change,
    Edit,
    Outcome,
    OutcomeStatus,
    Probe,
    Trial,
    TrialKind,
    Verdict,
    script_id,
)

BASELINE = "def train(env):\n    return None\n"

finite = st.floats(allow_nan=False, allow_infinity=False)
unlimited = st.floats(allow_nan=False)
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
json_text = st.text(max_size=30)  # surrogates and NUL included
edits = st.builds(Edit, st.lists(st.builds(Change, json_text, json_text, json_text), max_size=3).map(tuple))
candidates = st.builds(Candidate, edits, json_text, json_text, st.integers(-1, 1), unlimited)
probes = st.builds(Probe, finite, finite, st.none() | finite)
readings = st.dictionaries(json_text, unlimited, max_size=4)


def trials(source: str) -> st.SearchStrategy[Trial]:
    return st.builds(
        Trial,
        number=st.integers(0, 2**31 - 1),
        kind=st.sampled_from(TrialKind),
        parent=st.just(script_id(BASELINE)),
        script=st.just(script_id(source)),
        edit=edits,
        candidate=st.none() | candidates,
        confirms=st.none() | st.integers(0, 2**31 - 1),
        seed=st.integers(-(2**63), 2**63 - 1),
        verdict=st.sampled_from(Verdict),
        reason=text,
        incumbent_bpb=st.none() | finite,
        val_bpb=st.none() | finite,
        reward=finite,
        train_seconds=finite,
        wall_seconds=finite,
        peak_memory_mb=finite,
        sandbox=text,
        started=finite,
        seconds=readings,
        metrics=readings,
        challenges=st.integers(0, 2**31 - 1),
        segment=st.integers(0, 2**31 - 1),
        probes=st.lists(probes, max_size=3).map(tuple),
        stop_at=st.none() | finite,
        forecast=st.none() | finite,
    )


def plain_trial(number: int, source: str = BASELINE, **changes: object) -> Trial:
    trial = Trial(
        number=number,
        kind=TrialKind.EXPLORE,
        parent=script_id(BASELINE),
        script=script_id(source),
        edit=Edit((Change("lr", "0.1", "0.2"),)),
        candidate=None,
        confirms=None,
        seed=1,
        verdict=Verdict.DISCARD,
        reason="",
        incumbent_bpb=3.5,
        val_bpb=3.75,
        reward=-0.25,
        train_seconds=3.0,
        wall_seconds=4.0,
        peak_memory_mb=512.0,
        sandbox="landlock",
        started=1.7e9,
        seconds={"start": 0.5},
    )
    return replace(trial, **changes)  # type: ignore[arg-type]


def plain_outcome() -> Outcome:
    return Outcome(
        status=OutcomeStatus.OK,
        reason="",
        val_bpb=3.75,
        probes=(Probe(1.0, 5.0), Probe(2.0, 4.0)),
        train_seconds=3.0,
        start_seconds=0.5,
        run_seconds=3.0,
        evaluate_seconds=0.5,
        peak_memory_mb=512.0,
        sandbox="landlock",
        log="step 1\n",
        scalars=({"loss": float("nan"), "step": 1.0},),
    )
