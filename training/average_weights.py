"""Average the weights of two segmenters, one fine-tuned from the other.

python -m training.average_weights --first FOLDER --second FOLDER --share 0.7 --out FOLDER

A net that was fine-tuned for one thing may lose another; the average of the weights before and
after often keeps both (Wortsman et al., WiSE-FT, CVPR 2022). Both nets need the same shape.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bmcore.domain import refuse
from training.run.options import OutOption, run_app


def main(
    first: Annotated[Path, typer.Option(help="Bundle or folder of the net before.")],
    second: Annotated[Path, typer.Option(help="Bundle or folder of the net fine-tuned from it.")],
    out: OutOption,
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of the second net.")] = 0.5,
) -> None:
    """Write OUT/segmenter.safetensors; config and training are those of the second net.

    False-positive reduction is left out: it would have to be taught again.
    """
    from bmcore.models.bundle_writer import write_part
    from bmcore.models.bundles import load_bundle
    from bmcore.models.false_positive_reduction import (
        NO_REDUCTION,
        without_false_positive_reduction,
    )

    bundles = [load_bundle(folder) for folder in (first, second)]
    entries = [bundle.entry("segmenter") for bundle in bundles]
    a, b = (without_false_positive_reduction(bundle.weights("segmenter")) for bundle in bundles)
    shapes_a, shapes_b = ({k: tuple(v.shape) for k, v in x.items()} for x in (a, b))
    if shapes_a != shapes_b:
        raise refuse(
            "the two nets differ in shape",
            found=f"{first}, {second}",
            expected="one fine-tuned from the other",
        )
    mixed = {k: ((1 - share) * a[k].float() + share * b[k].float()).to(b[k].dtype) for k in b}
    training = entries[1]["training"] | {
        "averaged_with_sha256": entries[0]["sha256"],
        "share_of_this_run": share,
        "training_of_the_other": entries[0]["training"],
    }
    write_part(out, "segmenter", mixed, entries[1]["config"] | NO_REDUCTION, training, {})


if __name__ == "__main__":
    run_app(main)
