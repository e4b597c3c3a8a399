"""kill -9 at random instants of a process that does nothing but commit."""

import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from autoresearch_rl.records import TrialKind
from autoresearch_rl.storage.storage import Storage

COMMIT_FOREVER = textwrap.dedent("""
    import sys
    sys.path.insert(0, {here!r})
    from arbitrary_trials import BASELINE, plain_trial
    from autoresearch_rl.records import TrialKind
    from autoresearch_rl.storage.storage import Storage
    storage = Storage.open({path!r})
    study = storage.study("x") or storage.create_study("x", "micro", {{}}, {{}}, BASELINE)
    number = len(storage.trials(study))
    while True:
        source = f"x = {{number}}"
        explore = number % 3 != 0
        kind = TrialKind.EXPLORE if explore else TrialKind.CONFIRM
        checkpoint = ("ppo", number.to_bytes(8, "big") * 20_000) if explore else None
        storage.commit(study, plain_trial(number, source, kind=kind), source, checkpoint)
        print(number, flush=True)
        number += 1
""")


def test_kill_9_at_any_instant_leaves_whole_trials(tmp_path):
    path = tmp_path / "studies.db"
    dice = random.Random(0)
    acknowledged = -1
    for _ in range(6):
        acknowledged = max(acknowledged, _commit_until_killed(path, dice.uniform(0.0, 0.4)))
        recorded = _check_whole(path)
        assert recorded > acknowledged
        assert recorded <= acknowledged + 2  # at most the one commit that was not yet acknowledged
    assert acknowledged > 20


def _commit_until_killed(path: Path, seconds: float) -> int:
    code = COMMIT_FOREVER.format(here=str(Path(__file__).parent), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    first = process.stdout.readline()
    time.sleep(seconds)
    process.kill()
    rest = process.communicate()[0].splitlines()
    return int((rest or [first])[-1])


def _check_whole(path: Path) -> int:
    with Storage.open(path) as storage:
        study = storage.study("x")
        trials = storage.trials(study)
        number, _, blob = storage.checkpoint(study)
        assert storage.script(trials[-1].script) == f"x = {len(trials) - 1}"
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert number == max(trial.number for trial in trials if trial.kind is TrialKind.EXPLORE)
    assert blob == number.to_bytes(8, "big") * 20_000
    return len(trials)
