"""Trainings in the background: started, seen, stopped, continued, and what goes wrong."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from unstride.app import weights
from unstride.app.runs import Run
from unstride.app.runs.options import Options
from unstride.lab import jobs
from unstride.lab.controls import Controls
from unstride.lab.jobs import Job, JobError, Progress

SMALL = ["--limit", "60", "--batch-size", "10", "--layers", "conv 2 4 4, up 2 4 4"]


def until(job: Job, condition: Callable[[jobs.Progress], bool], seconds: float = 300) -> jobs.Progress:
    end = time.monotonic() + seconds
    while not condition(found := job.progress()):
        assert time.monotonic() < end, f"it stayed {found}"
        time.sleep(0.05)
    return found


def a_run(path: Path, **options: object) -> Run:
    path.mkdir()
    run = Run(path, Options(**options), {"name": "MNIST", "sha256": "0"}, {"cores": 2})
    run.save()
    return run


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    for record in (tmp_path / ".lab").glob("*.json"):
        process = Job(record.stem, tmp_path).process()
        if process is not None:
            process.kill()


@pytest.mark.slow
def test_a_training_is_stopped_and_continued(folder):
    job = jobs.start("autoencoder", [*SMALL, "--epochs", "4000"], folder)
    assert job.progress().state == "starting"
    begun = until(job, lambda at: at.done >= 2)
    assert begun.state == "training"
    assert begun.epochs == 4000
    assert 0 <= begun.share <= 1
    assert [row["epoch"] for row in begun.rows] == list(range(begun.done))
    assert weights.load(job.path / weights.LAST).about["layers"] == "conv 2 4 4, up 2 4 4"
    # Another page, or another process, finds it by its name alone.
    other = jobs.find(job.name, folder)
    assert other is not None
    assert other.process() is not None
    with pytest.raises(JobError, match="being trained already"):
        other.resume()
    other.stop()
    stopped = until(job, lambda at: not at.active)
    assert (stopped.state, stopped.message) == ("stopped", "")
    assert stopped.resumable
    assert 2 <= stopped.done < 4000
    with pytest.raises(JobError, match="nothing to stop"):
        job.stop()

    job.resume()
    assert until(job, lambda at: at.done > stopped.done).rows[: stopped.done] == stopped.rows
    job.stop()
    until(job, lambda at: not at.active)
    assert [found.name for found in jobs.listing("autoencoder", folder)] == [job.name]
    assert jobs.listing("compressor", folder) == []


@pytest.mark.slow
def test_a_training_ends_and_goes_on_with_more_epochs(folder):
    job = jobs.start("autoencoder", [*SMALL, "--epochs", "1"], folder)
    states = set()
    ended = until(job, lambda at: states.add(at.state) or not at.active)
    assert ended.state == "finished"
    assert states <= {"starting", "training", "reporting", "finished"}
    assert (job.path / "report.html").exists()
    assert not (job.path / "progress.json").exists()
    end = time.monotonic() + 30
    while psutil.pid_exists(json.loads(job.record.read_text())["pid"]):  # it is waited for, and stays no zombie
        assert time.monotonic() < end
        time.sleep(0.05)
    job.resume(2)
    assert until(job, lambda at: not at.active).done == 2


def test_an_option_that_cannot_be(folder):
    job = jobs.start("autoencoder", ["--limit", "60", "--batch-size", "1000"], folder)
    ended = until(job, lambda at: not at.active)
    assert ended.state == "failed"
    assert ended.message.startswith("--batch-size is 1000; expected at most 48")
    assert not ended.resumable
    with pytest.raises(JobError, match="start a new training"):
        job.resume()


@pytest.mark.slow
def test_layers_that_do_not_fit_together(folder):
    job = jobs.start("autoencoder", ["--limit", "60", "--batch-size", "10", "--layers", "conv 2 3 2, up 2 3 2"], folder)
    assert "end with 27x27; expected 28x28" in until(job, lambda at: not at.active).message


def test_stopped_before_it_had_begun(folder):
    job = jobs.start("autoencoder", SMALL, folder)
    job.stop()
    ended = until(job, lambda at: not at.active)
    assert ended.state == "stopped"
    assert "nothing to continue" in ended.message
    assert not ended.resumable


def test_more_than_a_machine_can_do(folder):
    two = [jobs.start("autoencoder", [*SMALL, "--epochs", "4000"], folder) for _ in range(jobs.MAX_TRAININGS)]
    assert len({job.name for job in two}) == jobs.MAX_TRAININGS  # of the same second
    with pytest.raises(JobError, match="are being trained; stop one"):
        jobs.start("autoencoder", SMALL, folder)
    for job in two:
        job.stop()
    for job in two:
        until(job, lambda at: not at.active)


IDLE = "import time\ntime.sleep(300)"
"""In place of a training's program: it does nothing, and starts at once."""


