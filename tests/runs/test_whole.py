"""Files are written whole, where a file can be, and links stay links."""

import os

import pytest

from jaxae import runs


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "scores.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    runs.write_csv(link, ["a"], [["1"]])
    assert link.is_symlink()
    assert target.read_text().split() == ["a", "1"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["link.csv", "scores.csv", "there"]


def test_a_link_to_nothing_yet_is_followed(tmp_path):
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "new.csv")
    runs.write_csv(link, ["a"], [])
    assert link.is_symlink()
    assert (tmp_path / "new.csv").read_text().strip() == "a"


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_file_is_refused_and_stays(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path = "/dev/null"
    before = os.lstat(path)
    for write in (
        lambda: runs.write_csv(path, [], []),
        lambda: runs.write_json(path, {}),
        lambda: runs.write_arrays(path),
    ):
        with pytest.raises(ValueError, match="is no file"):
            write()
    assert os.lstat(path) == before


def test_a_folder_in_the_place_of_a_runs_file_is_refused_before_the_run_goes_on(tmp_path):
    runs.start(tmp_path / "run", {"command": "train"})
    (tmp_path / "run" / "scores.csv").mkdir()
    with pytest.raises(ValueError, match=r"scores\.csv is no file"):
        runs.start(tmp_path / "run", {"command": "train"}, resume=True)
