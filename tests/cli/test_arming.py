import pytest

from tpctl.cli.arming import check_rights
from tpctl.exits.errors import CredentialsError
from tpctl.exits.instrument import Unavailable
from tpctl.ports import KeyRights


@pytest.mark.parametrize(
    ("rights", "message"),
    [
        (KeyRights(moves_funds=True, trades_futures=True, bound_to_ip=True), "can withdraw or transfer"),
        (KeyRights(moves_funds=False, trades_futures=False, bound_to_ip=True), "cannot trade futures"),
    ],
)
def test_a_key_that_can_do_too_much_or_too_little_does_not_arm(rights: KeyRights, message: str) -> None:
    with pytest.raises(CredentialsError, match=message):
        check_rights(rights)


def test_a_key_that_any_address_may_use_is_warned_about(capsys: pytest.CaptureFixture[str]) -> None:
    check_rights(KeyRights(moves_funds=False, trades_futures=True, bound_to_ip=False))

    assert capsys.readouterr().err == "warning: the API key is not bound to an IP address\n"


def test_where_the_exchange_does_not_tell_there_is_nothing_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    check_rights(Unavailable("demo does not tell the rights of a key"))

    assert capsys.readouterr().err == ""
