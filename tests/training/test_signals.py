import signal

import pytest

from restore_env.training.signals import Stopped, stop_request

BOTH = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.mark.parametrize(("number", "exit_code"), BOTH)
def test_a_signal_is_a_request_to_stop(number, exit_code):
    with stop_request() as request:
        assert not request()
        request.check()
        signal.raise_signal(number)
        assert request()
        with pytest.raises(Stopped, match=f"stopped by {number.name}") as stopped:
            request.check()
    assert stopped.value.exit_code == exit_code
    assert request()


def test_the_last_of_several_signals_counts():
    with stop_request() as request:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Stopped, match="stopped by SIGTERM"):
        request.check()


@pytest.mark.parametrize("error", [None, OSError])
def test_signals_are_answered_as_before_after_the_block(error):
    def mine(number, frame):
        answered.append(number)

    answered = []
    before = [signal.signal(number, mine) for number, _ in BOTH]
    try:
        try:
            with stop_request() as request:
                if error:
                    raise error
        except OSError:
            pass
        for number, _ in BOTH:
            signal.raise_signal(number)
    finally:
        for (number, _), handler in zip(BOTH, before, strict=True):
            signal.signal(number, handler)
    assert answered == [signal.SIGINT, signal.SIGTERM]
    assert not request()
