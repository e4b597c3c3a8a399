"""Searches its own memory and every live object for validation text."""

# expect: crash
# reason: RuntimeError: val text False, train text True, objects []
# task: seconds=30.0, memory_mb=4096

import gc
import sys

NEEDLES: dict[str, bytes] = {}  # the runner puts text of each split here, upper and lower case exchanged


def regions():
    with open("/proc/self/maps") as lines:
        for line in lines:
            span, rights, _, _, inode, *path = line.split()
            if "r" in rights and (inode == "0" or "memfd" in path[0]) and "[v" not in "".join(path):
                yield [int(end, 16) for end in span.split("-")]


def train(env):
    env.train_tokens[:1000].sum()
    found = dict.fromkeys(NEEDLES, 0)
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for start, end in regions():
            memory.seek(start)
            try:
                data = memory.read(end - start).swapcase()
            except OSError:
                continue
            for split in found:
                found[split] += data.count(NEEDLES[split])
    names = [name for name in sys.modules if "autoresearch" in name]
    dicts = [o for o in gc.get_objects() if isinstance(o, dict) and {"val", "test"} <= o.keys()]
    objects = names + [list(o) for o in dicts]
    raise RuntimeError(f"val text {found['val'] > 0}, train text {found['train'] > 0}, objects {objects}")
