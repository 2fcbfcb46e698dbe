"""Every metric, label, signal and file name. Nothing else spells one out.

A metric is declared once, with its type, labels and help; the exposition, the tiles, the mixin and the docs read the same entry.
"""

from dataclasses import dataclass

PREFIX = "ml_"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family: its name, Prometheus type, label names and help text."""

    name: str
    type: str  # counter | gauge | gauge_max | info | histogram | columns
    labels: tuple[str, ...]
    help: str


_MODEL = ("model", "version")

PREDICTIONS = Metric("ml_predictions_total", "counter", _MODEL, "Rows predicted.")
ERRORS = Metric(
    "ml_prediction_errors_total", "counter", (*_MODEL, "error"), "Predictions that failed, by type of error."
)
DURATION = Metric(
    "ml_prediction_duration_seconds",
    "histogram",
    (*_MODEL, "stage"),
    "Seconds spent on a prediction request, in all (stage total) and by stage.",
)
IN_PROGRESS = Metric("ml_predictions_in_progress", "gauge", _MODEL, "Prediction requests being answered now.")
EMPTY = Metric("ml_empty_responses_total", "counter", _MODEL, "Predictions that hold no answer.")
COLUMN_VALUES = Metric(
    "ml_column_values_total",
    "columns",
    (*_MODEL, "bins", "column", "role", "cell"),
    "Values of a column by cell. Counts of different bins must never be added.",
)
VIOLATIONS = Metric(
    "ml_schema_violations_total",
    "counter",
    (*_MODEL, "column", "kind"),
    "Values that break the reference's schema, by column and kind.",
)
OVERRIDDEN = Metric(
    "ml_overridden_total", "counter", (*_MODEL, "rule"), "Answers that post-processing changed, by rule."
)
BUSINESS = Metric(
    "ml_business_events_total", "counter", ("model", "event"), "Events that stakeholders count."
)
CLOCK = Metric("ml_monitor_clock_seconds", "gauge_max", (), "The process's clock: injected, else wall time.")
MODEL_INFO = Metric(
    "ml_model_info",
    "info",
    (*_MODEL, "task", "reference", "bins", "digest", "framework", "config"),
    "The model that runs: reference, digest of the artifact, hash of the configuration.",
)
DEPENDENCY_INFO = Metric(
    "ml_dependency_info",
    "info",
    (*_MODEL, "package", "running", "trained"),
    "Version of a package that matters, running and trained with.",
)
DROPPED_ROWS = Metric(
    "ml_monitor_dropped_rows_total",
    "counter",
    (*_MODEL, "reason"),
    "Rows that the monitor did not count, by reason.",
)
FEEDBACK = Metric(
    "ml_feedback_total",
    "counter",
    (*_MODEL, "kind"),
    "Labels that were told of predictions, by kind of feedback.",
)
# Series of the tiles alone: what labels came to, by the hour of the prediction.
OUTCOMES, LOGGED, LABEL_AGES = "ml_outcomes", "ml_logged_predictions", "ml_label_ages"
ARRIVALS = "ml_label_arrivals"
HEURISTIC_INFO = "ml_heuristic_info"  # by which reference a heuristic is judged that was learnt from the log
BAD_ROWS = Metric(
    "ml_monitor_bad_rows_total",
    "counter",
    (*_MODEL, "reason"),
    "Rows or calls that were counted in part, by what was wrong with them.",
)
BUFFER_FILL = Metric(
    "ml_monitor_buffer_ratio", "gauge_max", _MODEL, "How full the buffer to the flusher is, 0 to 1."
)
FLUSH_SECONDS = Metric(
    "ml_monitor_flush_seconds_total", "counter", _MODEL, "CPU seconds that the flusher has used."
)
WORKERS = Metric("ml_monitor_workers", "gauge", (), "Live processes whose counters are summed here.")
WORKERS_UNSHARED = Metric(
    "ml_monitor_workers_unshared",
    "gauge",
    (),
    "Workers of this server that do not share counters with this one: totals here are too low.",
)
SERIES = Metric("ml_monitor_series", "gauge", (), "Series that are shown here, with this one.")
SERIES_HIDDEN = Metric(
    "ml_monitor_series_hidden",
    "gauge",
    (),
    "Series of columns that are not shown, as they would be too many.",
)
HTTP_REQUESTS = Metric(
    "http_requests_total",
    "counter",
    ("handler", "method", "status"),
    "HTTP requests by handler, method and class of status.",
)
HTTP_DURATION = Metric(
    "http_request_duration_seconds",
    "histogram",
    ("handler", "method"),
    "Seconds from the request's start to its answer's end.",
)
HTTP_IN_PROGRESS = Metric(
    "http_requests_in_progress", "gauge", ("handler", "method"), "HTTP requests being answered now."
)
# Of a replica: summed over the processes of a server. The names are those of prometheus_client, which shows one process alone.
PROCESS_CPU = Metric(
    "process_cpu_seconds_total",
    "counter",
    (),
    "Processor seconds of all processes of this server, ended ones too.",
)
PROCESS_MEMORY = Metric(
    "process_resident_memory_bytes", "gauge", (), "Resident memory of the live processes of this server."
)
PROCESS_OPEN_FILES = Metric("process_open_fds", "gauge", (), "Open files and sockets of the live processes.")
PROCESS_MAX_FILES = Metric(
    "process_max_fds", "gauge", (), "Open files and sockets that the live processes may have."
)
PROCESS_START = Metric(
    "process_start_time_seconds",
    "gauge_max",
    (),
    "When the last process of this server started, in epoch seconds.",
)
PROCESS_READ_BYTES = Metric("process_read_bytes_total", "counter", (), "Bytes read from disks.")
PROCESS_WRITTEN_BYTES = Metric("process_written_bytes_total", "counter", (), "Bytes written to disks.")
DISK_FREE = Metric(
    "process_disk_free_bytes", "gauge_max", (), "Free space of the file system that the process works in."
)
DISK_SIZE = Metric(
    "process_disk_size_bytes", "gauge_max", (), "Size of the file system that the process works in."
)
SIGNAL = Metric(
    "ml_signal",
    "gauge",
    (*_MODEL, "column", "signal", "window"),
    "A signal of a column in the last judged window.",
)
SIGNAL_THRESHOLD = Metric(
    "ml_signal_threshold",
    "gauge",
    (*_MODEL, "column", "signal", "window"),
    "The level of the signal above which the window is out of the ordinary.",
)
LIMIT = Metric("ml_limit", "gauge", ("model", "limit"), "A limit that the model's owner set.")
ALERT_STATE = Metric(
    "ml_alert_state",
    "gauge",
    (*_MODEL, "alert", "column", "signal", "state"),
    "1 for the state that an alert is in.",
)
_QUALITY = (*_MODEL, "segment", "metric", "basis")
QUALITY = Metric(
    "ml_quality", "gauge", _QUALITY, "A metric of outcomes over the last day that has its labels."
)
QUALITY_LOWER = Metric("ml_quality_lower", "gauge", _QUALITY, "The lower end of its 95 % interval.")
QUALITY_UPPER = Metric("ml_quality_upper", "gauge", _QUALITY, "The upper end of its 95 % interval.")
OUTCOMES_ARRIVED = Metric(
    "ml_outcomes_total",
    "counter",
    (*_MODEL, "outcome"),
    "Labels by when they came, and by whether the answer was right. Corrections count again.",
)
LABEL_COMPLETENESS = Metric(
    "ml_label_completeness_ratio",
    "gauge",
    _MODEL,
    "Share of the last day's predictions whose label has come.",
)
LABEL_LAG = Metric(
    "ml_label_lag_seconds",
    "gauge",
    (*_MODEL, "quantile"),
    "How long labels took that came for the last 30 days.",
)
EVALUATOR_SUCCESS = Metric(
    "ml_evaluator_last_success_timestamp_seconds",
    "gauge",
    (),
    "When the evaluator last finished a pass, in wall time.",
)
MESSAGES_WAITING = Metric(
    "ml_evaluator_messages_waiting", "gauge", (), "Messages about alerts that a webhook has not taken yet."
)
REFERENCE_RATIO = Metric(
    "ml_reference_ratio",
    "gauge",
    (*_MODEL, "bins", "column", "cell", "position", "shape", "values"),
    "The reference's share of a column's cell, its place, the cell it is judged in, and what falls into it.",
)
REFERENCE_ROWS = Metric(
    "ml_reference_rows",
    "gauge",
    (*_MODEL, "bins", "column"),
    "Rows of the reference that a column is judged by.",
)

METRICS: dict[str, Metric] = {m.name: m for m in list(globals().values()) if isinstance(m, Metric)}

DURATION_BUCKETS = (
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1,
    0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 30.0,
)  # fmt: skip

# Column names that the library gives to what a model answers.
SCORE = "score"
PREDICTION = "prediction"
EXPECTED_ERROR = "expected_error"  # of a regression, by an ErrorModel

# Stages of a request.
TOTAL = "total"
PREDICT = "predict"

# Values of the label `cell` on /metrics: 16 cells of about equal reference mass, and the rest.
MISSING, INVALID, UNSEEN, OTHER = "missing", "invalid", "unseen", "other"
BELOW, ABOVE, ZERO, SENTINEL = "below", "above", "zero", "sentinel"


def cell_label(index: int) -> str:
    """The label of one of the 16 cells: `c00` to `c15`."""
    return f"c{index:02d}"


# Environment variables.
DIRECTORY_VARIABLE = "BAROGRAPH_DIR"
TOKEN_VARIABLE = "BAROGRAPH_TOKEN"
PURE_VARIABLE = "BAROGRAPH_PURE_PYTHON"
SERIES_VARIABLE = "BAROGRAPH_MAX_SERIES"

# Files.
COUNTS_SUFFIX = ".counts"
DEAD_COUNTS = "dead.counts"
EPOCH_FILE = "epoch"
LOCK_FILE = "lock"
REFERENCE_SUFFIX = ".reference.json"

# HTTP.
REQUEST_ID_HEADER = "X-Request-ID"
PREDICTION_ID_HEADER = "X-Prediction-Id"


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule: its name, whether it pages, how long it waits to fire and to end (seconds), and what it means."""

    name: str
    severity: str  # page | ticket
    group: str  # service | output | outcomes | causes
    pending: int
    keep_firing: int
    help: str


