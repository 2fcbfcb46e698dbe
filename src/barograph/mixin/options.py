"""What a user may choose about the mixin; every field has a default."""

from dataclasses import dataclass

from barograph.alert import ERROR_OBJECTIVE, LATENCY_OBJECTIVE, LATENCY_SECONDS


@dataclass(frozen=True, slots=True)
class Options:
    """How the mixin is written. Objectives are shares in 0..1, times seconds, addresses without a slash at the end.

    `job` is the regular expression of the scrape jobs of serving processes, `evaluator_job` that of the evaluator.
    """

    job: str = "models"
    evaluator_job: str = "barograph"
    console_url: str = "http://127.0.0.1:8700"
    grafana_url: str = "http://127.0.0.1:3000"
    runbook_url: str = ""  # where runbooks/<alertname> lie; empty: the console's
    error_objective: float = ERROR_OBJECTIVE  # share of calls that succeed
    latency_seconds: float = LATENCY_SECONDS
    latency_objective: float = LATENCY_OBJECTIVE  # share of calls that take no longer

    def runbook(self, alert: str) -> str:
        """The address of an alert's runbook."""
        return f"{self.runbook_url or f'{self.console_url}/runbooks'}/{alert}"
