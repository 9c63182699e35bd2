"""Case 03 of the real files, admitted once for all tests that look at it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from bmcore.imaging import extraction
from bmcore.inference.admission import Admission, admit
from bmcore.intake.nifti import choose_files, read_raw
from bmcore.intake.raw import RawStudy
from tests.volumes_fixture import REALDATA

FOLDER = "03_tcga_fg6692_native"
needs_extraction = pytest.mark.skipif(
    not extraction.available(), reason="no brain extraction is installed"
)


def raw_head() -> RawStudy:
    return read_raw(choose_files(REALDATA / FOLDER), own=True)


@lru_cache(maxsize=1)
def admitted(home: Path) -> Admission:
    """The head on its working grid; the alignment is kept in ``home``."""
    return admit(raw_head(), home=home)


@pytest.fixture(scope="session")
def heads_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("heads")


@pytest.fixture(scope="session")
def real_head(heads_home: Path) -> Admission:
    return admitted(heads_home)
