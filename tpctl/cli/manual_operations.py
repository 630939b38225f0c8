"""What tpctl-operations(7) says: how a watch is run for weeks, by systemd, in tmux, from cron. Text only."""

INTRODUCTION = (
    (
        "A watch is made to run for weeks and to die at any instant: stops rest at the exchange, every decision is in "
        "the journal before it is sent, and a start goes on where the last run was. What is left is to start it, to "
        "keep it, and to hear of it."
    ),
    (
        "Only one watch holds an account; a second one exits 16, also with another profile or state directory, as long "
        "as it has the same key and user on the same machine. Other machines are not seen. Other commands ask the "
        "watch through its journal."
    ),
)
SIGNALS = (
    (
        "SIGINT, SIGTERM",
        (
            "Leave: say so, finish what is in flight, tell which stops and take-profits stay at the exchange, exit 130 "
            "or 143. A second SIGINT quits at once."
        ),
    ),
    (
        "SIGHUP",
        (
            "Read the configuration again and tell every setting that differs. [exits], [inputs] and the intervals and "
            "the rollout of [watch] are taken at once: plans that stand keep their levels, the next ones follow the "
            "rules. Others are named as needing a restart. On any error the old ones stay in force. Where it comes "
            "because the terminal went away, nothing is read and nothing ends: the view is gone, the guarding is not."
        ),
    ),
    ("SIGUSR1", "Tell how every position stands, and write all that is known to snapshot.json in the state directory."),
)
SYSTEMD = (
    (
        "The unit below is contrib/tpctl-watch@.service; its instance is the name of a profile. It is of Type=notify: "
        "started once the loop turns, its STATUS says how many positions are protected, and its watchdog is fed by the "
        "engine's loop and by nothing beside it, so that an engine that hangs is restarted. What only a person can "
        "mend (exit 2, 10, 11, 18) is not tried again; everything else is, for ever."
    ),
    "Keys are a systemd credential: /etc/tpctl/PROFILE.keys, mode 0600, owned by root, in the form of tpctl(1).",
)
SYSTEMD_INSTALL = """\
useradd --system --home-dir /var/lib/tpctl tpctl
python3 -m venv /opt/tpctl && /opt/tpctl/bin/pip install .
install -D -m 0644 contrib/tpctl-watch@.service /etc/systemd/system/tpctl-watch@.service
install -D -m 0600 main.keys /etc/tpctl/main.keys
$EDITOR /etc/tpctl/config.toml
systemctl daemon-reload && systemctl enable --now tpctl-watch@main
systemctl status tpctl-watch@main; journalctl -fu tpctl-watch@main
systemctl reload tpctl-watch@main"""
SYSTEMD_LOOK = (
    "From a shell the same profile is reached as the service reaches it:",
    """\
sudo -u tpctl env XDG_CONFIG_HOME=/etc XDG_STATE_HOME=/var/lib \\
    /opt/tpctl/bin/tpctl watch -p main --attach""",
)
TMUX = (
    (
        "A pane keeps the dashboard through lost connections. Detached, resized or killed, it takes nothing with it "
        "but the view; where the whole tmux server is killed, the watch goes on in silence and --attach shows it "
        "again."
    ),
    """\
tmux new-session -d -s tpctl 'tpctl watch -p main --arm --confirm main'
tmux attach -t tpctl""",
)
CRON = (
    (
        "Every one-shot may run as often as it likes: what is in place is left alone. Beside a running watch they ask "
        "it. --check turns an answer into an exit code, so that cron mails only when there is something to do."
    ),
    """\
PATH=/opt/tpctl/bin:/usr/bin:/bin
*/5 * * * *  tpctl trail -p main --apply --arm --confirm main -q
*/15 * * * * tpctl config doctor -p main -q
0 8 * * *    tpctl metrics -p main --check -q""",
)
CHOICE = (
    (
        "--exclude SYMBOL and watch.exclude name what a watch never touches: what rests there stays, and is taken up "
        "again as it was by a run that may."
    ),
    (
        "watch.rollout is a share of all symbols. A symbol has a fixed place between 0 and 100 % by a hash of its "
        "name; those below the share are adopted, the same ones on every machine and after every start, and a larger "
        "share only adds. A position that is guarded stays guarded when the share shrinks. Naming a symbol on the "
        "command line includes it. What is left alone is told."
    ),
)
