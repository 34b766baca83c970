"""Trust: only results that this user made are loaded, and only programs that this user named are started.

A result may contain a trained model, and a model file can run code when it is loaded. A digest in the store proves
nothing, because the author of a file also writes its digest. Therefore every result made here is signed with a key of
this user (HMAC-SHA256, RFC 2104), which is in the user's own folder and never in a store.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from ilforge import files
from ilforge.canonical import canonical_json
from ilforge.errors import SettingsError

SIGNATURE = "signature"
"""Key of the signature in signed data."""
_KEY, _VERSIONS, _BYTES = "key", "versions.json", 32
_looking: ContextVar[bool] = ContextVar("looking", default=False)


def user_folder() -> Path:
    """The user's own folder: ``ilforge`` in ``$XDG_CONFIG_HOME``, or in ``~/.config``."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "ilforge"


def user_key() -> bytes:
    """The user's key; it is made if there is none, and nobody else may read it.

    Raises
    ------
    SettingsError
        When it cannot be read or made.
    """
    path = user_folder() / _KEY
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return _read_key(path)
        except FileNotFoundError:
            _make_key(path)
            return _read_key(path)
    except OSError as error:
        raise SettingsError(
            f"{path}, the key for signing results, can be neither read nor made ({error.strerror or error}). "
            "Set the variable XDG_CONFIG_HOME to a folder of your own."
        ) from error


def signed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data with a signature of this user."""
    return {**data, SIGNATURE: _signature(data)}


def is_signed(data: Mapping[str, Any]) -> bool:
    """Whether the data have a valid signature of this user."""
    found = data.get(SIGNATURE)
    return isinstance(found, str) and hmac.compare_digest(found, _signature(data))


def token(words: str) -> str:
    """A token for a text that only this user can make."""
    return hmac.new(user_key(), words.encode(), hashlib.sha256).hexdigest()


@contextmanager
def looking() -> Iterator[None]:
    """Within this context a study is only inspected: no program that it names is started, and no model is loaded."""
    before = _looking.set(True)
    try:
        yield
    finally:
        _looking.reset(before)


def only_looking() -> bool:
    """Whether the code runs within :func:`looking`."""
    return _looking.get()


def keep_version(program: Path, version: str) -> None:
    """Store the version that a program reports, so that it need not be started to inspect a study later."""
    found = _versions()
    if found.get(_stamp(program)) == version:
        return
    path = user_folder() / _VERSIONS
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.write_text(path, json.dumps({**found, _stamp(program): version}, indent=1))
    except OSError:
        return  # the version is then unknown later


def kept_version(program: Path) -> str | None:
    """The stored version of a program that this user has run, if its file has not changed; None if unknown."""
    version = _versions().get(_stamp(program))
    return version if isinstance(version, str) else None


def _signature(data: Mapping[str, Any]) -> str:
    bare = {key: value for key, value in data.items() if key != SIGNATURE}
    return token(canonical_json(bare))


def _read_key(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with open(descriptor, "rb") as file:
        owner = os.fstat(descriptor)
        content = file.read()
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077:
        raise SettingsError(
            f"{path} is the key for signing your results, and others can read it. Delete it; a new one is made. Then "
            "sign your stores again with `ilforge store trust STORE`."
        )
    if len(content) != _BYTES:
        raise SettingsError(f"{path} is damaged: it has {len(content)} bytes, not {_BYTES}. Delete it.")
    return content


def _make_key(path: Path) -> None:
    """Write a new key completely; if two processes or threads do so at the same time, the first key is used."""
    partial = path.with_name(f"{_KEY}.{os.getpid()}-{secrets.token_hex(4)}{files.PARTIAL}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(partial, path)
        except FileExistsError:
            return
    finally:
        partial.unlink(missing_ok=True)


def _versions() -> dict[str, Any]:
    try:
        found = json.loads((user_folder() / _VERSIONS).read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _stamp(program: Path) -> str:
    status = Path(program).resolve().stat()
    return f"{Path(program).resolve()} {status.st_size} {status.st_mtime_ns}"
