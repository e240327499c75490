"""What counts as a path of this service."""

import pytest

from denizen.pages.visit import local_path


@pytest.mark.parametrize(
    "text",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "https://evil.example/",
        "\t//evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        " //evil.example",
        "@evil.example",
        "javascript:alert(1)",
        "evil",
        "/ü",
        "/\x7f/evil.example",
        "",
    ],
)
def test_t_red_1_other_places_are_refused(text: str) -> None:
    """T-RED-1: whatever a browser might read as an address elsewhere."""
    assert local_path(text) == "/account"


@pytest.mark.parametrize("text", ["/", "/account/sessions", "/console/users?q=a%20b&order=-email"])
def test_path_of_ours_is_kept(text: str) -> None:
    """A path, with its query."""
    assert local_path(text) == text
