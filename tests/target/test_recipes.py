"""Every recipe on two differently written scripts: it applies, trains, stays causal, and inverts exactly."""

import re
from collections.abc import Callable
from functools import cache
from itertools import chain

import pytest
import torch
import toy
from torch import nn

from autoresearch_rl.records import Edit
from autoresearch_rl.target.catalogue import catalogue
from autoresearch_rl.target.edits import apply, validate
from autoresearch_rl.target.generators.literals import Literals
from autoresearch_rl.target.generators.recipes import Recipes
from autoresearch_rl.target.patterns import Source
from autoresearch_rl.target.script import Script
from autoresearch_rl.target.space import Space, full_space

# Where a recipe has nothing to do, or its pattern is not there. Everything else fits all three scripts.
UNFIT = {
    "tie_weights": {"stdlib"},  # a literal there
    "depth_scaled_init": {"nanogpt"},  # there already
    "fused_adamw": {"nanogpt"},  # decided at run time there
    "nadamw": {"nanogpt"},  # options that are not known
    "no_bias": {"stdlib"},  # no biases there
    "no_norm_bias": {"nanogpt"},  # a norm of its own
    "alibi": {"minimal"},
    "dropout_schedule": {"minimal"},
    "exclusive_attention": {"minimal"},
    "momentum_warmup": {"minimal"},
    "sliding_window": {"minimal"},
    "value_residual": {"minimal"},
}
CASES = [
    (name, script) for name in catalogue() for script in toy.SCRIPTS if script not in UNFIT.get(name, ())
]
SAME_RESULT = {"compile", "fused_adamw"}  # faster, nothing else
TIGHT = {
    "WINDOW = 64": "WINDOW = 4",
    "CLIP_START = 0.3": "CLIP_START = 0.01",
    "TAIL = 0.1": "TAIL = 0.9",
}  # to be felt at toy size


def with_recipe(name: str, source: str) -> str:
    after = catalogue()[name].apply(Source(source))
    assert after is not None
    for wide, tight in TIGHT.items():
        after = after.replace(wide, tight)
    return after


