"""`barograph mixin`: the verb of the command line."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from barograph.mixin.options import Options
from barograph.terminal import FINDING, wrong

LONG = 200  # characters of a query that are shown
_OBJECTIVE = "share of calls, 0 to 1"


def mixin(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder; it is made where there is none.")],
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing: say which queries ask for a metric that is gone."),
    ] = False,
    prometheus: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="With --check: ask every panel there, and say which answer nothing."
        ),
    ] = None,
    job: Annotated[
        str | None, typer.Option(help="The scrape job of your services, a regular expression (models).")
    ] = None,
    evaluator_job: Annotated[
        str | None, typer.Option(help="The scrape job of the evaluator (barograph).")
    ] = None,
    runbook_url: Annotated[
        str | None,
        typer.Option(help="Where runbooks/ is served; alerts link to URL/ALERTNAME (the console)."),
    ] = None,
    grafana_url: Annotated[
        str | None, typer.Option(help="Grafana's address, for links from alerts (http://127.0.0.1:3000).")
    ] = None,
    console_url: Annotated[
        str | None, typer.Option(help="The console's address, for links (http://127.0.0.1:8700).")
    ] = None,
    error_objective: Annotated[
        float | None, typer.Option(help=f"Calls that must succeed: {_OBJECTIVE} (0.999).")
    ] = None,
    latency_seconds: Annotated[
        float | None, typer.Option(help="How long a call may take, in seconds (0.5).")
    ] = None,
    latency_objective: Annotated[
        float | None, typer.Option(help=f"Calls that must take no longer: {_OBJECTIVE} (0.99).")
    ] = None,
) -> None:
    """Write rules, alerts, dashboards, runbooks and the files that run them: one set for every model there will be.

    [bold]barograph mixin monitoring && cd monitoring && docker compose up[/bold] shows all of it at work; README.md in the folder
    says what each file is for, and how to put it beside the Prometheus and Grafana that you have.

    Run it again after an update: what you gave is remembered, your own panels stay, and a file that you changed is kept, with
    the new one beside it as NAME.new. [bold]--check[/bold] ends with 1 where a query is not right.
    """
    given = {
        "job": job,
        "evaluator_job": evaluator_job,
        "runbook_url": runbook_url,
        "grafana_url": grafana_url,
        "console_url": console_url,
        "error_objective": error_objective,
        "latency_seconds": latency_seconds,
        "latency_objective": latency_objective,
    }
    chosen = {
        name: value.rstrip("/") if isinstance(value, str) and name.endswith("_url") else value
        for name, value in given.items()
        if value is not None
    }
    if prometheus is not None and not check:
        wrong("--prometheus: it is asked by --check; give both")
    if check and chosen:
        flag = "--" + next(iter(chosen)).replace("_", "-")
        wrong(f"{flag}: --check reads what is there and writes nothing; leave {flag} out")
    from barograph.mixin.write import MixinError

    try:
        if check:
            _check(folder, prometheus)
        else:
            _write(folder, chosen)
    except MixinError as error:
        wrong(str(error))


def _write(folder: str, chosen: dict[str, Any]) -> None:
    from barograph.mixin.write import KEPT, NEW, SAME, YOURS, Manifest, write
    from barograph.promql import bucket

    options = replace(Manifest.read(Path(folder)).options, **chosen)
    _validate(options)
    changes = write(folder, options)
    out = Console(highlight=False, soft_wrap=True)
    for change in changes:
        if change.text:
            out.print(f"{change.path}: {change.text}", markup=False)
    counted = Counter(change.kind for change in changes)
    said = ", ".join(f"{number} {kind}" for kind, number in counted.items() if kind not in (SAME, YOURS))
    out.print(f"{folder}: {said or 'nothing to change'}", markup=False)
    counted_to = bucket(options.latency_seconds)
    if counted_to != options.latency_seconds:
        out.print(
            f"--latency-seconds: durations are counted up to {counted_to:g} s, not {options.latency_seconds:g} s: "
            f"a call is slow to MLModelSlow from {counted_to:g} s on",
            markup=False,
        )
    if counted[KEPT]:
        out.print("Compare what was kept with the .new beside it, and take from it what you want.")
    elif counted[NEW] == len(changes):
        out.print(f"See it at work: cd {escape(folder)} && docker compose up; README.md there says more.")


def _check(folder: str, prometheus: str | None) -> None:
    from barograph.mixin.check import check

    out = Console(highlight=False, soft_wrap=True)
    found = check(folder, prometheus)
    for finding in found:
        query = " ".join(finding.query.split())
        out.print(f"{finding}\n    {query[:LONG]}{'...' if len(query) > LONG else ''}", markup=False)
    asked = " and answers" if prometheus else ""
    out.print(f"{len(found)} found" if found else f"Every query asks for what exists{asked}.")
    raise typer.Exit(FINDING if found else 0)


def _validate(options: Options) -> None:
    for name in ("error_objective", "latency_objective"):
        if not 0 < getattr(options, name) < 1:
            wrong(
                f"--{name.replace('_', '-')}: {getattr(options, name):g} is no share; give one between 0 and 1"
            )
    if not options.latency_seconds > 0:
        wrong(f"--latency-seconds: {options.latency_seconds:g}; give seconds above 0")
    for name in ("runbook_url", "grafana_url", "console_url"):
        url = getattr(options, name)
        if url and not url.startswith(("http://", "https://")):
            wrong(f"--{name.replace('_', '-')}: {url!r}; give an address such as https://host/path")
    from barograph.mixin.provisioning import job_name

    for name in ("job", "evaluator_job"):
        try:
            job_name(getattr(options, name))
        except ValueError as error:
            wrong(f"--{error}")
