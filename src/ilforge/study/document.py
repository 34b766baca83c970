"""The study file written out from its own types: a commented template, a reference page, a JSON Schema."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ilforge.study.potential_settings import PotentialSettings
from ilforge.study.presets import DEEPMD_PRESETS, MACE_PRESETS
from ilforge.study.settings import DeepmdSettings, MaceSettings, StudySettings

PRESETS = {MaceSettings: MACE_PRESETS, DeepmdSettings: DEEPMD_PRESETS}


def template(
    name: str,
    ions: dict[str, int],
    density_g_cm3: float,
    define: Mapping[str, Mapping[str, Any]] | None = None,
    has_clp: bool = True,
) -> str:
    """A study file with every key at its default and a comment on each; valid as it stands.

    ``define`` are tables of ions of the user's own, by name. Without parameters of CL&P for all ions GFN1-xTB samples.
    """
    given: dict[str, Any] = {"name": name, "liquid.ions": ions, "liquid.density_g_cm3": density_g_cm3}
    if not has_clp:
        given["sampling.potential"] = PotentialSettings(kind="xtb")
    potentials = [*(["clp"] if has_clp else []), "deepmd", "mace"]
    lines = [
        f"# Study of {', '.join(f'{count} {ion}' for ion, count in ions.items())}.",
        "# Keys behind a # show their defaults: take the # away to change one. Units are in the names.",
        "",
    ]
    lines += _template_lines(StudySettings, (), given)
    for ion, table in (define or {}).items():
        lines += ["", f"[liquid.define.{toml_key(ion)}]"]
        lines += [f"{key} = {toml_value(value)}" for key, value in table.items()]
    lines += [
        "",
        "[[md]]                       # one table for each MD protocol; delete what you do not need",
        'name = "npt"',
        'ensemble = "NPT"',
        f"potentials = {toml_value(potentials)}",
        "length_ps = 10.0",
        "# Properties want a larger box than labels, and clp a longer cutoff there: box_multiple, cutoff_A.",
    ]
    return "\n".join(lines) + "\n"


def _template_lines(model: type[BaseModel], path: tuple[str, ...], given: dict[str, Any]) -> Iterator[str]:
    tables = []
    for key, field in model.model_fields.items():
        if _settings_class(field) is not None:
            tables.append((key, field))
            continue
        if _holds_tables(field):
            continue
        value = given.get(".".join((*path, key)), _default(model, key, field))
        yield f"# {_sentence(field)}"
        if ".".join((*path, key)) in given:
            yield f"{key} = {toml_value(value)}"
        elif value is None:
            yield f"# {key} ="
        else:
            yield f"# {key} = {toml_value(value)}"
    for key, field in tables:
        yield ""
        yield f"[{'.'.join((*path, key))}]"
        inner = _settings_class(field)
        held = given.get(".".join((*path, key)), field.default)
        if held is not PydanticUndefined and not _is_default(inner, held):
            yield from _default_lines(inner, held)
        else:
            yield from _template_lines(inner, (*path, key), given)


def _default_lines(model: type[BaseModel], value: BaseModel) -> Iterator[str]:
    """Lines of a table whose default differs from its class's: the keys must be written out to be valid."""
    for key, field in model.model_fields.items():
        held = getattr(value, key)
        yield f"# {_sentence(field)}"
        required = field.default is PydanticUndefined
        yield (
            f"# {key} ="
            if held is None
            else f"{'' if required or held != field.default else '# '}{key} = {toml_value(held)}"
        )


def reference() -> str:
    """The study file's reference page, as Markdown."""
    lines = [
        "# The study file",
        "",
        "A study is one TOML file. Units are part of the names of keys. Unknown keys are refused. This page is",
        "generated from `src/ilforge/study/settings.py`.",
    ]
    lines += _reference_lines(StudySettings, ())
    for model, presets in PRESETS.items():
        lines += ["", f"### Presets of {model.__name__.removesuffix('Settings')}", ""]
        lines += _preset_table(presets)
    return "\n".join(lines) + "\n"


def _reference_lines(model: type[BaseModel], path: tuple[str, ...], left_out: Any = None) -> Iterator[str]:
    yield ""
    yield f"## `[{'.'.join(path)}]`" if path else "## Top level"
    yield ""
    yield " ".join((model.__doc__ or "").split())
    yield ""
    if isinstance(left_out, BaseModel) and not _is_default(model, left_out):
        held = left_out.model_dump(exclude_unset=True)
        keys = ", ".join(f"{key} = {toml_value(value)}" for key, value in held.items())
        yield f"Without this table: `{keys}`. With it, keys that are required must be given."
        yield ""
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    tables = []
    for key, field in model.model_fields.items():
        inner = _settings_class(field)
        if inner is not None or _holds_tables(field):
            tables.append((key, field))
            continue
        default = _default(model, key, field)
        shown = "required" if default is PydanticUndefined else "-" if default is None else f"`{toml_value(default)}`"
        yield f"| `{key}` | {_type_name(field)} | {shown} | {_sentence(field)} |"
    for key, field in tables:
        inner = _settings_class(field) or _holds_tables(field)
        yield from _reference_lines(inner, (*path, key), field.default)


def _preset_table(presets: dict[str, dict[str, Any]]) -> Iterator[str]:
    names = list(presets)
    yield "| key | " + " | ".join(f"`{name}`" for name in names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for key in presets[names[0]]:
        yield f"| `{key}` | " + " | ".join(f"`{toml_value(presets[name][key])}`" for name in names) + " |"


def json_schema() -> str:
    """JSON Schema of the study file, for editors that complete and check TOML."""
    return json.dumps(StudySettings.model_json_schema(), indent=1) + "\n"


def toml_key(key: str) -> str:
    """A key as TOML writes it, in quotes where it must be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value)
    return str(value)


def _default(model: type[BaseModel], key: str, field: FieldInfo) -> Any:
    if field.default is PydanticUndefined and model in PRESETS:
        return PRESETS[model]["quick"].get(key, PydanticUndefined)
    return field.default


def _is_default(model: type[BaseModel], value: BaseModel) -> bool:
    try:
        return value == model()
    except ValueError:
        return False


def _sentence(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _type_name(field: FieldInfo) -> str:
    annotation = field.annotation
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in typing.get_args(annotation))
    text = str(annotation) if typing.get_args(annotation) else getattr(annotation, "__name__", str(annotation))
    names = {"NoneType": "none", "typing.": "", "float": "number", "int": "whole number", "str": "text"}
    if "Annotated" in text or "Literal" in text:
        return _simple_name(annotation)
    for old, new in names.items():
        text = text.replace(old, new)
    return text.replace("|", "or").replace(" or None", "")


def _simple_name(annotation: Any) -> str:
    """Names of the plain types inside annotated, optional and container types."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _simple_name(arguments[0])
    if origin is typing.Literal:
        return " or ".join(json.dumps(value) for value in arguments)
    if origin is list:
        return f"list of {_simple_name(arguments[0])}"
    if origin is dict:
        return f"table of {_simple_name(arguments[1])} by name"
    if origin is not None:
        return " or ".join(_simple_name(item) for item in arguments if item is not type(None))
    return {float: "number", int: "whole number", str: "text", bool: "true or false"}.get(annotation, str(annotation))


def _settings_class(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _holds_tables(field: FieldInfo) -> type[BaseModel] | None:
    """The settings class in ``list[X]`` or ``dict[str, X]``."""
    for argument in typing.get_args(field.annotation):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument
    return None
