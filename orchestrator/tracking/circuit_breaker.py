"""What is done with a service that may be away: try, look whether it answers, leave it alone for a while, and note what went wrong."""

import threading
import time
from collections.abc import Callable

AWAY_SECONDS = 10.0
"""A service that does not answer is left alone for so long: each call to one that hangs costs a time-out."""
NOTES_KEPT = 20


class Outages:
    """Runs pieces of work that must not raise, and remembers which could not be done.

    `answers` says whether the service is there; it is asked after a failure. `passed` is the kind of error that is no failure of the
    service: it is raised.
    """

    def __init__(self, answers: Callable[[], bool], passed: type[Exception]) -> None:
        self._answers = answers
        self._passed = passed
        self._away_until = 0.0
        self._notes: list[str] = []
        self._unkept = 0
        self._given_up = threading.Event()
        self.get_on()

    @property
    def notes(self) -> list[str]:
        """What went wrong, one line each: the first few, and how many more."""
        return [*self._notes, f"and {self._unkept} more"] if self._unkept else list(self._notes)

    def get_on(self) -> None:
        """Say that the work gets on; to be called after each call to the service."""
        self._last_sign = time.monotonic()

    def silent_seconds(self) -> float:
        """How long the work has not got on."""
        return time.monotonic() - self._last_sign

    def again(self) -> None:
        """Try the service at once, even if it was away a moment ago."""
        self._away_until = 0.0

    def give_up(self, note: str) -> None:
        """Do no more work."""
        self._given_up.set()
        self.note(note)

    def attempt(self, name: str, work: Callable[[], object]) -> bool:
        """Whether the work was done. It is not tried while the service is away, and tried twice where the service answers."""
        if self._given_up.is_set() or time.monotonic() < self._away_until:
            return False
        try:
            work()
        except self._passed:
            raise
        except Exception as error:  # whatever a service raises, its user goes on
            if not self._answers():
                self._away_until = time.monotonic() + AWAY_SECONDS
                self.note(f"{name}: {error}")
                return False
            return self._second(name, work)
        finally:
            self.get_on()
        return True

    def _second(self, name: str, work: Callable[[], object]) -> bool:
        try:
            work()
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
            self._unkept += 1
