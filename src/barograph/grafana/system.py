"""System: availability against the objective, requests, time by stage, and the processes of each replica."""

from collections.abc import Iterable, Iterator

from barograph import naming, promql
from barograph.alert import BURNS
from barograph.grafana import queries
from barograph.grafana.parts import (
    GREEN,
    SYSTEM,
    Choices,
    Dashboard,
    Panel,
    Row,
    Target,
    Threshold,
    falling,
    lines,
    rising,
    stat,
)
from barograph.grafana.queries import INSTANCES, RANGE, RATE, STAGES, VERSIONS
from barograph.naming import Metric
from barograph.promql import MODEL as BY_MODEL
from barograph.promql import matcher, ratio, selector

REPLICA = "{{instance}}"


def dashboard(options: Choices) -> Dashboard:
    """What serves the model."""
    rows = (
        Row("Availability against the objective", tuple(_availability(options))),
        Row("Requests: what callers see", tuple(_requests(options))),
        Row("Time by stage", tuple(_stages(options))),
        Row("Processes of each replica", tuple(processes())),
    )
    return Dashboard(
        SYSTEM,
        "barograph / System",
        "Is the objective met, which stage takes the time, and does a replica run out of something?",
        rows,
        (queries.MODEL_CHOICE, queries.VERSION_CHOICE, queries.INSTANCE_CHOICE),
        queries.ANNOTATIONS,
        queries.links(SYSTEM, options),
    )


def _availability(options: Choices) -> Iterator[Panel]:
    objective = options.error_objective
    yield stat(
        "Is the objective of availability met?",
        "Share of calls that succeeded, over the time range picked. Pick 28 or 30 days to see the month.",
        f"above {objective:.2%}, the objective; red is below it.",
        "percentunit",
        Target(f"1 - {promql.error_ratio(RANGE, *VERSIONS, by=BY_MODEL)}", "{{model}}", instant=True),
        terms=("availability", "objective"),
        thresholds=falling(objective + (1 - objective) / 2, objective),
        decimals=3,
    )
    budget = 1 - options.error_objective
    used = f"{promql.error_ratio(RANGE, *VERSIONS, by=BY_MODEL)} / {budget:.6g}"
    yield stat(
        "How much of the error budget is left?",
        "What is left of the calls that may fail, over the time range picked. Below 0 the objective is missed.",
        "above 25 %: there is room for a risky deployment.",
        "percentunit",
        Target(f"1 - {used}", "{{model}}", instant=True),
        terms=("error budget",),
        thresholds=falling(0.25, 0),
        decimals=1,
    )
    objective = options.latency_objective
    slow = promql.slow_ratio(RANGE, options.latency_seconds, *VERSIONS, by=BY_MODEL)
    yield stat(
        "Are calls fast enough?",
        f"Share of calls that took no longer than {promql.bucket(options.latency_seconds):g} s, over the time range picked.",
        f"above {objective:.2%}, the objective; red is below it.",
        "percentunit",
        Target(f"1 - {slow}", "{{model}}", instant=True),
        terms=("objective",),
        thresholds=falling(objective + (1 - objective) / 2, objective),
        decimals=3,
    )
    up = selector("up", matcher("job", options.job, "=~"), INSTANCES)
    yield stat(
        "How many replicas are there?",
        "Replicas that Prometheus can read, and those that it cannot.",
        "as many as are deployed, and none down.",
        "none",
        Target(f"sum({up})", "up"),
        Target(f"count({up} == 0) or vector(0)", "down"),
        terms=("replica",),
        thresholds=(Threshold(GREEN),),
    )
    budget = 1 - options.error_objective
    yellow, red = sorted(burn.factor for burn in BURNS)
    yield lines(
        "How fast does the error budget burn?",
        "Share of calls that fail as a multiple of the error budget, over the windows that the alerts look at.",
        f"below 1. Above {yellow:g} for 6 h and 30 min, or above {red:g} for 1 h and 5 min, there is a page.",
        "none",
        *(
            Target(
                f"{selector(promql.error_ratio_name(w), *VERSIONS)} / {budget:.6g}",
                f"{{{{version}}}} {promql.span(w)}",
            )
            for w in promql.BURN_WINDOWS
        ),
        terms=("burn rate",),
        thresholds=rising(yellow, red),
        width=12,
    )
    yield lines(
        "Which replica is down?",
        "1 while Prometheus can read a replica, 0 while it cannot. A gap is a replica that is gone from the targets.",
        "all at 1.",
        "none",
        Target(selector("up", matcher("job", options.job, "=~"), INSTANCES), REPLICA),
        terms=("replica",),
        thresholds=falling(1, 0.5),
        width=12,
        steps=True,
        least=0,
        most=1,
    )


def _requests(options: Choices) -> Iterator[Panel]:
    yield lines(
        "Which requests come in?",
        "HTTP requests a second by route and class of status, over the replicas chosen.",
        "2xx where the traffic is. 4xx are callers' mistakes, 5xx are ours.",
        "reqps",
        Target(
            promql.rate(naming.HTTP_REQUESTS, RATE, INSTANCES, by=("handler", "method", "status")) + " > 0",
            "{{method}} {{handler}} {{status}}",
        ),
    )
    by = ("handler",)
    failed = promql.rate(naming.HTTP_REQUESTS, RATE, matcher("status", "5.*", "=~"), INSTANCES, by=by)
    yield lines(
        "What share of requests do we fail?",
        "Requests that were answered 5xx as a share of all, by route.",
        "0.",
        "percentunit",
        Target(ratio(failed, promql.rate(naming.HTTP_REQUESTS, RATE, INSTANCES, by=by)), "{{handler}}"),
        thresholds=rising(0.001, 0.01),
        least=0,
    )
    yield lines(
        "How long do callers wait?",
        "Seconds that 95 of 100 requests do not exceed, by route: the model's time, and the server's around it.",
        f"below {options.latency_seconds:g} s, and close to the time of the stage total.",
        "s",
        Target(
            promql.quantile(0.95, RATE, INSTANCES, by=("handler",), metric=naming.HTTP_DURATION) + " >= 0",
            "{{handler}}",
        ),
        terms=("quantile",),
        thresholds=queries.slow_colours(options),
    )


