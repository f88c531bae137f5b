"""Drawing ahead must not show in what is drawn, and must keep a source to one thread."""

import multiprocessing
import threading

import numpy as np
import pytest

from restore_env import ImageRestoreVectorEnv
from restore_env.data.pairs import Pair
from restore_env.envs.prefetch import Prefetcher
from restore_env.errors import ImageError


class Numbered:
    """A source whose pairs show which numbers were drawn; it notices being asked by two threads at once."""

    def __init__(self) -> None:
        self.busy = threading.Lock()
        self.threads: set[str] = set()
        self.drawn = 0

    def sample(self, rng: np.random.Generator) -> Pair:
        assert self.busy.acquire(blocking=False)
        self.threads.add(threading.current_thread().name)
        self.drawn += 1
        image = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        self.busy.release()
        return Pair(image, image)


def generators(n: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, row]) for row in range(n)]


def first_pixels(prefetcher: Prefetcher, rngs: list[np.random.Generator], order: list[int]) -> list[int]:
    result = []
    for row in order:
        prefetcher.prepare(rngs)
        result.append(int(prefetcher.take(row, rngs[row]).distorted[0, 0, 0]))
    return result


def test_pairs_are_the_same_with_and_without_drawing_ahead():
    order = [0, 1, 2, 0, 0, 2, 1, 1, 0]
    drawn = [first_pixels(Prefetcher(Numbered(), enabled), generators(3), order) for enabled in (False, True)]
    assert drawn[0] == drawn[1]


def test_all_draws_happen_in_one_thread():
    source = Numbered()
    prefetcher = Prefetcher(source, enabled=True)
    first_pixels(prefetcher, generators(4), [0, 1, 2, 3] * 5)
    assert len(source.threads) == 1
    assert threading.current_thread().name not in source.threads
    prefetcher.close()


def test_a_new_generator_forgets_what_was_drawn_from_the_old_one():
    prefetcher = Prefetcher(Numbered(), enabled=True)
    prefetcher.prepare(generators(1))
    taken = prefetcher.take(0, generators(1, seed=5)[0])
    expected = generators(1, seed=5)[0].integers(0, 256, (24, 24, 3), dtype=np.uint8)
    assert np.array_equal(taken.distorted, expected)


def test_an_error_in_the_thread_is_raised_where_the_pair_is_needed():
    class Empty:
        def sample(self, rng):
            raise ImageError("no photo left")

    prefetcher = Prefetcher(Empty(), enabled=True)
    prefetcher.prepare(generators(1))
    with pytest.raises(ImageError, match="no photo left"):
        prefetcher.take(0, generators(1)[0])


class Broken:
    """A source that has no pair for some generators."""

    def sample(self, rng: np.random.Generator) -> Pair:
        image = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        if image[0, 0, 0] < 128:
            raise ImageError("no photo left")
        return Pair(image, image)


def test_a_copy_has_the_pairs_and_the_errors_that_were_drawn_ahead(duplicate):
    prefetcher, rngs = Prefetcher(Broken(), enabled=True), generators(6)
    prefetcher.prepare(rngs)
    copied, same_rngs = duplicate((prefetcher, rngs))
    failed = 0
    for row in range(6):
        try:
            expected = prefetcher.take(row, rngs[row])
        except ImageError:
            failed += 1
            with pytest.raises(ImageError, match="no photo left"):
                copied.take(row, same_rngs[row])
        else:
            assert np.array_equal(copied.take(row, same_rngs[row]).distorted, expected.distorted)
        assert same_rngs[row].random() == rngs[row].random()
    assert 0 < failed < 6


def test_an_environment_draws_ahead_only_once_it_steps(function_toolbox):
    source = Numbered()
    envs = ImageRestoreVectorEnv(3, images=source, toolbox=function_toolbox, patch_size=24)
    envs.reset(seed=0)
    assert source.drawn == 3
    envs.step(np.array([0, 0, 0]))
    envs.close()
    assert 3 <= source.drawn <= 6


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_environments_are_equal_with_and_without_prefetch(photos, function_toolbox, mode):
    options = {"images": photos, "toolbox": function_toolbox, "patch_size": 24, "autoreset_mode": mode}
    both = [ImageRestoreVectorEnv(4, prefetch=prefetch, **options) for prefetch in (True, False)]
    rng = np.random.default_rng(0)
    for seed in (0, 1):  # the second reset comes while pairs are drawn ahead
        for envs in both:
            envs.reset(seed=seed)
        for _ in range(8):
            actions = rng.integers(0, 4, 4)
            one, other = (envs.step(actions) for envs in both)
            assert np.array_equal(one[0]["image"], other[0]["image"])
            assert np.array_equal(one[1], other[1])
    for envs in both:
        envs.close()


def test_prefetch_must_be_a_flag(function_toolbox):
    with pytest.raises(TypeError, match="prefetch"):
        ImageRestoreVectorEnv(1, prefetch="yes", toolbox=function_toolbox)


def draw_in_child(prefetcher, rngs, found):
    found.put(first_pixels(prefetcher, rngs, [0, 1] * 5))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_draws_the_same_and_does_not_wait_for_the_parents_thread():
    context = multiprocessing.get_context("fork")
    prefetcher, rngs, found = Prefetcher(Numbered(), enabled=True), generators(2), context.Queue()
    before = first_pixels(prefetcher, rngs, [0, 1])
    prefetcher.prepare(rngs)
    child = context.Process(target=draw_in_child, args=(prefetcher, rngs, found))
    child.start()
    drawn = found.get(timeout=60)
    child.join(60)
    assert drawn == first_pixels(prefetcher, rngs, [0, 1] * 5)
    assert before + drawn == first_pixels(Prefetcher(Numbered(), False), generators(2), [0, 1] * 6)
    prefetcher.close()