def at_once(number: int, action: Callable[[int], object]) -> list[BaseException | object]:
    """Runs `action` in several threads at once; what each returned or raised."""
    gate = threading.Barrier(number)

    def act(index: int) -> BaseException | object:
        gate.wait()
        try:
            return action(index)
        except Exception as error:  # whatever it is, it is what the test looks at
            return error

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(act, range(number)))


def test_twenty_pages_that_start_at_once_share_the_room(folder, monkeypatch):
    monkeypatch.setattr(jobs, "_CHILD", IDLE)
    found = at_once(20, lambda _: jobs.start("autoencoder", SMALL, folder))
    started = [one for one in found if isinstance(one, Job)]
    assert len(started) == jobs.MAX_TRAININGS
    refused = [str(one) for one in found if not isinstance(one, Job)]
    assert all("are being trained; stop one" in one for one in refused), refused
    assert sorted(record.stem for record in (folder / ".lab").glob("*.json")) == sorted(job.name for job in started)


def test_labs_that_are_processes_share_the_room(folder, monkeypatch):
    monkeypatch.setattr(jobs, "_CHILD", IDLE)
    code = f"""
import sys, time
from pathlib import Path
from unstride.lab import jobs
jobs._CHILD = {IDLE!r}
check = jobs._check_room
jobs._check_room = lambda folder: (check(folder), time.sleep(0.2))
print("ready", flush=True)
sys.stdin.readline()
try:
    print(jobs.start("autoencoder", [], Path({str(folder)!r})).name)
except jobs.JobError:
    pass
"""
    labs = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(jobs.MAX_TRAININGS + 1)
    ]
    for lab in labs:
        assert lab.stdout.readline() == "ready\n"
    for lab in labs:
        lab.stdin.write("\n")
        lab.stdin.flush()
    assert sum(len(lab.communicate(timeout=60)[0].split()) for lab in labs) == jobs.MAX_TRAININGS


def test_pages_that_resume_one_run_at_once_start_it_once(folder, monkeypatch):
    monkeypatch.setattr(jobs, "_CHILD", IDLE)
    run = a_run(folder / "autoencoder-1")
    job = Job(run.path.name, folder)
    found = at_once(10, lambda _: job.resume())
    assert found.count(None) == 1
    assert [str(one) for one in found if one is not None] == [f"{job.name} is being trained already"] * 9
    stopped = at_once(10, lambda _: job.stop())
    assert stopped == [None] * 10
    assert job.progress().state == "stopping"


