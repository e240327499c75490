"""The language of a request, from what its browser prefers."""

from denizen.users.values import LOCALES, Locale


def language_of(accept_language: str) -> Locale:
    """Give the first of our languages by its weight in `Accept-Language`; English without one."""
    best: tuple[float, Locale] = (0.0, "en")
    for part in accept_language[:200].split(","):
        tag, _, weight = part.partition(";q=")
        for locale in LOCALES:
            if tag.strip().lower().partition("-")[0] == locale:
                found = _weight(weight)
                best = max(best, (found, locale), key=lambda pair: pair[0])
    return best[1]


def _weight(text: str) -> float:
    try:
        return min(float(text or "1"), 1.0)
    except ValueError:
        return 0.0
