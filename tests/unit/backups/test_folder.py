"""The folder of a backup: whole or not there, and what was written or nothing."""

from pathlib import Path

import orjson
import pytest

from denizen.backups.folder import (
    DUMP,
    BackupError,
    Manifest,
    describe,
    require_backup,
    whole_folder,
)


def _backup(path: Path) -> Manifest:
    with whole_folder(path) as part:
        (part / DUMP).write_bytes(b"a dump")
        return describe(part, made_at="then", denizen="0.1.0", schema="0001", postgres="18.6")


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_backup_is_there_when_it_is_whole(tmp_path: Path) -> None:
    """Until then nothing has its name; its owner alone can read it."""
    path = tmp_path / "deep" / "backup"
    with whole_folder(path) as part:
        (part / DUMP).write_bytes(b"a dump")
        made = describe(part, made_at="then", denizen="0.1.0", schema="0001", postgres="18.6")
        assert not path.exists()

    assert require_backup(path) == made
    assert path.stat().st_mode & 0o777 == 0o700
    assert (path / "backup.json").stat().st_mode & 0o777 == 0o600
    assert _names(path.parent) == ["backup"]


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    """Neither the folder nor what was begun."""
    with pytest.raises(ValueError, match="no"), whole_folder(tmp_path / "backup"):
        raise ValueError("no")

    assert _names(tmp_path) == []


def test_empty_folder_is_taken_and_a_full_one_or_a_file_is_not(tmp_path: Path) -> None:
    """Nothing of anybody's is overwritten."""
    (tmp_path / "empty").mkdir()
    _backup(tmp_path / "empty")
    (tmp_path / "file").write_text("mine")

    for name in ("empty", "file"):
        with pytest.raises(BackupError, match="is there already"):
            _backup(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


def test_what_a_killed_run_left_is_removed_and_what_another_writes_is_not(tmp_path: Path) -> None:
    """Whoever still writes holds the folder."""
    left = tmp_path / ".backup.x1.part"
    left.mkdir()
    (left / DUMP).write_bytes(b"half")
    with whole_folder(tmp_path / "backup") as held:
        (held / DUMP).write_bytes(b"a dump")
        with pytest.raises(OSError, match="not empty"), whole_folder(tmp_path / "backup") as other:
            (other / DUMP).write_bytes(b"a dump")
            (tmp_path / "backup").mkdir()
            (tmp_path / "backup" / "mine").touch()
        assert (held / DUMP).exists()
        (tmp_path / "backup" / "mine").unlink()

    assert _names(tmp_path) == ["backup"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (DUMP, b"a dumq", "damaged"),
        (DUMP, b"a dum", "damaged"),
        (DUMP, None, "can't be read"),
        ("backup.json", None, "no backup"),
        ("backup.json", b"{", "no backup"),
        ("backup.json", b"[]", "no backup"),
        ("backup.json", b'{"form": 1}', "no backup"),
        ("backup.json", b'{"form": 2, "else": 1}', "later denizen"),
    ],
)
def test_what_is_not_what_was_written_is_refused(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    """A byte changed, cut off, gone; a description that is none, or one of the future."""
    _backup(tmp_path / "backup")
    path = tmp_path / "backup" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(BackupError, match=said):
        require_backup(tmp_path / "backup")


def test_backup_says_what_it_is(tmp_path: Path) -> None:
    """In JSON, for people and programs."""
    _backup(tmp_path / "backup")
    told = orjson.loads((tmp_path / "backup" / "backup.json").read_bytes())

    assert (told["schema"], told["postgres"], told["size"]) == ("0001", "18.6", 6)
