"""Whole trials in a real sandbox: what honest, broken and hostile scripts get."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoresearch_rl.environment import scratch
from autoresearch_rl.environment.frozen import FrozenEnvironment
from autoresearch_rl.errors import EnvironmentChanged
from autoresearch_rl.records import Outcome, OutcomeStatus
from tiny import BIGRAM

UNIGRAM_BPB = 4.4  # about what a model that has learnt nothing but letter frequencies reaches here

HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
# A hostile script finds the socket to the harness among its descriptors.
CONTROL = "import os, stat\nCONTROL = next(fd for fd in range(3, 64) if stat.S_ISSOCK(os.stat(fd).st_mode))\n"


def run(environment: FrozenEnvironment, script: str, **changes: object) -> Outcome:
    changed = replace(environment, task=replace(environment.task, **changes)) if changes else environment
    return changed.run(script, seed=1)


# --- honest


def test_an_honest_script_gets_the_score_of_an_independent_reference(
    each_environment: FrozenEnvironment,
) -> None:
    """A model without training has a score that can be computed here, from the rows alone."""
    script = HEAD + (
        "class Fixed(nn.Module):\n"
        "    def forward(self, idx):\n"
        "        return F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100\n"
        "def train(env):\n"
        "    return Fixed()\n"
    )
    outcome = run(each_environment, script)
    assert outcome.status is OutcomeStatus.OK, outcome.reason
    task = each_environment.task
    rows = each_environment.rows["val"].tokens.astype(int)
    logits = np.eye(256)[rows[:, :-1]] * 3 + np.arange(256) / 100
    nats = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, rows[:, 1:, None], -1)[..., 0]
    assert outcome.val_bpb == pytest.approx(nats.mean() / math.log(2), abs=1e-6)
    assert outcome.challenges == task.rows


def test_training_learns_within_the_budget_and_is_probed(environment: FrozenEnvironment) -> None:
    outcome = run(environment, BIGRAM)
    assert outcome.status is OutcomeStatus.OK, outcome.reason
    assert outcome.val_bpb is not None
    assert outcome.val_bpb < UNIGRAM_BPB
    assert outcome.train_seconds <= environment.task.seconds + environment.task.grace
    assert len(outcome.probes) >= 3
    assert outcome.probes[-1].bpb < outcome.probes[0].bpb
    assert outcome.scalars[-1]["loss"] < outcome.scalars[0]["loss"]
    assert outcome.peak_memory_mb > 50
    assert outcome.sandbox == environment.backend.name


def test_the_wall_clock_and_a_free_setup_work_too(environment: FrozenEnvironment) -> None:
    slow_setup = BIGRAM.replace("def train(env):\n", "def train(env):\n    import time; time.sleep(1.5)\n")
    outcome = run(environment, slow_setup, clock="wall", setup="free", seconds=0.4)
    assert outcome.status is OutcomeStatus.OK, outcome.reason
    assert outcome.train_seconds < 1.0
    outcome = run(environment, slow_setup, clock="wall", setup="counted", seconds=0.4)
    assert outcome.status is OutcomeStatus.TIMEOUT


# --- broken


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ("    raise ValueError('no\\x1b[31m luck')\n", "crash", "ValueError: no luck"),
        ("    return None\n", "crash", "returned NoneType; expected a torch.nn.Module"),
        ("    import os; os._exit(7)\n", "crash", "exit code 7"),
        ("    import ctypes; ctypes.string_at(0)\n", "crash", "SIGSEGV"),
        ("    raise SystemExit(0)\n", "crash", "SystemExit"),
        ("    raise ValueError('\\ud800 half')\n", "crash", "ValueError: ? half"),
        ("    return nn.Embedding(256, 100)\n", "crash", "expected logits of shape (64, 32, 256)"),
        ("    return nn.Embedding(256, 256).to(torch.complex64)\n", "crash", "torch.complex64"),
        ("    m = nn.Embedding(256, 256); m.f = lambda: 0; return m\n", "crash", "pickle"),
        ("    m = nn.Embedding(256, 256); m.weight.data[:] = float('nan'); return m\n", "invalid", "finite"),
        ("    return nn.Linear(4000, 4000)\n", "crash", ""),
        ("    x = [torch.empty(1 << 24) for _ in range(200)]\n", "crash", "memory"),
    ],
)  # fmt: skip
def test_a_broken_script_gets_a_reason_and_no_score(
    environment: FrozenEnvironment, body: str, status: str, reason: str
) -> None:
    outcome = run(environment, f"{HEAD}def train(env):\n{body}", memory_mb=1024)
    assert (str(outcome.status), outcome.val_bpb) == (status, None), outcome.reason
    assert reason in outcome.reason
    assert "\x1b" not in outcome.reason + outcome.log


def test_a_traceback_shows_the_scripts_own_line(environment: FrozenEnvironment) -> None:
    outcome = run(environment, f"{HEAD}def train(env):\n    print('before')\n    return undefined_name\n")
    assert "undefined_name" in outcome.log
    assert 'File "train.py", line 6' in outcome.log
    assert outcome.log.startswith("before")


# --- never stopping


def require_killed(environment: FrozenEnvironment, body: str) -> None:
    outcome = run(environment, f"{HEAD}def train(env):\n{body}")
    assert outcome.status is OutcomeStatus.TIMEOUT, outcome.reason
    assert "budget" in outcome.reason
    assert outcome.train_seconds < environment.task.seconds + environment.task.grace + 0.5


def test_a_script_that_never_stops_is_killed(each_environment: FrozenEnvironment) -> None:
    ignore = "    import signal\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    require_killed(each_environment, f"{ignore}    while True: pass\n")


def test_a_script_cannot_turn_back_our_clock(environment: FrozenEnvironment) -> None:
    fake = "    type(env).elapsed = lambda self: 0.0\n    import time; time.process_time = lambda: 0.0\n"
    require_killed(environment, f"{fake}    for x, y in env.batches(8): pass\n")


def test_a_script_that_sleeps_for_ever_is_told_as_hung(
    environment: FrozenEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoresearch_rl.environment.runner.STALL_SECONDS", 2.0)
    outcome = run(environment, f"{HEAD}def train(env):\n    import time; time.sleep(3600)\n")
    assert outcome.status is OutcomeStatus.TIMEOUT
    assert "hung" in outcome.reason


def test_a_script_that_dawdles_is_told_as_idle(
    environment: FrozenEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoresearch_rl.environment.runner.STALL_SECONDS", 3.0)
    monkeypatch.setattr("autoresearch_rl.environment.runner.WALL_PER_CPU", 4.0)
    dawdle = "    import time\n    while True:\n        time.sleep(1.8)\n        sum(range(3_000_000))\n"
    outcome = run(environment, f"{HEAD}def train(env):\n{dawdle}")
    assert outcome.status is OutcomeStatus.TIMEOUT
    assert "idle" in outcome.reason


def test_a_model_that_hangs_when_it_is_served_is_refused(environment: FrozenEnvironment) -> None:
    script = HEAD + (
        "class Slow(nn.Module):\n"
        "    def forward(self, idx):\n"
        "        while True: pass\n"
        "def train(env):\n"
        "    return Slow()\n"
    )
    outcome = run(environment, script, deadline=2.0)
    assert outcome.status is OutcomeStatus.INVALID
    assert "deadline" in outcome.reason


# --- cheating

COUNTING = BIGRAM.replace("        return self.table(idx)\n", "{body}")

PEEKING = "        return self.table(idx) + F.one_hot(idx.roll(-1, 1), 256) * 20.0\n"
FUTURE_LENGTH = (
    "        return self.table(idx) + idx.float().mean(1, keepdim=True)[..., None] * torch.arange(256) / 9\n"
)
NEIGHBOURS = "        return self.table(idx) + self.table(idx).mean(0, keepdim=True)\n"
RANDOM = "        return self.table(idx) + torch.rand(()) * torch.arange(256) / 25\n"
REMEMBERS = (
    "        self.calls = getattr(self, 'calls', 0) + 1\n"
    "        return self.table(idx) + self.calls * torch.arange(256) / 2560\n"
)


def counting(body: str) -> str:
    script = COUNTING.replace("{body}", body)
    return script.replace("import torch\n", "import torch\nimport torch.nn.functional as F\n")


def require_foul(outcome: Outcome) -> None:
    assert (outcome.status, outcome.val_bpb) == (OutcomeStatus.INVALID, None), outcome.reason
    assert "looks ahead" in outcome.reason


def test_a_model_that_looks_at_the_next_token_is_invalid(each_environment: FrozenEnvironment) -> None:
    require_foul(run(each_environment, counting(PEEKING)))


@pytest.mark.parametrize("body", [FUTURE_LENGTH, NEIGHBOURS, RANDOM, REMEMBERS])
def test_a_model_that_is_no_function_of_the_past_alone_is_invalid(
    environment: FrozenEnvironment, body: str
) -> None:
    require_foul(run(environment, counting(body)))


OFFSET = "        return self.table(idx) + F.one_hot(idx.roll(-1, 1), 256) * 20.0 + 1e6\n"


def test_a_constant_added_to_the_logits_hides_no_peeking(environment: FrozenEnvironment) -> None:
    require_foul(run(environment, counting(OFFSET)))


@pytest.mark.parametrize("where", ["__setstate__", "forward"])
def test_training_in_the_server_is_refused(environment: FrozenEnvironment, where: str) -> None:
    late = "    def __setstate__(self, state):\n        self.__dict__.update(state)\n        work()\n"
    early = "        if not hasattr(self, 'done'):\n            self.done = work() or True\n"
    script = (
        HEAD + "import time\n"
        "def work():\n"
        "    end = time.process_time() + 1.5\n"
        "    while time.process_time() < end: pass\n"
        "class Late(nn.Module):\n"
        f"{late if where == '__setstate__' else ''}"
        "    def forward(self, idx):\n"
        f"{early if where == 'forward' else ''}"
        "        return F.one_hot(idx, 256).float()\n"
        "def train(env):\n"
        "    return Late()\n"
    )
    outcome = run(environment, script)
    assert (outcome.status, outcome.val_bpb) == (OutcomeStatus.INVALID, None)
    assert "CPU s" in outcome.reason


HELD_BACK = (
    CONTROL
    + """
