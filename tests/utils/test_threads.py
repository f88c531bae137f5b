"""Tasks side by side: all are done, each on one core, and errors come through."""

import os
import subprocess
import sys
import threading
import time
from math import inf
from pathlib import Path

import pytest
import torch

from restore_env import ImageRestoreEnv, Tool, Toolbox, ToolError
from restore_env.utils import threads
from restore_env.utils.threads import available_cores, limit_threads, map_in_threads, one_core, run_in_threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.threads
def test_every_task_is_done_once_in_threads_of_one_core(two_threads):
    seen = []

    def note(task: int) -> None:
        time.sleep(1e-3)
        seen.append((task, threading.current_thread().name, torch.get_num_threads()))

    run_in_threads(note, range(50))
    assert sorted(task for task, _, _ in seen) == list(range(50))
    assert {cores for _, _, cores in seen} == {1}
    assert len({name for _, name, _ in seen}) == 2
    assert threading.current_thread().name not in {name for _, name, _ in seen}
    assert torch.get_num_threads() == 2
    from_later_thread = []
    later = threading.Thread(target=lambda: from_later_thread.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert from_later_thread == [2]  # what the workers set is no default for others


@pytest.mark.threads
def test_even_a_single_task_runs_in_a_thread_of_one_core(two_threads):
    seen = []
    run_in_threads(lambda task: seen.append((threading.current_thread().name, torch.get_num_threads())), [1])
    assert seen == [(seen[0][0], 1)] and seen[0][0] != threading.current_thread().name


@pytest.mark.threads
def test_what_is_computed_in_threads_comes_back_in_order(two_threads):
    assert map_in_threads(lambda number: time.sleep(1e-3 * (number % 3)) or -number, range(20)) == [
        -n for n in range(20)
    ]


def test_with_one_core_there_are_no_threads(one_thread):
    seen = []
    run_in_threads(lambda task: seen.append(threading.current_thread()), range(5))
    assert seen == [threading.current_thread()] * 5


@pytest.mark.threads
def test_an_error_of_a_task_is_raised(two_threads):
    def fail(task: int) -> None:
        if task == 3:
            raise ToolError("task 3")

    with pytest.raises(ToolError, match="task 3"):
        run_in_threads(fail, range(6))


@pytest.mark.threads
def test_functions_of_users_are_called_by_one_thread_only(two_threads):
    seen = set()

    def noted(image):
        seen.add(threading.current_thread())
        return image

    toolbox = Toolbox([Tool.from_function(name, noted) for name in ("one", "two", "three")])
    toolbox.apply(torch.rand(12, 3, 12, 12), [0, 1, 2] * 4)
    assert seen == {threading.current_thread()}


@pytest.mark.threads
def test_modules_of_users_are_called_by_one_thread_only(two_threads):
    seen = set()

    class Noted(torch.nn.Module):
        def forward(self, images):
            seen.add(threading.current_thread())
            return images

    toolbox = Toolbox([Tool.from_module(name, Noted()) for name in ("one", "two", "three")])
    toolbox.apply(torch.rand(12, 3, 12, 12), [0, 1, 2] * 4)
    assert seen == {threading.current_thread()}


@pytest.mark.threads
def test_a_network_that_fails_in_a_thread_names_its_tool(two_threads, network_toolbox):
    with torch.no_grad():
        for tool in network_toolbox:
            tool.module.conv1.bias.fill_(torch.nan)
    with pytest.raises(ToolError, match="returned NaN or infinity"):
        network_toolbox.apply(torch.rand(4, 3, 12, 12), [0, 1, 0, 1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.threads
def test_a_forked_process_has_threads_of_its_own(two_threads):
    run_in_threads(lambda task: None, range(4))
    child = os.fork()
    if child == 0:
        done = []
        run_in_threads(done.append, range(4))
        os._exit(0 if sorted(done) == [0, 1, 2, 3] else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.threads
def test_even_a_few_images_of_one_tool_are_shared_among_the_threads(two_threads, network_toolbox, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "restore_env.toolbox.toolbox.run_in_threads", lambda run, tasks: seen.extend(len(task.chunk) for task in tasks)
    )
    network_toolbox.apply(torch.rand(4, 3, 63, 63), [0, 0, 0, 0])
    assert seen == [2, 2]
    network_toolbox.apply(torch.rand(40, 3, 63, 63), [1] * 40)
    assert seen[2:] == [8] * 5


@pytest.mark.threads
def test_the_tiles_of_a_photo_are_shared_among_the_threads(two_threads, network_toolbox):
    seen, module = set(), network_toolbox[0].module
    forward = module.forward

    def noted(images):
        seen.add((threading.current_thread().name, torch.get_num_threads()))
        time.sleep(1e-2)
        return forward(images)

    module.forward = noted
    network_toolbox.apply(torch.rand(1, 3, 600, 600), [0])
    assert len(seen) == 2 and {cores for _, cores in seen} == {1}


FORK = """
import os, sys
import cv2, numpy, torch
import restore_env  # nothing of it is used before the fork, as in a program that only makes environments
torch.rand(2000, 2000) @ torch.rand(2000, 2000)
cv2.GaussianBlur(numpy.zeros((2000, 2000, 3), numpy.uint8), (21, 21), 3)
child = os.fork()
if not child:
    env = restore_env.ImageRestoreEnv()
    env.reset(seed=0)
    env.step(7)
    torch.rand(2000, 2000) @ torch.rand(2000, 2000)
    cv2.GaussianBlur(numpy.zeros((2000, 2000, 3), numpy.uint8), (21, 21), 3)
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_never_waits_for_threads_of_its_parent():
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=60, env=os.environ | {"OMP_NUM_THREADS": "2"}
    )


@pytest.mark.threads
def test_one_core_is_used_in_a_block_and_given_back_even_after_an_error(two_threads):
    @one_core()
    def fail():
        assert torch.get_num_threads() == 1
        raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            fail()
        assert torch.get_num_threads() == 2


@pytest.mark.threads
def test_a_single_environment_uses_one_core(two_threads):
    seen = []
    darken = Tool("darken", lambda images: seen.append(torch.get_num_threads()) or images * 0.9)

    def reward(step):
        seen.append(torch.get_num_threads())
        return step.psnr_after - step.psnr_before

    env = ImageRestoreEnv(toolbox=Toolbox([darken]), reward=reward)
    env.reset(seed=0)
    env.step(0)
    assert seen == [1, 1] and torch.get_num_threads() == 2


def without_process_cpu_count(monkeypatch):
    """As before Python 3.13."""
    monkeypatch.delattr(os, "process_cpu_count", raising=False)


def test_cores_are_those_of_the_affinity(monkeypatch):
    without_process_cpu_count(monkeypatch)
    monkeypatch.setattr(threads, "_container_limit", lambda: inf)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    assert available_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # macOS and Windows have none
    assert available_cores() == 64
    monkeypatch.setattr(os, "process_cpu_count", lambda: 5, raising=False)  # from Python 3.13
    assert available_cores() == 5
    for limit, cores in ((1.5, 2), (0.2, 1), (8, 5)):
        monkeypatch.setattr(threads, "_container_limit", lambda limit=limit: limit)
        assert available_cores() == cores


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, inf),
        (
            {
                "proc/self/cgroup": "0::/pod/box\n",
                "sys/fs/cgroup/pod/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/pod/box/cpu.max": "max 100000\n",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/1f\n3:memory:/\n1:name=systemd:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            inf,
        ),
    ],
)
def test_the_limit_of_a_container_is_known(files, limit, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads._container_limit(tmp_path) == limit


@pytest.mark.threads
def test_programs_start_no_more_threads_than_there_are_cores(two_threads, monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    limit_threads()
    assert torch.get_num_threads() == 2  # as the user said
    monkeypatch.delenv("OMP_NUM_THREADS")
    limit_threads()
    assert torch.get_num_threads() == 1


def test_nothing_counts_the_cores_of_the_machine():
    root = Path(threads.__file__).parents[2]
    counting = [
        path.name
        for folder in ("restore_env", "tools", "agents", "benchmarks")
        for path in (root / folder).rglob("*.py")
        if "cpu_count()" in path.read_text(encoding="utf-8") and path.name != "threads.py"
    ]
    assert not counting
