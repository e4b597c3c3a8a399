"""The history, read once: what was tried where, how it went, and how long ago.

One pass over the trials fills a tally per topic, and per topic and direction, so that encoding a slate costs
the same however long the study has run. A topic is a site, or what a structural edit changes.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from autoresearch_rl.agent.scripts import measured_bpb
from autoresearch_rl.records import State, Trial, TrialKind, Verdict

LEADS = (Verdict.KEEP, Verdict.PROVISIONAL)
FAILURES = (Verdict.CRASH, Verdict.TIMEOUT, Verdict.INVALID, Verdict.REJECTED)
TALLY_FEATURES = 8
OUTGROWN = 1.2
"""Times the leader's bits per byte: what failed on a script so much worse may help now.

In eight real studies from a poor script `ppo` tried the recipe that gains most as one of the first and never
again: at a fifteenth of the right learning rate it gained nothing (docs/log.md).
"""
USUAL, LATEST = 0.2, 0.15  # share of tries that lead, before any; weight of the latest try in that share


@dataclass(frozen=True, slots=True)
class Event:
    """One explored edit, reduced to what the tallies need."""

    places: tuple[tuple[str, int], ...]  # topic and direction of each single edit
    led: bool
    verdict: Verdict
    effect: float | None  # squashed gain, foreseen if it was pruned; None when nothing was measured
    outgrown: bool  # the script that it was tried on was much worse than the leader is

    @property
    def tells(self) -> bool:
        """Whether it still says something about its places: a failure that was outgrown does not."""
        return self.led or not self.outgrown


@dataclass(slots=True)
class Tally:
    """Running counts over the events of one key."""

    tries: int = 0
    successes: int = 0
    crashes: int = 0
    fresh: int = 0
    measured: int = 0
    effects: float = 0.0
    last_effect: float = 0.0
    last_led: bool = False
    last_index: int = 0
    rate: float = USUAL

    def add(self, event: Event, index: int, fresh: bool) -> None:
        """Count the event, `index`-th of all; `fresh` if it was tried since the incumbent changed."""
        self.tries += 1
        self.successes += event.led
        self.crashes += event.verdict in FAILURES
        self.fresh += fresh
        self.last_index, self.last_led = index, event.led
        self.rate += LATEST * (event.led - self.rate)
        if event.effect is not None:
            self.measured += 1
            self.effects += event.effect
            self.last_effect = event.effect

    def row(self, now: int) -> list[float]:
        """`TALLY_FEATURES` numbers: tries, successes, crashes, mean and last effect, recency, fresh tries,
        and how much more often recent ones led than is usual.

        Args:
            now: How many events there have been in all.
        """
        return [
            count(self.tries),
            count(self.successes),
            count(self.crashes),
            self.effects / max(1, self.measured),
            self.last_effect,
            recency(now - 1 - self.last_index) if self.tries else 0.0,
            count(self.fresh),
            self.rate - USUAL,
        ]


UNTRIED = Tally()


@dataclass(frozen=True, slots=True)
class Memory:
    """The history, read once: its explored edits in order, and their tallies by key."""

    events: list[Event]
    changed: int  # how many events came before the incumbent last changed
    at: dict[tuple[str, int], Tally] = field(default_factory=lambda: defaultdict(Tally))
    topic: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))

    def fill(self) -> Memory:
        """Tally all events; returns itself."""
        for index, event in enumerate(self.events):
            fresh = index >= self.changed
            for topic, direction in event.places if event.tells else ():
                self.topic[topic].add(event, index, fresh)
                self.at[topic, direction].add(event, index, fresh)
        return self


def remember(history: Sequence[Trial], scale: float, leader: float) -> Memory:
    """Read the history, oldest first.

    Only trials of kind explore are tries of an edit. One that took the lead is a success, unless it lost the
    lead when it was run again. What edits start from changes when one leads, and may when it is run again.

    Args:
        history: Trials in order of completion.
        scale: From `gain_scale`.
        leader: Its bits per byte; not finite where they are not known.
    """
    fallen = {t.confirms for t in history if t.kind is TrialKind.CONFIRM and t.verdict not in LEADS}
    events: list[Event] = []
    changed = 0
    for trial in history:
        if trial.kind is TrialKind.EXPLORE:
            led = trial.verdict in LEADS and trial.number not in fallen
            comparable = trial.segment == history[-1].segment  # bits per byte of other hardware are not
            outgrown = comparable and (trial.incumbent_bpb or 0.0) > OUTGROWN * leader
            events.append(_event(trial, led, scale, outgrown))
        if trial.kind is TrialKind.CONFIRM or (trial.kind is TrialKind.EXPLORE and trial.verdict in LEADS):
            changed = len(events)
    return Memory(events, changed).fill()


def _event(trial: Trial, led: bool, scale: float, outgrown: bool) -> Event:
    candidate, gain = trial.candidate, _effect(trial)
    return Event(
        places=tuple(
            (topic, single.direction)
            for single in (candidate.singles if candidate else ())
            for topic in single.topics
        ),
        led=led,
        verdict=trial.verdict,
        effect=None if gain is None else squash(gain, scale),
        outgrown=outgrown,
    )


def _effect(trial: Trial) -> float | None:
    """The gain of an explored edit, bits per byte, or None where nothing was measured.

    For a pruned one it is what was foreseen: a loss that was worth stopping is worth remembering.
    """
    bpb = measured_bpb(trial) if trial.kind is TrialKind.EXPLORE else None
    if bpb is None or trial.incumbent_bpb is None:
        return None
    gain = trial.incumbent_bpb - bpb
    return gain if math.isfinite(gain) else None


def gain_scale(state: State) -> float:
    """The size of an ordinary gain or loss in this study, bits per byte.

    The median of |gain| over explored, evaluated trials, and never less than the noise of one measurement.
    """
    sizes = [abs(gain) for trial in state.history if (gain := _effect(trial)) is not None]
    noise = state.noise if math.isfinite(state.noise) else 0.0
    return max(noise, statistics.median_high(sizes) if sizes else 0.0, 1e-9)


def squash(gain: float, scale: float) -> float:
    """Signed logarithm of a gain in units of `scale`, in [-1, 1]; reaches 1 at 54 scales, so that
    heavy tails keep their order."""
    if math.isnan(gain):
        return 0.0
    return math.copysign(min(1.0, math.log1p(abs(gain) / scale) / 4.0), gain)


def count(n: int) -> float:
    """A count on a logarithmic scale, 1.0 from 402 on."""
    return min(1.0, math.log1p(n) / 6.0)


def recency(age: int) -> float:
    """1.0 for the latest trial, one half eight trials later."""
    return 8.0 / (8.0 + age)
