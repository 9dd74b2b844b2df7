from pathlib import Path

from gateway.stack.log_tail import LogTail


def test_only_whole_new_lines_are_shown_each_with_its_name(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    tail = LogTail("redis", log)
    with log.open("a") as file:
        file.write("one\ntw")
    assert tail.new_lines() == ["redis | one"]
    with log.open("a") as file:
        file.write("o\n")
    assert tail.new_lines() == ["redis | two"]
    assert tail.new_lines() == []


def test_a_log_that_comes_later_or_starts_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tail = LogTail("vllm", log)
    assert tail.new_lines() == []
    log.write_text("first line\n")
    assert tail.new_lines() == ["vllm | first line"]
    log.write_text("anew\n")
    assert tail.new_lines() == ["vllm | anew"]
