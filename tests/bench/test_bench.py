"""Each tool of the benchmark runs, and its numbers are of the right kind. How fast anything is, is never asserted."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.bench import layers, peers, soak
from tests.bench.load import Load
from tests.bench.measure import ROOT, Measured, ProcessTree, run_load
from tests.bench.peers import Peer, Place
from tests.bench.processes import MODEL, NotStarted, measured_server, simulated_engine
from tests.bench.recorded import RECORDINGS, recorded_stream
from tests.bench.table import table
from tests.bench.trial import Effort, Trial, cost_of_request, typical

_TINY = Effort(seconds=0.2, rounds=1, at_once=4, streams=4, stream_tokens=5, itl_ms=5)


def engine_counts(base_url: str) -> dict[str, int]:
    """Return what `/sim` says."""
    with urllib.request.urlopen(f"{base_url}/sim") as answer:
        counts: dict[str, int] = json.load(answer)
        return counts


class TestSimulatedEngine:
    """The engine replays what vLLM said, and counts."""

    @pytest.mark.parametrize("name", ["stream.http", "stream_usage_last.http", "stream_no_usage.http"])
    def test_a_stream_of_the_recorded_length_has_the_recorded_shape(self, name: str) -> None:
        stream = recorded_stream(name, "gemma-3n-demo")
        replayed = b"".join([stream.head, stream.role, *stream.tokens(4), stream.tail(4)])
        assert _without_words((RECORDINGS / name).read_bytes()) == _without_words(replayed)

    def test_usage_grows_with_every_token(self) -> None:
        events = recorded_stream("stream.http", MODEL).tokens(12)
        totals = [json.loads(event.split(b"data: ")[1].split(b"\n\n")[0])["usage"] for event in events]
        assert [usage["completion_tokens"] for usage in totals] == list(range(1, 13))
        assert all(usage["total_tokens"] == 11 + usage["completion_tokens"] for usage in totals)

    def test_it_counts_what_is_finished_and_what_is_aborted(self) -> None:
        with simulated_engine(itl_ms=1000) as engine:
            run_load(Load(engine.chat_url, 2, requests=6))
            with urllib.request.urlopen(_stream_request(engine.chat_url)) as answer:
                assert engine_counts(engine.base_url)["running"] == 1
                assert answer.status == 200
            counts = engine_counts(engine.base_url)
        assert counts == {"finished": 6, "aborted": 1, "running": 0, "tokens": 0}


class TestLoad:
    """The load generator reports what came, and what went wrong."""

    def test_streams_are_counted_by_chunk_and_timed(self) -> None:
        with simulated_engine(itl_ms=10) as engine:
            report = run_load(Load(engine.chat_url, 3, requests=6, stream=True, tokens=5))
        assert report["ok"] == 6
        assert report["errors"] == {}
        # The role chunk, five tokens and the usage.
        assert report["chunks"] == 6 * 7
        assert 10 <= report["ttft_p50_ms"] <= report["ttft_p99_ms"] < report["p50_ms"]
        assert 0 < report["itl_p50_ms"] <= report["itl_p99_ms"]

    def test_what_is_not_an_answer_is_an_error_of_its_kind(self) -> None:
        with simulated_engine(itl_ms=0) as engine:
            missing = run_load(Load(f"{engine.base_url}/nowhere", 2, requests=4))
            unary = run_load(Load(engine.chat_url, 1, requests=2))
        refused = run_load(Load(engine.chat_url, 1, requests=1))
        assert missing["errors"] == {"status 404": 4}
        assert unary["errors"] == {}
        assert list(refused["errors"]) == ["connect: ConnectionRefusedError"]

    def test_it_prints_one_line_of_json(self) -> None:
        with simulated_engine(itl_ms=0) as engine:
            command = [sys.executable, "-m", "tests.bench.load", engine.chat_url, "--seconds", "0.1"]
            printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert printed.count("\n") == 1
        assert json.loads(printed)["ok"] > 0


class TestMeasuring:
    """The tables of a small run hold numbers for every server."""

    def test_layers_are_measured_up_to_everything(self) -> None:
        report = layers.run(_TINY, (layers.LAYERS[1], layers.LAYERS[-1]), sessions=8)
        assert list(report.layers) == [layers.LAYERS[1].name, layers.LAYERS[-1].name]
        for trial in report.layers.values():
            _check(trial)
        turn, rest = report.session.turn, report.session.rest
        assert turn.ok == 8 * 4
        assert rest.ok > 0
        assert turn.errors == rest.errors == {}
        rows = report.rows()
        assert {len(row) for row in rows} == {len(layers.HEAD)}
        recall_and_append = rows[-1][1]
        assert isinstance(recall_and_append, float)
        assert (rest.cpu_us_per_request or 0) + recall_and_append == pytest.approx(turn.cpu_us_per_request)
        assert table(layers.HEAD, rows).count("\n") == len(rows) + 1

    def test_a_soaked_gateway_lets_everything_go(self) -> None:
        plan = soak.Plan(requests=100, streams=20, stream_tokens=4, idle_seconds=0.5)
        soaked = soak.run(plan)
        assert (soaked.answered, soaked.streamed, soaked.errors) == (100, 20, {})
        assert soaked.sights["streams open"].tasks > soaked.sights["before"].tasks
        assert soaked.sights["after idle"].tasks <= soaked.sights["before"].tasks
        assert soaked.sights["streams open"].open_files > 20
        assert soaked.kib_per_stream is not None
        assert "errors: none" in soak.report(plan, soaked)

    def test_the_median_round_counts_and_one_without_an_answer_is_the_dearest(self) -> None:
        rounds = [_measured(ok=10, cpu_seconds=seconds) for seconds in (3.0, 1.0, 2.0)]
        assert typical([_measured(ok=0), *rounds], cost_of_request).cpu_us_per_request == 2e5

    def test_a_ratio_is_the_median_of_the_rounds_own(self) -> None:
        """The host was slow in the second round, for both."""
        ours, theirs = (
            Trial([_measured(ok=10, cpu_seconds=seconds) for seconds in of], _measured(ok=1), [_measured(ok=1)], 1.0)
            for of in ((2.0, 8.0, 3.0), (1.0, 4.0, 1.0))
        )
        assert ours.times_request(theirs) == 2.0
        assert ours.times_chunk(theirs) is None
        assert ours.errors == {"status 503": 5}

    def test_a_tree_that_has_gone_costs_nothing(self) -> None:
        with subprocess.Popen(["true"]) as process:
            tree = ProcessTree(process.pid)
        assert (tree.cpu_seconds(), tree.rss_mib(), tree.open_files()) == (0, 0, 0)


class TestPeers:
    """A peer is a row, whatever becomes of it."""

    def test_peers_are_measured_or_say_why_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)
        (tmp_path / "here" / "bin").mkdir(parents=True)
        (tmp_path / "here" / "installed.txt").write_text("nothing")
        program = tmp_path / "here" / "bin" / "python"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        program.chmod(0o755)
        (tmp_path / "a-file").touch()
        alone, outcomes = peers.run(
            _TINY,
            [
                Peer(peers.REFERENCE, "here", ["nothing"], _engine_as_peer),
                Peer("broken", "here", ["nothing"], lambda _: ("python", "-c", "raise SystemExit('out of luck')")),
                Peer("missing", "a-file", ["nothing"], lambda _: ("nothing",)),
            ],
        )
        assert isinstance(outcomes[peers.OURS], Trial)
        assert isinstance(outcomes[peers.REFERENCE], Trial)
        assert outcomes["broken"] == "did not start: ended with 1: out of luck"
        assert str(outcomes["missing"]).startswith("could not be installed: ")
        rows = peers.rows(alone, outcomes)
        assert {len(row) for row in rows} == {len(peers.HEAD)}
        assert rows[1][2] == 1.0

    def test_a_program_that_is_not_there_did_not_start(self, tmp_path: Path) -> None:
        with pytest.raises(NotStarted, match="No such file"), measured_server(["no-such-program"], 1, tmp_path / "log"):
            pass


def _measured(ok: int, cpu_seconds: float = 0.0) -> Measured:
    errors = {"status 503": 1}
    return Measured(ok=ok, errors=errors, rps=1.0, cpu_seconds=cpu_seconds, redis_cpu_seconds=0.0, foreign=0.0)


def _check(trial: Trial) -> None:
    assert trial.errors == {}
    assert trial.many.ok > 0
    assert trial.many.rps > 0
    # CPU time comes in ticks of 10 ms, and this run is short.
    assert (trial.many.cpu_us_per_request or 0) >= 0
    assert trial.streamed.chunks == trial.streamed.ok * (_TINY.stream_tokens + 2)
    assert trial.single.p50_ms is not None
    assert trial.rss_mib > 1


def _engine_as_peer(place: Place) -> list[str]:
    return ["python", "-m", "tests.bench.simulated_engine", "--port", str(place.port), "--itl-ms", "5"]


def _stream_request(url: str) -> urllib.request.Request:
    return urllib.request.Request(url, data=b'{"stream": true}', headers={"content-type": "application/json"})


def _without_words(stream: bytes) -> list[object]:
    """Return a stream's lines, each content and with it each chunk's length left out."""
    lines: list[object] = []
    for line in stream.split(b"\n"):
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            for choice in event["choices"]:
                choice["delta"]["content"] = ""
            lines.append(event)
        elif not line.endswith(b"\r"):
            lines.append(line)
    return lines
