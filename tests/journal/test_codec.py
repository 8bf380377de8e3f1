"""Changes of a state, applied to a copy of it."""

from __future__ import annotations

import json

from attrs import evolve
from hypothesis import given

from smspva_async import WatchState
from smspva_async.journal import codec
from tests.journal.test_journal import STATES
from tests.support.strategies import assert_same, states

CHANGES = ("tracks", "messages", "lost_tracks", "lost_messages")


@given(states(), states())
def test_a_copy_has_any_state_after_its_changes(old: WatchState, new: WatchState) -> None:
    kept = {key: track for key, track in old.tracks.items() if key not in {*new.tracks, *new.removed}}
    between = evolve(new, tracks={**new.tracks, **kept})
    copy = WatchState()
    for before, after in ((WatchState(), old), (old, between), (between, new), (new, old)):
        sent = json.dumps([getattr(codec.changes(before, after), name) for name in CHANGES])
        unchanged = codec.apply(copy, codec.save_state(before), codec.Changes())
        copy = codec.apply(unchanged, codec.save_state(after), codec.Changes(*json.loads(sent)))
        assert_same(copy, after)


def test_an_order_that_is_removed_and_comes_back_keeps_its_messages() -> None:
    copy = WatchState()
    for before, after in zip([WatchState(), *STATES], [*STATES, STATES[0]], strict=True):
        copy = codec.apply(copy, codec.save_state(after), codec.changes(before, after))
        assert_same(copy, after)
