"""The query API of Prometheus, and of what speaks it: two questions, bounded answers, and errors that say what to do."""

import asyncio
import json
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

Labels = tuple[tuple[str, str], ...]  # sorted by name

MOST_BYTES = 256 << 20
_ENDINGS = ("/api/v1/query", "/api/v1", "/graph")


class QueryError(Exception):
    """A question that was not answered: what happened, and the remedy."""


class TooMuchError(QueryError):
    """An answer that is larger than what either side allows: ask for less time at once."""


@dataclass(frozen=True)
class Endpoint:
    """Where the query API is, and who asks. `url` is what lies before `/api/v1`.

    A token or a password is text, or in a file that is read anew for each question, as files of secrets change. `match` holds
    label matchers that every question carries (`namespace="ml"`). `ca_file` replaces the system's certificates; `timeout`
    bounds a whole answer, in seconds of wall time, `most_bytes` its size.

    >>> Endpoint("http://127.0.0.1:9090/").url
    'http://127.0.0.1:9090'
    """

    url: str
    match: str = ""
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: str | None = None
    verify: bool = True
    timeout: float = 30.0
    most_bytes: int = MOST_BYTES

    def __post_init__(self) -> None:
        try:
            parts = httpx.URL(self.url)
        except (httpx.InvalidURL, TypeError) as error:
            raise ValueError(
                f"url: cannot read {self.url!r} ({error}); write http://prometheus:9090"
            ) from None
        if parts.scheme not in ("http", "https") or not parts.host or parts.query or parts.fragment:
            raise ValueError(f"url: {self.url!r} is no base address; write http://prometheus:9090")
        if parts.userinfo:
            raise ValueError(
                f"url: the address of {parts.host} holds a user or password; give username and password_file"
            )
        if (self.token or self.token_file) and self.username:
            raise ValueError("username: a token is given too; give one of them")
        if not self.timeout > 0:
            raise ValueError(f"timeout: {self.timeout} seconds; it must be above 0")
        base = self.url.rstrip("/")
        for ending in _ENDINGS:
            base = base.removesuffix(ending)
        object.__setattr__(self, "url", base.rstrip("/"))
        object.__setattr__(self, "match", self.match.strip().removeprefix("{").removesuffix("}").strip(", "))

    def client(self) -> httpx.AsyncClient:
        """A client for questions. Follows no redirect, so that a secret goes nowhere else; asks for plain bytes, so that none
        unpack to gigabytes."""
        return httpx.AsyncClient(
            headers={"Accept-Encoding": "identity", "User-Agent": "barograph", **self.headers},
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=None,
            verify=self._certificates(),
            follow_redirects=False,
            trust_env=False,
        )

    def _certificates(self) -> ssl.SSLContext | bool:
        if not self.verify or not self.url.startswith("https:"):
            return False
        if self.ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise QueryError(f"ca_file: cannot read certificates from {self.ca_file!r} ({error})") from None

    def _credentials(self) -> dict[str, str]:
        password = _secret("password_file", self.password_file, self.password)
        if self.username is not None:
            pair = f"{self.username}:{password or ''}".encode()
            return {"Authorization": f"Basic {b64encode(pair).decode()}"}
        token = _secret("token_file", self.token_file, self.token)
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    async def instant(
        self, client: httpx.AsyncClient, query: str, time: float
    ) -> list[tuple[dict[str, str], float]]:
        """The value of an instant vector at `time` (epoch seconds): labels and value of each series."""
        found, _ = await self._ask(client, query, time, "vector")
        try:
            return [(one["metric"], float(one["value"][1])) for one in found]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._foreign(error) from None

    async def samples(
        self, client: httpx.AsyncClient, query: str, time: float
    ) -> tuple[list[dict[str, Any]], int]:
        """The raw samples of a range selector: for each series `metric` (labels) and `values` ([seconds, text] each); and the
        bytes of the answer."""
        return await self._ask(client, query, time, "matrix")

    async def _ask(
        self, client: httpx.AsyncClient, query: str, time: float, kind: str
    ) -> tuple[list[dict[str, Any]], int]:
        parameters = {"query": query, "time": f"{time:.3f}", "timeout": f"{self.timeout:g}s"}
        body = await self._get(client, f"{self.url}/api/v1/query", parameters)
        try:
            content = await asyncio.to_thread(json.loads, body)
            data, warnings = content["data"], content.get("warnings")
            found: list[dict[str, Any]] = data["result"]
            wrong = data["resultType"] != kind or not isinstance(found, list)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise self._foreign(error) from None
        if wrong:
            raise self._foreign(f"a {data['resultType']}")
        if warnings:
            raise QueryError(
                f"{self.url} answered in part ({_short('; '.join(map(str, warnings)))}); nothing is judged until it answers "
                "in full: see to its stores"
            )
        return found, len(body)

    def _foreign(self, what: object) -> QueryError:
        return QueryError(
            f"{self.url} answered, but not as Prometheus' query API does ({_short(what)}); give the address before /api/v1"
        )

    async def _get(self, client: httpx.AsyncClient, address: str, parameters: Mapping[str, str]) -> bytes:
        try:
            async with (
                asyncio.timeout(self.timeout),
                client.stream("GET", address, params=parameters, headers=self._credentials()) as response,
            ):
                body = bytearray()
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > self.most_bytes:
                        raise TooMuchError(
                            f"{self.url} answered with more than {self.most_bytes:,} bytes; narrow `match`, or raise most_bytes"
                        )
                self._accept(response, bytes(body))
                return bytes(body)
        except TimeoutError:
            raise TooMuchError(
                f"{self.url} did not answer within {self.timeout:g} s; look at it, narrow `match`, or raise the timeout"
            ) from None
        except (httpx.HTTPError, OSError) as error:
            raise QueryError(
                f"cannot read {self.url} ({_short(error) or type(error).__name__}); start Prometheus, or correct its url"
            ) from None

    def _accept(self, response: httpx.Response, body: bytes) -> None:
        """Raise what an answer other than 200 means."""
        code = response.status_code
        if response.is_redirect:
            place = response.headers.get("location", "another address")
            raise QueryError(f"{self.url} redirects to {place}; give the address behind it")
        if code in (401, 403):
            raise QueryError(
                f"{self.url} refused who asks ({code}); give token_file, or username and password_file"
            )
        if code == 404:
            raise QueryError(f"{self.url}/api/v1/query is not there (404); give the address before /api/v1")
        if code == 200:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise QueryError(
                    f"{self.url} answered compressed, which was not asked for; switch that off for this path"
                )
            return
        kind, said = _said(body)
        if code in (422, 503) and kind in ("execution", "timeout", "canceled", "422", "503"):
            raise TooMuchError(
                f"{self.url} could not answer ({said}); narrow `match`, or raise what a query may load"
            )
        raise QueryError(f"{self.url} answered {code} ({said}); look at its log")


def _secret(key: str, path: str | None, text: str | None) -> str | None:
    if path is None:
        return text
    try:
        found = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise QueryError(f"{key}: cannot read {path!r} ({error}); mount it, or correct the path") from None
    if not (found and found.isascii() and found.isprintable()):
        raise QueryError(f"{key}: {path!r} is empty, or holds more than one line of plain characters")
    return found


def _said(body: bytes) -> tuple[str, str]:
    """The kind of an error, and what an answer says of it."""
    try:
        content = json.loads(body)
        return str(content.get("errorType", "")), _short(content.get("error", ""))
    except (ValueError, AttributeError):
        return "", _short(body[:200].decode("utf-8", "replace"))


def _short(what: object) -> str:
    text = " ".join(str(what).split())
    return text if len(text) <= 200 else f"{text[:200]}..."
