"""What an answer rests on: the images and the prediction on disk, by hash, checked before use."""

from __future__ import annotations

from pathlib import Path

from bmcore.domain import refuse
from bmcore.inference import archive
from bmcore.inference.archive import Stored
from bmcore.intake import library
from bmcore.review import exposure
from bmcore.review.store import Store
from bmcore.review.votes import Evidence


def of_case(home: Path, case_id: str, shown: Stored | None) -> Evidence:
    """The hashes for a vote or an exposure. shown: the prediction on the screen, kept from now on.

    InputRefused where an image is not the one that was added.
    """
    entry = library.get_entry(home, case_id)
    if library.images_on_disk(home, case_id) != entry.images_sha256:
        raise refuse(
            f"the images of case {case_id} were changed after they were added",
            expected="the files as they were added",
            hint="restore the files from a backup, or add them as a new case.",
        )
    if shown is None:
        return Evidence(images=entry.images_sha256)
    archive.pin(shown.folder)
    bundle = shown.prediction.bundle.digest
    return Evidence(entry.images_sha256, bundle, shown.folder.name, shown.sha256)


def check_run(store: Store, case_id: str, found: Stored) -> None:
    """Refuse a stored prediction that is not the one readers were shown under this name."""
    sent = store.read(lambda connection: exposure.sent_runs(connection, case_id))
    known = sent.get(found.folder.name)
    if known is not None and known != found.sha256:
        raise refuse(
            f"the stored prediction of case {case_id} was changed after it was shown to a reader",
            file=found.folder.name,
            found=f"SHA-256 {found.sha256[:16]}",
            expected=f"SHA-256 {known[:16]}",
            hint="restore the files from a backup, or run the models again.",
        )
