"""What is kept of written records follows those in use, not those that ever were."""

from tpctl.adapters.kept import MOST, WHILE_S, Kept


class Record:
    """A record: equal to every other, and yet not it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record)

    def __hash__(self) -> int:
        return 1


class Clock:
    """Time as a test tells it, in seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_record_is_found_and_its_equal_is_not() -> None:
    kept, record = Kept(), Record()
    kept.keep(record, "written")

    assert kept.find(record) == "written"
    assert kept.find(Record()) is None


def test_what_is_over_goes_and_what_is_in_use_stays() -> None:
    clock = Clock()
    kept = Kept(clock)
    living = [Record() for _ in range(100)]
    for record in living:
        kept.keep(record, "alive")
    sizes = []
    for _ in range(1_000):
        clock.now += WHILE_S / 3
        for record in living:
            assert kept.find(record) == "alive"
        for _ in range(50):
            kept.keep(Record(), "over")
        sizes.append(len(kept))

    assert max(sizes) == max(sizes[:10]) <= 100 + 100 + 7 * 50


def test_a_fast_market_is_bounded_by_number() -> None:
    kept = Kept(Clock())
    for _ in range(10 * MOST):
        kept.keep(Record(), "over")
        assert len(kept) <= 2 * MOST