import json, os, struct, time
import torch
from torch import nn


def train(env):
    model = nn.Embedding(256, 256)
    with os.fdopen(ARTIFACT, "wb") as file:
        torch.save(model, file)
        file.truncate()
    text = json.dumps({"t": "committed"}).encode()
    frame = struct.pack("<II", len(text), 0) + text
    while time.process_time() - START < 0.53:
        pass
    os.write(CONTROL, frame[:3])
    while time.process_time() - START < 0.95:
        pass
    os.write(CONTROL, frame[3:])
    time.sleep(30)


START = time.process_time()
ARTIFACT = next(fd for fd in range(3, 64) if os.path.exists(f"/proc/self/fd/{fd}")
                and "artifact" in os.readlink(f"/proc/self/fd/{fd}"))
"""
)


def test_a_model_that_arrives_after_the_grace_is_late_whatever_its_message_says(
    environment: FrozenEnvironment,
) -> None:
    outcome = run(environment, HELD_BACK)
    assert outcome.status is OutcomeStatus.TIMEOUT, outcome.reason
    assert outcome.val_bpb is None


def test_a_folder_of_any_depth_is_removed(each_environment: FrozenEnvironment) -> None:
    deep = "    import os\n    for _ in range(3000):\n        os.mkdir('d')\n        os.chdir('d')\n"
    outcome = run(each_environment, f"{HEAD}def train(env):\n{deep}")
    assert outcome.status is OutcomeStatus.CRASH
    assert not [path for path in Path("/tmp").glob(f"autoresearch-{os.getpid()}-*") if (path / "d").exists()]


def test_files_without_a_name_count(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        (tmp_path / "x").unlink()
        before = scratch.megabytes(str(tmp_path), [os.getpid()])
        file.write(bytes(8 << 20))
        file.flush()
        assert scratch.megabytes(str(tmp_path), [os.getpid()]) - before == pytest.approx(8, abs=0.1)


LIES = {
    "prints a score": ("def train(env):\n", "def train(env):\n    print('val_bpb: 0.1')\n"),
    "patches the loss": (
        "def train(env):\n",
        "import torch.nn.functional as F\n"
        "F.cross_entropy = lambda *a, **k: torch.zeros((), requires_grad=True)\n"
        "nn.functional.cross_entropy = F.cross_entropy\n"
        "torch.log_softmax = torch.Tensor.log_softmax = lambda x, *a, **k: torch.zeros_like(x)\n"
        "def train(env):\n",
    ),
    "inflates its logits": ("return self.table(idx)", "return self.table(idx) + 1000.0"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_earns_nothing(environment: FrozenEnvironment, name: str) -> None:
    """At best the honest score: that of the same model, or worse if the lie broke its training."""
    outcome = run(environment, BIGRAM.replace(*LIES[name]))
    assert outcome.val_bpb is None or outcome.val_bpb > 2.5, outcome
    if name == "prints a score":
        assert outcome.val_bpb is not None
        assert "val_bpb: 0.1" in outcome.log


def test_forged_frames_are_not_believed(environment: FrozenEnvironment) -> None:
    script = (
        HEAD + CONTROL + "import json, struct\n"
        "def train(env):\n"
        "    def say(body, payload=b''):\n"
        "        text = json.dumps(body).encode()\n"
        "        os.write(CONTROL, struct.pack('<II', len(text), len(payload)) + text + payload)\n"
        "    say({'t': 'probe', 'seconds': float('nan'), 'nats': -5})\n"
        "    say({'t': 'probe', 'seconds': [1], 'nats': '0'})\n"
        "    say({'t': 'report', 'seconds': 1, 'values': {'val_bpb': 0.1, 'x': 'y'}})\n"
        "    say({'t': 'score', 'val_bpb': 0.1})\n"
    )
    outcome = run(environment, script)
    assert (outcome.status, outcome.val_bpb, outcome.probes) == (OutcomeStatus.INVALID, None, ())
    assert "unknown message" in outcome.reason


def test_an_early_commit_is_scored_as_what_was_committed(environment: FrozenEnvironment) -> None:
    """Saying "done" without a model, or with garbage, is not rewarded."""
    script = (
        HEAD + CONTROL + "import json, struct, time\n"
        "def train(env):\n"
        "    text = json.dumps({'t': 'committed'}).encode()\n"
        "    os.write(CONTROL, struct.pack('<II', len(text), 0) + text)\n"
        "    time.sleep(60)\n"
    )
    outcome = run(environment, script)
    assert outcome.val_bpb is None
    assert "cannot be served" in outcome.reason


def test_a_malicious_pickle_runs_in_the_server_only(environment: FrozenEnvironment, tmp_path: Path) -> None:
    mark = tmp_path / "owned"
    script = (
        HEAD + "import os\n"
        "class Bomb(nn.Module):\n"
        "    def __reduce__(self):\n"
        f"        return (os.system, ('touch {mark}',))\n"
        "def train(env):\n"
        "    return Bomb()\n"
    )
    outcome = run(environment, script)
    assert outcome.val_bpb is None
    assert not mark.exists()


SEARCH = """
import os, sys, sysconfig

