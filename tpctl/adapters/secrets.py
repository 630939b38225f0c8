"""Secrets: a value that never prints, and the cleaning of texts that came from outside.

Invariant: I20 (no secret in any output). A `Secret` is revealed in one place only, where the client is built.
"""

import re
from collections.abc import Iterable

_MARK = "***"
# What a request carries beside the key itself: a signature or a listen key in an echoed URL or body.
_CARRIED = re.compile(r"(?i)(signature|listenkey|x-mbx-apikey|apikey|secret)(\s*[=:]\s*|\"\s*:\s*\")[^\s&\"',;]+")
_MAX_TEXT = 200


class Secret:
    """A text that never shows itself: `repr`, `str` and `format` give `***`; `reveal` gives the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return _MARK

    def __str__(self) -> str:
        return _MARK

    def __format__(self, spec: str) -> str:
        return format(_MARK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret is not copied or pickled")

    def __bool__(self) -> bool:
        return bool(self._text)

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text


def redacted(text: str, secrets: Iterable[Secret | None] = ()) -> str:
    """Return `text` on one line, of bounded length, without the given secrets, signatures and listen keys."""
    for secret in secrets:
        if secret:
            text = text.replace(secret.reveal(), _MARK)
    text = _CARRIED.sub(rf"\1\2{_MARK}", text)
    text = " ".join(text.split())
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
