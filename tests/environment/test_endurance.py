"""Two hundred trials of every kind, one after the other: nothing is left behind, and nothing grows."""

from __future__ import annotations

import gc
import os
import random
import time
from collections import Counter
from pathlib import Path

from autoresearch_rl.environment.frozen import FrozenEnvironment
from tiny import BIGRAM

HEAD = "import os, time, torch\nfrom torch import nn\n\n\ndef train(env):\n"
SCRIPTS = {
    "honest": HEAD + "    return nn.Embedding(256, 256)\n",
    "trains": BIGRAM,
    "crashes": HEAD + "    raise ValueError('no luck')\n",
    "dies": HEAD + "    os.kill(os.getpid(), 9)\n",
    "exits": HEAD + "    os._exit(0)\n",
    "hangs": HEAD + "    while True: pass\n",
    "floods the log": HEAD + "    while True: print('x' * 10000)\n",
    "fills the disk": HEAD + "    open('x', 'wb').write(bytes(64 << 20))\n",
    "many files": HEAD + "    for i in range(100000): open(str(i), 'w').close()\n",
    "takes memory": HEAD + "    x = [torch.empty(1 << 26) for _ in range(99)]\n",
    "abandons children": HEAD
    + "    for _ in range(20):\n        os.fork() or time.sleep(99)\n    return nn.Embedding(256, 256)\n",
    "shared memory": HEAD
    + "    open('/dev/shm/x', 'wb').write(bytes(1 << 16))\n    return nn.Embedding(256, 256)\n",
    "cannot be served": HEAD + "    return nn.Linear(3, 3)\n",
}


def left_behind() -> dict[str, object]:
    """What outlives a process, or grows in this one."""
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "processes": sorted(descendants(os.getpid())),
        "folders": sorted(Path("/tmp").glob(f"autoresearch-{os.getpid()}-*")),
        "shared memory": sorted(os.listdir("/dev/shm")),
        "System V": Path("/proc/sysvipc/shm").read_text(),
    }


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        children = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
        found += [int(child) for child in children]
    return found + [deeper for child in found for deeper in descendants(child)]


def resident_mb() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_nothing_is_left_after_200_trials(environment: FrozenEnvironment) -> None:
    order = random.Random(0)
    for name in SCRIPTS:  # every path has been walked before we look
        environment.run(SCRIPTS[name], seed=0)
    before, memory, outcomes = left_behind(), resident_mb(), Counter[str]()
    for number in range(200):
        name = order.choice(sorted(SCRIPTS))
        outcomes[f"{name}: {environment.run(SCRIPTS[name], seed=number).status}"] += 1
    deadline = time.monotonic() + 5.0
    while left_behind() != before and time.monotonic() < deadline:
        time.sleep(0.05)  # a log's reader closes its end in its own thread
    assert left_behind() == before
    assert resident_mb() - memory < 20.0
    statuses = {key.split(": ")[1] for key in outcomes}
    assert statuses >= {"ok", "crash", "timeout"}, outcomes
    assert outcomes.total() == 200
