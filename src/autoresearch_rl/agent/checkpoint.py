"""Tensors and a JSON object as safetensors bytes: no pickle, so reading one runs no code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from autoresearch_rl.errors import StorageError


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Serialise; the same input always gives the same bytes.

    Args:
        tensors: By name; any shape, on the CPU.
        metadata: JSON-ready; kept in the header, with a digest over everything.
    """
    text = json.dumps(metadata, sort_keys=True)
    header = {"metadata": json.dumps({"digest": _digest(tensors, text), "text": text}, sort_keys=True)}
    data: bytes = safetensors.torch.save(dict(tensors), header)
    return data


def unpack(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Inverse of `pack`.

    Raises:
        StorageError: The bytes are not what `pack` wrote.
    """
    try:
        tensors = safetensors.torch.load(data)
        size = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["metadata"])
        text, digest = header["text"], header["digest"]
        metadata: dict[str, Any] = json.loads(text)
        same = digest == _digest(tensors, text)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StorageError(f"the checkpoint is damaged: {error!r}.") from error
    if not same:
        raise StorageError("the checkpoint is damaged: its content does not match its digest.")
    return tensors, metadata


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 over the metadata and every tensor with its name, type and shape."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
