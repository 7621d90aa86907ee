"""Whether a process has ended: said only where that can be known."""

import os
import shutil
import socket
import subprocess
import sys

import psutil
import pytest

from tasks.runtime import processes
from tasks.runtime.processes import OUTERMOST, Place

HERE = Place("here", "a" * 12, "b" * 13, OUTERMOST)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="PID namespaces are Linux's")


@pytest.fixture
def ended():
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        process.wait()
    return process.pid


def name(place: Place, number: int, start: object = 1) -> str:
    return "/".join([*place, str(number), str(start)])


def test_a_process_is_gone_when_it_ended_or_its_number_belongs_to_another(ended):
    own = processes.own()
    place, _, start = own.rsplit("/", 2)
    assert not processes.gone(own)
    assert processes.gone(f"{place}/{os.getpid()}/{int(start) - 60}")
    assert processes.gone(f"{place}/{ended}/{start}")
    for other in ("nightly", "a/b/c", "", "a/1", "a/b/c/d/1/2/3"):
        assert not processes.gone(other)


@LINUX
@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (HERE, True),
        (HERE._replace(host="renamed"), True),
        (HERE._replace(namespace="4026532999"), False),  # a container of this machine: its numbers are others
        (HERE._replace(boot="c" * 13), True),  # this machine, before it was started anew
        (HERE._replace(boot="c" * 13, namespace="4026532999"), False),
        (HERE._replace(boot="c" * 13, host="elsewhere"), False),
        (HERE._replace(boot="c" * 13, machine="d" * 12), False),
    ],
)
def test_a_number_says_nothing_elsewhere(place, expected, ended, monkeypatch):
    monkeypatch.setattr(processes, "_here", lambda: HERE)
    assert processes.gone(name(place, ended)) is expected


@LINUX
def test_two_containers_of_one_name_and_one_image_do_not_judge_each_other(ended, monkeypatch):
    inside = HERE._replace(namespace="4026532999")
    monkeypatch.setattr(processes, "_here", lambda: inside)
    assert processes.gone(name(inside, ended))
    assert not processes.gone(name(inside._replace(boot="c" * 13), ended))
    assert not processes.gone(f"here/{ended}/1")


def test_names_of_older_versions_are_still_read(ended, monkeypatch):
    own = psutil.Process()
    monkeypatch.setattr(processes, "_here", lambda: HERE)
    assert not processes.gone(f"here/{os.getpid()}/{int(own.create_time())}")
    assert processes.gone(f"here/{os.getpid()}/{int(own.create_time()) - 60}")
    assert processes.gone(f"here/{ended}/{int(own.create_time())}")
    assert not processes.gone(f"elsewhere/{ended}/1")


def test_without_linux_the_host_and_the_time_of_the_start_tell(ended, monkeypatch):
    monkeypatch.setattr(processes, "_here", lambda: Place(socket.gethostname(), "", "", ""))
    own = processes.own()
    assert not processes.gone(own)
    assert processes.gone(own.replace(f"/{os.getpid()}/", f"/{ended}/"))
    assert not processes.gone(own.replace(socket.gethostname(), "elsewhere"))


SLEEPS = "import sys; from tasks.runtime import processes; print(processes.own(), flush=True); sys.stdin.read()"


@LINUX
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="only root makes a PID namespace")
def test_a_process_in_another_container_with_the_same_home_is_judged_by_its_lock(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", SLEEPS]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **streams) as inside:
        other = inside.stdout.readline().strip()
        assert other.split("/")[3] != processes.own().split("/")[3]
        assert not processes.gone(other)
        processes.forget()
        inside.kill()
        inside.stdout.read()  # ends with the process inside
    assert processes.gone(other)
    assert processes.gone(other)
    processes.forget()
    assert not processes.gone(other)
    assert not processes.gone(processes.own())
