"""A model whose calls are recorded: it answers, raises and looks as the bare model does."""

import copy
import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from functools import lru_cache, partial
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from barograph.counters import Series
from barograph.request import Pending, Request
from barograph.rows import SINGLE
from barograph.schema import SchemaViolation


class Recorder(Protocol):
    """What a watched model needs of its monitor."""

    reject: bool
    current: ContextVar[Request | None]
    nested: ContextVar[bool]  # whether a watched model runs: calls within it are its own affair

    @property
    def in_progress(self) -> Series: ...
    @property
    def predict_stage(self) -> Series: ...
    def request(self) -> AbstractContextManager[Request]: ...
    def observe(self, series: Series, value: float) -> None: ...
    def error(self, kind: str) -> None: ...
    def refuse(self, features: Any) -> None: ...
    def answered(self, request: Request, answer: Pending) -> None: ...
    def failed(self, what: str, error: Exception) -> None: ...


class Watched:
    """A model whose answers are recorded. Made by `Monitor.watch`."""

    def __init__(self, model: Any, recorder: Recorder) -> None:
        self._model, self._recorder = model, recorder
        self._names = _names_of(model)

    def __getattr__(self, name: str) -> Any:
        if "_model" not in self.__dict__:  # half made, by a library that copies objects
            raise AttributeError(name)
        found = getattr(self._model, name)
        answer = _ANSWERS.get(name)
        return found if answer is None else partial(self._call, found, answer)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(self._model, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._model, name)

    def __repr__(self) -> str:
        return repr(self._model)

    def __copy__(self) -> "Watched":
        return watched(copy.copy(self._model), self._recorder)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Watched":
        return watched(copy.deepcopy(self._model, memo), self._recorder)

    def __reduce_ex__(self, _: Any) -> Any:
        raise TypeError(
            "a watched model belongs to this process; pickle the bare model, and watch it where it is loaded"
        )

    def _call(self, method: Any, answer: "Answer", /, *args: Any, **options: Any) -> Any:
        recorder = self._recorder
        if recorder.nested.get():
            return method(*args, **options)
        features = args[0] if args else next(iter(options.values()), None)
        if recorder.reject:
            recorder.refuse(named(features, self._names))
        rows = self._own(features)  # before the model has them: it may change them in place
        running = _Running(recorder)
        with running as request:
            result = method(*args, **options)
            running.waits = inspect.isawaitable(result)
            if not running.waits:
                self._answered(request, answer, rows, result)
                return result
        return self._awaited(result, answer, rows, running.start)

    async def _awaited(self, result: Any, answer: "Answer", rows: Any, start: float) -> Any:
        with _Running(self._recorder, start) as request:
            value = await result
            self._answered(request, answer, rows, value)
            return value

    def _own(self, features: Any) -> Any:
        try:
            return own(features)
        except Exception as error:  # a type of the caller's own
            self._recorder.failed("copy the rows of a call", error)
            return features

    def _answered(self, request: Request, answer: "Answer", rows: Any, result: Any) -> None:
        try:
            given = answer(self._model, result)
        except Exception as error:
            given = {}
            self._recorder.failed("read an answer", error)
        try:
            self._recorder.answered(request, Pending(rows, names=self._names, **given))
        except Exception as error:
            self._recorder.failed("record an answer", error)


class _Running:
    """The time in which a model works: it is in progress, timed, and in a request, the caller's or one of its own."""

    def __init__(self, recorder: Recorder, start: float | None = None) -> None:
        self._recorder, self.waits = recorder, False
        self.start = time.perf_counter() if start is None else start
        self._opened: AbstractContextManager[Request] | None = None

    def __enter__(self) -> Request:
        recorder = self._recorder
        request = recorder.current.get()
        if request is None:
            self._opened = recorder.request()
            request = self._opened.__enter__()
        request.ran = True
        self._token: Token[bool] = recorder.nested.set(True)
        recorder.observe(recorder.in_progress, 1)
        return request

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        recorder = self._recorder
        recorder.observe(recorder.in_progress, -1)
        recorder.nested.reset(self._token)
        if isinstance(error, Exception) and not isinstance(error, SchemaViolation):
            recorder.error(type(error).__name__)
        if not self.waits:
            recorder.observe(recorder.predict_stage, time.perf_counter() - self.start)
        if self._opened is not None:
            self._opened.__exit__(kind, error, trace)


Answer = Callable[[Any, Any], dict[str, Any]]