_HOURS_2 = 2 * 3600

NO_TRAFFIC = Rule(
    "MLModelNoTraffic", "page", "service", 0, 300, "No predictions where at least 14 were expected."
)
ERRORS_HIGH = Rule("MLModelErrors", "page", "service", 120, 600, "Too many predictions fail.")
SLOW = Rule("MLModelSlow", "page", "service", 300, 600, "Too many predictions take longer than they may.")
EMPTY_HIGH = Rule("MLModelEmptyResponses", "page", "output", 0, _HOURS_2, "Too many answers are empty.")
OUTPUT_SHIFTED = Rule(
    "MLModelOutputShifted", "page", "output", 0, _HOURS_2, "The model's answers are out of the ordinary."
)
INPUT_BROKEN = Rule(
    "MLModelInputBroken",
    "page",
    "causes",
    0,
    _HOURS_2,
    "A feature is grossly wrong: out of range, missing, unseen.",
)
FEATURE_SHIFTED = Rule(
    "MLModelFeatureShifted", "ticket", "causes", 0, _HOURS_2, "A feature is out of the ordinary."
)
DEPENDENCY_DIFFERS = Rule(
    "MLModelDependencyDiffers",
    "ticket",
    "causes",
    0,
    0,
    "A package runs in another version than the model was made with.",
)
ROWS_DROPPED = Rule(
    "MLMonitorDroppingRows", "ticket", "causes", 120, 600, "The monitor drops rows that it should count."
)

