"""Transforms: one module per type, with what it does to a value; what configures them in YAML is in `base`.

Source: Crossplane v1.20 `internal/controller/apiextensions/composite/composition_transforms.go` and
function-patch-and-transform v0.10 `transforms.go`.  A transform is a pure function from value to value;
`compile` makes it once, so that nothing is looked up or checked when a composite is rendered.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag, ValidationInfo

from groundplane.core.spec import is_function
from groundplane.core.transforms.base import TRANSFORMS, UnknownTransform
from groundplane.core.transforms.convert import ConvertTransform
from groundplane.core.transforms.map import MapTransform
from groundplane.core.transforms.match import MatchTransform
from groundplane.core.transforms.math import MathTransform
from groundplane.core.transforms.string import StringTransform

_UNKNOWN = "unknown"  # a tag that no text of a user becomes


def _tag(value: Any) -> str | None:
    if isinstance(value, UnknownTransform):
        return _UNKNOWN
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return None if kind is None else f"<{kind}>"


def _any_type(value: Any, info: ValidationInfo) -> Any:
    """Take transforms of unknown types, where the function does."""
    if not isinstance(value, list) or not is_function(info):
        return value
    return [
        UnknownTransform.model_validate(item, context=info.context)
        if isinstance(item, dict) and item.get("type") not in TRANSFORMS
        else item
        for item in value
    ]


Transform = Annotated[
    Annotated[MapTransform, Tag("<map>")]
    | Annotated[MatchTransform, Tag("<match>")]
    | Annotated[MathTransform, Tag("<math>")]
    | Annotated[StringTransform, Tag("<string>")]
    | Annotated[ConvertTransform, Tag("<convert>")]
    | Annotated[UnknownTransform, Tag(_UNKNOWN)],
    Discriminator(_tag),
]
Transforms = Annotated[list[Transform], BeforeValidator(_any_type)]
