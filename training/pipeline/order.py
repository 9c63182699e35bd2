"""What a run is asked for, how much it does of each step, and where its files lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.data.cohort import MADE
from training.data.split import Split
from training.loops.cnn_trainer import CNNTraining
from training.loops.false_positive_reduction import CandidateTraining
from training.loops.lesion_refinement import ContourTraining
from training.pipeline.audit import Audit
from training.run.files import fingerprint


@dataclass(frozen=True)
class Effort:
    """How much each step does.

    steps: of the segmentation nets, None: as the time allows, else ``FINE`` or ``FRESH``. batch:
    patches a step. head, contours: passes of the two small nets of the second stage. cnn:
    passes of the CNN. code: steps of the autoencoder. refits: of the regressions. described: cases
    whose images novelty knows. curves: draws of the learning curves. least: patients. t1c_alone:
    measure the segmentation from T1 post-gadolinium alone too.
    """

    steps: int | None = None
    batch: int = 2
    head: int = CandidateTraining.epochs
    contours: int = ContourTraining.epochs
    cnn: int = CNNTraining.epochs
    code: int = 400
    refits: int = 200
    described: int = 180
    curves: int = 10
    least: int = 12
    t1c_alone: bool = True


FINE, FRESH = 1500, 6000  # steps of a net that is fine-tuned, and of one from nothing
LEAST_STEPS = 100


@dataclass(frozen=True)
class Order:
    """data: cases in the Yale layout. out: the bundle. work: what lies between. start: bundle to
    begin with, None for from nothing. minutes: for the whole, None: as long as it takes."""

    data: Path
    out: Path
    work: Path
    start: Path | None
    folds: int = 5
    minutes: float | None = None
    workers: int = 2
    device: str = "auto"
    seed: int = 0
    synthetic: bool = False
    effort: Effort = Effort()


@dataclass(frozen=True, eq=False)
class Run:
    """An order after its audit. steps: of each segmentation net. images, rows: hashes of what
    segmentation and naming learn from, so that other data lie in other folders."""

    order: Order
    audit: Audit
    split: Split
    steps: int
    start_digest: str

    @property
    def cases(self) -> Path:
        """The cases used, in the Yale layout, as links."""
        return self.order.work / "cases"

    @property
    def prepared(self) -> Path:
        return self.order.work / "prepared"

    @property
    def images(self) -> str:
        effort = self.order.effort
        return fingerprint(
            self.audit.images_digest, self.split.persons, self.split.folds, self.steps,
            self.start_digest, self.order.seed, effort.batch, effort.head, effort.contours,
        )  # fmt: skip

    @property
    def rows(self) -> str:
        return fingerprint(self.images, self.audit.digest, self.order.effort.cnn, MADE)

    @property
    def nets(self) -> Path:
        return self.order.work / f"segmentation-{self.images[:12]}"

    @property
    def learnt(self) -> Path:
        return self.order.work / f"naming-{self.rows[:12]}"

    def net(self, kind: str, fold: int) -> Path:
        """kind: trained, staged (with the second stage) or chosen (with its limits); fold: ALL for
        the net that has seen every case."""
        return self.nets / kind / ("all" if fold < 0 else f"without-{fold}")
