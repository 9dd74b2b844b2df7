"""Keys as an operator writes them."""

from __future__ import annotations

import base64

import pytest

from config import SessionsSettings, Settings
from config.encryption import encryption_keys
from config.validate import problems_of

KEY = bytes(range(224, 256))


def test_keys_are_read_in_either_alphabet_with_and_without_padding() -> None:
    standard, url_safe = base64.b64encode(KEY).decode(), base64.urlsafe_b64encode(KEY).decode()
    assert encryption_keys(f"{standard}, {url_safe},{standard.rstrip('=')}") == (KEY, KEY, KEY)
    assert encryption_keys("") == encryption_keys(" , ") == ()


@pytest.mark.parametrize("text", ["x", "é", "not base64!", base64.b64encode(b"short").decode(), "A" * 100])
def test_what_is_no_key_is_a_problem_of_the_setting_and_is_not_shown(text: str) -> None:
    sessions = SessionsSettings.model_validate({"encryption_keys": text})
    (problem,) = problems_of(Settings(sessions=sessions))
    assert problem.startswith("sessions.encryption_keys: must be keys")
    assert len(text) < 5 or text not in problem
