"""The frame of every HTML report: one file that opens offline, light or dark, with nothing fetched and nothing run.

Decides looks only.
"""

from collections.abc import Sequence
from html import escape

_STYLE = """
:root{--ink:#1c2330;--faint:#66728a;--grid:#e3e7ee;--good:#1f8a5b;--bad:#c23b3b;--line:#2b6cb0;--page:#f5f7fa;--card:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf2;--faint:#93a0b8;--grid:#2b3446;--good:#4cc38a;--bad:#f07070;
--line:#6cb2f5;--page:#10151f;--card:#182030}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);
font:14px/1.5 ui-sans-serif,system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:960px;margin:0 auto;padding:28px 20px 60px}h1{font-size:22px;margin:0 0 2px}
h2{font-size:15px;margin:0 0 10px}p{margin:4px 0}.faint{color:var(--faint)}
section{background:var(--card);border:1px solid var(--grid);border-radius:8px;padding:16px 18px;margin-top:16px;
overflow-x:auto}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:12px;margin-top:16px}
.tile{background:var(--card);border:1px solid var(--grid);border-radius:8px;padding:12px 14px}
.tile b{display:block;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}
.tile span{color:var(--faint);font-size:12px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:13px}
th{font-weight:500;color:var(--faint);text-align:right;padding:3px 8px;border-bottom:1px solid var(--grid);
white-space:nowrap}td{text-align:right;padding:3px 8px;border-bottom:1px solid var(--grid);white-space:nowrap}
th.left,td.left{text-align:left}tr.few td{color:var(--faint)}tr.warning td{color:#b7791f}
tr.critical td{color:var(--bad)}
tr.all td{font-weight:600;border-bottom:0}.good{color:var(--good)}.bad{color:var(--bad)}
article{margin-top:14px;padding-top:12px;border-top:1px solid var(--grid)}
article:first-of-type{border:0;margin:0;padding:0}
h3{font-size:13px;margin:0 0 6px;font-weight:600}svg{display:block}.narrow{display:none}
table+table,p+table,table+p{margin-top:12px}td.wrap{white-space:normal}
@media(max-width:700px){main{padding:16px 10px 40px}section{padding:12px}.tiles{grid-template-columns:1fr 1fr;gap:8px}
.wide{display:none}.narrow{display:block}.map svg{max-width:none!important}}
""".replace("\n", "")


def whole(title: str, parts: Sequence[str]) -> str:
    """Return a page of parts, which are HTML."""
    head = f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    # Says to the browser what holds by construction: nothing is fetched, nothing runs.
    policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{policy}'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">{head}</head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def section(title: str, body: str) -> str:
    """Return a titled part; `body` is HTML."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>"
