"""What tpctl-risk(1) says of its readings: formulas and their sources. Text only."""

RISK = (
    (
        "effective stress score (ESS)",
        (
            "market x account. market = exp(sum of w ln(m / median of m over 30 days)), each ratio held within "
            "0.25 and 8, of four measures: EWMA volatility (decay 0.97 an hour, mean of the basket, weight 0.35), "
            "square root of turbulence over 4 hours (0.25), expected shortfall 97.5 of the equal-weight basket "
            "over 24 hours (0.25), mean true range over an hour (0.15). 1 at its own baseline; a market that "
            "moves k times as much has k. account = 1.25^(u / 50% + d / 10% + e / 10) with u initial margin over "
            "equity, d open loss over balance, e notional over equity, each quotient at most 4; 1 when flat."
        ),
    ),
    (
        "turbulence",
        (
            "(r - m)' S^-1 (r - m) / n with mean and covariance of the 14 days before the day, standardised and "
            "shrunk to the identity. Kritzman and Li, Financial Analysts Journal 66 (2010); Ledoit and Wolf, "
            "Journal of Multivariate Analysis 88 (2004)."
        ),
    ),
    (
        "absorption ratio",
        (
            "Share of variance in the first n/5 eigenvectors of the correlation matrix, exponentially weighted "
            "over 14 days (half-life 7), shrunk likewise. Its shift is (mean of 15 hours - mean of 252) / "
            "deviation over 252. Kritzman, Li, Page and Rigobon (2010), who count days."
        ),
    ),
    (
        "systemic risk",
        (
            "Half the normal probability of shift / 2, plus half the rank of turbulence within 30 days. The 2 "
            "makes it exceed 0.8 about 5 % of the time on 2022 to 2025. Needs three symbols."
        ),
    ),
    (
        "correlation risk",
        (
            "clip[(s^2 / (sum |w| s)^2 - c) / (1 - c)] with c = sum (w s)^2 / (sum |w| s)^2, w signed notionals, "
            "s volatilities, correlations of hours over 30 days shrunk to their mean (Ledoit and Wolf, Journal of "
            "Portfolio Management 30, 2004)."
        ),
    ),
    (
        "heat",
        ("(H - 1/n) / (1 - 1/n), H the Herfindahl index of the positive component VaR shares of n positions."),
    ),
    (
        "VaR, ES",
        (
            "A day ahead, by filtered historical simulation: each day of the window, one from every candle on, "
            "divided by the EWMA volatility at its beginning and multiplied by today's; VaR is the quantile of "
            "the book's losses, ES their mean from there on. Close to close, so that gaps count; funding at "
            "present rates is added. Plain historical simulation stands beside. Hull and White (1998); Barone- "
            "Adesi, Giannopoulos and Vosper (1999)."
        ),
    ),
    (
        "backtest",
        (
            "Kupiec (1995): the likelihood ratio of the count of exceedances. Christoffersen (1998): whether one "
            "changes the odds of the next. Days do not overlap; forecasts use what was closed before."
        ),
    ),
    (
        "touch/day",
        ("Probability that a driftless log price touches the stop within a day: erfc(d / (s sqrt 2))."),
    ),
    (
        "stress replay",
        (
            "Each mark is put on the recorded path. A candle that opens beyond the stop fills at its open, one "
            "that trades through it at the stop; the end of that candle's range is told beside. Positions without "
            "a resting stop are tried with the planned one."
        ),
    ),
    (
        "Nagios",
        ("With --nagios the exit code is 0 ok, 1 warning, 2 critical or 3 unknown, whatever EXIT STATUS says."),
    ),
)