def train(env):
    found = {"val": 0, "train": 0}
    # Listing / shows nothing under Landlock, so the places that can be guessed are searched by name.
    for root in {"/", sys.base_prefix, sysconfig.get_paths()["stdlib"], os.getcwd(), "/tmp", *sys.path}:
        for folder, names, files in os.walk(root):
            names[:] = [n for n in names if n not in ("torch", "proc", "sys")]
            for name in files:
                if name.endswith((".py", ".pyc", ".zip", ".txt")):
                    try:
                        text = open(os.path.join(folder, name), "rb").read()
                    except OSError:
                        continue
                    for split in found:
                        found[split] += NEEDLES[split] in text
    raise RuntimeError(f"{found['val']} with validation text, {found['train'] > 0} for training text")
"""


def test_a_search_of_the_file_system_finds_no_validation_text(each_environment: FrozenEnvironment) -> None:
    documents = each_environment.corpus.documents
    needles = {split: max(documents[split].values(), key=len)[5000:5060] for split in ("val", "train")}
    outcome = run(each_environment, f"NEEDLES = {needles!r}\n{SEARCH}", seconds=60.0)
    assert outcome.reason == "RuntimeError: 0 with validation text, True for training text"


ATTEMPTS = """
import ctypes, fcntl, os, resource, signal, socket, threading

