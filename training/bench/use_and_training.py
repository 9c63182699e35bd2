"""Does use meet what training learnt from? ``python -m training.bench.use_and_training``.

python -m training.bench.use_and_training --bundle models/demo --features models/naming_features.npz

In training a patient's image code comes from the one member of the CNN that has not seen the
patient; in use it is the mean over the codes of all members, none of which has seen the patient.
New synthetic patients (``TRIAL_SEED``, the reference's lesions) are read as in use and beside it by
each member alone. For every number of the code the table shows by how much the mean and the spread
differ from those of the training rows (in spreads of the training, and as a ratio), with Kolmogorov
and Smirnov's distance and its p. The last lines say what the averaging is worth: macro AUC and log
loss of the image answer by all members and by one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from bmcore.domain import PRIMARIES
from training.bench.map_audit import new_patients
from training.run.options import run_app


def main(
    bundle: Annotated[Path, typer.Option(help="The finished models.")],
    features: Annotated[Path, typer.Option(help="features.npz of training.cnn.")],
    patients: Annotated[int, typer.Option(min=10, help="New patients.")] = 100,
) -> None:
    """Compare the codes of new patients, as use makes them, with those that training saw."""
    from scipy.stats import ks_2samp

    from bmcore.models.bundles import load_bundle
    from bmcore.models.cnn import member_logits
    from bmcore.models.image_features import cnn_patches, patient_features, with_tree_scores
    from bmcore.stats.classification import auc, log_loss
    from training.data.held_out import read_held_out

    models, held_out = load_bundle(bundle), read_held_out(features)
    encode = models.autoencoder.encode
    before = encode(held_out.features[held_out.judged])
    by_member: list[npt.NDArray] = []
    truth: list[int] = []
    for kept in new_patients(patients):
        if kept.lesions:
            logits = member_logits(models.cnn, cnn_patches(kept.crops))
            own = patient_features(logits, kept.lesions, kept.crops)
            by_member.append(encode(with_tree_scores(own, models.trees)))
            truth.append(PRIMARIES.index(kept.primary))
    codes = np.stack(by_member)  # (n, members, d)
    used, alone = codes.mean(axis=1), codes[:, 0]
    typer.echo(f"{len(before)} training rows, {len(used)} new patients")
    typer.echo("number  mean: use, one member  spread: use, one member  KS distance, p (use)")
    for d in range(before.shape[1]):
        spread = before[:, d].std(ddof=1)
        shift = [(x[:, d].mean() - before[:, d].mean()) / spread for x in (used, alone)]
        ratio = [x[:, d].std(ddof=1) / spread for x in (used, alone)]
        test = ks_2samp(before[:, d], used[:, d])
        typer.echo(
            f"{d + 1:6d}  {shift[0]:+.2f} {shift[1]:+.2f}  {ratio[0]:.2f} {ratio[1]:.2f}  "
            f"{test.statistic:.2f}, {test.pvalue:.3f}"
        )
    labels = np.array(truth)
    for words, x in (("all members", used), ("one member", alone)):
        p = models.image_mlr.predict_proba(x)
        typer.echo(
            f"image answer by {words}: macro AUC {auc(labels, p).macro.text(3)}, log loss "
            f"{log_loss(labels, p).text(3)}"
        )


if __name__ == "__main__":
    run_app(main)
