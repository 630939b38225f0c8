"""What tpctl(1) says beyond the command tree: safety, files, environment, JSON. Text only."""

from collections.abc import Mapping

from tpctl.cli.manual_risk import RISK
from tpctl.exits.model import NoteKind

SAFETY = (
    (
        "Two facts hold for every run and are on screen: the environment (sim, demo or live) and the mode (shadow or "
        "armed)."
    ),
    (
        "sim is the default: the exchange is an embedded twin on loopback, no keys are read and no network is used. "
        "demo is Binance demo trading, live the real account."
    ),
    (
        "Shadow decides, journals and prints what it would send, and sends nothing; it is the default outside sim. "
        "Arming is per invocation, by --arm; no configuration and no variable can do it. live also needs allow_live = "
        "true in its profile and --confirm with the profile's name."
    ),
    (
        "A file named HALT in the state directory stops all new orders except reductions. Leaving keeps the stops on "
        "the exchange."
    ),
)
FILES = (
    ("~/.config/tpctl/config.toml", "Configuration, TOML. An unknown key is an error."),
    ("~/.local/state/tpctl/PROFILE/", "State of a profile: the journal, the metrics file, the lock and HALT."),
    ("~/.cache/tpctl/rules-ENV.cache", "Trading rules of demo and live, fetched again when an hour old."),
    ("~/.cache/tpctl/candles/ENV/", "Candles of demo and live, 15 minutes each; they can be fetched again."),
    (
        "~/.local/state/tpctl/PROFILE/tp_metrics.json",
        (
            "The metrics file: a JSON object of records by strategy and symbol, plain numbers, slippage as fractions, "
            "null where nothing was measured. Replaced as a whole; 'jq .[]' reads it at any time."
        ),
    ),
    (
        "~/.local/state/tpctl/PROFILE/metrics-index.db",
        "What 'metrics' knows of the journal, so that a long one answers fast. Can be removed at any time.",
    ),
    ("~/.local/state/tpctl/PROFILE/snapshot.json", "How everything stood when the running watch last got SIGUSR1."),
    ("~/.local/state/tpctl/locks/", "One lock for each account under watch; the names are hashes of the keys."),
    ("~/.local/state/tpctl/crashes/", "Tracebacks of bugs, without local variables and secrets."),
)
ENVIRONMENT = (
    ("NO_COLOR", "Not empty: no colour, unless --color always."),
    ("TPCTL_API_KEY_FILE", "File of mode 0600 with two lines, 'api_key = …' and 'api_secret = …'."),
    ("CREDENTIALS_DIRECTORY", "Set by systemd: the credential tpctl-PROFILE is read, in the same form."),
    ("TPCTL_API_KEY, TPCTL_API_SECRET", "Keys, where no file or credential holds them; a warning says so."),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_CACHE_HOME", "Move the files above."),
    ("TP_METRICS_PATH", "The metrics file, instead of tp_metrics.json in the state directory."),
)
SCHEMAS = (
    (
        "tpctl.rehearse/1",
        (
            "data{seeds, days, stories, position_days, positions, orders, reduces, requests, lives, peak_weight_1m, "
            "faults[], injected{NAME: count}, violations, broken_seeds[], "
            "broken[]{seed, invariant, at_ms, text, strikes[]}, "
            "first_stop_ms, naked_ms, naked_ms_by_fault{NAME} each {count, p50, p99, max, total}, "
            "longest_naked[]{seed, symbol, at_ms, ms, faults[]}, traces{SEED}}; a "
            "quantile of nothing is null."
        ),
    ),
    (
        "tpctl.event/1",
        (
            "One line of 'watch --jsonl': schema, seq, ts, type, symbol, position_side, reason, and the fields of its "
            f"type: {', '.join(kind.value for kind in NoteKind)}."
        ),
    ),
    (
        "tpctl.snapshot/1",
        (
            "The file snapshot.json. data: position_mode, symbols (null: all), excluded, positions[]{symbol, "
            "position_side, generation, phase, quantity, entry, leverage, mark, peak, peak_profit, protected, "
            "naked_ms, stop, backstop, callback, legs[], orders[], foreign[], …}, watch (the signs of the run) and "
            "settings. Ratios are fractions in positions, and spelled as in the configuration in settings."
        ),
    ),
    (
        "tpctl.COMMAND/1",
        (
            "What a command prints under --json: schema, ts, profile, env, mode, data and warnings. venue prints it "
            "once it listens, with its addresses as data."
        ),
    ),
    (
        "tpctl.config/1",
        (
            "config --json. show: settings, origins{key path: where from}. validate: file, exists, valid. path: paths. "
            "doctor: checks[]{name, verdict of ok, warning, error or skipped, text, hint, exit_code}."
        ),
    ),
    (
        "tpctl.plan/1",
        (
            "The document of 'plan --json' and of -o FILE. data: plans[], rules_source{origin, fetched_at, "
            "age_ms}. plans[]: symbol, position_side, hypothetical, generation, entry, mark, quantity, notional, "
            "leverage, margin, margin_mode, policy, legs[]{leg, distance, trigger, fraction, quantity, pnl, "
            "percent, r, r_before_fees, roi, odds, odds_bootstrap}, stop and backstop{distance, trigger, …}, "
            "trail{callback, activation, fraction, atr_multiple, schedule[]}, ratchet[]{after_leg, stop}, "
            "partials[]{price, fraction, passed}, liquidation{price, distance, computed}, breakeven, "
            "breakeven_with_funding, "
            "reward_risk, total, pnl, fee, funding{paid, next_at, rate, due}, risk{tp_factor, stop_factor, "
            "tighten}, inputs, reasons[] and warnings[]{stage, code, text, before, after}, orders[] (what would "
            "be sent, field by field), refused[]{client_id, filter, limit, code}, and with --diff or --check "
            "diff{rests, due, extra, foreign}. Distances, percent, roi and fee are fractions; r is in multiples "
            "of the stop distance; pnl, percent, r and roi are after fees. With --apply, data is "
            "applied[]{symbol, position_side, generation, protected, orders[]} and orders_placed."
        ),
    ),
    (
        "tpctl.quantize/1",
        (
            "The document of 'quantize --json'. data: symbol, values[], rules_source{origin, fetched_at, age_ms}, and "
            "rules with --show-rules. values[]: field (price, stop_price, qty), input, value, changed, placeable, "
            "ticks (null where the rules have no step), filters[]{filter, ok, limit, code}."
        ),
    ),
    (
        "tpctl.trail/1",
        (
            "The document of 'trail --json'. data: trails[], and replay with --simulate or moves[] with --explain. "
            "trails[]: symbol, position_side, peak_profit, original_callback, callback, next_callback, changed, "
            "reason, schedule[]{profit, factor, callback, current}, levels[]{price, fraction, passed}, and the facts "
            "they follow from. replay: style, entry, entry_time, moves[]{at, kind, price, peak, peak_profit, from, to, "
            "callback, target, reason}, exit{at, price, trigger, cause, profit, held_ms}. moves[]: at, cause, from, "
            "to, rule, inputs, alternative, order, answer."
        ),
    ),
    (
        "tpctl.risk/1",
        (
            "The document of 'risk --json'. data: readings{ess, systemic, correlation, heat, var_95, es_95}, each "
            "{value, level (ok, warning, critical, null), source, window, age_ms, unavailable_reason, parts}; "
            "effect{tp_factor, stop_factor, tighten, reasons[]}; others{} with open_risk and other levels of value at "
            "risk; positions[], basket[], excluded[{symbol, reason}], and course{} with --plot. --backtest has data: "
            "backtest{level, window_days, funding, tests[]}; --stress has data: stress{}. VaR and ES are shares of "
            "equity, their parts the money."
        ),
    ),
    (
        "tpctl.metrics/1",
        (
            "The document of 'metrics --json'. data: source, by[], min_attempts, records[], totals, feedback"
            "{tp_hit_rate, avg_slippage, premature_exit_rate}, naked_ms{count, p50, p99, max}, slippage[]{order, "
            "against, count, mean, p50, p90, p99, max}, positions{closed, pnl, exit_fees, mean_r, with_r, reasons}, "
            "stop_moves{cause: count}, hit_probability{low, high} (open attempts counted as open), level, findings[]"
            "{name, level, value, low, high, target}, and what is not recorded as null with its reason. "
            "records[]: the groups of --by, the fields of the metrics file, hit_rate_low, hit_rate_high, tp_open, "
            "profit_usd and avg_profit_usd (hits and misses), avg_r, avg_profit_share, avg_roi, premature_judged, "
            "premature_exit_rate. Slippage is signed, a loss positive; shares are fractions. --compare has data: "
            "compare{a, b, unit, alpha, figures[]{name, a, b, difference, bootstrap, sequential, decided, verdict}}; "
            "--record has recorded{lines, new, known, left_out}."
        ),
    ),
    (
        "Outcome records",
        (
            "JSON lines for 'metrics --record': id, strategy_id, symbol, position_side (long, short), leg, entry_time, "
            "entry_price, target_price, exit_time, exit_price, quantity, profit_usd, outcome (hit, miss), reason, and "
            "of a miss premature and missed_usd where they were measured. Times RFC 3339, numbers as JSON numbers or "
            "text. An id counts once; the first record of it stays."
        ),
    ),
    ("tpctl.error/1", "The last line of stderr under --json or --jsonl: code, kind, message, hint."),
)
DEFINITIONS: Mapping[str, tuple[tuple[str, str], ...]] = {"risk": RISK}
