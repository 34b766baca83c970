"""The option ``--potential``: a potential named in a word on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ilforge.errors import SettingsError

TRUST_HELP = "SHA-256 of the model file, which states that you trust it: loading a model file can run code."


def potential_help() -> str:
    """All potentials that the command line can name, for help texts and errors."""
    from ilforge.potentials import POTENTIALS

    names: list[str] = []
    for kind in POTENTIALS.values():
        keys = kind.settings.model_fields if kind.settings is not None else None
        if (
            keys is None
            or kind.needs_table
            or any(field.is_required() and key not in kind.words for key, field in keys.items())
        ):
            continue
        words = [f":{word.upper()}" if keys[word].is_required() else f"[:{word.upper()}]" for word in kind.words]
        names += list(kind.known_as) or [kind.name + "".join(words)]
    files = [f"{kind.file_suffix} ({kind.title})" for kind in POTENTIALS.values() if kind.file_suffix]
    return f"{', '.join(names)}, or a model file: {', '.join(files)}. A model file needs --trust with its SHA-256."


def parse_potential(text: str, trust: str | None, define: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Specification for :func:`ilforge.potentials.create` of a potential named on the command line.

    ``define`` contains the user's own ions; their CL&P parameters are read from their files.
    """
    from ilforge.potentials import POTENTIALS, known_names
    from ilforge.potentials.kind import Context
    from ilforge.settings_file import check_settings

    suffixes = {kind.file_suffix: name for name, kind in POTENTIALS.items() if kind.file_suffix}
    for suffix, owner in suffixes.items():
        if text.endswith(suffix):
            return _model_file(owner, text, trust)
    name, _, rest = text.partition(":")
    keys = known_names().get(name, {"kind": name})
    kind = POTENTIALS.get(keys["kind"])
    if kind is None or kind.settings is None:
        raise SettingsError(f"--potential {text}: it may be {potential_help()}")
    if kind.file_suffix and rest and (not kind.words or rest.endswith(kind.file_suffix)):
        return _model_file(kind.name, rest, trust)
    words = _words(rest, kind.words)
    if words is None:
        usual = ":".join((name, *(word.upper() for word in kind.words)))
        raise SettingsError(f"--potential {text}: expected {usual}, with nothing after it")
    settings = check_settings(kind.settings, {**keys, **words}, f"--potential {text}")
    known = dict(define or {})
    return settings.spec(Context(Path(), tuple(known), known))


def _model_file(kind: str, path: str, trust: str | None) -> dict[str, Any]:
    """A model file as a potential, with what its training has written beside it of what is added to it."""
    from ilforge.training import TRAINERS

    trained = [one for one in TRAINERS.values() if one.potential == kind]
    own = [one for one in trained if Path(path).name.startswith(Path(one.file).stem)]
    keys = own[0].keys(Path(path).parent) if own else {}
    return {"kind": kind, "path": path, **({"sha256": trust} if trust else {}), **keys}


def _words(rest: str, names: Sequence[str]) -> dict[str, Any] | None:
    """Words after a potential's name, by key. The last word is split off first, because a file name may contain a
    colon. None if there are too many words."""
    if not rest:
        return {}
    if not names:
        return None
    parts = rest.rsplit(":", len(names) - 1) if len(names) > 1 else [rest]
    if len(parts) > 1 and not _is_number(parts[-1]):
        parts = [rest]
    return {key: float(part) if _is_number(part) else part for key, part in zip(names, parts, strict=False)}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
