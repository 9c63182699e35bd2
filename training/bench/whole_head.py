"""Whole heads against windows: what the answers and the time become, patient by patient.

``python -m training.bench.whole_head [--bundle FOLDER] [--n 12] [--seed 6000000001]``

Each synthetic patient is segmented twice, in windows as the bundle's net was trained and whole with
its norms by place (``whole`` in the segmenter's config), with the same limits and false-positive
reduction. Printed: seconds on the processor of all that ``find_tumour`` does, the Dice of both
masks with each other and with the truth, lesions found and false lesions; at the end the means of
the paired differences with a bootstrap interval over patients (95 %, percentile, 2,000 draws).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

KEYS = ("Dice TC", "Dice WT", "lesions found", "false lesions", "CPU s")


def measure(labels: npt.NDArray, truth: npt.NDArray) -> list[float]:
    """Dice of tumour core and whole tumour, lesions found and false lesions (26-neighbourhood, any
    voxel in common)."""
    from bmcore.imaging.masks import connected, tumour_core
    from bmcore.stats.segmentation import dice

    core, reference = tumour_core(labels), tumour_core(truth)
    lesions, _ = connected(reference)
    parts, count = connected(core)
    found = np.unique(lesions[core & (lesions > 0)]).size
    false = count - np.unique(parts[reference & (parts > 0)]).size
    return [dice(core, reference), dice(labels > 0, truth > 0), found, false]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--bundle", type=Path, default=Path("models/demo"))
    options.add_argument("--n", type=int, default=12)
    options.add_argument("--seed", type=int, default=6_000_000_001)
    options.add_argument("--threads", type=int, default=1)
    asked = options.parse_args()

    import torch

    from bmcore.imaging.preprocess import prepare, to_working_grid
    from bmcore.inference.pipeline import find_tumour
    from bmcore.models.bundles import load_bundle
    from bmcore.phantom.cohort import draw_case
    from bmcore.stats.segmentation import dice

    torch.set_num_threads(asked.threads)
    bundle = load_bundle(asked.bundle)
    config, differences = bundle.segmenter.config, []
    for seed in range(asked.seed, asked.seed + asked.n):
        case = draw_case(seed).as_case(str(seed))
        assert case.truth is not None and case.truth.mask is not None
        prepared = prepare(case)
        truth = to_working_grid(case.truth.mask, prepared)
        rows, masks = [], []
        for whole in (False, True):
            bundle.segmenter.config = config.changed(whole=whole)
            begun = time.process_time()
            labels, _ = find_tumour(bundle, prepared)
            spent = time.process_time() - begun
            rows.append([*measure(labels, truth), spent])
            masks.append(labels)
            words = ", ".join(f"{k} {v:.3f}" for k, v in zip(KEYS, rows[-1], strict=True))
            print(f"{seed} {'whole  ' if whole else 'windows'} {words}", flush=True)
        print(f"{seed} masks with each other: Dice WT {dice(masks[0] > 0, masks[1] > 0):.4f}")
        differences.append(np.subtract(rows[1], rows[0]))
    found = np.array(differences)
    draws = np.random.default_rng(0).integers(0, len(found), (2000, len(found)))
    low, high = np.percentile(found[draws].mean(axis=1), (2.5, 97.5), axis=0)
    print(f"whole less windows, mean over {len(found)} patients:")
    for key, mean, least, most in zip(KEYS, found.mean(axis=0), low, high, strict=True):
        print(f"  {key:14s} {mean:+.4f} [{least:+.4f}, {most:+.4f}]")


if __name__ == "__main__":
    main()
