"""Sections of the configuration, and those that are one of several kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from lewm.errors import LewmError

L = TypeVar("L")

UNKNOWN_KIND = "unknown_kind"  # type of the fault; its context has the kind and the known kinds


class Section(BaseModel):
    """A part of the configuration: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Kind(Section):
    """A section that is one of several kinds: a union to which any module can add.

    A class directly below this one is the union: a field annotated with it takes any section derived from it. Each of
    these sets `kind: Literal["name"] = "name"`, which adds it to the union when its module is imported.
    """

    kind: str
    kinds: ClassVar[dict[str, type[Kind]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401
        if cls._is_union():
            cls.kinds = {}
            return
        kind = cls.model_fields["kind"].default
        if not isinstance(kind, str):
            raise TypeError(f'{cls.__name__} needs a kind: Literal["name"] = "name"')
        known = cls.kinds.setdefault(kind, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f'the kind "{kind}" is already {known.__module__}.{known.__qualname__}')
        cls.kinds[kind] = cls

    @classmethod
    def of(cls, values: Any) -> Any:  # noqa: ANN401
        """The section of the kind that `values` name.

        Raises:
            ValidationError: there is no such kind, or its section has other keys or values.
        """
        if isinstance(values, cls):
            return values
        if not isinstance(values, dict):
            fault = InitErrorDetails(type="dict_type", loc=(), input=values)
            raise ValidationError.from_exception_data(cls.__name__, [fault])
        kind = values.get("kind")
        if kind is None:
            missing = InitErrorDetails(type="missing", loc=("kind",), input=values)
            raise ValidationError.from_exception_data(cls.__name__, [missing])
        if not isinstance(kind, str) or kind not in cls.kinds:
            known = ", ".join(sorted(cls.kinds))
            reason = PydanticCustomError(
                UNKNOWN_KIND, "expected one of {known}", {"kind": str(kind)[:80], "known": known}
            )
            fault = InitErrorDetails(type=reason, loc=("kind",), input=kind)
            raise ValidationError.from_exception_data(cls.__name__, [fault])
        section: Any = cls.kinds[kind].model_validate(values)
        return section

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        if not cls._is_union():
            return handler(source)

        def dump(section: Kind, info: Any) -> dict[str, Any]:  # noqa: ANN401  # a protocol, which cannot be checked
            return section.model_dump(mode=info.mode, by_alias=info.by_alias)

        serialization = core_schema.plain_serializer_function_ser_schema(dump, info_arg=True)
        return core_schema.no_info_plain_validator_function(cls.of, serialization=serialization)

    @classmethod
    def _is_union(cls) -> bool:
        return any(Section in base.__bases__ for base in cls.__bases__)  # directly below `Kind`


def line_of(table: Mapping[str, L], name: str, section: Kind) -> L:
    """The line that a table has for the kind of a section.

    Args:
        table: The table, by kinds.
        name: What the table is called, for the error.

    Raises:
        LewmError: it has none, although the section is known.
    """
    if section.kind not in table:
        raise LewmError(
            f'{name} has no line for the kind "{section.kind}" of {type(section).__module__}',
            f'Add {name}["{section.kind}"] = ... where the section is made; CONTRIBUTING.md shows how.',
        )
    return table[section.kind]
