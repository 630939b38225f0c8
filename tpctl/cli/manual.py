"""What tpctl(1) says beyond the command tree: safety, files, environment, JSON. Text only."""

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
    ("~/.local/state/tpctl/crashes/", "Tracebacks of bugs, without local variables and secrets."),
)
ENVIRONMENT = (
    ("NO_COLOR", "Not empty: no colour, unless --color always."),
    ("TPCTL_API_KEY_FILE", "File of mode 0600 with two lines, 'api_key = …' and 'api_secret = …'."),
    ("CREDENTIALS_DIRECTORY", "Set by systemd: the credential tpctl-PROFILE is read, in the same form."),
    ("TPCTL_API_KEY, TPCTL_API_SECRET", "Keys, where no file or credential holds them; a warning says so."),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME", "Move the files above."),
)
SCHEMAS = (
    (
        "tpctl.event/1",
        (
            "One line of 'watch --jsonl': schema, seq, ts, type, symbol, position_side, reason, and the fields of its "
            f"type: {', '.join(kind.value for kind in NoteKind)}."
        ),
    ),
    (
        "tpctl.COMMAND/1",
        (
            "What a command prints under --json: schema, ts, profile, env, mode, data and warnings. venue prints it "
            "once it listens, with its addresses as data."
        ),
    ),
    ("tpctl.error/1", "The last line of stderr under --json or --jsonl: code, kind, message, hint."),
)