def test_a_lab_that_was_killed_leaves_no_lock_and_no_half_record(folder, monkeypatch):
    monkeypatch.setattr(jobs, "_CHILD", IDLE)
    code = f"""
import os, signal
from pathlib import Path
from unstride import _files
from unstride.lab import jobs
def kill(path, content):
    _files.write(path, lambda place: (place.write_text("half"), os.kill(os.getpid(), signal.SIGKILL)))
jobs.write_json = kill
jobs.start("autoencoder", [], Path({str(folder)!r}))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert len(list((folder / ".lab").glob(".*"))) == 1
    assert jobs.listing("autoencoder", folder) == []
    job = jobs.start("autoencoder", SMALL, folder)
    assert not list((folder / ".lab").glob(".*"))
    assert [found.name for found in jobs.listing("autoencoder", folder)] == [job.name]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_lets_no_training_start_unseen(folder, monkeypatch):
    monkeypatch.setattr(jobs, "_CHILD", IDLE)
    a_run(folder / "autoencoder-1")
    job = Job("autoencoder-1", folder)
    write = jobs.write_json
    before = set(psutil.Process().children())
    for begin in (lambda: jobs.start("autoencoder", SMALL, folder), job.resume):
        # There is room for the first record, which is almost empty.
        monkeypatch.setattr(jobs, "write_json", lambda path, known: full() if known else write(path, known))
        with pytest.raises(OSError, match="No space left"):
            begin()
        monkeypatch.setattr(jobs, "write_json", write)
    until(job, lambda _: set(psutil.Process().children()) <= before, 30)
    assert job.process() is None


def test_a_training_can_be_stopped_when_the_disk_is_full(folder, monkeypatch):
    monkeypatch.setattr(jobs, "_CHILD", IDLE)
    a_run(folder / "autoencoder-1")
    job = Job("autoencoder-1", folder)
    job.resume()
    monkeypatch.setattr(jobs, "write_json", full)
    job.stop()
    assert until(job, lambda at: not at.active, 30).state == "stopped"


def test_another_process_with_the_same_number_is_not_it(folder):
    (folder / ".lab").mkdir()
    job = Job("a", folder)
    job.record.write_text(json.dumps({"pid": psutil.Process().pid, "created": 1.0}))
    assert job.process() is None
    job.record.write_text("half a fi")
    assert job.process() is None


def test_a_clock_that_is_set_does_not_hide_a_training(folder):
    (folder / ".lab").mkdir()
    job = Job("a", folder)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as child:
        created = psutil.Process(child.pid).create_time()
        job.record.write_text(json.dumps({"pid": child.pid, "created": created - 1}))
        found = job.process()
        child.kill()
    assert found is not None
    assert found.pid == child.pid


def test_an_interruption_that_is_lost_is_repeated(folder, monkeypatch):
    begun, lost = folder / "begun", folder / "lost"
    loses = f"""
try:
    open({str(begun)!r}, "w").close()
    time.sleep(300)
except KeyboardInterrupt:
    open({str(lost)!r}, "w").close()
from unstride.app.cli import main
"""
    monkeypatch.setattr(
        jobs,
        "_CHILD",
        jobs._CHILD.replace("from unstride.app.cli import main", loses).replace(f"sleep({jobs.AGAIN})", "sleep(0.2)"),
    )
    job = jobs.start("autoencoder", [*SMALL, "--epochs", "4000"], folder)
    until(job, lambda _: begun.exists())
    job.stop()
    assert until(job, lambda at: not at.active).state == "stopped"
    assert lost.exists()


@pytest.mark.parametrize("name", [None, "", "..", "../x", ".lab", "a/b", "missing"])
def test_names_from_an_address_lead_nowhere_else(folder, name):
    (folder / ".lab").mkdir()
    assert jobs.find(name, folder) is None


@pytest.mark.slow
def test_the_end_of_the_lab_stops_its_trainings(folder):
    code = f"""
from pathlib import Path
from unstride.lab import jobs
import time
job = jobs.start("autoencoder", {[*SMALL, "--epochs", "4000"]!r}, Path({str(folder)!r}))
print(job.name, flush=True)
while job.progress().done < 1:
    time.sleep(0.05)
"""
    lab = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    job = Job(lab.stdout.strip(), Path(folder))
    assert until(job, lambda at: not at.active).state == "stopped"
    assert job.progress().resumable


def test_a_page_starts_one_training_at_a_time(tmp_path, monkeypatch):
    """Whatever its buttons look like: what is refused is the start itself."""
    told = []
    page = Controls({}, told.append, str, str)
    at_work = {"first": True}
    monkeypatch.setattr(Job, "progress", lambda job: Progress("training" if at_work.get(job.name) else "finished"))
    page.begin(None, lambda: Job("first", tmp_path))
    assert told == ["first"]
    page.begin(None, lambda: pytest.fail("started"))  # type: ignore[arg-type, return-value]
    at_work.clear()
    page.begin(None, lambda: Job("second", tmp_path))
    at_work["other"] = True
    page.begin(Job("other", tmp_path), lambda: pytest.fail("started"))  # type: ignore[arg-type, return-value]
    assert told == ["first", "first", "second", "other"]