def _as_prediction(_: Any, result: Any) -> dict[str, Any]:
    return {"prediction": own(result)}


def _as_score(model: Any, result: Any) -> dict[str, Any]:
    """The share of the second class where there are two, else of the likeliest, which is then the prediction."""
    shares = np.asarray(result)
    if shares.ndim != 2:
        return {"score": own(result)}
    if shares.shape[1] == 2:
        return {"score": shares[:, 1].copy()}
    classes = np.asarray(getattr(model, "classes_", np.arange(shares.shape[1])))
    return {"score": shares.max(axis=1), "prediction": classes[shares.argmax(axis=1)], "provisional": True}


_ANSWERS: Mapping[str, Answer] = {"predict": _as_prediction, "predict_proba": _as_score}
_OWN = ("_model", "_recorder", "_names")
_FORWARDED = ("__getitem__", "__len__", "__iter__")


def watched(model: Any, recorder: Recorder) -> Watched:
    """A proxy of `model`, which can be called, indexed and counted where the model can."""
    special = [name for name in _FORWARDED if hasattr(type(model), name)]
    return _kind((*special, *(["__call__"] if callable(model) else [])))(model, recorder)


@lru_cache(maxsize=64)
def _kind(special: tuple[str, ...]) -> type[Watched]:
    members: dict[str, Any] = {name: _forward(name) for name in special if name in _FORWARDED}
    if "__call__" in special:
        members["__call__"] = lambda self, *args, **options: self._call(
            self._model, _as_prediction, *args, **options
        )
    return type("Watched", (Watched,), members)


def _forward(name: str) -> Callable[..., Any]:
    return lambda self, *args: getattr(self._model, name)(*args)


def own(values: Any) -> Any:
    """A copy of what the caller may change before the flush, rows or columns in it too; Arrow's tables as they are.

    >>> rows = [{"x": 1.0}]
    >>> owned = own(rows)
    >>> rows[0]["x"] = 9.0
    >>> owned
    [{'x': 1.0}]
    """
    kind = type(values)
    if kind in SINGLE:
        return values
    if kind is dict:
        values = values.copy()  # before anybody looks into it: another thread may change it
        one_row = type(next(iter(values.values()), None)) in SINGLE
        return values if one_row else {name: _copied(column) for name, column in values.items()}
    if (kind is list or kind is tuple) and values and type(values[0]) not in SINGLE:
        return kind(map(_copied, values))
    if isinstance(values, (list, np.ndarray)) or not isinstance(values, Mapping):
        return _copied(values)
    return {name: _copied(column) for name, column in values.items()}


def _copied(values: Any) -> Any:
    """A copy of a container, or of a frame that can be changed; else the same."""
    if isinstance(values, np.ma.MaskedArray):
        return values.tolist()  # None for what is masked
    if isinstance(values, (dict, list, np.ndarray, np.void)):
        return values.copy()
    if hasattr(values, "iloc") and hasattr(values, "copy"):  # pandas
        return values.copy()
    if hasattr(values, "to_arrow") and hasattr(values, "clone"):  # Polars, whose clone copies no numbers
        return values.clone()
    return values


def named(features: Any, names: tuple[str, ...] | None) -> Any:
    """An array as a dict of columns (of values, for one row), if `names` fit it; anything else as it is.

    >>> named(np.array([1.0, 2.0]), ("b", "a"))
    {'b': 1.0, 'a': 2.0}
    """
    if names is None or not isinstance(features, np.ndarray) or features.dtype.names:
        return features
    if not features.ndim or features.ndim > 2 or features.shape[-1] != len(names):
        return features
    columns: Iterable[Any] = features.tolist() if features.ndim == 1 else features.T
    return dict(zip(names, columns, strict=True))


def check_features(model: Any, features: tuple[str, ...]) -> None:
    """ValueError if a model says that it takes other features than `features`."""
    names = _names_of(model)
    if names is not None and set(names) != set(features):
        raise ValueError(
            f"model: it takes the features {sorted(names)}, the reference has {sorted(features)}; "
            "fit the reference on the columns that the model is given"
        )
    number = getattr(model, "n_features_in_", None)
    if names is None and isinstance(number, (int, np.integer)) and number != len(features):
        raise ValueError(
            f"model: it takes {number} features, the reference has {len(features)}: {sorted(features)}; "
            "fit the reference on the columns that the model is given"
        )


def _names_of(model: Any) -> tuple[str, ...] | None:
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else tuple(map(str, names))
