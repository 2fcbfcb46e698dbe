"""`barograph.toml`: one file, every key with a default. An unknown key is an error that names the nearest known one."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from barograph import limits

PORT = 8700
WINDOW = 3600


class ConfigError(ValueError):
    """A configuration that cannot be used, with the remedy."""


@dataclass(frozen=True)
class TargetConfig:
    """A service to read: its base URL, and the token that its /profile asks for (or the variable that holds it)."""

    url: str
    token: str | None = None
    token_variable: str | None = None

    def secret(self) -> str | None:
        """The token itself."""
        return os.environ.get(self.token_variable) if self.token_variable else self.token


@dataclass(frozen=True)
class FearConfig:
    """What a stakeholder fears of a model, as a number: a `metric` of confirmed outcomes beyond its `limit`.

    `feared` says it in words, `owner` whose fear it is. `worse` is "below" or "above" the limit; by default what is worse of the
    metric. `segment` (key=value) narrows it to some rows.
    """

    name: str
    metric: str
    limit: float
    feared: str | None = None
    owner: str | None = None
    worse: str | None = None
    segment: str = ""


@dataclass(frozen=True)
class ModelConfig:
    """What an owner says of a model.

    `heuristics` are functions (MODULE:FUNCTION) over logged rows, by the name of the column that each makes.
    `limits` by flat name, as `limits.parse` gives them, win over calibration.
    """

    owner: str | None = None
    team: str | None = None
    runbook: str | None = None
    version: str | None = None
    budget: float = 1.0
    limits: Mapping[str, Any] = field(default_factory=dict)
    heuristics: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    fears: tuple[FearConfig, ...] = ()


@dataclass(frozen=True)
class WebhookConfig:
    """Where pages and tickets go: a receiver of Alertmanager's version 4 payload."""

    url: str
    severities: tuple[str, ...] = ("page", "ticket")
    token_variable: str | None = None


@dataclass(frozen=True)
class PrometheusConfig:
    """Where the query API is, in place of targets; `match` holds label matchers that every question carries.

    A secret lies in a file or in a variable. `timeout` is in seconds, `history` the hours that an empty store reads back.
    """

    url: str
    match: str = ""
    token_file: str | None = None
    token_variable: str | None = None
    username: str | None = None
    password_file: str | None = None
    password_variable: str | None = None
    ca_file: str | None = None
    verify: bool = True
    timeout: float = 30.0
    history: float = 24.0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DrillConfig:
    """Fire drills: `incidents` of the user's own, functions (MODULE:FUNCTION) of rows, by name; `report` is what the last one
    found, a file or its folder, which readiness is judged by."""

    report: str = "drills/drill.json"
    incidents: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    """All of it.

    >>> load_text('[models.fraud]\\nowner = "payments"').models["fraud"].owner
    'payments'
    """

    store: str = ".barograph/tiles.duckdb"
    host: str = "127.0.0.1"
    port: int = PORT
    interval: float | None = None  # seconds between reads; else min(15, 60 / speed)
    window: int = WINDOW  # seconds: how often columns are judged; windows with few rows are joined
    targets: tuple[TargetConfig, ...] = ()
    prometheus: PrometheusConfig | None = None
    log: str | None = (
        None  # where services log predictions and feedback: a folder, or a URL that fsspec knows
    )
    references: tuple[str, ...] = ()  # files, folders, or with *: what Prometheus' counts are judged by
    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    webhooks: tuple[WebhookConfig, ...] = ()
    token_variable: str | None = None  # the variable that holds the token for what writes; else one is made
    drill: DrillConfig = field(default_factory=DrillConfig)

    def model(self, name: str) -> ModelConfig:
        """What is said of a model, or the defaults."""
        return self.models.get(name, ModelConfig())


def load(path: str | Path) -> Config:
    """Read a file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--config: cannot read {str(path)!r} ({error.strerror})") from error
    return load_text(text, origin=str(path))


def load_text(text: str, origin: str = "the configuration") -> Config:
    """Read TOML text."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: {error}") from None
    content["targets"] = tuple(_target(t, origin) for t in _list(content, "targets", origin))
    content["references"] = tuple(
        _text(r, "references", origin) for r in _list(content, "references", origin)
    )
    if "prometheus" in content:
        content["prometheus"] = _prometheus(content["prometheus"], origin)
    content["webhooks"] = tuple(_webhook(w, origin) for w in _list(content, "webhooks", origin))
    if "drill" in content:
        content["drill"] = _read(DrillConfig, content["drill"], f"{origin}: drill")
    models = content.pop("models", {})
    if not isinstance(models, dict):
        raise ConfigError(f"{origin}: models is {models!r}; write [models.NAME] sections")
    content["models"] = {name: _model(m, f"{origin}: models.{name}") for name, m in models.items()}
    return _read(Config, content, origin)


def _model(value: Any, origin: str) -> ModelConfig:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{origin}: {value!r} is no table")
    fears = tuple(_read(FearConfig, f, f"{origin}: fears") for f in _list(dict(value), "fears", origin))
    try:
        limited = limits.parse(value.get("limits", {}))
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None
    found = _read(ModelConfig, {**value, "fears": fears, "limits": limited}, origin)
    _check_formulas(found.metrics, origin)
    for metric in limits.of_quality(limited):
        _check_metric(metric, found.metrics, f"{origin}: limits")
    for fear in fears:
        _check_fear(fear, found.metrics, f"{origin}: fears")
    return found


