"""`denizen settings`."""

from dataclasses import asdict

from denizen.cli.running import AsJson, DataDir, print_json, print_table, reporting
from denizen.settings import Settings, listed


def settings(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List every setting with its value (secrets masked), its default and its meaning."""
    with reporting():
        rows = listed(Settings.load(data_dir=data_dir))
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print_table(
        [["setting", "value", "default", "meaning"]]
        + [[row.variable, row.value, row.default, row.meaning] for row in rows]
    )
