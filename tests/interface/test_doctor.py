import json
from pathlib import Path

from autoresearch_rl.interface.doctor import Check, examine, render
from calling import call


def test_this_machine_passes(tmp_path: Path) -> None:
    checks = {check.name: check for check in examine(tmp_path)}
    assert not [check for check in checks.values() if check.blocks]
    assert {"python", "torch", "git", "disk", "corpus", "leaks", "bubblewrap", "landlock", "sandbox"} <= set(
        checks
    )
    assert "val" in checks["corpus"].message


def test_a_blocker_gives_exit_code_3(tmp_path: Path) -> None:
    result = call("doctor", "--json", "--home", tmp_path, env={"PATH": str(tmp_path)})
    assert result.returncode == 3, result.stderr
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert checks["git"]["blocks"]
    assert "install it" in checks["git"]["message"]
    assert not checks["bubblewrap"]["holds"]
    assert not checks["bubblewrap"]["blocks"], "Landlock is there"


def test_the_text_marks_what_blocks() -> None:
    text = render(
        [Check("a", True, False, "fine"), Check("b", False, True, "bad"), Check("c", False, False, "hm")]
    )
    assert [line.split()[0] for line in text.splitlines()] == ["ok", "FAIL", "note"]
