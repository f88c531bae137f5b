import json
from dataclasses import replace
from math import isnan

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restore_env import Pairs, Tool, Toolbox, evaluate
from restore_env.evaluation import Evaluation, ImageResult, share_of_best
from restore_env.policies import FixedToolchain, Policy

CHAIN = "fixed:median,soften"
JSON_KEYS = ["n", "policy", "toolbox", "psnr_in", "psnr_out", "ssim_in", "ssim_out", "gain", "steps", "tool_ratio"]


class ByBrightness(Policy):
    """Stops at a dark image; brightens a bright one as often as it may."""

    name = "by-brightness"
    patch_size = 63

    def act(self, observation, state):
        return torch.where(observation.image.float().mean((1, 2, 3)) < 100, 3, 2), state


def noisy(photo, seed=0):
    noise = np.random.default_rng(seed).normal(0, 20, photo.shape)
    return np.clip(photo + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def pairs(photos):
    """Six pairs of three sizes, in mixed order."""
    sizes = [(63, 63), (70, 90), (63, 63), (96, 64), (70, 90), (63, 63)]
    references = [photos[number % 3][:height, :width] for number, (height, width) in enumerate(sizes)]
    names = [f"pair-{number}" for number in range(6)]
    return Pairs([noisy(photo, number) for number, photo in enumerate(references)], references, names)


def naive(pairs):
    """The images after `CHAIN`, by hand."""
    return [cv2.GaussianBlur(cv2.medianBlur(image, 3), (5, 5), 1.0) for image in pairs.distorted]


def similarity(image, reference):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return structural_similarity(image / 255, reference / 255, channel_axis=2, data_range=1.0, **options)


def test_psnr_is_that_of_the_images_before_and_after(pairs, function_toolbox):
    result = evaluate(pairs, CHAIN, function_toolbox)
    for name, images in (("psnr_in", pairs.distorted), ("psnr_out", naive(pairs))):
        expected = [peak_signal_noise_ratio(*both) for both in zip(pairs.reference, images, strict=True)]
        # float32 images, and 1e-10 added to the error
        assert [getattr(image, name) for image in result.images] == pytest.approx(expected, abs=1e-5)
        assert getattr(result, name) == pytest.approx(np.mean(expected), abs=1e-5)
    assert result.gain == result.psnr_out - result.psnr_in != 0


def test_ssim_is_that_of_the_images_before_and_after(pairs, function_toolbox):
    result = evaluate(pairs, CHAIN, function_toolbox)
    for name, images in (("ssim_in", pairs.distorted), ("ssim_out", naive(pairs))):
        expected = [similarity(*both) for both in zip(images, pairs.reference, strict=True)]
        # float32 against float64
        assert [getattr(image, name) for image in result.images] == pytest.approx(expected, abs=1e-5)
        assert getattr(result, name) == pytest.approx(np.mean(expected), abs=1e-5)


def test_results_keep_the_order_of_the_pairs(pairs, function_toolbox):
    result = evaluate(pairs, CHAIN, function_toolbox)
    assert [image.name for image in result.images] == pairs.names
    assert len({image.psnr_in for image in result.images}) == 6


def test_results_do_not_depend_on_what_is_played_side_by_side(pairs, function_toolbox, monkeypatch):
    together = evaluate(pairs, CHAIN, function_toolbox)
    monkeypatch.setattr("restore_env.evaluation.BATCH_PIXELS", 1)
    alone = evaluate(pairs, CHAIN, function_toolbox)
    assert [image.toolchain for image in alone.images] == [image.toolchain for image in together.images]
    assert alone.psnr_out == pytest.approx(together.psnr_out, abs=1e-5)


def test_tool_ratio_counts_images_that_have_stopped_as_stop(function_toolbox):
    images = [np.full((63, 63, 3), level, dtype=np.uint8) for level in (150, 30, 160, 40, 50)]
    result = evaluate(Pairs(images, [image + 10 for image in images]), ByBrightness(), function_toolbox, max_steps=4)
    expected = {"median": 0.0, "soften": 0.0, "brighten": 0.4, "stop": 0.6}
    assert result.tool_ratio == [expected] * 4
    assert result.steps == pytest.approx(2 / 5 * 4)
    assert [len(image.toolchain) for image in result.images] == [4, 0, 4, 0, 0]


def test_tool_ratio_sums_to_one_and_stop_only_grows(pairs, function_toolbox):
    result = evaluate(pairs, "random", function_toolbox)
    assert len(result.tool_ratio) == 3
    assert [sum(ratios.values()) for ratios in result.tool_ratio] == pytest.approx([1, 1, 1])
    stopped = [ratios["stop"] for ratios in result.tool_ratio]
    assert stopped == sorted(stopped) and 0 < stopped[-1]


def test_stop_gains_nothing(pairs, function_toolbox):
    result = evaluate(pairs, "stop", function_toolbox)
    assert (result.gain, result.steps) == (0, 0)
    assert result.ssim_out == result.ssim_in


def test_images_are_measured_unclipped():
    raised = Toolbox([Tool("raise", lambda images: images + 0.5)])
    white = np.full((63, 63, 3), 255, dtype=np.uint8)
    result = evaluate(Pairs([white], [white]), "fixed:raise", raised, max_steps=1)
    assert result.psnr_out == pytest.approx(-10 * np.log10(0.25), abs=1e-5)


def test_json_holds_all_of_it(pairs, function_toolbox):
    result = evaluate(pairs, CHAIN, function_toolbox, max_steps=2)
    content = json.loads(json.dumps(result.to_json()))
    assert set(content) >= {*JSON_KEYS, "seconds"}
    assert (content["n"], content["policy"], content["toolbox"]) == (6, CHAIN, "functions")
    assert content["psnr_out"] == result.psnr_out
    assert content["tool_ratio"] == result.tool_ratio
    assert content["images"][3]["toolchain"] == ["median", "soften"]
    assert content["seconds"] > 0


def test_progress_rises_to_one(pairs, function_toolbox):
    shares = []
    evaluate(pairs, "stop", function_toolbox, progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1
    assert len(shares) == 3  # the sizes


def test_reference_policies_are_played_on_images_of_any_size(photos, function_toolbox):
    small = [photo[:20, :15] for photo in photos]
    pairs = Pairs([noisy(photo) for photo in small], small)
    oracle, greedy = (evaluate(pairs, name, function_toolbox, max_steps=2) for name in ("oracle", "greedy"))
    assert oracle.gain >= greedy.gain > 0


def test_images_too_small_for_the_policy_are_refused(photos, function_toolbox):
    small = [photos[0][:40, :80]]
    policy = FixedToolchain((), function_toolbox.action_names)
    assert evaluate(Pairs(small, small), policy, function_toolbox).gain == 0
    policy.patch_size = 63
    with pytest.raises(ValueError, match="images of 80x40 pixels; the policy looks at 63x63"):
        evaluate(Pairs(small, small), policy, function_toolbox)


def test_images_too_small_for_ssim_are_refused(photos, function_toolbox):
    images = [photos[0], photos[0][:10, :30]]
    with pytest.raises(ValueError, match="pair 1 of 30x10 pixels; SSIM needs at least 11x11"):
        evaluate(Pairs(images, images), "oracle", function_toolbox)


def test_a_policy_for_another_toolbox_is_refused(pairs, function_toolbox):
    with pytest.raises(ValueError, match="sharpen, stop, but the toolbox 'functions' has median, soften"):
        evaluate(pairs, FixedToolchain([], ("sharpen", "stop")), function_toolbox)


@pytest.mark.parametrize("device", ["gpu", "meta"])
def test_an_unknown_device_is_refused(device, pairs, function_toolbox):
    with pytest.raises(ValueError, match=f"device='{device}' is not"):
        evaluate(pairs, "stop", function_toolbox, device=device)


def evaluation(*gains):
    """An evaluation of images that were restored from 20 dB by so many dB."""
    images = [ImageResult(str(number), 20.0, 20.0 + gain, 0.5, 0.5, ()) for number, gain in enumerate(gains)]
    gain = sum(gains) / len(gains)
    return Evaluation(len(gains), "any", "any", 20.0, 20.0 + gain, 0.5, 0.5, gain, 0.0, [], 0.0, images)


def test_share_of_best_compares_with_the_oracle():
    assert share_of_best(evaluation(1, 2, 3), evaluation(2, 4, 6)) == pytest.approx(0.5)
    assert share_of_best(evaluation(-1, 0), evaluation(2, 2)) == pytest.approx(-0.25)


def test_share_of_best_takes_only_the_pairs_the_oracle_had():
    assert share_of_best(evaluation(1, 2, 30), evaluation(2, 4)) == pytest.approx(0.5)


def test_share_of_nothing_is_no_number():
    assert isnan(share_of_best(evaluation(1.0), replace(evaluation(0.0), gain=0.0)))
