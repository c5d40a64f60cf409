"""Leases decide who trains a trial and who drives a sweep, even if processes die or are suspended at any moment.

A process first writes its claim on a trial or a sweep (`claims`), then reads the other claims. If another claim's process is alive, it
withdraws its own claim. It removes the claims of dead processes. If two processes claim at once, at least one of them sees the other's
claim. So they never both proceed.

A process decides in this order whether another is dead:

1. The heartbeat is gone: the other process has ended, or another has taken over its lease.
2. The other process is on this machine: it is dead if it does not exist, and alive if it does, even if it is stopped.
3. Otherwise this process watches the heartbeat (`heartbeat`). The other is dead if its heartbeat has not changed for `STALE_SECONDS`
   by the clock of this process. No two clocks are compared.

Watching cannot tell a dead process from one that is suspended for long. So a lease only avoids double work; results do not depend on it.
A process that wakes after its lease was taken over can do no harm: every attempt has its own files, and the first result of a trial
counts (`orchestrator.ledger.attempts`). docs/ledger-format.md describes the files.
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
from orchestrator.ledger.leases.claims import holder_or_clear_claims, identity_of
from orchestrator.ledger.leases.holder import Holder, surely_lives

LATENESS = 1.0
"""Seconds that a claimer waits beyond `stale_seconds`."""
MOST_COLLISIONS = 5
"""How often `claim_or_wait` must find a holder alive on this machine before it gives up.

Two processes that start at once may each see the other's claim and withdraw, so that one collision proves nothing.
"""


class LeaseLost(RuntimeError):
    """This process wrote no heartbeat for so long that another may have taken over its trials and sweeps."""


class Lease:
    """The claims of this process. While its context is open, a thread writes the heartbeat."""

    def __init__(self, storage: AnyPath, driver: str = "") -> None:
        self.holder = Holder.this_process(driver)
        self.storage = storage
        self._heartbeat = Layout(storage).heartbeat(self.holder.token)
        self._claims: list[AnyPath] = []
        self._last_beat = heartbeat.now()
        """When the last heartbeat was written at the earliest; negative once another process has taken over."""
        self._beats = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True, name="lease")

    def __enter__(self) -> "Lease":
        self._last_beat = heartbeat.now()
        # Before the first claim: a claim without a heartbeat counts as a dead process's.
        write_text(self._heartbeat, heartbeat.beat_text(self._beats), durable=False)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        for path in (*self._claims, self._heartbeat):
            with suppress(OSError):  # the disk is full or away: other processes will notice that the heartbeat no longer changes
                path.unlink(missing_ok=True)

    def claim(self, folder: AnyPath) -> Holder | None:
        """Claim the trial or sweep with this folder. Returns None on success, else the present holder, and then changes nothing."""
        claim = self._path_of_claim(folder)
        records.write(claim, identity_of(claim), asdict(self.holder))
        if (holder := holder_or_clear_claims(self.storage, folder, excluded_token=self.holder.token)) is not None:
            claim.unlink(missing_ok=True)
            return holder
        self._claims.append(claim)
        return None

    def release(self, folder: AnyPath) -> None:
        """Give up the trial or sweep with this folder."""
        claim = self._path_of_claim(folder)
        self._claims = [path for path in self._claims if path != claim]  # first, because the heartbeat's thread looks for them
        claim.unlink(missing_ok=True)

    def claim_or_wait(self, folder: AnyPath, on_wait: Callable[[Holder], None] = lambda holder: None) -> Holder | None:
        """Claim as `claim` does, but watch the holder's heartbeat for up to `stale_seconds` if it may be dead.

        `on_wait` is called once, with the holder whose heartbeat is watched.
        """
        deadline = heartbeat.now() + heartbeat.stale_seconds(self.storage) + LATENESS
        first_beats: dict[str, str] = {}
        collisions = 0
        has_waited = False
        while (holder := self.claim(folder)) is not None:
            beat = heartbeat.beat_of(self.storage, holder) or ""
            has_beaten = first_beats.setdefault(holder.token, beat) != beat
            collisions += surely_lives(holder)
            if has_beaten or collisions > MOST_COLLISIONS or heartbeat.now() > deadline:
                return holder
            if not has_waited and not collisions:
                on_wait(holder)
                has_waited = True
            heartbeat.sleep(random.uniform(0.2, 0.6))
        return None

    def check(self) -> None:
        """Raise LeaseLost if another process may have taken over."""
        stale = heartbeat.stale_seconds(self.storage)
        if heartbeat.now() - self._last_beat > stale / 2:  # this process was suspended, or its disk did not respond
            self._beat()
        if self.is_lost:
            raise LeaseLost(f"{self.storage}: this process wrote no heartbeat in time; another may have taken over")

    def confirm(self) -> None:
        """As `check`, but always asks storage. For steps that cannot be undone: the clock may stand still in a paused virtual machine."""
        self._beat()
        self.check()

    @property
    def is_lost(self) -> bool:
        """Whether another process may have taken over. Does not read storage."""
        return self._last_beat < 0 or heartbeat.now() - self._last_beat > heartbeat.stale_seconds(self.storage)

    def _path_of_claim(self, folder: AnyPath) -> AnyPath:
        return Layout(self.storage).claims_on(folder) / f"{self.holder.token}.json"

    def _keep_beating(self) -> None:
        while not self._stop.wait(heartbeat.beat_seconds(self.storage)) and self._last_beat >= 0:
            self._beat()

    def _beat(self) -> None:
        """Write the next heartbeat. If its file is gone, another process has taken over, so it is not made again."""
        now = heartbeat.now()  # taken before the write: if this process is suspended in between, others saw the beat this early
        try:
            self._beats += 1
            heartbeat.write_beat(self._heartbeat, heartbeat.beat_text(self._beats))
            took_long = heartbeat.now() - now > heartbeat.stale_seconds(self.storage) / 2
            if took_long and not all(claim.exists() for claim in self._claims):
                raise FileNotFoundError  # another process has taken over, and a remote write has made the removed heartbeat anew
        except FileNotFoundError:
            self._last_beat = -1.0
        except Exception:  # a store may raise anything, and the next beat may succeed; `check` limits how long this may last
            return
        else:
            if self._last_beat >= 0:
                self._last_beat = max(self._last_beat, now)
