"""The one settings object, the only reader of the environment (prefix ``BMCORE_``)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Every value can be set as an environment variable, for instance ``BMCORE_HOME=/data/bm``.

    home: folder of uploaded cases, predictions and the default database.
    database_url: SQLAlchemy URL of the votes; empty means SQLite in ``home``.
    bundle: folder of the model bundle; empty means the shipped demo models.
    demo: make three synthetic demo cases at first start.
    threads: CPU threads for the nets; 0 leaves the choice to PyTorch.
    idle_minutes: who does nothing for so long is signed out.
    frame_ancestors: which pages may frame the dashboard, as in Content-Security-Policy.
    upload_gb: the largest upload, in GB.
    inbox: a folder of this computer whose folders and zips the Cases page offers; none if empty.
    case_mix: how common the primaries are at this site, for instance
        "breast=30, gi=12, sclc=15, melanoma=40, nsclc=90, rcc=14" (patients, shares or percent);
        empty: the answers stand for the case mix of the training patients alone.
    worker_minutes: the process that runs the models ends, and gives its memory back, when nothing
        was asked of it for so long.
    worker_early: start that process when somebody opens the work list or a case, so that the models
        are loaded before they are asked for; off: at the first need, which saves memory.
    keep_names: keep the names of the files a case came in, and name cases after them. Off: a name
        of a file may be a patient's.
    dates: what becomes of the dates of DICOM examinations: "drop", or "shift": moved by a number of
        days that is the same for all of one patient.
    """

    model_config = SettingsConfigDict(env_prefix="BMCORE_", frozen=True)

    home: Path = Path.home() / ".bmcore"
    database_url: str = ""
    bundle: Path = PROJECT / "models" / "demo"
    demo: bool = True
    threads: int = 0
    idle_minutes: float = Field(default=120.0, gt=0)
    frame_ancestors: str = Field(default="'none'", pattern=r"^[\w\-.:/*' ]+$")
    upload_gb: float = Field(default=16.0, gt=0)
    inbox: Path | None = None
    case_mix: str = ""
    worker_minutes: float = Field(default=10.0, gt=0)
    worker_early: bool = True
    keep_names: bool = False
    dates: Literal["drop", "shift"] = "drop"

    @property
    def url(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite:///{self.home / 'bmcore.sqlite'}"

    @property
    def cases(self) -> Path:
        return self.home / "cases"

    @property
    def predictions(self) -> Path:
        return self.home / "predictions"

    @property
    def jobs(self) -> Path:
        return self.home / "jobs"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings in force; read once. Tests call ``settings.cache_clear()`` after a change."""
    return Settings()
