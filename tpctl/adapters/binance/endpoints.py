"""Where an exchange is reached: environment and host are named together, so that a key never meets the wrong host."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from tpctl.exits.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The addresses of one exchange: REST base (version and path follow), stream base, data base, environment.

    `rights` is the base where the rights of a key are asked for; None where there is none (demo, the twin).
    """

    rest: str
    stream: str
    data: str
    env: str
    rights: str | None = None


# binance-usdm 1.6, 2.4. The data base of the demo exchange does not work, and nothing here asks for it.
LIVE = Endpoints(
    rest="https://fapi.binance.com/fapi",
    stream="wss://fstream.binance.com",
    data="https://fapi.binance.com/futures/data",
    env="live",
    rights="https://api.binance.com/sapi",
)
DEMO = Endpoints(
    rest="https://demo-fapi.binance.com/fapi",
    stream="wss://fstream.binancefuture.com",
    data="https://demo-fapi.binance.com/futures/data",
    env="demo",
)


def twin(url: str, env: str = "sim", *, rights: bool = False) -> Endpoints:
    """Return the addresses of a twin served at `url`, raises `ConfigError` for what is no http address.

    `rights` is whether it tells what a key may do.

    Plain http is taken for this machine only: keys and orders never cross a network in the clear.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "{" in url:
        raise ConfigError(f"twin address {url!r} is not an http address", "write http://127.0.0.1:PORT")
    if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise ConfigError(f"twin address {url!r} is not on this machine", "use https, or a tunnel to 127.0.0.1")
    base = f"{parts.scheme}://{parts.netloc}"
    return Endpoints(
        rest=f"{base}/fapi",
        stream=f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}",
        data=f"{base}/futures/data",
        env=env,
        rights=f"{base}/sapi" if rights else None,
    )
