"""Wire: what every model of a request is made of, whatever it is a request for."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Wire(BaseModel):
    """A JSON object with the members named here and no others."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


def says(**schema: Any) -> dict[str, Any]:
    """Arguments of `Field` for what is published and not enforced here."""
    # The domain answers a broken limit with its name.
    return {"json_schema_extra": schema}


def absent(description: str | None = None, **schema: Any) -> Any:
    """The default of a member that need not be there, with what is published of it."""

    # Absent is not null: a member that is there has its type.
    def publish(published: dict[str, Any]) -> None:
        published.pop("default", None)
        published.update(schema)

    return Field(default=None, description=description, json_schema_extra=publish)
