import os
import signal
import threading

import pytest

from mmssl.training.signals import StopSignals, TrainingInterrupted


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture
def put_back():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_at_once_where_nothing_is_deferred():
    says = "stopped by SIGTERM: nothing is saved yet"
    with pytest.raises(TrainingInterrupted, match=says), StopSignals():
        send(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_first_waits_for_the_safe_point_and_the_second_does_not():
    with StopSignals() as signals, signals.deferred():
        signals.check()
        send(signal.SIGTERM)
        assert signals.received == signal.SIGTERM
        with pytest.raises(TrainingInterrupted, match="SIGTERM"):
            signals.check()
        with pytest.raises(TrainingInterrupted, match="SIGTERM"):
            send(signal.SIGINT)


def test_none_raises_while_held():
    with StopSignals() as signals:
        with signals.held():
            send(signal.SIGINT)
            send(signal.SIGINT)
        signals.saved = "epoch 7"
        with pytest.raises(TrainingInterrupted, match="stopped by SIGINT: epoch 7"):
            signals.check()


def test_handlers_come_back_and_ignored_signals_stay_ignored(put_back):
    def mine(number, frame):
        raise AssertionError

    signal.signal(signal.SIGTERM, mine)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopSignals() as signals, signals.deferred():
        send(signal.SIGINT)
        assert signals.received is None
        assert signal.getsignal(signal.SIGTERM) != mine
    assert signal.getsignal(signal.SIGTERM) is mine
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_in_another_thread_it_touches_no_handler():
    before = signal.getsignal(signal.SIGTERM)
    during = []

    def work():
        with StopSignals():
            during.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert during == [before]
