"""An output nobody waits for: a reader that stops reading, one that goes away, one that reads all of it."""

import os

import pytest

from tpctl.adapters.outlet import Outlet


def read_all(descriptor: int) -> str:
    with os.fdopen(descriptor) as file:
        return file.read()


def test_everything_arrives_in_order() -> None:
    reading, writing = os.pipe()
    outlet = Outlet(writing)
    for number in range(1000):
        outlet.write(f"{number}\n")
    outlet.close()
    os.close(writing)

    assert read_all(reading).split() == [str(number) for number in range(1000)]


def test_a_reader_that_does_not_read_keeps_nobody_waiting() -> None:
    reading, writing = os.pipe()
    outlet = Outlet(writing, lambda count: f"{count} left out\n", limit=1000)
    line = "x" * 9_999 + "\n"
    for _ in range(100):  # a pipe holds 64 KiB, the queue a thousand bytes: most of this fits nowhere
        outlet.write(line)
    outlet.close(patience_s=0.01)

    assert not outlet.broken
    os.set_blocking(reading, False)
    os.read(reading, 1 << 20)
    os.close(reading)
    os.close(writing)


def test_what_was_left_out_is_told() -> None:
    reading, writing = os.pipe()
    outlet = Outlet(writing, lambda count: f"{count} left out\n", limit=10)
    outlet._size = 11  # the queue is full
    outlet.write("lost\n")
    outlet.write("lost\n")
    outlet._size = 0
    outlet.write("told\n")
    outlet.close()
    os.close(writing)

    assert read_all(reading) == "2 left out\ntold\n"


def test_a_reader_that_went_away_is_known_to_the_next_write() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    outlet = Outlet(writing)
    outlet.write("nobody hears this\n")
    outlet.close()

    assert outlet.broken
    with pytest.raises(BrokenPipeError):
        outlet.write("more\n")
    os.close(writing)
