"""Two sites' databases become one, and each site's chain is still the one it was."""

import shutil
import sqlite3

import pytest
from typer.testing import CliRunner

from bmcore.cli import app
from bmcore.domain import BmcoreError
from bmcore.review.merge import merge
from bmcore.review.store import open_store
from bmcore.review.verify import verify
from bmcore.review.votes import VoteDraft, current


def draft(n, reader, **changes):
    values = {
        "case_id": f"case {n}",
        "reader": reader,
        "role": "radiologist",
        "phase": "unaided",
        "primary": "nsclc",
        "confidence": n,
        "idempotency_key": f"form {n} {reader}",
    }
    return VoteDraft(**{**values, **changes})


@pytest.fixture
def sites(tmp_path):
    """Both sites have an Ida Lund, the same cases and the same keys; only one has Noor."""
    paths = [tmp_path / "a.sqlite", tmp_path / "b.sqlite"]
    for path, years in zip(paths, (3, 30), strict=True):
        with open_store(f"sqlite:///{path}") as store:
            store.add_reader("Ida Lund", "radiologist", years)
            if years == 30:
                store.add_reader("Noor", "radiologist", 1)
                store.add_vote(draft(0, "Noor", primary="gi"))
            for n in range(4):
                store.add_vote(draft(n, "Ida Lund", confidence=years + n))
            store.add_vote(draft(0, "Ida Lund", idempotency_key="x", reason="MRI.", primary="rcc"))
    return paths


def url(path):
    return f"sqlite:///{path}"


def test_all_votes_of_both_sites_are_there_and_every_chain_verifies(sites, tmp_path):
    before = [verify(url(path)).heads for path in sites]
    merged = merge([url(p) for p in sites], url(tmp_path / "c.sqlite"))
    report = verify(url(tmp_path / "c.sqlite"))
    assert report.problems == ()
    for heads in before:
        assert heads.items() <= report.heads.items()
    assert sorted(merged.sites.values()) == [6, 8]
    assert merged.notes == (
        "reader 'ida lund' is registered at 2 sites and counts as 2 people",
        "votes at several sites that do not say on which images they rest; make sure that each "
        "case is one patient: case 0, case 1, case 2, case 3",
    )
    with open_store(url(tmp_path / "c.sqlite")) as store:
        votes = store.votes()
        assert [v.id for v in votes] == list(range(1, 12))
        assert [v.created_at for v in votes] == sorted(v.created_at for v in votes)
        names = {v.reader for v in votes}
        assert len(names) == 3
        assert "Noor" in names
        assert {r.name for r in store.readers()} == names
        for late in (v for v in votes if v.supersedes is not None):
            (old,) = [v for v in votes if v.id == late.supersedes]
            assert (old.reader, old.case_id, old.phase) == (late.reader, late.case_id, late.phase)
        assert store.current_votes() == current(votes)
        assert len(store.current_votes()) == 9
        assert {v.reader for v in store.votes("case 3")} == names - {"Noor"}
        # what is said here goes into a chain of its own
        store.add_reader("Third", "other")
        store.add_vote(draft(9, "Third", role="other"))
    assert verify(url(tmp_path / "c.sqlite")).problems == ()


def test_an_older_copy_adds_nothing_and_a_forked_copy_is_refused(sites, tmp_path):
    copy = tmp_path / "copy.sqlite"
    shutil.copy(sites[0], copy)
    with open_store(url(sites[0])) as store:
        store.add_vote(draft(7, "Ida Lund"))
    merged = merge([url(copy), url(sites[0])], url(tmp_path / "c.sqlite"))
    assert list(merged.sites.values()) == [7]
    with open_store(url(copy)) as store:
        store.add_vote(draft(8, "Ida Lund"))
    with pytest.raises(BmcoreError, match="goes on in two different ways"):
        merge([url(copy), url(sites[0])], url(tmp_path / "d.sqlite"))
    assert not (tmp_path / "d.sqlite").exists()


def test_a_broken_source_and_a_used_target_are_refused(sites, tmp_path):
    with pytest.raises(BmcoreError, match="holds rows already"):
        merge([url(sites[0])], url(sites[1]))
    with pytest.raises(BmcoreError, match="must be a new one"):
        merge([url(sites[0])], url(sites[0]))
    raw = sqlite3.connect(sites[0])
    raw.execute("DROP TRIGGER votes_no_delete")
    raw.execute("DELETE FROM votes WHERE id = 5")
    raw.commit()
    raw.close()
    with pytest.raises(BmcoreError, match="row 6 is missing at the end"):
        merge([url(p) for p in sites], url(tmp_path / "c.sqlite"))


def test_merged_databases_merge_again(sites, tmp_path):
    merge([url(p) for p in sites], url(tmp_path / "c.sqlite"))
    with open_store(url(tmp_path / "c.sqlite")) as store:
        store.add_reader("Third", "other")
    again = merge([url(tmp_path / "c.sqlite"), url(sites[1])], url(tmp_path / "d.sqlite"))
    assert sorted(again.sites.values()) == [1, 6, 8]
    assert verify(url(tmp_path / "d.sqlite")).problems == ()


def test_the_command_merges_and_says_what_to_know(sites, tmp_path):
    out = str(tmp_path / "c.sqlite")
    run = CliRunner().invoke(app, ["merge", str(sites[0]), str(sites[1]), "--out", out])
    assert run.exit_code == 0, run.output
    assert "counts as 2 people" in run.output
    assert CliRunner().invoke(app, ["verify", "--database", out]).exit_code == 0
    again = CliRunner().invoke(app, ["merge", str(sites[0]), str(sites[1]), "--out", out])
    assert again.exit_code == 2
    assert "holds rows already" in again.output
