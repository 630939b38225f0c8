from collections.abc import Iterator

import pytest

from tpctl.exits import errors
from tpctl.exits.errors import EXIT_CODE_MEANINGS, ExchangeRejected, ExitCode, RateLimitedError, TpctlError


def _tree(root: type[TpctlError] = TpctlError) -> Iterator[type[TpctlError]]:
    for child in (c for c in root.__subclasses__() if c.__module__ == root.__module__):
        yield child
        yield from _tree(child)


def test_every_exit_code_has_a_meaning_and_no_meaning_is_told_twice() -> None:
    assert set(EXIT_CODE_MEANINGS) == set(ExitCode)
    assert len(set(EXIT_CODE_MEANINGS.values())) == len(ExitCode)


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (ExitCode.OK, 0),
        (ExitCode.USAGE, 2),
        (ExitCode.INPUTS, 17),
        (ExitCode.PARTIAL, 19),
        (ExitCode.NOT_PLACEABLE, 23),
        (ExitCode.EMPTY, 25),
        (ExitCode.INTERRUPTED, 130),
        (ExitCode.PIPE_CLOSED, 141),
        (ExitCode.TERMINATED, 143),
    ],
)
def test_exit_codes_that_scripts_rely_on(code: ExitCode, number: int) -> None:
    assert int(code) == number


def test_no_two_kinds_of_error_share_a_code_or_a_kind() -> None:
    tree = list(_tree())

    assert len({error.exit_code for error in tree}) == len(tree)
    assert len({error.kind for error in tree}) == len(tree)
    assert not {ExitCode.OK, ExitCode.BUG} & {error.exit_code for error in tree}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = {
        words[0]: int(words[1])
        for words in (line.split() for line in (errors.__doc__ or "").splitlines())
        if len(words) > 2 and words[1].isdigit()
    }

    assert drawn == {error.__name__: int(error.exit_code) for error in _tree()}


def test_an_error_keeps_what_happened_and_what_to_do() -> None:
    rejected = ExchangeRejected("order would trigger", "move the stop", -2021)
    limited = RateLimitedError("too many requests", "wait", retry_after_ms=1500)

    assert (str(rejected), rejected.hint, rejected.code) == ("order would trigger", "move the stop", -2021)
    assert limited.retry_after_ms == 1500
    assert RateLimitedError("too many requests", "wait").retry_after_ms is None
