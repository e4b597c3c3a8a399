"""Runs what is missing, collects it in a file, and compares.

Seeds are begun one after the other, each with all policies, so that a bench that was interrupted has pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from autoresearch_rl.agent.agents import make_agent, policy_name, prior_digest
from autoresearch_rl.agent.settled import settle
from autoresearch_rl.environment.hardware import hardware
from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.interface.policy_bench.comparison import compare, mean_of
from autoresearch_rl.interface.policy_bench.drawing import draw_policies
from autoresearch_rl.interface.policy_bench.runs import Key, Run, append, is_torn, mend, read
from autoresearch_rl.interface.policy_bench.suites import Suite
from autoresearch_rl.interface.policy_bench.workers import Failed, Say, spread

Found = dict[Key, Run]


def bench_policies(
    suite: Suite,
    policies: Sequence[str],
    seeds: Sequence[int],
    trials: int,
    jobs: int,
    out: Path,
    say: Say,
    picture: Path | None = None,
    report: bool = False,
) -> dict[str, Any]:
    """What `--json` prints.

    Args:
        suite: what the policies are run on.
        policies: by name, or files of priors; the others are compared with the first.
        seeds: of the runs of each policy.
        trials: of each run, reference runs not counted.
        jobs: runs at the same time, each in its own process.
        out: the finished runs, JSON Lines; those in it are not run again.
        say: is told how it gets on.
        picture: a PNG file to draw.
        report: run nothing, compare what is there.

    Raises:
        ConfigurationError: a policy is unknown, `out` holds something else, or there is nothing to report.
        StorageError: a file cannot be written.
    """
    policies = list(dict.fromkeys(map(policy_name, policies)))
    _require_possible(policies, [path for path in (out, picture) if path])
    wanted = [(policy, seed) for seed in seeds for policy in policies]
    failed: Mapping[Key, str] = {}
    if is_torn(out):
        say(f"note: the last line of {out} was torn by a kill: that run is left out")
    if report:
        found = _there(suite, wanted, trials, out, say)
    else:
        found, failed = _made(suite, wanted, trials, jobs, out, say)
    runs = {p: {seed: found[p, seed] for seed in seeds if (p, seed) in found} for p in policies}
    if not any(runs.values()):
        whys = "; ".join(dict.fromkeys(failed.values())) or _told_there(found, out)
        raise ConfigurationError(f"there are no runs of suite {suite.name} to compare: {whys}")
    if picture and not draw_policies(runs, trials, suite.unit, picture):
        say(f"no picture: no run has {trials} trials yet")
    return {
        "suite": suite.name,
        "unit": suite.unit,
        "lower_is_better": suite.lower_is_better,
        "seeds": list(seeds),
        **compare(runs, trials, suite.lower_is_better),
        "failed": [{"policy": policy, "seed": seed, "why": why} for (policy, seed), why in failed.items()],
    }


def _require_possible(policies: Sequence[str], files: Sequence[Path]) -> None:
    """Raises `ConfigurationError` if a policy is unknown, or a file has no folder."""
    for policy in policies:
        make_agent(policy, 0)
    for path in files:
        if not path.absolute().parent.is_dir():
            raise ConfigurationError(f"there is no folder {path.absolute().parent} for {path.name}: make it")


def _in_file(suite: Suite, wanted: Sequence[Key], out: Path, say: Say) -> Found:
    """Runs of the file, without those of a prior that has changed since."""
    priors = {policy: prior_digest(policy) for policy, _ in wanted}
    runs = read(out, suite.name)
    found = {key: run for key, run in runs.items() if run.prior == priors.get(key[0], run.prior)}
    if old := len(runs) - len(found):
        say(f"note: {old} runs in {out} are of a prior that has changed since: they are left out")
    return found


def _there(suite: Suite, wanted: Sequence[Key], trials: int, out: Path, say: Say) -> Found:
    """Runs of the file, and what else can be read, finished or not."""
    found = _in_file(suite, wanted, out, say)
    for key in wanted:
        if not _complete(found, key, trials) and (stored := suite.stored(*key)):
            found[key] = stored
    return found


def _told_there(found: Found, out: Path) -> str:
    """What a file has instead of the runs that were asked for."""
    if not found:
        return f"none in {out}; leave --report out to make them"
    policies = ", ".join(dict.fromkeys(policy for policy, _ in found))
    seeds = [seed for _, seed in found]
    return f"{out} has others, of {policies} with seeds from {min(seeds)} to {max(seeds)}: choose among those"


def _made(
    suite: Suite, wanted: Sequence[Key], trials: int, jobs: int, out: Path, say: Say
) -> tuple[Found, Mapping[Key, str]]:
    """Makes what the file lacks."""
    mend(out)
    found = _in_file(suite, wanted, out, say)
    failed: dict[Key, str] = {}
    left = [key for key in wanted if not _complete(found, key, trials)]
    if not left:
        return found, failed
    suite.prepare(list(dict.fromkeys(policy for policy, _ in left)), sorted({seed for _, seed in left}))
    say(f"suite {suite.name}: {len(left)} runs to make, {len(wanted) - len(left)} are in {out}")
    if elsewhere := sorted(_elsewhere(found, left)):
        say(f"note: runs with seeds {', '.join(map(str, elsewhere))} in {out} were made on other hardware "
            "and make no pairs with those made here: choose other seeds (--seeds A-B)")  # fmt: skip
    ended = spread(partial(_make, suite, trials), left, jobs, say)
    try:
        for count, (key, run) in enumerate(ended, 1):
            which = f"{count} of {len(left)}: {key[0]}, seed {key[1]}"
            if isinstance(run, Failed):
                failed[key] = str(run)
                say(f"{which}: FAILED, {run}")
            else:
                append(out, run)
                found[key] = run
                say(f"{which}: {_told(run, trials)}")
    except KeyboardInterrupt:
        say(f"{sum(_complete(found, key, trials) for key in wanted)} of {len(wanted)} runs are in {out}; "
            "the same command goes on")  # fmt: skip
        raise
    finally:
        ended.close()  # ends the processes, now
    return found, failed


def _elsewhere(found: Found, left: Sequence[Key]) -> set[int]:
    """Seeds of runs to make that others have been run on, on other hardware."""
    made = {seed for (_, seed), run in found.items() if run.hardware not in ("", hardware())}
    return made & {seed for _, seed in left}


def _told(run: Run, trials: int) -> str:
    """How a run ended, in one line."""
    again = mean_of(run.final)
    afresh = f", {again:.4f} measured again" if again is not None else ""
    return (
        f"{run.curve[trials - 1]:.4f} after {trials} trials{afresh}{f' ({run.ended})' if run.ended else ''}"
    )


def _make(suite: Suite, trials: int, key: Key, say: Say) -> Run:
    prior = prior_digest(key[0])
    make_agent(*key)  # loads what the policy needs, torch perhaps
    settle()
    run = suite.run(*key, trials, say)
    if prior_digest(key[0]) != prior:
        raise ConfigurationError(f"{key[0]} has changed during the run: the same command makes it again")
    return replace(run, prior=prior, trials=trials)


def _complete(found: Found, key: Key, trials: int) -> bool:
    """Whether a run is there, and long enough."""
    run = found.get(key)
    return run is not None and len(run.curve) >= trials
