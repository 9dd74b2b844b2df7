"""What a file may say of engines."""

from __future__ import annotations

import pytest

from config import Settings
from gateway.routing.listing import Listing, listed_in, listings_of, replica_at


def test_a_file_lists_urls_and_mappings() -> None:
    text = "- http://a:1\n- url: http://b:2\n  weight: 3\n  media: false\n- url: unix:///run/c.sock\n"
    first, second, third = listings_of(text, media=True)
    assert first == Listing(replica_at("a", 1), 1, media=True)
    assert second == Listing(replica_at("b", 2), 3, media=False)
    assert third.replica.unix_socket == "/run/c.sock"


def test_what_a_file_does_not_say_of_media_the_settings_do() -> None:
    (listing,) = listings_of("- url: http://a:1", media=False)
    assert listing.media is False
    (unsaid,) = listings_of("- url: http://a:1", media=None)
    assert unsaid.media is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://a:1",
        "engines: []",
        "- 5",
        "- [http://a:1]",
        "- http://a:1/v1",
        "- http://b\u00fccher:1",
        "- http://1.2.3.256:1",
        "- http://a..b:1",
        "- url: http://a:1\n  weight: 0",
        "- url: http://a:1\n  weight: 2.5",
        "- url: http://a:1\n  media: sometimes",
        "- url: http://a:1\n  wieght: 2",
        "- weight: 2",
        "- http://a:1\n- http://a:1/",
        "- {",
    ],
)
def test_a_file_that_is_not_right_is_refused_as_a_whole(text: str) -> None:
    with pytest.raises(ValueError):
        listings_of(text, media=True)


def test_an_empty_list_is_no_engine() -> None:
    assert listings_of("[]", media=True) == ()


@pytest.mark.parametrize(
    ("routing", "names"),
    [
        ({}, ["127.0.0.1:8100"]),
        ({"engines": "http://a:1,http://b:2"}, ["a:1", "b:2"]),
        ({"dns": "engines:8100"}, []),
        ({"engines_file": "/etc/engines.yaml"}, []),
    ],
)
def test_the_engine_of_this_machine_is_there_unless_engines_are_named(
    routing: dict[str, str], names: list[str]
) -> None:
    settings = Settings.model_validate({"routing": routing})
    assert [each.replica.name for each in listed_in(settings)] == names
