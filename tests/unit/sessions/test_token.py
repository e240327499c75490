"""The bearer token: its one spelling, its secret."""

import uuid

import pytest

from denizen.sessions.model import Token


def test_t_ses_1_tokens_are_unique_and_read_back() -> None:
    """Ten thousand tokens differ; each reads back to the same id and secret."""
    owner = uuid.uuid4()
    tokens = {Token.new(owner).text for _ in range(10_000)}

    assert len(tokens) == 10_000
    for text in list(tokens)[:100]:
        token = Token.parse(text)
        assert token is not None
        assert (token.user_id, len(token.secret), token.text) == (owner, 32, text)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text.removeprefix("dz_"),
        lambda text: "dz_" + text,
        lambda text: text.upper(),
        lambda text: text[:10] + "+" + text[11:],
        lambda text: text[:10] + "/" + text[11:],
        lambda text: text[:10] + "=" + text[11:],
        lambda text: text[:10] + "ä" + text[11:],
        lambda text: " " + text,
    ],
)
def test_other_spellings_are_no_tokens(spoil: object) -> None:
    """A token has one spelling; nothing else is read as one."""
    text = Token.new(uuid.uuid4()).text

    assert Token.parse(spoil(text)) is None  # type: ignore[operator]


def test_repr_keeps_the_secret() -> None:
    """A token in a traceback tells whose it is, not what it is."""
    token = Token.new(uuid.uuid4())

    assert token.text not in repr(token)
    assert str(token.secret) not in repr(token)
