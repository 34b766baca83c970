"""Documents generated from the types of the study file: commented template, reference page, JSON Schema."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticUndefined
from pydantic_core.core_schema import ModelSchema

from ilforge.kinds import Registry
from ilforge.potentials import POTENTIALS
from ilforge.settings import meaning_of
from ilforge.study.names import DEFAULT_MODELS
from ilforge.study.settings import StudySettings
from ilforge.training import TRAINERS


def template(
    name: str,
    ions: dict[str, int],
    density_g_cm3: float,
    define: Mapping[str, Mapping[str, Any]] | None = None,
    cutoffs_A: tuple[float, float] | None = (4.0, 6.5),
) -> str:
    """A valid study file with the keys that users usually change.

    Parameters
    ----------
    define
        Tables of the user's own ions, by name.
    cutoffs_A
        Cutoffs of CL&P in sampling and in MD, Å; None if CL&P lacks parameters of an ion and GFN1-xTB samples.
    """
    sampler, clp = ("gfn1", []) if cutoffs_A is None else ("clp", ["clp-md"])
    potentials: list[str] = []
    if cutoffs_A is not None:
        potentials = [
            "",
            "[potentials.clp]          # CL&P in the small boxes that are labelled",
            f"cutoff_A = {cutoffs_A[0]:g}",
            "ewald_tolerance = 1e-4",
            "",
            "[potentials.clp-md]       # CL&P in the boxes of [[md]]; use 10 Å for properties that you publish",
            'kind = "clp"',
            f"cutoff_A = {cutoffs_A[1]:g}",
        ]
    lines = [
        f"# Study of {', '.join(f'{count} {ion}' for ion, count in ions.items())}. Units are in the names of keys.",
        "# Every key with its default and meaning: `ilforge init --full`, or docs/study-file.md.",
        f"name = {toml_value(name)}",
        "seed = 1",
        "",
        "[liquid]",
        f"ions = {toml_value(ions)}     # of the boxes that are labelled",
        "temperature_K = 423.0",
        f"density_g_cm3 = {density_g_cm3:g}",
        *_define_lines(define or {}),
        *potentials,
        *_TEMPLATE.format(sampler=sampler, **{name: _presets(name) for name in ("mace", "deepmd")}).splitlines(),
        f"potentials = {toml_value([*clp, 'deepmd', 'mace'])}",
        *_TEMPLATE_END.format(multiple=MD_MULTIPLE).splitlines(),
    ]
    return "\n".join(lines) + "\n"


def _presets(name: str) -> str:
    """Presets of a kind of model for training from scratch."""
    settings = TRAINERS[name].settings
    return ", ".join(preset for preset in settings.presets if preset != settings.tuning_preset)


MD_MULTIPLE = 5
"""In a new study, MD boxes contain this many times the ions of the boxes that are labelled."""

_TEMPLATE = """
[reference]
potential = "gfn1"        # labels the frames. For DFT: "gpaw" or "cp2k", or your own table [potentials.NAME]

[sampling]
potential = "{sampler}"         # moves the atoms during sampling
density_ratios = [0.77, 0.88, 1.0, 1.13, 1.26]

[sampling.training]       # frames to train on, of each composition
eq_boxes = 10             # boxes at equilibrium, and frames of each
eq_frames_per_box = 9
packed = 30               # frames away from equilibrium: packed at random, hot, distorted
hot_boxes = 5
hot_frames_per_box = 6
distorted = 0
intermolecular = 0        # rigid ions pulled apart and pressed together

[sampling.validation]     # frames from separate boxes
eq_boxes = 5
eq_frames_per_box = 4
packed = 10
hot_boxes = 5
hot_frames_per_box = 2

[models.mace]
preset = "liquid"         # {mace}

[models.deepmd]
preset = "quick"          # {deepmd}
committee = 4             # explores in concurrent learning

[learning]
iterations = 1            # rounds of exploring, labelling and training again; 0 for none
temperatures_K = [450.0]
length_ps = 1.0
max_candidates = 40

[[md]]                    # one table for each MD protocol; delete what you do not need
name = "npt"
ensemble = "NPT"
"""

_TEMPLATE_END = """temperatures_K = [423.0]  # and compositions = [...]: each combination is a separate run
box_multiple = {multiple}          # times the ions of the liquid; use 40 pairs or more for properties that you publish
timestep_fs = 0.5
equilibration_ps = 5.0
length_ps = 50.0
interval_ps = 0.05

[analysis]
properties = ["density", "diffusion", "rdf", "health"]
"""


def full_template(
    name: str,
    ions: dict[str, int],
    density_g_cm3: float,
    define: Mapping[str, Mapping[str, Any]] | None = None,
    cutoff_A: float | None = 4.0,
) -> str:
    """A valid study file with every key at its default, each with a comment. See :func:`template`."""
    given: dict[str, Any] = {"name": name, "liquid.ions": ions, "liquid.density_g_cm3": density_g_cm3}
    if cutoff_A is None:
        given["sampling.potential"] = "gfn1"
    lines = [
        f"# Study of {', '.join(f'{count} {ion}' for ion, count in ions.items())}.",
        "# Keys after a # have their default values: remove the # to change one. Units are in the names.",
        "",
    ]
    lines += _template_lines(StudySettings, (), given)
    lines += _define_lines(define or {})
    for table, registry in _BY_NAME.items():
        for kind in registry.values():
            if kind.settings is None or _needs_keys(kind.settings):
                continue
            if table == "models" and kind.name not in DEFAULT_MODELS:
                lines += ["", f'# Also: [models.NAME] with kind = "{kind.name}". {_description(kind.settings)}']
                continue
            lines += ["", f"# {_description(kind.settings)}", f"[{table}.{kind.name}]"]
            own = {"cutoff_A": cutoff_A} if kind.name in ("clp", "clpol") and cutoff_A is not None else {}
            lines += _template_lines(kind.settings, (), own, leave_out=("kind",))
    lines += [
        "",
        "[[md]]                       # one table for each MD protocol; delete what you do not need",
        'name = "npt"',
        'ensemble = "NPT"',
        f"potentials = {toml_value([*(['clp'] if cutoff_A is not None else []), 'deepmd', 'mace'])}",
        "length_ps = 10.0",
    ]
    return "\n".join(lines) + "\n"


def _define_lines(define: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Lines of the tables of the user's own ions."""
    for ion, table in define.items():
        yield from ("", f"[liquid.define.{toml_key(ion)}]")
        yield from (f"{key} = {toml_value(value)}" for key, value in table.items())


