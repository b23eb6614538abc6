"""A command that moves models keeps the memory of its buffers, instead of fetching it anew for each."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Four buffers live, each made and dropped 100 times, by threads other than the main one: page faults.
FAULTS = """
import resource, sys, threading
from cli.allocator import keep_buffers
if sys.argv[1] == "kept":
    keep_buffers()
def work():
    for _ in range(100):
        buffers = [bytearray(b"x") * (1 << 20) for _ in range(4)]
threads = [threading.Thread(target=work) for _ in range(2)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True, timeout=60)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has to be told")
def test_the_memory_of_a_buffer_is_used_again() -> None:
    assert faults("kept") < faults("not") / 10


# Eight threads that live compute one password's hash each, one after the other: the most memory, in KiB.
PEAK = """
import sys, threading
from argon2 import PasswordHasher
from cli.allocator import keep_no_more_than_buffers
if sys.argv[1] == "told":
    keep_no_more_than_buffers()
hasher, turn, together = PasswordHasher(2, 19 * 1024, 1), threading.Lock(), threading.Barrier(8)
def work():
    with turn:
        for _ in range(3):
            hasher.hash("a password")
    together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
def most():  # of this program alone: getrusage counts the process it was started from too
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
before = most()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(most() - before)
"""


def peak(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PEAK, how], capture_output=True, check=True, timeout=60)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has to be told")
def test_the_memory_of_a_passwords_hash_is_not_kept_by_every_thread() -> None:
    assert peak("told") < 30 * 1024 < 60 * 1024 < peak("not")


# Eight threads that live take memory: how many ranges are set aside, of which glibc makes one for a thread.
SETS = """
import sys, threading
from cli.allocator import keep_no_more_than_buffers
if sys.argv[1] == "told":
    keep_no_more_than_buffers()
together = threading.Barrier(8)
def work():
    kept = bytes(100_000)
    if together.wait() == 0:
        print(open("/proc/self/maps").read().count(" ---p "))
    together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def sets(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", SETS, how], capture_output=True, check=True, timeout=60)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has to be told")
def test_a_servers_threads_share_their_memory() -> None:
    assert sets("told") <= sets("not") - 4
