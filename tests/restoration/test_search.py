from itertools import product

import pytest
import torch

from restore_env import Tool, Toolbox
from restore_env.restoration.metrics import psnr
from restore_env.restoration.search import best_fixed_toolchain, chain_psnrs


def shifting(*levels):
    """A toolbox whose tools add so many levels of 0-255."""
    return Toolbox([Tool(f"add{level}", lambda images, level=level: images + level / 255) for level in levels])


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    reference = torch.rand(4, 3, 12, 12, generator=generator)
    return reference + 0.05 * torch.randn(reference.shape, generator=generator) - 12 / 255, reference


def mean_psnr(toolbox, pairs, chain):
    images, reference = pairs
    for action in chain:
        images = toolbox[action](images)
    return float(psnr(images, reference).mean())


def test_more_toolchains_than_can_be_tried_are_refused(pairs):
    with pytest.raises(ValueError, match="max_steps=30 with 2 tools: over 1,000,000 toolchains.* at most 18 steps"):
        chain_psnrs(shifting(1, 2), *pairs, 30)
    assert len(chain_psnrs(shifting(1), *pairs, 30).chains) == 31


def test_twelve_tools_and_three_steps_are_1885_toolchains():
    toolbox = shifting(*range(1, 13))
    images = torch.full((1, 3, 2, 2), 0.5)
    table = chain_psnrs(toolbox, images, images + 0.1, 3)
    assert len(table.chains) == len(set(table.chains)) == 1885
    assert table.psnr.shape == (1, 1885)
    assert set(table.chains) == {chain for length in range(4) for chain in product(range(12), repeat=length)}


def test_the_table_holds_what_each_toolchain_makes_of_each_image(function_toolbox, pairs):
    table = chain_psnrs(function_toolbox, *pairs, 2)
    assert table.chains[0] == ()
    for column, chain in enumerate(table.chains):
        images = pairs[0]
        for action in chain:
            images = torch.cat([function_toolbox[action](image) for image in images.split(1)])
        assert table.psnr[:, column].tolist() == pytest.approx(psnr(images, pairs[1]).tolist(), abs=1e-9)


def test_shorter_toolchains_come_first_and_all_are_filled_up_with_stop(function_toolbox, pairs):
    table = chain_psnrs(function_toolbox, *pairs, 3)
    for place, chain in enumerate(table.chains):
        assert table.actions[place].tolist() == [*chain, *[3] * (3 - len(chain))]
        assert not chain or table.chains.index(chain[:-1]) < place


def test_the_exhaustive_search_finds_the_best_of_the_table(function_toolbox, pairs):
    table = chain_psnrs(function_toolbox, *pairs, 3)
    expected = table.chains[int(table.psnr.mean(0).argmax())]
    assert len(expected) > 1
    assert best_fixed_toolchain(function_toolbox, *pairs, 3) == expected


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_never_finds_better_than_trying_all(seed, pairs):
    generator = torch.Generator().manual_seed(seed)
    toolbox = shifting(*torch.randint(-20, 21, (4,), generator=generator).unique().tolist())
    best = mean_psnr(toolbox, pairs, best_fixed_toolchain(toolbox, *pairs, 3))
    for beam in (1, 2, 64):
        found = mean_psnr(toolbox, pairs, best_fixed_toolchain(toolbox, *pairs, 3, beam))
        assert found <= best
        assert found >= mean_psnr(toolbox, pairs, ())
    assert found == best  # a beam of 64 keeps every toolchain


def test_a_narrow_beam_can_miss_the_best():
    toolbox = shifting(10, 7)
    images = torch.full((1, 3, 8, 8), 0.4)
    assert best_fixed_toolchain(toolbox, images, images + 14 / 255, 2) == (1, 1)
    assert best_fixed_toolchain(toolbox, images, images + 14 / 255, 2, beam=1) == (0, 1)


def test_no_toolchain_is_best_where_no_tool_helps(pairs):
    assert best_fixed_toolchain(shifting(-30, -50), *pairs, 2) == ()


def test_searches_tell_how_far_they_are(pairs):
    shares, steps = [], []
    chain_psnrs(shifting(1, 2), *pairs, 2, shares.append)
    best_fixed_toolchain(shifting(1, 2), *pairs, 2, progress=steps.append)
    assert shares == pytest.approx([number / 7 for number in range(1, 8)])
    assert steps == [0.5, 1.0]