def _needs_keys(model: type[BaseModel]) -> bool:
    """Whether a table of these settings has keys without a default or a preset."""
    return any(_default(model, key, field) is PydanticUndefined for key, field in model.model_fields.items())


def _description(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _template_lines(
    model: type[BaseModel], path: tuple[str, ...], given: dict[str, Any], leave_out: Sequence[str] = ()
) -> Iterator[str]:
    tables = []
    for key, field in model.model_fields.items():
        if key in leave_out or key in _BY_NAME and model is StudySettings:
            continue
        inner = _settings_class(field)
        if inner is not None:
            tables.append((key, field, inner))
            continue
        if _holds_tables(field):
            continue
        value = given.get(".".join((*path, key)), _default(model, key, field))
        yield f"# {_sentence(model, key)}"
        if ".".join((*path, key)) in given:
            yield f"{key} = {toml_value(value)}"
        elif value is None:
            yield f"# {key} ="
        else:
            yield f"# {key} = {toml_value(value)}"
    for key, field, inner in tables:
        yield ""
        yield f"[{'.'.join((*path, key))}]"
        held = given.get(".".join((*path, key)), field.default)
        if held is not PydanticUndefined and not _is_default(inner, held):
            yield from _default_lines(inner, held)
        else:
            yield from _template_lines(inner, (*path, key), given)


_BY_NAME: dict[str, Registry[Any]] = {"potentials": POTENTIALS, "models": TRAINERS}
"""Tables of the study file with named entries, and the kinds that the entries may have."""


def _default_lines(model: type[BaseModel], value: BaseModel) -> Iterator[str]:
    """Lines of a table whose default differs from that of its class; these keys must be written out to be valid."""
    for key, field in model.model_fields.items():
        held = getattr(value, key)
        yield f"# {_sentence(model, key)}"
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
    return "\n".join(lines) + "\n"


def _reference_lines(
    model: type[BaseModel], path: tuple[str, ...], left_out: Any = None, kind: str | None = None
) -> Iterator[str]:
    yield ""
    of_kind = f', kind = "{kind}"' if kind else ""
    yield f"## `[{'.'.join(path)}]{of_kind}`" if path else "## Top level"
    yield ""
    yield " ".join((model.__doc__ or "").split())
    yield ""
    if isinstance(left_out, BaseModel) and not _is_default(model, left_out):
        held = left_out.model_dump(exclude_unset=True)
        keys = ", ".join(f"{key} = {toml_value(value)}" for key, value in held.items())
        yield f"Without this table: `{keys}`. With this table, required keys must be given."
        yield ""
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    tables = []
    for key, field in model.model_fields.items():
        inner = _settings_class(field) or _holds_tables(field)
        if model is StudySettings and key in _BY_NAME:
            yield f"| `{key}` | tables by name | - | {_sentence(model, key)} |"
            continue
        if inner is not None:
            tables.append((key, field, inner))
            continue
        if kind and key == "kind":
            continue
        default = _default(model, key, field)
        shown = "required" if default is PydanticUndefined else "-" if default is None else f"`{toml_value(default)}`"
        yield f"| `{key}` | {_type_name(field)} | {shown} | {_sentence(model, key)} |"
    for key, field, inner in tables:
        yield from _reference_lines(inner, (*path, key), field.default)
    if model is StudySettings:
        for table, registry in _BY_NAME.items():
            for one in registry.values():
                if one.settings is not None:
                    yield from _reference_lines(one.settings, (table, "NAME"), kind=one.name)
                presets = getattr(one.settings, "presets", {})
                if presets:
                    yield from ("", f"### Presets of {one.title}", "", *_preset_table(presets))


def _preset_table(presets: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    names = list(presets)
    yield "| key | " + " | ".join(f"`{name}`" for name in names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for key in presets[names[0]]:
        yield f"| `{key}` | " + " | ".join(f"`{toml_value(presets[name][key])}`" for name in names) + " |"


def json_schema() -> str:
    """JSON Schema of the study file, for editors that complete and check TOML."""
    return json.dumps(StudySettings.model_json_schema(schema_generator=_WithMeanings), indent=1) + "\n"


class _WithMeanings(GenerateJsonSchema):
    """JSON Schema with the meaning of each key."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        for key, entry in found.get("properties", {}).items():
            text = meaning_of(schema["cls"], key)
            if text:
                entry["description"] = text
        return found


def toml_key(key: str) -> str:
    """A key in TOML, in quotes if necessary."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def toml_value(value: Any) -> str:
    """A value in TOML."""
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
    presets = getattr(model, "presets", {})
    if field.default is PydanticUndefined and presets:
        return next(iter(presets.values())).get(key, PydanticUndefined)
    return field.default


def _is_default(model: type[BaseModel], value: BaseModel) -> bool:
    try:
        return value == model()
    except ValueError:
        return False


def _sentence(model: type[BaseModel], key: str) -> str:
    return " ".join(meaning_of(model, key).split())


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
