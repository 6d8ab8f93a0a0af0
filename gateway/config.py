"""The site file: what the agent reads, how often, over which lines, and with which certificates.

TOML. Durations are text with a unit (``"500ms"``), exact numbers are text (``"0.12"``), framings are
text (``"8E1"``: without quotes TOML would read the number 80). Unknown keys are refused.
Relative paths are relative to the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from gateway import site_conflicts
from gateway.edge import Listed, Model, validated
from gateway.site_lines import BusConfig
from gateway.site_log import CalibrationConfig, EnrolmentConfig, LogConfig, Platform, ServeConfig, SiteInfo
from gateway.site_simulation import Simulation
from gateway.toml_source import ConfigError, Problem, TomlSource


class Site(Model):
    """The whole site file."""

    site: SiteInfo
    log: LogConfig = LogConfig()
    serve: ServeConfig = ServeConfig()
    enrolment: EnrolmentConfig | None = None
    platforms: Annotated[tuple[Platform, ...], Listed] = Field(default=(), alias="platform")
    calibration: CalibrationConfig = CalibrationConfig()
    profiles: Annotated[tuple[str, ...], Listed] = ()
    buses: Annotated[tuple[BusConfig, ...], Listed] = Field(alias="bus", min_length=1)
    simulation: Simulation = Simulation()


class SiteFile:
    """A site with the text that it came from, so that what is found later still has its line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source = TomlSource.read(path)
        self.site = validated(Site, self.source)
        problems = self._conflicts()
        if problems:
            raise ConfigError(problems)

    @property
    def directory(self) -> Path:
        """Relative paths start here."""
        return self.path.parent

    @property
    def data(self) -> Path:
        """The directory of the log and of the keys."""
        return self.directory / self.site.site.data

    def port(self, bus: BusConfig) -> str:
        """The bus's port; a relative device path is relative to the site file."""
        return bus.port if "://" in bus.port else str(self.directory / bus.port)

    def _conflicts(self) -> list[Problem]:
        """Mistakes that no single value shows."""
        site, source = self.site, self.source
        return [
            *site_conflicts.of_platforms(source, site.platforms, site.enrolment),
            *site_conflicts.of_serving(source, site.serve, site.enrolment),
            *site_conflicts.of_lines(source, site.buses, self.port),
        ]