BUSINESS_STOPPED = Rule(
    "MLModelBusinessStopped", "page", "outcomes", 0, 300, "No business event where at least 14 were expected."
)
QUALITY_LOW = Rule(
    "MLModelQualityLow",
    "page",
    "outcomes",
    0,
    _HOURS_2,
    "Confirmed outcomes are worse than the owner allows, or than a few days ago.",
)
FEAR_CAME_TRUE = Rule(
    "MLModelFearCameTrue",
    "page",
    "outcomes",
    0,
    _HOURS_2,
    "A metric of confirmed outcomes is where a stakeholder fears it to be.",
)
SLOW_LEAK = Rule(
    "MLModelSlowLeak", "ticket", "outcomes", 0, _HOURS_2, "Quality gets worse day by day, a little at a time."
)
CONCEPT_DRIFT = Rule(
    "MLModelConceptDrift", "ticket", "outcomes", 0, _HOURS_2, "Scores no longer mean what they meant."
)
LABELS_LATE = Rule(
    "MLModelLabelsLate", "ticket", "outcomes", 0, _HOURS_2, "Labels that should be there have not come."
)
TRAIN_SERVE_SKEW = Rule(
    "MLModelTrainServeSkew",
    "ticket",
    "causes",
    0,
    _HOURS_2,
    "Production never looked like what the model was trained on.",
)
REFERENCE_CHANGED = Rule(
    "MLModelReferenceChanged",
    "ticket",
    "causes",
    1_800,
    0,
    "One version of a model runs with two references, or with another one than before.",
)
ARTIFACT_DIFFERS = Rule(
    "MLModelArtifactDiffers",
    "ticket",
    "causes",
    1_800,
    0,
    "Processes of one version run different artifacts or configurations.",
)
TARGET_DOWN = Rule("MLMonitorTargetDown", "ticket", "service", 300, 0, "A serving process cannot be read.")
WORKERS_APART = Rule(
    "MLMonitorWorkersUnshared",
    "ticket",
    "causes",
    300,
    0,
    "Workers of a server do not share their counters: totals are too low.",
)
TRAFFIC_LOW = Rule(
    "MLModelTrafficLow", "page", "service", 0, 300, "Fewer predictions in an hour than the owner wants."
)
RESOURCES_HIGH = Rule(
    "MLModelResourcesHigh",
    "ticket",
    "service",
    300,
    600,
    "A serving process uses more memory, processor or disk than the owner allows.",
)
EVALUATOR_STALE = Rule(
    "MLMonitorEvaluatorStale",
    "ticket",
    "service",
    300,
    0,
    "The evaluator has not finished a pass: drift and outcomes are not judged.",
)

RULES: dict[str, Rule] = {r.name: r for r in list(globals().values()) if isinstance(r, Rule)}

# States of a model.
OK, WATCH, ACT, NO_DATA, LEARNING = "ok", "watch", "act", "no_data", "learning"
