"""A connection to the API: where it is, who asks, what went wrong in whose words."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jetsched.cluster.sse import ServerEvent, decode
from jetsched.cluster.state import ClusterState, read_state
from jetsched.errors import InputError, JetschedError, NeverFitsError, UnreachableError
from jetsched.files import from_json
from jetsched.problems import FileProblems, Problem, quoted
from jetsched.records import Decision

if TYPE_CHECKING:
    import httpx

START_IT = "start it with: jetsched up --emulate xavier-nx,orin-nano"

#: Where the head is, for a command on another machine, and the files with its token and its CA.
HEAD_VARIABLE = "JETSCHED_HEAD"
TOKEN_VARIABLE = "JETSCHED_TOKEN_FILE"
CA_VARIABLE = "JETSCHED_CA_FILE"

#: A stream that says nothing for so long is dead; the head says something every 15 s.
SILENCE_S = 60.0
#: How often, and after which pauses, what is safe to ask twice is asked again.
AGAIN_S = (0.5, 2.0, 5.0)


class Head(NamedTuple):
    """An API to talk to. ``ca`` verifies its certificate; None: the system's authorities do."""

    url: str
    token: str
    ca: Path | None = None
    #: Its own certificate is known here, so its name need not be the one in it.
    is_own: bool = False


def head_named(home: Path) -> Head:
    """The head that the environment names, else the one that `jetsched up` started here.

    Raises :class:`InputError` for what is named and is not usable, :class:`UnreachableError` where
    there is none.
    """
    url = os.environ.get(HEAD_VARIABLE, "").strip().rstrip("/")
    if url:
        return _remote(url)
    state = read_state(home)
    if state is None:
        raise UnreachableError(
            "the scheduler is not running",
            hint=f"{START_IT}; or name another machine's: {HEAD_VARIABLE}=http://HOST:PORT",
        )
    return head_of(state)


def head_of(state: ClusterState) -> Head:
    """The API of a cluster whose head is on this machine."""
    cert = state.options.tls_cert
    return Head(state.url, state.api_token, Path(cert) if cert else None, is_own=True)


def _remote(url: str) -> Head:
    if not url.startswith(("http://", "https://")) or any(c.isspace() for c in url):
        raise InputError(
            f"{HEAD_VARIABLE}: {quoted(url)} is not an address", hint="http://HOST:PORT"
        )
    named = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not named:
        raise InputError(
            f"{HEAD_VARIABLE} is set, but {TOKEN_VARIABLE} is not",
            hint="a file with a token in it: jetsched token new NAME, on the head",
        )
    token = _read(Path(named).expanduser(), TOKEN_VARIABLE).strip()
    if not token.isascii() or not token.isprintable() or not token or " " in token:
        raise InputError(f"{TOKEN_VARIABLE}: {named} holds no token", hint="one line, the token")
    ca = os.environ.get(CA_VARIABLE, "").strip()
    return Head(url, token, Path(ca).expanduser() if ca else None)


def _read(path: Path, variable: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "is no text"
        raise InputError(f"{variable}: {path}: {why}", hint="name another file") from None


def tls_context(head: Head) -> ssl.SSLContext | bool:
    """How its certificate is verified. Raises :class:`InputError` for a CA file that is none."""
    if head.ca is None:
        return True
    try:
        context = ssl.create_default_context(cafile=str(head.ca))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{head.ca} holds no certificates: {error}", hint=f"{CA_VARIABLE}: a file in PEM"
        ) from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself will do
    context.check_hostname = not head.is_own
    return context


