"""What every section of a study file has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Strict

Names = Annotated[tuple[str, ...], Strict(False)]


class Part(BaseModel):
    """A section of the study file: strict types, no unknown names, no NaN or infinity, immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
