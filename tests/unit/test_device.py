"""User agents in people's words."""

import pytest

from denizen.device import device_of

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
CHROME = f"{WEBKIT} Chrome/140.0.0.0 Safari/537.36"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15"
ANDROID = "Mozilla/5.0 (Linux; Android 10; K)"


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (f"{LINUX} Gecko/20100101 Firefox/140.0", "Firefox, Linux"),
        (f"{WINDOWS} {CHROME}", "Chrome, Windows"),
        (f"{WINDOWS} {CHROME} Edg/140.0.0.0", "Edge, Windows"),
        (f"{WINDOWS} {CHROME} OPR/120.0.0.0", "Opera, Windows"),
        (f"{WINDOWS} {WEBKIT} Chrome/138.0 YaBrowser/25.8 Safari/537", "Yandex Browser, Windows"),
        (f"{MAC} AppleWebKit/605.1.15 (KHTML) Version/18.5 Safari/605.1.15", "Safari, macOS"),
        (f"{ANDROID} {WEBKIT} Chrome/140.0.0.0 Mobile Safari/537.36", "Chrome, Android"),
        (f"{ANDROID} {WEBKIT} SamsungBrowser/28.0 Chrome/130.0", "Samsung Internet, Android"),
        (f"{IPHONE} (KHTML) Version/18.5 Mobile/15E148 Safari/604.1", "Safari, iPhone"),
        (f"{IPHONE} (KHTML) CriOS/140.0 Mobile/15E148 Safari/604.1", "Chrome, iPhone"),
        (f"{IPHONE} (KHTML) FxiOS/140.0 Mobile/15E148 Safari/605.1.15", "Firefox, iPhone"),
        ("curl/8.5.0", ""),
        ("", ""),
        ("<script>Linux</script>", "Linux"),
    ],
)  # fmt: skip
def test_browser_and_system_are_named(user_agent: str, device: str) -> None:
    """By what each says beside those that it imitates; nothing of the text is repeated."""
    assert device_of(user_agent) == device
