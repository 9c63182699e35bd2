"""The iMRMC text format, and one of iMRMC's examples from the file to its printed numbers."""

import numpy as np
import pytest

from bmcore.stats import imrmc_file, incomplete
from bmcore.stats.imrmc_file import ImrmcStudy, parse, write

HEAD = "A study.\nNR: 1\nBEGIN DATA:\n-1,a,0,1\n-1,b,0,0\n"


def example():
    """iMRMC's fakepilot2 (github.com/DIDSR/iMRMC): three readers say yes or no to 150 positive and
    150 negative cases under two modalities. Given here by how many of each, from the first on, they
    call positive; the file itself is one row a call, saved by a spreadsheet."""
    calls = {
        ("Reader1", "modalityA"): (150, 21),
        ("Reader2", "modalityA"): (150, 54),
        ("Reader3", "modalityA"): (138, 0),
        ("Reader1", "modalityB"): (150, 132),
        ("Reader2", "modalityB"): (150, 138),
        ("Reader3", "modalityB"): (150, 132),
    }
    lines = ["BEGIN DATA:,,,"]
    lines += [f"truth,Actual{1001 + i},truth,{int(i < 150)}" for i in range(300)]
    for (reader, modality), (yes1, yes0) in calls.items():
        for i in range(300):
            said = int(i < yes1 if i < 150 else i - 150 < yes0)
            lines.append(f"{reader},Actual{1001 + i},{modality},{said}")
    return "\n".join(lines)


def test_an_example_of_imrmc_gives_its_printed_numbers():
    # statAnalysis.csv, iMRMC 4.0.0: AUC .903333333 and .553333333, variances 1.86122297E-3,
    # 1.82252051E-4 and of the difference 1.42393736E-3; Hillis df 2.39952379 (iMRMC then rounds
    # the degrees of freedom down to 2 for its p-value and interval, which we do not).
    scores, truth = parse(example()).arrays()
    found = incomplete.compare_auc(scores, truth)
    assert [round(e.value, 9) for e in found.means] == [0.903333333, 0.553333333]
    change = found.differences[0, 1]
    variance = (change.difference.value / change.statistic) ** 2
    assert change.difference.value == pytest.approx(-0.35)
    assert f"{variance:.8e}" == "1.42393736e-03"
    assert round(change.df, 8) == 2.39952379
    kernel = (np.sign(scores[:, :, truth][:, :, None] - scores[:, :, ~truth][..., None]) + 1) / 2
    ones = np.ones_like(kernel[0])
    single = [e.value**2 - incomplete.disjoint_mean(k, ones, k, ones)
              for k, e in zip(kernel, found.means, strict=True)]  # fmt: skip
    assert [f"{v:.8e}" for v in single] == ["1.86122297e-03", "1.82252051e-04"]


def test_what_is_written_is_read_back():
    study = ImrmcStudy({"a": 1, "b": 0}, {("r", "a", "m"): 0.1 + 0.2, ("r", "b", "n"): -4.0}, "Hi")
    again = parse(write(study))
    assert again.truth == study.truth
    assert again.scores == study.scores
    assert again.heading.startswith("Hi")
    assert "N0: 1" in write(study)
    scores, truth = again.arrays()
    assert truth.tolist() == [True, False]
    assert np.isnan(scores).sum() == 2
    assert again.arrays(("n",))[0].shape == (1, 1, 2)
    with pytest.raises(KeyError, match="they are m, n"):
        again.arrays(("x",))
    with pytest.raises(ValueError, match="no comma and no blank"):
        write(ImrmcStudy({"a 1": 1}, {}))


def test_blanks_byte_order_marks_and_empty_rows_do_not_matter():
    text = (
        "\ufeff" + HEAD.replace("BEGIN DATA:", "begin data: ") + " reader 1 , a , m , 1.5 \r\n,,,\n"
    )
    found = parse(text)
    assert found.scores == {("reader1", "a", "m"): 1.5}
    assert found.readers == ("reader1",)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("r,a,m", "line 6: expected reader,case,modality,score"),
        ("r,a,m,high", "line 6: the score must be a number, but is 'high'"),
        ("r,a,m,nan", "must be a number"),
        ("-1,c,0,2", "truth of case c must be 0 or 1"),
        ("truth,a,0,1", "truth of case a is given twice"),
        ("r,a,m,1\nr,a,m,2", "line 7: reader r scored case a under m twice"),
        ("r,c,m,1", "line 6: case c has no truth row"),
        ("", "no reading"),
        ("\n".join(f"r,c{i},m,x" for i in range(9)), "and 4 more"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(row, words):
    with pytest.raises(ValueError, match=words):
        parse(HEAD + row)


def test_another_kind_of_file_is_refused():
    with pytest.raises(ValueError, match="iMRMC software"):
        imrmc_file.parse("reader,case,score\n1,2,3")
