"""What a failed call means (binance-usdm 1.7, 3.3; reliability 3, 4)."""

import copy
import pickle

import pytest

from tpctl.adapters.binance.errors import Kind, as_answer, as_error, lost, refusal
from tpctl.adapters.secrets import Secret, redacted
from tpctl.exits.errors import CredentialsError, RateLimitedError, UnavailableError
from tpctl.exits.events import Refused, Unknown

UNKNOWN_503 = "Unknown error, please check your request or try again later."


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (503, 0, UNKNOWN_503),
        (503, -1000, UNKNOWN_503),
        (503, -1001, "Internal error; unable to process your request. Please try again."),
        (400, -1006, "An unexpected response was received from the message bus."),
        (400, -1007, "Timeout waiting for response from backend server."),
        (408, 0, ""),
        (408, -9999, "timeout"),
        (500, 0, "<html>"),
        (502, 0, "Bad Gateway"),
        (504, 0, ""),
        (403, 0, "<html>forbidden"),
        (302, 0, ""),
        (404, 0, "not found"),
        (503, -4999, "a code nobody documented"),
    ],
)
def test_only_what_surely_never_reached_a_book_is_refused(status, code, text):
    """I10."""
    assert isinstance(as_answer(refusal(status, code, text)), Unknown)


@pytest.mark.parametrize(
    "code", [-2021, -2022, -4045, -4130, -4509, -1111, -4014, -2011, -2013, -4131, -4164, -1015, -4061, -2019]
)
def test_a_documented_refusal_keeps_its_code(code):
    assert as_answer(refusal(400, code, "why")) == Refused(code, "why")


@pytest.mark.parametrize(
    ("status", "code", "text"), [(503, 0, "Service Unavailable."), (503, -1008, "overload"), (400, -1008, "overload")]
)
def test_overload_never_reached_a_book(status, code, text):
    failure = refusal(status, code, text)

    assert failure.kind is Kind.OVERLOADED
    assert isinstance(as_answer(failure), Refused)


def test_an_id_already_there_must_be_looked_up():
    assert as_answer(refusal(400, -4116, "ClientOrderId is duplicated.")) == Unknown("already there")


def test_a_lost_answer_is_unknown():
    assert as_answer(lost("no answer in time")) == Unknown("no answer in time")


@pytest.mark.parametrize("code", [-2014, -2015, -1022])
def test_a_refused_key_stops_everything(code):
    with pytest.raises(CredentialsError, match=str(code)):
        as_answer(refusal(401, code, "Invalid API-key"))
    assert isinstance(as_error(refusal(401, code, "x"), "the account"), CredentialsError)


@pytest.mark.parametrize("code", [-1021, -5028])
def test_a_refused_clock_is_a_refusal(code):
    failure = refusal(400, code, "outside of the recvWindow")

    assert failure.kind is Kind.CLOCK
    assert as_answer(failure) == Refused(code, "outside of the recvWindow")


@pytest.mark.parametrize(("status", "code"), [(429, -1003), (429, 0), (418, -1003), (429, -1015)])
def test_a_limit_is_a_refusal_for_orders_and_tells_reads_how_long(status, code):
    failure = refusal(status, code, "too many", 7_000)

    assert as_answer(failure) == Refused(code or status, "too many")
    error = as_error(failure, "the account")
    assert isinstance(error, RateLimitedError)
    assert error.retry_after_ms == 7_000
    assert "7 s" in error.hint


@pytest.mark.parametrize("failure", [lost("gone"), refusal(400, -1121, "Invalid symbol."), refusal(400, -1021, "x")])
def test_every_other_failed_read_is_unavailable(failure):
    assert type(as_error(failure, "the account")) is UnavailableError


def test_a_secret_never_shows_itself():
    secret = Secret("canary")

    assert "canary" not in f"{secret} {secret!r} {secret:>10} {[secret]} {secret!s}"
    assert secret.reveal() == "canary"
    assert secret == Secret("canary")
    assert not Secret("")
    for copying in (copy.copy, pickle.dumps):
        with pytest.raises(TypeError):
            copying(secret)


@pytest.mark.parametrize(
    "text",
    [
        "key=canary",
        "GET /fapi/v1/order?symbol=A&signature=canary&x=1",
        '{"listenKey": "canary"}',
        "wss://x/private/ws?listenKey=canary",
        "X-MBX-APIKEY: canary",
    ],
)
def test_texts_from_outside_are_cleaned(text):
    assert "canary" not in redacted(text, [Secret("canary") if text.startswith("key") else None])


def test_texts_from_outside_are_one_bounded_line():
    assert redacted("a\n  b\r\nc") == "a b c"
    assert len(redacted("x" * 10_000)) == 200
