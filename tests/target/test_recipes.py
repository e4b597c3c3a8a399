"""Every recipe on two differently written scripts: it applies, trains, stays causal, and inverts exactly."""

import re
import time

import pytest
import torch
from torch import nn

from autoresearch_rl.target.catalogue import catalogue
from autoresearch_rl.target.edits import apply, validate
from autoresearch_rl.target.generators import Literals, Recipes
from autoresearch_rl.target.patterns import Source
from autoresearch_rl.target.script import Script

import toy

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
@pytest.mark.parametrize("style", ["plain", "crlf", "no last newline"])
def test_it_is_an_edit_that_inverts_and_does_not_apply_twice(name: str, script: str, style: str) -> None:
    source = toy.SCRIPTS[script]
    source = {"plain": source, "crlf": source.replace("\n", "\r\n"), "no last newline": source[:-1]}[style]
    after = catalogue()[name].apply(Source(source))
    assert after is not None
    assert validate(after) is None
    assert catalogue()[name].apply(Source(after)) is None
    assert ("\r\n" in source) == bool(re.search(r"\r\n", after))
    assert not re.search(r"(?<!\r)\n", after) or style != "crlf"


@pytest.mark.parametrize("script", [toy.STDLIB, toy.NANOGPT], ids=["stdlib", "nanogpt"])
def test_candidates_apply_invert_and_are_not_proposed_twice(script: str) -> None:
    before = Script(script)
    found = Recipes().candidates(before)
    results = [apply(before, candidate.edit) for candidate in found]
    assert len(found) >= 60
    assert len({result.id for result in results} | {before.id}) == len(found) + 1
    for candidate, result in zip(found, results, strict=True):
        assert validate(result.source) is None
        assert apply(result, candidate.edit.inverse).source == script
    assert {(c.generator, c.operator, c.direction, c.magnitude) for c in found} == {
        ("recipes", "recipe", 0, 1.0)
    }
    tried = {result.id for result in results[::2]}
    assert Recipes().candidates(before, tried) == found[1::2]


def test_knobs_become_sites_of_the_literals() -> None:
    before = Script(toy.STDLIB)
    for recipe, candidate in Recipes("cuda").proposals(before):
        new = set(apply(before, candidate.edit).sites)
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
    for first_warm in (True, False):
        model = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2, bias=False), nn.Linear(2, 3, bias=False))
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        groups = optimizer.param_groups
        uses = [
            lambda o=optimizer: module.split_steps(
                o, lambda p, group: {"lr": group["lr"] * module.warm_up(0.0)}
            ),
            lambda o=optimizer, m=model: module.use_group_rates(o, m),
        ]
        for use in uses if first_warm else uses[::-1]:
            use()
        before = [p.detach().clone() for p in model.parameters()]
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
        steps = [float((b - p).mean()) for b, p in zip(before, model.parameters(), strict=True)]
        factor = module.warm_up(0.0)
        assert steps == pytest.approx([module.EMBEDDING_LR * factor, factor, factor], rel=1e-5)
        assert optimizer.param_groups is groups
        assert [group["lr"] for group in groups] == [1.0]


def test_a_script_that_does_not_validate_has_no_candidates() -> None:
    assert Recipes().candidates(Script("x = 1\n")) == []


def test_recipes_that_need_another_device_are_left_out() -> None:
    names = {recipe.name for recipe, _ in Recipes().proposals(Script(toy.STDLIB))}
    assert "compile" not in names
    assert "compile" in {recipe.name for recipe, _ in Recipes("cuda").proposals(Script(toy.STDLIB))}


@pytest.mark.parametrize("script", [toy.STDLIB, toy.NANOGPT], ids=["stdlib", "nanogpt"])
def test_literals_and_recipes_together_take_less_than_a_second(script: str) -> None:
    started = time.process_time()
    found = Literals().candidates(Script(script)) + Recipes().candidates(Script(script))
    assert time.process_time() - started < 1.0
    assert len(found) > 150
