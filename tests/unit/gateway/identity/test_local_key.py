import base64
import logging
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.identity.local_key import LocalKeyError, ensure_local_key


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_key_is_256_random_bits_that_only_the_owner_can_read(tmp_path: Path) -> None:
    path = ensure_local_key(tmp_path / "new" / "data")
    key = path.read_text().strip()
    assert path == tmp_path / "new" / "data" / "key"
    assert key.startswith("gg_")
    assert len(base64.urlsafe_b64decode(key.removeprefix("gg_") + "=")) == 32
    assert (mode_of(path), mode_of(path.parent)) == (0o600, 0o700)
    assert list(path.parent.iterdir()) == [path]


def test_a_key_is_made_once(tmp_path: Path) -> None:
    assert ensure_local_key(tmp_path).read_text() == ensure_local_key(tmp_path).read_text()


def test_a_key_that_others_may_read_is_made_private_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = ensure_local_key(tmp_path)
    before = path.read_text()
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert ensure_local_key(tmp_path).read_text() == before
    assert mode_of(path) == 0o600
    assert "could be read by others" in caplog.text
    assert before.strip() not in caplog.text


def test_a_link_in_the_keys_place_is_refused_wherever_it_leads(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalKeyError, match="is not an ordinary file"):
        ensure_local_key(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_an_empty_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").touch(0o600)
    with pytest.raises(LocalKeyError, match="is empty"):
        ensure_local_key(tmp_path)


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalKeyError, match="cannot be used: Not a directory"):
        ensure_local_key(tmp_path / "file" / "data")


def test_all_who_start_together_get_the_same_whole_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            keys = list(pool.map(lambda folder: ensure_local_key(folder).read_text(), [tmp_path / str(number)] * 8))
            assert len(set(keys)) == 1
            assert len(keys[0].strip()) == 46
