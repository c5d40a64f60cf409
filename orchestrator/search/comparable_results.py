"""Tells which results of a search are comparable with its first one: measured on the same data, with the same classifiers."""

from collections.abc import Mapping, Sequence

from orchestrator.ledger.result import TrialResult
from orchestrator.spec.comparison_key import MeasuredWith, measured_with


class ComparableResults:
    """Tells the results that are comparable with the first completed one from the others. Remembers how that one was measured.

    Workers may have different data. The next command refuses to go on from results that are not comparable
    (`comparable_groups.check_search`).
    """

    def __init__(self) -> None:
        self._measured_with: MeasuredWith | None = None
        """The data and classifiers that the first result of the search was measured with."""

    def split(self, results: Mapping[str, TrialResult]) -> tuple[dict[str, TrialResult], list[str]]:
        """Returns those of the results, by trial id, that are comparable with the first one, and the ids of the others."""
        comparable = {trial_id: result for trial_id, result in results.items() if self.measured_alike([result])}
        return comparable, [trial_id for trial_id in results if trial_id not in comparable]

    def measured_alike(self, results: Sequence[TrialResult]) -> bool:
        """Returns whether the completed ones of these results were measured like the search's first result. Remembers the first one."""
        measured = [measured_with(result.provenance) for result in results if result.status == "completed"]
        self._measured_with = self._measured_with or next(iter(measured), None)
        return all(measured_by == self._measured_with for measured_by in measured)
