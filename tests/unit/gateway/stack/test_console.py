import io

from gateway.stack.console import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_off_a_terminal_a_stage_is_a_line_when_it_changes_and_each_10_seconds() -> None:
    output, now = io.StringIO(), [0.0]
    console = Console(output, lambda: now[0])
    for second, stage in ((0, "starting"), (3, "starting"), (5, "loading"), (14, "loading"), (15, "loading")):
        now[0] = second
        console.live(stage, second)
    assert output.getvalue() == "starting (0 s)\nloading (5 s)\nloading (15 s)\n"


def test_on_a_terminal_the_line_is_rewritten_and_gone_before_a_sentence() -> None:
    output = Terminal()
    console = Console(output)
    console.live("loading", 1)
    console.live("loading", 2)
    console.say("Done.")
    assert output.getvalue() == "\r\x1b[2Kloading (1 s)\r\x1b[2Kloading (2 s)\r\x1b[2KDone.\n"


def test_a_terminal_that_is_gone_stops_nothing() -> None:
    Console(Gone()).say("Stopping.")
