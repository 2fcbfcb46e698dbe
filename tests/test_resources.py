"""What a replica uses: of all its processes together, each counted once."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import teams
from barograph import Monitor, naming
from barograph.resources import usage

pytestmark = pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc on this system")


def shown(monitor):
    """Values by metric of the series of processes."""
    series = monitor.snapshot().series
    return {s.metric: float(v.sums.sum() + v.counts.sum()) for s, v in series.items() if not s.labels}


def test_processor_time_memory_files_and_disk_are_those_of_this_process(tmp_path):
    with Monitor("m", directory=tmp_path) as monitor:
        found = shown(monitor)
    assert 0 < found[naming.PROCESS_CPU.name] <= sum(os.times()[:2])
    assert 10e6 < found[naming.PROCESS_MEMORY.name] < 10e9
    assert 3 <= found[naming.PROCESS_OPEN_FILES.name] <= found[naming.PROCESS_MAX_FILES.name]
    assert 0 < found[naming.DISK_FREE.name] < found[naming.DISK_SIZE.name]
    asked = subprocess.run(
        ["ps", "-o", "etimes=", "-p", str(os.getpid())], capture_output=True, text=True, check=False
    )
    if asked.returncode == 0:
        assert abs(time.time() - found[naming.PROCESS_START.name] - float(asked.stdout)) < 3


def test_two_models_in_one_process_count_it_once(tmp_path):
    with Monitor("a", directory=tmp_path) as one, Monitor("b", directory=tmp_path) as other:
        assert shown(one)[naming.PROCESS_CPU.name] == shown(other)[naming.PROCESS_CPU.name]
        assert shown(one)[naming.PROCESS_CPU.name] <= sum(os.times()[:2])
        assert shown(one)[naming.PROCESS_MEMORY.name] < 1.5 * usage().now[naming.PROCESS_MEMORY]


def test_what_an_ended_process_used_stays_in_the_total(tmp_path):
    context = multiprocessing.get_context("spawn")
    used = context.Value("d", 0.0)
    with Monitor("m", directory=tmp_path) as monitor:
        before = shown(monitor)
        child = context.Process(target=teams.work, args=(tmp_path, used))
        child.start()
        child.join()
        monitor._look()
        after = shown(monitor)
    grown = after[naming.PROCESS_CPU.name] - before[naming.PROCESS_CPU.name]
    assert child.exitcode == 0 and grown >= used.value - 0.1
    assert after[naming.PROCESS_MEMORY.name] < 1.5 * usage().now[naming.PROCESS_MEMORY]  # the living alone


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on this system")
def test_a_forked_child_counts_its_own_time_from_zero(tmp_path):
    with Monitor("m", directory=tmp_path) as monitor:
        before = shown(monitor)[naming.PROCESS_CPU.name]
        child = os.fork()
        if child == 0:
            monitor._look()
            monitor.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert shown(monitor)[naming.PROCESS_CPU.name] - before < 0.5