libc = ctypes.CDLL(None)


def opened():
    return os.open(os.__file__, os.O_RDONLY)


ATTEMPTS = {
    "a socket": lambda: socket.socket(),
    "a pair of sockets": lambda: socket.socketpair(),
    "children that nobody counts": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    "a mount": lambda: libc.mount(b"tmpfs", b"/scratch", b"tmpfs", 0, None) == 0 or int("x"),
    "a signal to the parent": lambda: os.kill(os.getppid(), 0),
    "a signal to everybody": lambda: os.kill(-1, 0),
    "a new session": lambda: os.setsid(),
    "a file in memory": lambda: os.memfd_create("x"),
    "a mode": lambda: os.chmod(".", 0o777),
    "a large file": lambda: open("big", "wb").write(bytes(64 << 20)),
    "a file at home": lambda: open(os.path.expanduser("~root/x"), "w"),
    "a file in /tmp": lambda: open("/tmp/x", "w"),
    "a lot in /dev/shm": lambda: open("/dev/shm/x", "w").write("x" * (1 << 24)),
    "a higher limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)),
    "outliving the harness": lambda: libc.prctl(1, 0) == 0 or int("x"),
    "a user namespace": lambda: libc.unshare(0x10000000) == 0 or int("x"),
    "tracing": lambda: libc.ptrace(0, 0, 0, 0) == 0 or int("x"),
    "flags of a file": lambda: fcntl.ioctl(opened(), 0x40086602, bytes(8)),
    "evicting a page": lambda: os.posix_fadvise(opened(), 0, 0, os.POSIX_FADV_DONTNEED),
    "reading the cache": lambda: os.preadv(opened(), [bytearray(9)], 0, os.RWF_NOWAIT),
    "signals by a file": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid()),
    "a priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, 1),
    "shared memory that stays": lambda: libc.shmget(1234, 4096, 0o1600) >= 0 or int("x"),
}


