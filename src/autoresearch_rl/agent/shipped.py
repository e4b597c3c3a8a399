"""The prior that is shipped: a policy that was trained on simulated studies, and how it was made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from autoresearch_rl.agent import checkpoint
from autoresearch_rl.agent.policy import ActorCritic
from autoresearch_rl.errors import ConfigurationError, StorageError

PRIOR = "prior.safetensors"
MOST_BYTES = 1_000_000  # a prior has less than 100,000
LARGEST = 1e4  # weight: with larger ones the sums of a layer overflow sooner or later


def load_prior(epsilon: float) -> ActorCritic:
    """The shipped policy.

    Args:
        epsilon: share of the uniform distribution that it is mixed with.

    Raises:
        StorageError: the package's file is damaged, or of another version.
    """
    return network_of((files("autoresearch_rl.agent") / PRIOR).read_bytes(), epsilon)[0]


def read_prior(path: Path) -> bytes:
    """What `pretrain` wrote to a file, not yet looked at.

    Raises:
        ConfigurationError: the file cannot be read, or is far too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"expected a prior at {path}, which `pretrain --out` writes: {error.strerror}"
        ) from error
    if len(data) > MOST_BYTES:
        raise ConfigurationError(f"{path} is no prior: it has more than {MOST_BYTES:,} bytes")
    return data


def digest(data: bytes) -> str:
    """What tells a prior from others: the beginning of its SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def network_of(data: bytes, epsilon: float) -> tuple[ActorCritic, Mapping[str, Any]]:
    """A policy that `pack_prior` has written, and the facts about it.

    Raises:
        StorageError: it is damaged, or of another version.
    """
    tensors, facts = checkpoint.unpack(data)
    network = ActorCritic(epsilon, torch.Generator())
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        line = str(error).splitlines()[0]
        raise StorageError(f"the pretrained policy is not one of this version's: {line}") from error
    if not all((weights.abs() < LARGEST).all() for weights in network.state_dict().values()):
        raise StorageError(f"the pretrained policy has weights that are no numbers below {LARGEST:g}.")
    return network, facts


def pack_prior(network: ActorCritic, facts: Mapping[str, Any]) -> bytes:
    """The policy and what is known about it, as safetensors."""
    return checkpoint.pack(network.state_dict(), facts)