def _stages(options: Choices) -> Iterator[Panel]:
    yield lines(
        "How long does each stage take, on average?",
        "Mean seconds of each stage and of the whole call, held until the next value.",
        f"the total below {options.latency_seconds:g} s, and no stage that grows while traffic does not.",
        "s",
        Target(promql.mean(RATE, *VERSIONS) + " >= 0", "{{version}} {{stage}}"),
        terms=("stage", "mean and highest"),
        thresholds=queries.slow_colours(options),
        steps=True,
    )
    yield lines(
        "How long does each stage take, at most?",
        "The upper edge of the slowest call's bucket, for each stage and for the whole call, held until the next value.",
        f"below {2 * options.latency_seconds:g} s. One stage far above its mean waits for something: a lock, a network, a disk.",
        "s",
        Target(promql.highest(RATE, *VERSIONS) + " >= 0", "{{version}} {{stage}}"),
        terms=("stage", "mean and highest"),
        thresholds=rising(2 * options.latency_seconds, 4 * options.latency_seconds),
        steps=True,
    )
    by_stage = promql.rate(naming.DURATION, RATE, STAGES, *VERSIONS, by=promql.STAGE, suffix="_sum")
    whole = promql.rate(naming.DURATION, RATE, promql.TOTAL, *VERSIONS, suffix="_sum")
    yield lines(
        "Where does the time go?",
        "Share of the calls' time that each stage takes. Stages in parallel, or one inside another, add up to more than 1.",
        "the stage that takes most is the one that you would expect.",
        "percentunit",
        Target(f"{by_stage}\n/ on (model, version) group_left ()\n({whole} > 0)", "{{version}} {{stage}}"),
        terms=("stage",),
        empty='no stage is timed: with monitor.stage("ranking")',
    )


# Processes.


def processes() -> Iterable[Panel]:
    """What each replica uses."""
    used = Target(f"rate({selector(naming.PROCESS_CPU, INSTANCES)}[{RATE}])", REPLICA)
    yield lines(
        "How much processor time does a replica use?",
        "Processor seconds a second: 1 is one core all the time, over all workers of the replica.",
        "below the number of cores that the replica may use, with room for the day's peak.",
        "none",
        used,
        terms=("replica",),
    )
    yield lines(
        "How much memory does a replica hold?",
        "Resident memory of all workers of the replica.",
        "flat after the start. A line that climbs for hours is a leak, and ends in a restart.",
        "bytes",
        Target(selector(naming.PROCESS_MEMORY, INSTANCES), REPLICA),
    )
    yield lines(
        "Does a replica run out of file handles?",
        "Open files and sockets as a share of what the system allows.",
        "below 70 %. One that climbs leaks connections.",
        "percentunit",
        Target(
            ratio(
                selector(naming.PROCESS_OPEN_FILES, INSTANCES), selector(naming.PROCESS_MAX_FILES, INSTANCES)
            ),
            REPLICA,
        ),
        thresholds=rising(0.7, 0.9),
        least=0,
    )
    yield moved("How much does a replica read from disk?", naming.PROCESS_READ_BYTES, "read from")
    yield moved("How much does a replica write to disk?", naming.PROCESS_WRITTEN_BYTES, "written to")
    yield lines(
        "How much of the disk is free?",
        "Free share of the file system that the process works in, where it keeps counters and logs.",
        "above 20 %. A line that falls steadily says when it is full.",
        "percentunit",
        Target(ratio(selector(naming.DISK_FREE, INSTANCES), selector(naming.DISK_SIZE, INSTANCES)), REPLICA),
        thresholds=falling(0.2, 0.1),
        least=0,
        most=1,
    )
    started = selector(naming.PROCESS_START, INSTANCES)
    yield lines(
        "How long has a replica been up?",
        "Time since the last process of the replica started. A saw is a process that restarts again and again.",
        "lines that climb without falling, but for deployments.",
        "s",
        Target(f"time() - {started}", REPLICA),
    )
    yield stat(
        "How often did replicas restart?",
        "Starts of processes in the time range picked, by replica, without the first one; those of single workers count.",
        "0, or once for each deployment. Three and more without one is a crash loop.",
        "none",
        Target(f"changes({started}[{RANGE}])", REPLICA, instant=True),
        thresholds=rising(1, 3),
        width=8,
        height=8,
    )
    yield lines(
        "Are workers missing from the totals?",
        "Workers whose counters are summed into a replica's metrics, and workers that do not share theirs with it.",
        "as many summed as are configured, none apart.",
        "none",
        Target(selector(naming.WORKERS, INSTANCES), f"{REPLICA} summed"),
        Target(f"{selector(naming.WORKERS_UNSHARED, INSTANCES)} > 0", f"{REPLICA} apart"),
    )


def moved(title: str, metric: Metric, verb: str) -> Panel:
    """Bytes a second."""
    return lines(
        title,
        f"Bytes a second that were {verb} disks; what the system had in memory does not count.",
        "near 0 while serving: models are read once. Peaks belong to starts and logs.",
        "Bps",
        Target(f"rate({selector(metric, INSTANCES)}[{RATE}])", REPLICA),
    )
