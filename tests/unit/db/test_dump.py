"""Dumps: what PostgreSQL's programs are told."""

from pathlib import Path

import pytest

from denizen.db.binaries import Binaries
from denizen.db.dump import dump

_TELLS = '#!/bin/sh\nfor a; do case "$a" in --file=*) env > "${a#--file=}";; esac; done\n'


def test_program_knows_no_setting_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a secret of ours nor what would win over the URL."""
    program, told = tmp_path / "pg_dump", tmp_path / "told"
    program.write_text(_TELLS)
    program.chmod(0o700)
    for name in ("DENIZEN_MAIL_URL", "PGHOST", "UNTOUCHED"):
        monkeypatch.setenv(name, "canary")

    dump(Binaries(tmp_path, 17), "postgresql://nobody@/nothing", told)

    names = {line.partition("=")[0] for line in told.read_text().splitlines()}
    assert names & {"DENIZEN_MAIL_URL", "PGHOST", "UNTOUCHED"} == {"UNTOUCHED"}
