"""Leases: who trains a trial, and who drives a sweep, whatever dies or stands still when.

A process claims a trial or a sweep by writing a claim of its own (`claims`); then it reads the others. If the process of another claim
lives, it withdraws its own. It removes the claims of the dead. If two claim at once, at least one of them sees the other, so that they
never both go on.

A process decides in this order who is dead:

1. The heartbeat is gone: the process has ended, or was taken over.
2. The process is on this machine: it is dead if there is no such process, and alive if there is, even if it is stopped.
3. Otherwise this process watches the heartbeat (`heartbeat`). If it has not changed for `STALE_SECONDS` by this process's own clock, its
   process is dead. No two clocks are compared.

Watching cannot tell a dead process from one that stands still for long. So a lease saves work and decides nothing. A process that was
taken over, and wakes, can harm nothing: every attempt has files of its own, and the first result of a trial counts
(`orchestrator.ledger.attempts`). docs/ledger-format.md has the files.
"""

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import write_text
from orchestrator.ledger import records
from orchestrator.ledger.layout import Layout
from orchestrator.ledger.leases import heartbeat
from orchestrator.ledger.leases.claims import held_by, identity_of
from orchestrator.ledger.leases.holder import Holder, surely_lives

LATENESS = 1.0
"""Seconds that a claimer waits beyond `stale_seconds`."""
MOST_COLLISIONS = 5
"""How often a holder on this machine is seen alive before it is believed: two that start at once each see the other, and withdraw."""


class LeaseLost(RuntimeError):
    """This process was not heard of, so that another took over what it held, and goes on with it."""


class Lease:
    """What this process holds. Alive from entering the context to leaving it; a thread of its own beats."""

    def __init__(self, storage: AnyPath, driver: str = "") -> None:
        self.holder = Holder.this_process(driver)
        self.storage = storage
        self._heartbeat = Layout(storage).heartbeat(self.holder.token)
        self._claims: list[AnyPath] = []
        self._last_beat = heartbeat.now()
        """When this process was surely heard of; negative once it was taken over."""
        self._beats = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, daemon=True, name="lease")

    def __enter__(self) -> "Lease":
        self._last_beat = heartbeat.now()
        # Before the first claim, which counts as a dead process's without it.
        write_text(self._heartbeat, heartbeat.beat_text(self._beats), durable=False)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        for path in (*self._claims, self._heartbeat):
            with suppress(OSError):  # a disk that is full or away: the others find out by themselves
                path.unlink(missing_ok=True)

    def claim(self, folder: AnyPath) -> Holder | None:
        """Take the trial or sweep of that folder. Returns None, or who holds it, and then nothing has changed."""
        mine = self._my_claim(folder)
        records.write(mine, identity_of(mine), asdict(self.holder))
        if (holder := held_by(self.storage, folder, but=self.holder.token)) is not None:
            mine.unlink(missing_ok=True)
            return holder
        self._claims.append(mine)
        return None

    def let_go(self, folder: AnyPath) -> None:
        """Give up the trial or sweep of that folder."""
        mine = self._my_claim(folder)
        mine.unlink(missing_ok=True)
        self._claims = [path for path in self._claims if path != mine]

    def claim_patiently(self, folder: AnyPath, tell: Callable[[Holder], None] = lambda holder: None) -> Holder | None:
        """As `claim`, but if one look does not show whether a holder lives, wait for its beat, up to `stale_seconds`.

        `tell` is called once, with the holder that is waited for.
        """
        deadline = heartbeat.now() + heartbeat.stale_seconds(self.storage) + LATENESS
        collisions, is_told, first_beats = 0, False, dict[str, str]()
        while (holder := self.claim(folder)) is not None:
            beat = heartbeat.beat_of(self.storage, holder) or ""
            beats = first_beats.setdefault(holder.token, beat) != beat
            collisions += surely_lives(holder)
            if beats or collisions > MOST_COLLISIONS or heartbeat.now() > deadline:
                return holder
            if not is_told and not collisions:
                tell(holder)
                is_told = True
            heartbeat.sleep(random.uniform(0.2, 0.6))
        return None

    def check(self) -> None:
        """Raise LeaseLost if others may have taken over."""
        stale = heartbeat.stale_seconds(self.storage)
        if heartbeat.now() - self._last_beat > stale / 2:  # no beat for so long: this process, or its disk, stood still
            self._beat()
        if self.is_lost:
            raise LeaseLost(f"{self.storage}: this process was not heard of in time; another may have taken over")

    @property
    def is_lost(self) -> bool:
        """Whether others may have taken over, as far as is known without a look at storage."""
        return self._last_beat < 0 or heartbeat.now() - self._last_beat > heartbeat.stale_seconds(self.storage)

    def _my_claim(self, folder: AnyPath) -> AnyPath:
        return Layout(self.storage).claims_on(folder) / f"{self.holder.token}.json"

    def _beat_on(self) -> None:
        while not self._stop.wait(heartbeat.beat_seconds(self.storage)) and self._last_beat >= 0:
            self._beat()

    def _beat(self) -> None:
        """Say that this process lives. A heartbeat that is gone is not made again: whoever took over has removed it."""
        now = heartbeat.now()  # before the beat is written: a process that stands still in between has not been heard of since
        try:
            self._beats += 1
            heartbeat.write_beat(self._heartbeat, heartbeat.beat_text(self._beats))
        except FileNotFoundError:
            self._last_beat = -1.0
        except Exception:  # a store may raise anything, and the next beat may succeed; `check` minds how long it lasts
            return
        else:
            self._last_beat = max(self._last_beat, now) if self._last_beat >= 0 else self._last_beat