def train(env):
    worked = []
    thread = threading.Thread(target=print)  # threads are fine
    thread.start()
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
        except (OSError, ValueError):
            continue
        worked.append(name)
    raise RuntimeError(f"{len(ATTEMPTS)} tried, worked: {worked}")
"""


def test_what_a_script_must_not_do_fails(each_environment: FrozenEnvironment) -> None:
    outcome = run(each_environment, ATTEMPTS)
    assert outcome.reason == "RuntimeError: 23 tried, worked: []"


# --- the environment itself


def test_a_changed_task_file_stops_everything_and_is_named(environment: FrozenEnvironment) -> None:
    path = environment.task.folder / "task.toml"
    before = path.read_text()
    try:
        path.write_text(before + "# easier now\n")
        with pytest.raises(EnvironmentChanged, match=r"task\.toml has changed"):
            environment.run(BIGRAM, seed=0)
    finally:
        path.write_text(before)


def test_nothing_is_left_after_many_outcomes(environment: FrozenEnvironment) -> None:
    def count() -> tuple[int, int]:
        folders = len(list(Path("/tmp").glob(f"autoresearch-{os.getpid()}-*")))
        return len(os.listdir("/proc/self/fd")), folders

    run(environment, f"{HEAD}def train(env):\n    return None\n")
    before = count()
    for body in ("    return None\n", "    import os; os._exit(1)\n", "    return nn.Embedding(256, 256)\n"):
        run(environment, f"{HEAD}def train(env):\n{body}")
    assert count()[1] == before[1]
    assert count()[0] <= before[0] + 1  # a log reader may close its end a moment later
