"""What every command is started with: where the settings are, and how to print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.output import Output
from app.core.errors import ContractViolation

if TYPE_CHECKING:
    from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Invocation:
    """The global options. A command gets it by `click.pass_obj`."""

    config: Path | None
    output: Output

    def settings(self) -> Settings:
        """Return the deployment's settings; `ContractViolation` says what is wrong with them, and where."""
        from app.settings import load_settings

        if self.config is None:
            raise ContractViolation(
                "no configuration was named",
                hint="give --config driftline.yaml, set DRIFTLINE_CONFIG, or run where a driftline.yaml stands",
            )
        return load_settings(self.config)
