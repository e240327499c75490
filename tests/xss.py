"""Text that would do something wherever it is taken for more than text, and whether it did not."""

import re
from typing import Final

# markup in text and in attributes, a template's expression, an entity
EVIL: Final = "'\"><img/src=x/onerror=alert(1)>{{7*19131}}&lt;<!--</script><script>alert(2)//"
_SIGNS: Final = (r"<img", r"<script>", r"<!--", r"133917", r"alert\(2\)//</script")


def is_inert(page: str) -> bool:
    """Whether nothing of `EVIL` became markup or was computed."""
    return not any(re.search(sign, page) for sign in _SIGNS)
