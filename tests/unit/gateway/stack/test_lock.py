import os
from pathlib import Path

import pytest

from gateway.stack.errors import StackError
from gateway.stack.lock import only_serve_in


def test_a_second_serve_on_the_same_folder_is_told_who_has_it(tmp_path: Path) -> None:
    second = only_serve_in(tmp_path)
    with only_serve_in(tmp_path), pytest.raises(StackError, match=rf"already runs on .* \(process {os.getpid()}\)"):
        second.__enter__()


def test_the_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with only_serve_in(tmp_path / "new"):
            pass


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="cannot be used: Not a directory"), only_serve_in(tmp_path / "file" / "data"):
        pass
