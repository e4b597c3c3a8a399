"""What `run` prints of a trial."""

from pathlib import Path

from autoresearch_rl.interface.live import trial_line
from autoresearch_rl.opening import create_study
from autoresearch_rl.records import TrialKind, Verdict
from told import ask, measure_baseline, scored


def test_it_is_said_why_a_leader_falls(tiny_task: Path, tmp_path: Path) -> None:
    with create_study(str(tiny_task), home=tmp_path / "home", policy="random") as study:
        measure_baseline(study)
        led = study.tell(ask(study), scored(3.99))
        assert led.verdict is Verdict.PROVISIONAL
        assert led.reason not in trial_line(led)
        while (proposal := ask(study)).kind is not TrialKind.CONFIRM:
            study.tell(proposal, scored(5.0))
        fell = study.tell(proposal, scored(4.2))
        assert fell.verdict is Verdict.DISCARD
        assert trial_line(fell).endswith(f"again #{led.number}: {led.what}  ({fell.reason})")
