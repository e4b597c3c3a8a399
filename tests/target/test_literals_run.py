"""Edits of literals give scripts that train and answer: a sample of them on differently written scripts."""

import pytest
import torch
import toy

from autoresearch_rl.records import Candidate
from autoresearch_rl.target.edits import splices
from autoresearch_rl.target.generators.literals import Literals
from autoresearch_rl.target.normal import spliced
from autoresearch_rl.target.script import Script
from autoresearch_rl.target.space import Space

NANOCHAT = {
    "WIDTH = 512": "WIDTH = 128",
    "HEAD_WIDTH = 128": "HEAD_WIDTH = 64",
    "DEPTH = 8": "DEPTH = 4",
    "BATCH_TOKENS = 262144": "BATCH_TOKENS = 16384",
    "WINDOW = 512": "WINDOW = 8",
}
SCRIPTS = {
    **toy.SCRIPTS,
    **{
        style: (toy.SCRIPT_FOLDER / f"{style}_style.txt").read_text(encoding="utf-8")
        for style in ("hub", "grouped")
    },
    "nanochat": toy.replaced((toy.TASKS / "nanochat" / "train.py").read_text(encoding="utf-8"), NANOCHAT),
}


def sample(script: Script) -> list[Candidate]:
    """The extreme moves of every site whose value has to do with shapes, and one of every other."""
    by_site: dict[str, list[Candidate]] = {}
    for candidate in Space([Literals()], compound=False).candidates(script):
        by_site.setdefault(candidate.edit.changes[0].site, []).append(candidate)
    chosen = []
    for site, found in by_site.items():
        ends = [found[0], found[-1]] if script.sites[site].kind in ("int", "choice") else [found[-1]]
        chosen += {id(c): c for c in ends}.values()
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_it_trains_and_answers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "STEPS", 2)
    script = Script(SCRIPTS[name])
    probe = torch.randint(toy.VOCAB, (2, toy.LENGTH), generator=torch.Generator().manual_seed(2))
    failed = []
    found = sample(script)
    for candidate in found:
        try:
            model, losses = toy.train(spliced(script.source, splices(script, candidate.edit)))
            toy.logits(model, probe)
            assert all(0 < loss < 100 for loss in losses)
        except Exception as error:  # whatever a script raises is what is counted
            failed.append(f"{candidate}: {error!r}")
    assert failed == []
    assert len(found) >= 20
