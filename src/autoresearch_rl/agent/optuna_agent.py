"""Baselines: Optuna's TPE and CMA-ES on the numbers of the script.

What many people would run instead of an agent, in the way that is recommended: a dozen numbers, ranges around
the baseline's values on the scale of steps, the baseline as first observation. Structural edits, choices and
switches are out of their reach.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, TPESampler
from optuna.trial import create_trial

from autoresearch_rl.agent.knobs import Knob, Scale, choose_knobs, edit_to, present
from autoresearch_rl.agent.scripts import Scripts
from autoresearch_rl.agent.slate import draw_one, require_some, rng_from_state
from autoresearch_rl.errors import StorageError
from autoresearch_rl.records import Candidate, State, Trial, Verdict, script_id

ATTEMPTS = 20  # to find values that were not tried

Values = frozenset[tuple[str, str]]
"""What identifies a script: its places and texts, where they are not the baseline's."""


def tpe(seed: int) -> BaseSampler:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate (Falkner et al. 2018).

    What other workers are running counts as bad (the constant liar), so that they do not all try the same.
    """
    return TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=10)


def cmaes(seed: int) -> BaseSampler:
    """Covariance matrix adaptation (Hansen & Ostermeier 2001).

    It starts from the middle, which is the baseline, with a deviation of a sixth of each range.
    """
    return CmaEsSampler(seed=seed)


class OptunaAgent:
    """Asks an Optuna sampler for values of the knobs, which it chooses from the first script it sees.

    A checkpoint is the list of all that was asked and told; restoring repeats it, so the sampler goes on
    exactly as it would have.

    Args:
        name: of the policy.
        sampler: makes the sampler.
        seed: of the sampler.
    """

    def __init__(self, name: str, sampler: Callable[[int], BaseSampler], seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._name, self._sampler, self._seed = name, sampler, seed
        self._rng = np.random.default_rng(seed)  # for scripts without knobs
        self._scripts = Scripts()
        self._begin([], 0.0)

    def _begin(self, knobs: list[Knob], first_bpb: float) -> None:
        """A new search over these knobs, from a script with this score."""
        self._knobs, self._first_bpb, self._worst_bpb = knobs, first_bpb, first_bpb
        self._log: list[tuple[int, float | None] | None] = []  # asked: None; told: which, and its score
        self._asked: list[optuna.Trial] = []
        self._digest = hashlib.sha256()  # of what was answered
        self._pending: dict[int, tuple[int, Values]] = {}  # by trial: which was asked for it, and its script
        self._space: dict[str, BaseDistribution] = {k.place: FloatDistribution(-1.0, 1.0) for k in knobs}
        with warnings.catch_warnings():  # some versions call these samplers' options experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study = optuna.create_study(sampler=self._sampler(self._seed))
        if knobs:
            start = dict.fromkeys(self._space, 0.0)
            self._study.add_trial(create_trial(params=start, distributions=self._space, value=first_bpb))

    def propose(self, state: State) -> Candidate:
        """See `Agent.propose`: an edit of the sampler's own, a random candidate where it has none.

        A number that the leader no longer has, or that a person has frozen, stays as it is.
        """
        require_some(state.candidates)
        self._scripts.read(state.history)
        if not self._knobs:
            self._begin(choose_knobs(state.candidates), state.incumbent_bpb)
        leader, texts = script_id(state.script), present(state.candidates, self._knobs)
        known = self._known(leader, state.incumbent_bpb)
        under_way = {values for _, values in self._pending.values()}
        for _ in range(ATTEMPTS if texts else 0):
            which = self._ask()
            edit = edit_to(self._asked[which].params, self._knobs, texts)
            values = frozenset(self._scripts.after(leader, edit).items())
            if values in known:
                self._tell(which, known[values])
            elif values not in under_way:
                self._pending[state.number] = which, values
                return Candidate(edit, self._name, "sample", 0, 1.0)
        return draw_one(state, self._rng)

    def _known(self, leader: str, leader_bpb: float) -> dict[Values, float | None]:
        """The scores of all scripts that were tried; None for those that failed."""
        known: dict[Values, float | None] = dict.fromkeys(
            frozenset(config.items()) for config in self._scripts.failed
        )
        known |= {frozenset(found.config.items()): found.bpb for found in self._scripts.measured}
        return known | {frozenset(self._scripts.config(leader).items()): leader_bpb}

    def learn(self, trial: Trial) -> Mapping[str, float]:
        """See `Agent.learn`: tells the score, or that there is none."""
        if trial.number in self._pending:
            which, _ = self._pending.pop(trial.number)
            self._tell(which, trial.forecast if trial.verdict is Verdict.PRUNED else trial.val_bpb)
        return {}

    def _ask(self) -> int:
        self._log.append(None)
        self._asked.append(self._study.ask(self._space))
        self._digest.update(json.dumps(self._asked[-1].params).encode())
        return len(self._asked) - 1

    def _tell(self, which: int, bpb: float | None) -> None:
        """A failure counts as the worst score so far: were it left out, it would be proposed again."""
        bpb = bpb if bpb is not None and math.isfinite(bpb) else None
        self._log.append((which, bpb))
        self._worst_bpb = max(self._worst_bpb, self._worst_bpb if bpb is None else bpb)
        self._study.tell(self._asked[which], self._worst_bpb if bpb is None else bpb)

    def checkpoint(self) -> bytes:
        """See `Agent.checkpoint`: JSON with the knobs and everything asked and told."""
        knobs = [[k.place, k.default, k.scale, k.low, k.high, k.grid] for k in self._knobs]
        fields: dict[str, Any] = {"agent": self._name, "optuna": optuna.__version__, "knobs": knobs}
        fields |= {"seed": self._seed, "first_bpb": self._first_bpb, "log": self._log}
        fields |= {"digest": self._digest.hexdigest(), "numpy_rng": self._rng.bit_generator.state}
        return json.dumps(fields).encode()

    def restore(self, data: bytes) -> None:
        """See `Agent.restore`. What was asked and never told stays open."""
        fresh = OptunaAgent(self._name, self._sampler, self._seed)
        try:
            fields = json.loads(data)
            if fields["agent"] != self._name:
                raise ValueError(f"it is one of {fields['agent']}")
            fresh._repeat(fields)
            same, version = fresh._digest.hexdigest() == fields["digest"], fields["optuna"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise StorageError(
                f"this is not a checkpoint of the {self._name} agent, or it is damaged: {error!r}."
            ) from error
        if not same:
            raise StorageError(
                f"the checkpoint of the {self._name} agent is damaged, or Optuna {version}, which wrote it, "
                f"samples otherwise than {optuna.__version__} here: install that, or start another study."
            )
        vars(self).update(vars(fresh))

    def _repeat(self, fields: Mapping[str, Any]) -> None:
        """All that a checkpoint says was asked and told."""
        self._rng, self._seed = rng_from_state(fields["numpy_rng"]), int(fields["seed"])
        knobs = [
            Knob(str(place), str(default), Scale(scale), float(low), float(high), tuple(map(int, grid)))
            for place, default, scale, low, high, grid in fields["knobs"]
        ]
        self._begin(knobs, float(fields["first_bpb"]))
        for told in fields["log"]:
            if told is None:
                self._ask()
            else:
                self._tell(int(told[0]), told[1])