def check_causal(model: nn.Module) -> None:
    """No token can be told from what stands before it, nor from other rows."""
    with torch.no_grad():
        for parameter in model.parameters():  # away from zeros, which would hide a leak
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    idx = probe()
    other = idx.clone()
    other[:, 9:] = (other[:, 9:] + 7) % toy.VOCAB
    a, b = toy.logits(model, idx), toy.logits(model, other)
    torch.testing.assert_close(a[:, :9], b[:, :9], rtol=0, atol=2e-5)
    assert (a[:, 9:] - b[:, 9:]).abs().max() > 1e-3
    torch.testing.assert_close(toy.logits(model, idx[1:2]), a[1:2], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def plain() -> dict[str, torch.Tensor]:
    """What the unedited scripts' models say after training."""
    return {name: toy.logits(toy.train(source)[0], probe()) for name, source in toy.SCRIPTS.items()}


def probe() -> torch.Tensor:
    return torch.randint(toy.VOCAB, (3, toy.LENGTH), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", catalogue())
@pytest.mark.parametrize("script", toy.SCRIPTS)
def test_which_recipes_fit_which_script(name: str, script: str) -> None:
    after = catalogue()[name].apply(Source(toy.SCRIPTS[script]))
    assert (after is not None) == (script not in UNFIT.get(name, ()))


@pytest.mark.parametrize(("name", "script"), CASES)
def test_it_trains_has_an_effect_is_served_as_trained_and_stays_causal(
    name: str, script: str, plain: dict[str, torch.Tensor]
) -> None:
    after = with_recipe(name, toy.SCRIPTS[script])
    if catalogue()[name].needs:
        return  # another device
    model, losses = toy.train(after)
    assert len(losses) == toy.STEPS
    assert all(0 < loss < 50 for loss in losses)
    found = toy.logits(model, probe())
    assert torch.equal(toy.logits(toy.served(after, toy.saved(model)), probe()), found)
    if name not in SAME_RESULT:
        assert (found - plain[script]).abs().max() > 1e-6
    check_causal(model)


@pytest.mark.parametrize(("name", "script"), CASES)
def test_it_gives_a_valid_script_and_does_not_apply_twice(name: str, script: str) -> None:
    source = toy.SCRIPTS[script]
    source = {"nanogpt": source.replace("\n", "\r\n"), "minimal": source[:-1]}.get(script, source)
    after = catalogue()[name].apply(Source(source))
    assert after is not None
    assert validate(after) is None
    assert catalogue()[name].apply(Source(after)) is None
    assert after.count("\r\n") == (after.count("\n") if script == "nanogpt" else 0)


# What the issue wants to be found from a plain script: a name in the result that shows it is there.
WANTED = {
    "optimizer rebalancing": r"use_group_rates\(optimizer",
    "QK-norm": r"head_norm\(q\)",
    "clip-norm warm-up": r"clip_factor\(env.progress\)",
    "depth": r"(DEPTH|n_layer): 3",
    "squared ReLU": r"square\(\)",
    "SwiGLU": r"= GatedLinear\(",
    "rotary": r"rotary\(q\)",
    "weight tying": r"TIE_WEIGHTS: True|tie_weights\(self\)",
    "Muon": r"use_muon\(optimizer, model\)",
    "WSD": r"\* wsd\(env.progress\)",
    "warm-up": r"\* warm_up\(env.progress\)",
    "cool-down": r"\* cool_down\(env.progress\)",
    "soft-cap": r"softcap\(self",
    "zero-init": r"zero_outputs\(model\)",
    "GQA": r"grouped_heads\(self",
}


@pytest.mark.parametrize("script", ["stdlib", "nanogpt"])
@pytest.mark.parametrize("advance", WANTED)
def test_known_advances_are_one_edit_away_and_run(advance: str, script: str) -> None:
    before = Script(toy.SCRIPTS[script])
    edit = next(edit for edit in all_edits(before) if re.search(WANTED[advance], shown(edit)))
    model, _ = toy.train(apply(before, edit).source)
    check_causal(model)


@cache
def all_edits(script: Script) -> list[Edit]:
    return [c.edit for c in chain(Literals().propose(script), Recipes().propose(script))]


def shown(edit: Edit) -> str:
    return "\n".join(f"{change.site}: {change.new}" for change in edit.changes)


@pytest.mark.parametrize("script", [toy.STDLIB, toy.NANOGPT], ids=["stdlib", "nanogpt"])
def test_candidates_apply_invert_and_are_not_proposed_twice(script: str) -> None:
    before = Script(script)
    space = Space([Recipes()], compound=False)
    found = space.candidates(before)
    results = [apply(before, candidate.edit) for candidate in found]
    assert len(found) >= 60
    assert len({result.id for result in results} | {before.id}) == len(found) + 1
    for candidate, result in zip(found, results, strict=True):
        assert validate(result.source) is None
        assert apply(result, candidate.edit.inverse).source == script
    assert {(c.generator, c.direction, c.magnitude) for c in found} == {("recipes", 0, 1.0)}
    assert [(c.topic, c.operator, c.odds) for c in found] == [
        (r.name, r.family, r.odds) for r in map(catalogue().get, (c.topic for c in found)) if r
    ]
    tried = {result.normal.id for result in results[::2]}
    assert space.candidates(before, tried) == found[1::2]


def test_knobs_become_sites_of_the_literals() -> None:
    before = Script(toy.STDLIB)
    for candidate in Recipes("cuda").propose(before):
        recipe, new = catalogue()[candidate.topic], set(apply(before, candidate.edit).sites)
        for variant in recipe.variants[:1]:
            assert {constant.partition(" =")[0] for constant in variant.constants} <= new, recipe.name


def test_steps_are_split_only_while_they_last_and_splits_multiply() -> None:
    rates, warm = (catalogue()[name].variants for name in ("group_rates", "warm_up"))
    helper = warm[1].helper
    assert "def split_steps" in helper
    imports = "import torch\nfrom torch import nn\n"
    module = toy.load(
        "\n\n".join([imports, *rates[0].constants, rates[0].helper, *warm[1].constants, helper])
    )
    for order in (1, -1):
        model = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2, bias=False), nn.Linear(2, 3, bias=False))
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        groups = optimizer.param_groups
        factor = module.warm_up(0.0)
        uses = [(module.split_steps, scaled_by(factor)), (module.use_group_rates, model)]
        for use, argument in uses[::order]:
            use(optimizer, argument)
        before = [p.detach().clone() for p in model.parameters()]
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
        steps = [(b - p.detach()).mean().item() for b, p in zip(before, model.parameters(), strict=True)]
        assert steps == pytest.approx([module.EMBEDDING_LR * factor, factor, factor], rel=1e-5)
        assert optimizer.param_groups is groups
        assert [group["lr"] for group in groups] == [1.0]


def scaled_by(factor: float) -> Callable[[object, dict[str, float]], dict[str, float]]:
    return lambda _, group: {"lr": group["lr"] * factor}


def test_a_script_that_does_not_validate_has_no_candidates() -> None:
    assert full_space().candidates(Script("x = 1\n")) == []


def test_recipes_that_need_another_device_are_left_out() -> None:
    assert "compile" not in {c.topic for c in Recipes().propose(Script(toy.STDLIB))}
    assert "compile" in {c.topic for c in Recipes("cuda").propose(Script(toy.STDLIB))}
