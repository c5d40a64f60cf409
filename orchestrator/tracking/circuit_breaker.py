"""A circuit breaker for a service that may be away: try, ask whether it answers, leave it alone for a while, and note what went wrong."""

import threading
import time
from collections.abc import Callable

AWAY_SECONDS = 10.0
"""How long a service that does not answer is left alone: each request to one that hangs costs a time-out."""
NOTES_KEPT = 20


class CircuitBreaker:
    """Runs jobs that must not raise, and notes which failed.

    `reachable` says whether the service answers; it is asked after a failure. `passed` is a type of error that is no failure of the
    service, and is raised.
    """

    def __init__(self, reachable: Callable[[], bool], passed: type[Exception]) -> None:
        self._reachable = reachable
        self._passed = passed
        self._away_until = 0.0
        self._notes: list[str] = []
        self._notes_dropped = 0
        self._given_up = threading.Event()
        self.show_progress()

    @property
    def notes(self) -> list[str]:
        """What went wrong, a line each: the first few, and how many more."""
        return [*self._notes, f"and {self._notes_dropped} more"] if self._notes_dropped else list(self._notes)

    def show_progress(self) -> None:
        """Note that the work progresses; called after each request to the service."""
        self._last_progress = time.monotonic()

    def silent_seconds(self) -> float:
        """Seconds since the last progress."""
        return time.monotonic() - self._last_progress

    def retry_now(self) -> None:
        """Try the service at once, even if it was away a moment ago."""
        self._away_until = 0.0

    def give_up(self, note: str) -> None:
        """Do no more jobs."""
        self._given_up.set()
        self.note(note)

    def attempt(self, name: str, job: Callable[[], object]) -> bool:
        """Returns whether the job was done. It is not tried while the service is away, and tried twice if the service answers."""
        if self._given_up.is_set() or time.monotonic() < self._away_until:
            return False
        try:
            job()
        except self._passed:
            raise
        except Exception as error:  # whatever a service raises, the sweep goes on
            if not self._reachable():
                self._away_until = time.monotonic() + AWAY_SECONDS
                self.note(f"{name}: {error}")
                return False
            return self._second_attempt(name, job)
        finally:
            self.show_progress()
        return True

    def _second_attempt(self, name: str, job: Callable[[], object]) -> bool:
        try:
            job()
        except self._passed:
            raise
        except Exception as error:
            self.note(f"{name}: {error}")
            return False
        return True

    def note(self, text: str) -> None:
        """Remember what went wrong, in one line."""
        if len(self._notes) < NOTES_KEPT:
            self._notes.append(" ".join(text.split())[:500])
        else:
            self._notes_dropped += 1
