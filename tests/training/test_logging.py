import errno
import threading
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from restore_env import FormatError
from restore_env.errors import DiskFullError
from restore_env.training.logging import RunLogger, read_history
from restore_env.training.trainer import Status

FIRST = Status(10, "noise-1: iteration 10", {"training/loss": 2e-3, "validation/psnr": 24.5})
BETTER = {"training/loss": 1e-3, "validation/psnr": 30.0}


def scalars(folder):
    """Return all scalars of a run: {name: {iteration: value}}."""
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {name: {event.step: event.value for event in events.Scalars(name)} for name in events.Tags()["scalars"]}


def test_a_report_is_a_line_and_scalars(tmp_path, capsys):
    with RunLogger(tmp_path, 0) as log:
        log.report(FIRST)
        log.report(FIRST._replace(iteration=20, line="better", scalars=BETTER))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [FIRST.line, "better"]
    logged = scalars(tmp_path)
    assert logged["validation/psnr"] == pytest.approx({10: 24.5, 20: 30.0})
    assert logged["training/loss"] == pytest.approx({10: 2e-3, 20: 1e-3})
    assert len(logged) == 2


@pytest.mark.parametrize("content", ["", "[", "3", '{"a": 1}', "[3]", '[{"loss": 1}]', '[{"iteration": "x"}]'])
def test_a_damaged_history_is_refused(content, tmp_path):
    (tmp_path / "history.json").write_text(content)
    with pytest.raises(FormatError, match=r"history\.json: damaged; delete it, and the history begins anew"):
        RunLogger(tmp_path, 10)


def test_what_was_logged_after_the_checkpoint_is_dropped(tmp_path, monkeypatch):
    with RunLogger(tmp_path, 0) as log:
        for iteration in (10, 20, 30):
            log.report(FIRST._replace(iteration=iteration))
    # TensorBoard reads files in the order of their names: the second, then a running number, of which 10 is before 9.
    later = time.time() + 1
    monkeypatch.setattr(time, "time", lambda: later)
    with RunLogger(tmp_path, 20) as log:
        log.report(FIRST._replace(iteration=25, scalars=BETTER))
    assert scalars(tmp_path)["validation/psnr"] == pytest.approx({10: 24.5, 25: 30.0})


def test_the_history_has_an_entry_for_each_report(tmp_path):
    with RunLogger(tmp_path, 0) as log:
        assert log.last == 0
        for iteration in (10, 20, 30):
            log.report(FIRST._replace(iteration=iteration))
        assert log.last == 30
    with RunLogger(tmp_path, 20) as log:
        assert log.last == 20
        log.report(FIRST._replace(iteration=20))  # a run that was finished reports once more
        log.report(FIRST._replace(iteration=25, scalars=BETTER))
    found = read_history(tmp_path)
    assert [entry["iteration"] for entry in found] == [10, 20, 25]
    assert found[-1] == {"iteration": 25, **BETTER}


def test_a_run_that_begins_anew_drops_all_entries(tmp_path):
    assert read_history(tmp_path) == []
    for loss in (1.0, 2.0):
        with RunLogger(tmp_path, 0) as log:
            assert log.entries == []  # neither that of the first weights, before the first iteration
            log.report(FIRST._replace(iteration=0, scalars={"training/loss": loss}))
            log.report(FIRST)
    assert [entry["training/loss"] for entry in read_history(tmp_path)] == [2.0, 2e-3]


def test_what_was_reported_is_on_the_disk_at_once(tmp_path):
    with RunLogger(tmp_path, 0) as log:
        log.report(FIRST)
        assert scalars(tmp_path)["validation/psnr"] == {10: 24.5}


def test_a_full_disk_is_one_error_without_the_traceback_of_a_thread(tmp_path, monkeypatch, capsys):
    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    hook = threading.excepthook
    with pytest.raises(DiskFullError, match=r"tensorboard: No space left on the disk "), RunLogger(tmp_path, 0) as log:
        monkeypatch.setattr(RecordWriter, "write", write)
        for iteration in range(10):
            log.report(FIRST._replace(iteration=iteration))
    assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(DiskFullError, match=r"tensorboard: No space"), RunLogger(tmp_path, 0):
        pass
    assert threading.excepthook is hook


def test_every_flipped_bit_of_a_history_is_refused(tmp_path):
    with RunLogger(tmp_path, 0) as log:
        for iteration in (10, 20):
            log.report(FIRST._replace(iteration=iteration))
    path, entries = tmp_path / "history.json", read_history(tmp_path)
    whole = path.read_bytes()
    for place in range(len(whole) - 1):  # the last byte is a newline
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            try:
                assert read_history(tmp_path) == entries, (place, bit)  # white space may change
            except FormatError:
                pass
    path.write_text('[{"iteration": 10, "validation/gain": 0.5}]')  # version 0.1 wrote no checksums
    assert read_history(tmp_path) == [{"iteration": 10, "validation/gain": 0.5}]
