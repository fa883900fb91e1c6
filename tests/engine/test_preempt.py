"""Signals: at once outside a training, a flag inside, the second one leaves."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from lmlab.engine.preempt import SIGNALS, Notice, Preempted

TWICE = """
import os, signal, sys
from lmlab.engine.preempt import Notice
notice = Notice()
number = signal.Signals[sys.argv[1]]
with notice.installed(), notice.deferred():
    os.kill(os.getpid(), number)
    print(notice.reason, flush=True)
    os.kill(os.getpid(), number)
    print("still here", flush=True)
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_outside_a_training_the_first_signal_stops_at_once(number: signal.Signals):
    with Notice().installed(), pytest.raises(Preempted, match=number.name):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_inside_a_training_a_signal_is_a_flag(number: signal.Signals):
    notice = Notice()
    with notice.installed(), notice.deferred():
        assert notice.reason is None
        os.kill(os.getpid(), number)
        assert notice.reason == number.name


def test_after_a_training_a_signal_stops_at_once_again():
    notice = Notice()
    with notice.installed():
        with notice.deferred():
            pass
        with pytest.raises(Preempted):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_second_signal_ends_the_process_by_that_signal(name: str):
    child = subprocess.run([sys.executable, "-c", TWICE, name], capture_output=True, text=True)
    assert child.returncode == -signal.Signals[name]
    assert child.stdout == f"{name}\n"


def test_former_handlers_come_back_also_after_an_error():
    before = {number: signal.getsignal(number) for number in SIGNALS}
    notice = Notice()
    with notice.installed():
        assert all(signal.getsignal(number) != before[number] for number in SIGNALS)
    with pytest.raises(KeyError), notice.installed():
        raise KeyError
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


def test_in_another_thread_nothing_is_installed():
    before = {number: signal.getsignal(number) for number in SIGNALS}
    seen = {}

    def work() -> None:
        with Notice().installed():
            seen.update({number: signal.getsignal(number) for number in SIGNALS})

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before


def test_preempted_is_no_exception_that_error_handling_takes():
    assert not issubclass(Preempted, Exception)
