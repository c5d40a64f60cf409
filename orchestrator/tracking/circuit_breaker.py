"""A circuit breaker for a service that may be away: after a failure without an answer, the service is not called for a while."""

import threading
import time
from collections.abc import Callable

AWAY_SECONDS = 10.0
"""How long a service that does not answer is not called. Each request to a service that hangs costs a time-out."""
NOTES_KEPT = 20
"""Failures that are stored as text; further ones are only counted."""


class CircuitBreaker:
    """Runs jobs, catches their exceptions, and notes which jobs failed.

    `reachable` is called after a failure and returns whether the service answers. Errors of the type `passed` are no failures of the
    service; they are raised.
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
        """One line for each failure: the first few, and the number of further ones."""
        return [*self._notes, f"and {self._notes_dropped} more"] if self._notes_dropped else list(self._notes)

    def show_progress(self) -> None:
        """Record that the work progresses. Called after each request to the service."""
        self._last_progress = time.monotonic()

    def silent_seconds(self) -> float:
        """Returns the seconds since the last progress."""
        return time.monotonic() - self._last_progress

    def retry_now(self) -> None:
        """Let the next job call the service, even if the service was away a moment ago."""
        self._away_until = 0.0

    def give_up(self, note: str) -> None:
        """Run no more jobs."""
        self._given_up.set()
        self.note(note)

    def attempt(self, name: str, job: Callable[[], object]) -> bool:
        """Run a job; returns whether it succeeded.

        Does not run it while the service is away. Runs it a second time if it fails and the service answers.
        """
        if self._given_up.is_set() or time.monotonic() < self._away_until:
            return False
        try:
            job()
        except self._passed:
            raise
        except Exception as error:  # whatever a service raises, the sweep continues
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
        """Store one line about a failure."""
        if len(self._notes) < NOTES_KEPT:
            self._notes.append(" ".join(text.split())[:500])
        else:
            self._notes_dropped += 1