def _check_formulas(formulas: Any, origin: str) -> None:
    if not isinstance(formulas, Mapping) or not all(isinstance(text, str) for text in formulas.values()):
        raise ConfigError(f'{origin}: metrics are {formulas!r}; write NAME = "(5 * fn + fp) / n"')
    for name, text in formulas.items():
        from barograph.performance import METRICS, Formula, FormulaError  # needs SciPy

        if any(name in metrics for metrics in METRICS.values()):
            raise ConfigError(f"{origin}: metrics: {name!r} is a metric already; choose another name")
        try:
            Formula(text)
        except FormulaError as error:
            raise ConfigError(f"{origin}: metrics: {name}: {error}") from None


def _check_fear(fear: FearConfig, formulas: Mapping[str, str], origin: str) -> None:
    if fear.worse not in (None, "above", "below"):
        raise ConfigError(f'{origin}: {fear.name}: worse is {fear.worse!r}; write "above" or "below"')
    if fear.segment and "=" not in fear.segment:
        raise ConfigError(f'{origin}: {fear.name}: segment is {fear.segment!r}; write "KEY=VALUE"')
    _check_metric(fear.metric, formulas, f"{origin}: {fear.name}", either=fear.worse is not None)


def _target(value: Any, origin: str) -> TargetConfig:
    return _read(TargetConfig, {"url": value} if isinstance(value, str) else value, f"{origin}: targets")


def _prometheus(value: Any, origin: str) -> PrometheusConfig:
    item = {"url": value} if isinstance(value, str) else value
    found = _read(PrometheusConfig, item, f"{origin}: prometheus")
    if not isinstance(found.verify, bool):
        raise ConfigError(f"{origin}: prometheus: verify is {found.verify!r}; write true or false")
    if not isinstance(found.headers, Mapping):
        raise ConfigError(f'{origin}: prometheus: headers is {found.headers!r}; write {{NAME = "value"}}')
    for name, header in found.headers.items():
        _text(header, f"prometheus: headers.{name}", origin)
    return found


def _text(value: Any, key: str, origin: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{origin}: {key} holds {value!r}; write texts")
    return value


def _webhook(value: Any, origin: str) -> WebhookConfig:
    if not isinstance(value, (str, Mapping)):
        raise ConfigError(f"{origin}: webhooks holds {value!r}; write an address, or {{url = ...}}")
    item = {"url": value} if isinstance(value, str) else dict(value)
    if not str(item.get("url", "")).startswith(("http://", "https://")):
        raise ConfigError(f"{origin}: webhooks: url is {item.get('url')!r}; write http://host/path")
    severities = item.get("severities", ["page", "ticket"])
    if not isinstance(severities, list) or not set(severities) <= {"page", "ticket"}:
        raise ConfigError(
            f'{origin}: webhooks: severities is {severities!r}; write a list of "page", "ticket"'
        )
    item["severities"] = tuple(severities)
    return _read(WebhookConfig, item, f"{origin}: webhooks")


def _list(content: Mapping[str, Any], key: str, origin: str) -> list[Any]:
    value = content.get(key, [])
    if not isinstance(value, list):
        raise ConfigError(f"{origin}: {key} is {value!r}; write a list")
    return value


_T = TypeVar("_T")


def _read(kind: type[_T], content: Mapping[str, Any], origin: str) -> _T:
    if not isinstance(content, Mapping):
        raise ConfigError(f"{origin}: {content!r} is no table")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for key, value in content.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"{origin}: unknown key {key!r}; {hint}")
        _check(key, value, getattr(known[key].type, "__name__", str(known[key].type)), origin)
    try:
        return kind(**content)
    except TypeError as error:
        raise ConfigError(f"{origin}: {error}") from None


def _check(key: str, value: Any, kind: str, origin: str) -> None:
    plain: dict[str, Any] = {"str": str, "int": int, "float": (int, float)}
    wanted = plain.get(kind.removesuffix(" | None"))
    if wanted is not None and value is not None and not _is(value, wanted):
        raise ConfigError(f"{origin}: {key} is {value!r}; it must be of type {kind}")
    if key in ("heuristics", "incidents") and not (
        isinstance(value, Mapping) and all(isinstance(v, str) and ":" in v for v in value.values())
    ):
        raise ConfigError(f'{origin}: {key} are {value!r}; write NAME = "MODULE:FUNCTION"')
    if key == "budget" and not value > 0:
        raise ConfigError(f"{origin}: budget is {value!r} alarms a month; it must be above 0")
    if key == "window" and not (60 <= value <= WINDOW and value % 60 == 0 and WINDOW % value == 0):
        raise ConfigError(f"{origin}: window is {value!r} seconds; write 3600, 1800, 900, 600, 300 or 60")
    if key == "port" and not 0 <= value < 65_536:
        raise ConfigError(f"{origin}: port is {value!r}; it must be 0 to 65535")


def _check_metric(name: str, formulas: Mapping[str, str], origin: str, *, either: bool = False) -> None:
    """A metric with a worse side is wanted, or with `either` any."""
    from barograph.performance import (
        METRICS,
    )  # needs SciPy, which a configuration without such a limit does not

    listed = ((n, m.higher_is_better) for metrics in METRICS.values() for n, m in metrics.items())
    known = {*formulas, *(n for n, better in listed if either or better is not None)}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
        raise ConfigError(f"{origin}: unknown metric {name!r}; {hint}")


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
