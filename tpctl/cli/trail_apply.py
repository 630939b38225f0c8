"""`tpctl trail --apply`: the trails act once. Through the watch that guards the account, or by itself where none does.

Whoever holds the account's lock owns its positions. Held, the request goes through the journal and the answer is waited
for; free, the positions of the journal are brought up to date once, as `watch --once` does, through the same reducer,
guard and journal. The callback follows from the original one and the peak, so doing it again changes nothing.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tpctl.adapters.files import find_state_dir
from tpctl.cli.arming import arm
from tpctl.cli.asking import ask_running, check_answers, is_guarded
from tpctl.cli.options import Format
from tpctl.cli.runs import WatchOptions
from tpctl.cli.trail_options import ApplyTerms, TrailOptions
from tpctl.cli.trail_positions import chosen_episodes, newest, open_journal, read_episodes, trail_row
from tpctl.engine.apply import same_life
from tpctl.exits.episode import Episode, Scope, State
from tpctl.exits.errors import ExitCode, InputsError, NotArmedError, UsageError
from tpctl.exits.model import PositionKey
from tpctl.exits.requests import Outcome, Rearm, RequestAnswer
from tpctl.exits.units import Millis
from tpctl.ports import AccountReader
from tpctl.settings.load import load
from tpctl.settings.schema import Env, Settings
from tpctl.views import trail as view
from tpctl.views.streams import SilentStory

Answers = Sequence[tuple[PositionKey, RequestAnswer]]


@dataclass(slots=True)
class _Held:
    """Holds a single pass to the positions that were chosen."""

    keys: frozenset[PositionKey]
    after: dict[PositionKey, Episode] = field(default_factory=dict)
    gone: list[PositionKey] = field(default_factory=list)

    async def prepare(self, reader: AccountReader, state: State, halt: str | None) -> State:  # noqa: ARG002 - of the protocol; HALT stops no stop
        """Return the state with the chosen positions alone; refuse what would be adopted on the way."""
        positions = {position.key: position for position in await reader.positions()}
        symbols = {key.symbol for key in self.keys}
        for key in positions:
            if key.symbol in symbols and key not in self.keys:
                raise InputsError(
                    f"{key} is open too, and nobody guards it", "let 'tpctl watch' adopt it first: its stop comes first"
                )
        kept = {}
        for key in self.keys:
            episode, position = state.episodes.get(key), positions.get(key)
            if episode is not None and position is not None and same_life(episode, position):
                kept[key] = episode
            else:
                self.gone.append(key)
        if not kept:
            raise InputsError(
                "none of the positions in the journal is open any more",
                "run 'tpctl watch --once' to bring it up to date",
            )
        return replace(state, episodes=kept, scope=Scope(symbols=frozenset(key.symbol for key in kept)), quiet={})

    def settle(self, state: State) -> None:
        """Take the state the pass ended with."""
        self.after = {key: episode for key, episode in state.episodes.items() if key in self.keys}


def run_apply(options: TrailOptions, terms: ApplyTerms, now: Millis) -> ExitCode:
    """Let the trails act once and print what became of it; raises `NotArmedError` where nothing may be sent."""
    shared = options.shared
    settings = load(shared.config, shared.profile, shared.state_dir)
    with open_journal(settings) as reader:
        allowed = [each for each in read_episodes(reader) if each.key.symbol not in settings.watch.exclude]
        chosen = chosen_episodes(allowed, options.symbols, settings)
    state_dir = find_state_dir(settings.state_dir)
    if not arm(settings, asked=terms.arm, confirm=terms.confirm, no_input=shared.no_input) or state_dir is None:
        raise NotArmedError("nothing is sent without --arm", "add --arm to let the trails act, or --check to ask")
    if is_guarded(state_dir):
        wanted = [(episode.key, Rearm()) for episode in chosen]
        answered = ask_running(state_dir, wanted, "trail", terms.timeout_ms)
        answers: Answers = list(zip((episode.key for episode in chosen), answered, strict=True))
        with open_journal(settings) as reader:
            after = {episode.key: episode for episode in read_episodes(reader)}
        _print(options, settings, now, answers, after)
        check_answers(answers, terms.timeout_ms)
        return ExitCode.OK
    return _alone(options, terms, settings, chosen, now)


def _alone(
    options: TrailOptions, terms: ApplyTerms, settings: Settings, chosen: Sequence[Episode], now: Millis
) -> ExitCode:
    if settings.profile.env is Env.SIM and terms.venue is None:
        raise UsageError(
            "no watch guards this account, and its embedded twin ended with the last one",
            "run it beside a watch, or serve a twin with 'tpctl venue' and name it with --venue URL",
        )
    from tpctl.cli.session import run_pinned

    held = _Held(frozenset(episode.key for episode in chosen))
    symbols = tuple(sorted({key.symbol for key in held.keys}))
    watch = WatchOptions(symbols=symbols, shared=options.shared, venue=terms.venue, once=True, arm=terms.arm)
    story = SilentStory()
    code = run_pinned(settings, watch, story, held, armed=True)
    answers = [(episode.key, _made_of(episode, held, settings, now)) for episode in chosen]
    _print(options, settings, now, answers, held.after)
    check_answers(answers, terms.timeout_ms)
    return code


def _made_of(before: Episode, held: _Held, settings: Settings, now: Millis) -> RequestAnswer:
    """Return what a single pass made of one position, in the words of an answer."""
    after = held.after.get(before.key)
    if after is None or before.key in held.gone:
        return RequestAnswer(Outcome.REFUSED, "it is not the position of the journal any more")
    words = []
    if after.callback != before.callback and after.callback is not None:
        words.append(f"Callback {before.callback or 'none'} → {after.callback}")
    if after.stop != before.stop and after.stop is not None and before.stop is not None:
        words.append(f"stop {view.price_words(before.stop)} → {view.price_words(after.stop)}")
    if words:
        return RequestAnswer(Outcome.DONE, ", ".join(words))
    row = trail_row(after, max(newest(after), 0 if settings.profile.env is Env.SIM else now), settings.exits.trail)
    return RequestAnswer(Outcome.UNCHANGED, row.reason)


def _print(
    options: TrailOptions, settings: Settings, now: Millis, answers: Answers, after: dict[PositionKey, Episode]
) -> None:
    if options.format is Format.JSON:
        rows = [trail_row(after[key], newest(after[key]), settings.exits.trail) for key, _ in answers if key in after]
        applied = [
            {
                "symbol": key.symbol,
                "position_side": key.side.value,
                "outcome": answer.outcome.value,
                "reason": answer.text,
            }
            for key, answer in answers
        ]
        env = settings.profile.env.value
        text = view.document_text(now, settings.name, env, rows, options.fields, {"applied": applied}, mode="armed")
        sys.stdout.write(text)
        return
    for key, answer in answers:
        sys.stdout.write(f"{key}  {answer.outcome.value}: {answer.text}\n")
