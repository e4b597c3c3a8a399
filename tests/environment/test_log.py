from hypothesis import given
from hypothesis import strategies as st

from autoresearch_rl.environment.log import HEAD, TAIL, LogRing, clean, one_line


def test_escape_sequences_leave_the_text_around_them() -> None:
    text = "a\x1b[31mred\x1b[0m \x1b]0;title\x07b\x1bPq#0\x1b\\c\x1b[2J\x9b1md\u202ee\r\nf\tg"
    assert clean(text) == "ared bc1mdef\ng".replace("ef\ng", "e\nf\tg")


def test_a_carriage_return_begins_a_line_as_a_progress_bar_does() -> None:
    assert clean("\rstep 1\rstep 2\r\n---\n") == "\nstep 1\nstep 2\n---\n"


@given(st.text())
def test_nothing_unprintable_survives(text: str) -> None:
    assert all(c in "\n\t" or (c >= " " and not "\x7f" <= c <= "\x9f") for c in clean(text))


@given(st.text())
def test_one_line_is_one_line_and_bounded(text: str) -> None:
    line = one_line(text, 50)
    assert len(line) <= 50
    assert "\n" not in line


@given(st.lists(st.binary(max_size=5000), max_size=40))
def test_the_ring_keeps_head_and_tail_and_counts_the_rest(pieces: list[bytes]) -> None:
    ring = LogRing()
    for piece in pieces:
        ring.write(piece)
    assert ring.total == sum(map(len, pieces))
    assert len(ring._head) <= HEAD
    assert len(ring._tail) <= TAIL
    whole = b"".join(pieces)
    assert whole.startswith(ring._head)
    assert whole.endswith(ring._tail)


def test_a_flood_is_cut_in_the_middle() -> None:
    ring = LogRing()
    ring.write(b"first\n")
    for _ in range(100):
        ring.write(b"x" * 10_000)
    ring.write(b"\nlast")
    text = ring.text()
    assert (text[:6], text[-5:]) == ("first\n", "\nlast")
    assert "bytes left out" in text
    assert len(text) < HEAD + TAIL + 100