class Connection:
    """Asks one head. Raises what the scheduler raised, as the same kind of error."""

    def __init__(self, head: Head, *, timeout_s: float | None = 35.0) -> None:
        import httpx

        self.url = head.url
        self.is_own = head.is_own
        self._http = httpx.Client(
            base_url=head.url,
            headers={"Authorization": f"Bearer {head.token}"},
            timeout=timeout_s,
            verify=tls_context(head),
            trust_env=False,  # no proxy for the loopback
        )

    def close(self) -> None:
        self._http.close()

    def ask(
        self, method: str, path: str, body: Any = None, params: Any = None, *, again: bool = False
    ) -> Any:
        """The answer's JSON. ``again``: it is safe to ask until there is an answer."""
        for pause_s in AGAIN_S if again else ():
            with suppress(UnreachableError):
                return self._ask(method, path, body, params)
            time.sleep(pause_s)
        return self._ask(method, path, body, params)

    def _ask(self, method: str, path: str, body: Any, params: Any) -> Any:
        import httpx

        try:
            answer = self._http.request(method, path, json=body, params=params)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        if answer.is_success:
            return _json(answer)
        raise error_of(answer)

    def send(self, path: str, data: bytes, params: Any = None) -> Any:
        """Hand bytes in; the answer's JSON."""
        import httpx

        try:
            answer = self._http.put(path, content=data, params=params)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        if answer.is_success:
            return _json(answer)
        raise error_of(answer)

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a file from there on; :class:`UnreachableError` where the line is cut."""
        import httpx

        headers = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            with self._http.stream("GET", path, headers=headers) as answer:
                if not answer.is_success:
                    answer.read()
                    raise error_of(answer)
                yield from answer.iter_bytes()
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    def follow(
        self, path: str, params: Any = None, *, last: str = ""
    ) -> Generator[ServerEvent, None, None]:
        """Server-sent events; where the line is cut it goes on from the last event that came.

        ``last`` is the id of an event that came earlier. Raises :class:`UnreachableError` where
        the head does not answer again.
        """
        import httpx

        failed = 0
        while True:
            headers = {"Last-Event-ID": last} if last else {}
            try:
                with self._http.stream(
                    "GET", path, params=params, headers=headers, timeout=SILENCE_S
                ) as answer:
                    if not answer.is_success:
                        answer.read()
                        raise error_of(answer)
                    for event in decode(answer.iter_lines()):
                        last, failed = event.id or last, 0
                        yield event
                        if event.name == "end":
                            return
            except httpx.HTTPError as error:
                if failed == len(AGAIN_S):
                    raise self._unreachable(error) from None
            except UnreachableError:
                if failed == len(AGAIN_S):
                    raise
            if failed == len(AGAIN_S):
                raise UnreachableError(f"{self.url} ends every stream", hint="jetsched queue")
            time.sleep(AGAIN_S[failed])
            failed += 1

    def _unreachable(self, error: Exception) -> JetschedError:
        """Why nothing came back, and what to do about it."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLError) or "CERTIFICATE_VERIFY" in str(cause):
                return InputError(
                    f"{self.url}: its certificate is not trusted: {cause}",
                    hint=f"{CA_VARIABLE}: a file with the head's CA; https:// where it has TLS",
                )
            cause = cause.__cause__ or cause.__context__
        text = f"the scheduler at {self.url} does not answer ({type(error).__name__})"
        hint = "start it again with: jetsched up"
        if not self.is_own:
            hint = f"does it run there? {HEAD_VARIABLE} names it; on the head: jetsched up --host"
        return UnreachableError(text, hint=hint)


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise JetschedError(
            f"{answer.url.host} answered with something else than JSON",
            hint=f"is it jetsched that listens there? {HEAD_VARIABLE}",
        ) from None


def error_of(answer: httpx.Response) -> JetschedError:
    """The error that the scheduler raised, as the same kind of error here."""
    try:
        told = answer.json()
        text, hint, code = told["error"], told.get("hint", ""), told.get("exit_code", 1)
    except (ValueError, KeyError, TypeError):
        return JetschedError(f"the scheduler answered {answer.status_code}: {answer.text[:200]}")
    if told.get("problems"):
        return FileProblems(from_json(Problem, problem) for problem in told["problems"])
    kinds: tuple[Callable[..., JetschedError], ...] = (InputError, NeverFitsError, UnreachableError)
    for kind in kinds:
        if code == getattr(kind, "exit_code", None):
            error = kind(text, hint=hint)
            if told.get("decision"):
                error.decision = from_json(Decision, told["decision"])  # type: ignore[attr-defined]
            return error
    return JetschedError(text, hint=hint)
