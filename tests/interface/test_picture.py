from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.image import imread

from autoresearch_rl.errors import StorageError
from autoresearch_rl.interface.picture import LABEL_WIDTH, _best_so_far, _limits, _room, draw
from autoresearch_rl.records import Change, Edit, Trial, TrialKind, Verdict


def trials() -> list[Trial]:
    rows = [(TrialKind.REFERENCE, Verdict.KEEP, 4.0), (TrialKind.EXPLORE, Verdict.DISCARD, 4.2)]
    rows += [(TrialKind.EXPLORE, Verdict.KEEP, 3.7), (TrialKind.EXPLORE, Verdict.CRASH, None)]
    rows += [(TrialKind.EXPLORE, Verdict.PROVISIONAL, 3.69), (TrialKind.CONFIRM, Verdict.DISCARD, 9.9)]
    rows += [(TrialKind.EXPLORE, Verdict.PRUNED, None)]
    edit = Edit((Change("WIDTH", "64", "128"),))
    return [
        Trial(
            number,
            kind,
            "s",
            "s",
            edit,
            None,
            None,
            0,
            verdict,
            "",
            4.0,
            bpb,
            0.0,
            1.0,
            1.0,
            1.0,
            "x",
            0.0,
            {},
        )
        for number, (kind, verdict, bpb) in enumerate(rows)
    ]


def test_it_draws_a_study_with_every_kind_of_trial(tmp_path: Path) -> None:
    path = tmp_path / "progress.png"
    draw(trials(), path)
    picture = imread(path)
    assert picture.shape[0] > 300
    assert picture[..., :3].std() > 0.05, "not an empty page"
    assert list(tmp_path.iterdir()) == [path]


def test_the_incumbent_is_measured_anew_in_each_segment_and_stays_in_the_picture() -> None:
    slower = [replace(trial, number=trial.number + 6, segment=1, val_bpb=9.0) for trial in trials()[:2]]
    scored = [trial for trial in [*trials(), *slower] if trial.val_bpb is not None]
    numbers, scores = _best_so_far(scored)
    assert (numbers, scores) == ([0, 2, 6, 7], [4.0, 3.7, 9.0, 9.0])
    assert _limits(scored[:-2])[1] < 9.0 < _limits(scored)[1]


def test_a_late_keep_has_room_for_its_label() -> None:
    early = trials()
    late = [*early, replace(early[2], number=7)]
    assert early[0].number > _room(early)[0]
    assert _room(early)[1] == pytest.approx(6.78), "the last trial and a margin"
    assert _room(late)[1] == pytest.approx(7 + 8 * LABEL_WIDTH)


def test_without_a_score_there_is_no_picture(tmp_path: Path) -> None:
    draw([], tmp_path / "progress.png")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        draw(trials(), tmp_path / "nowhere" / "progress.png")
