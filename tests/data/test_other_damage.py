"""Motion, defocus, Poisson, salt and pepper, resampling, WebP: what they do to pixels, and their mixtures."""

import io
from collections import Counter
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from restore_env import ImageRestoreEnv
from restore_env.constants import Severity
from restore_env.data.distortions import (
    AnyOrder,
    DefocusBlur,
    GaussianBlur,
    GaussianNoise,
    JPEGCompression,
    MixedDistortion,
    MotionBlur,
    PoissonNoise,
    Resampling,
    SaltAndPepperNoise,
    WebPCompression,
    as_distortion,
)
from restore_env.data.pairs import Pair, input_psnr

KINDS = (MotionBlur, DefocusBlur, PoissonNoise, SaltAndPepperNoise, Resampling, WebPCompression)
NOTHING = {MotionBlur: 1, DefocusBlur: 0, PoissonNoise: 0, SaltAndPepperNoise: 0, Resampling: 1}
MIXTURES = ("motion", "defocus", "low-light", "salt-and-pepper", "web", "wild")


@pytest.fixture
def photo(photos):
    return photos[0]


def rng(seed=0):
    return np.random.default_rng(seed)


def fixed(kind, value):
    return kind(value, value)


class TestAll:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_seed_gives_the_same_bytes_and_the_image_stays(self, kind, photo):
        before = photo.copy()
        results = [kind()(photo, rng(seed)) for seed in (1, 1, 2)]
        distorted, parameters = results[0]
        assert distorted.dtype == np.uint8 and distorted.shape == photo.shape and np.any(distorted != photo)
        np.testing.assert_array_equal(photo, before)
        np.testing.assert_array_equal(distorted, results[1][0])
        assert parameters == results[1][1] != results[2][1]
        assert kind.bounds[0] <= kind().low <= parameters[kind.parameter] <= kind().high <= kind.bounds[1]

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_level_is_worse_than_the_one_before(self, kind, photo):
        edges = [kind.level(level) for level in range(1, 11)]
        assert all(first.high == second.low or first.low == second.high for first, second in pairwise(edges))
        losses = [
            input_psnr(Pair(MixedDistortion([fixed(kind, kind.edges[level])])(photo, rng())[0], photo))
            for level in (2, 5, 10)
        ]
        assert losses == sorted(losses, reverse=True) and losses[0] - losses[-1] > 1

    @pytest.mark.parametrize(("kind", "value"), NOTHING.items())
    def test_the_mildest_value_changes_nothing(self, kind, value, photo):
        np.testing.assert_array_equal(fixed(kind, value)(photo, rng())[0], photo)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("size", [(1, 1), (3, 50), (33, 17)])
    def test_any_size(self, kind, size):
        image = rng().integers(256, size=(*size, 3), dtype=np.uint8)
        assert fixed(kind, kind.edges[-1])(image, rng())[0].shape == image.shape

    @pytest.mark.parametrize("kind", [MotionBlur, DefocusBlur, Resampling, WebPCompression])
    def test_a_plain_area_stays_plain_to_its_edges(self, kind):
        """Mirrored edges are as bright as the image; zeros beyond them would darken it."""
        plain = np.full((40, 30, 3), 200, np.uint8)
        distorted, _ = fixed(kind, kind.edges[5])(plain, rng())
        np.testing.assert_allclose(distorted, plain, atol=1)

    @pytest.mark.parametrize("kind", KINDS)
    def test_an_impossible_interval_is_refused(self, kind):
        with pytest.raises(
            ValueError, match=f"{kind.__name__}: {kind.parameter} from low=-1 to high=2 is not an inter"
        ):
            kind(-1, 2)


class TestMotion:
    @pytest.mark.parametrize("angles", [(0, 0), (90, 90)])
    def test_a_line_smears_along_it_and_not_across(self, angles):
        image = np.zeros((21, 21, 3), np.uint8)
        image[10, 10] = 210
        smeared = MotionBlur(7, 7, angles=angles)(image, rng())[0]
        line = smeared[:, 10, 0] if angles[0] else smeared[10, :, 0]
        assert line.tolist() == [0] * 7 + [30] * 7 + [0] * 7
        assert smeared[..., 0].sum() == 210

    def test_the_direction_is_drawn_evenly_and_told(self, photo):
        distortion, generator = MotionBlur(5, 5), rng()
        drawn = [distortion(photo[:8, :8], generator)[1] for _ in range(600)]
        assert all(list(one) == ["motion_length", "motion_angle"] for one in drawn)
        quarters = Counter(int(one["motion_angle"] // 45) for one in drawn)
        # 4 standard deviations of a share of a quarter
        assert set(quarters) == {0, 1, 2, 3} and all(abs(count / 600 - 0.25) < 0.07 for count in quarters.values())

    def test_the_parameters_that_are_told_make_the_same_image(self, photo):
        distorted, told = MotionBlur()(photo, rng(5))
        again = MotionBlur(*[told["motion_length"]] * 2, angles=(told["motion_angle"],) * 2)(photo, rng(6))
        np.testing.assert_array_equal(distorted, again[0])

    def test_two_motions_have_a_length_and_an_angle_each(self, photo):
        _, parameters = MixedDistortion([MotionBlur(3, 5), MotionBlur(7, 9)])(photo, rng())
        assert list(parameters) == ["motion_length", "motion_angle", "motion_length_2", "motion_angle_2"]

    @pytest.mark.parametrize("angles", [(90, 0), (0, float("nan")), (0, 400)])
    def test_impossible_angles_are_refused(self, angles):
        with pytest.raises(ValueError, match=r"MotionBlur: angles=.* is not an interval within \[-360, 360\]"):
            MotionBlur(3, 5, angles)


class TestDefocus:
    def test_equals_a_naive_sum_with_mirrored_edges(self):
        image = rng().random((14, 17, 3), dtype=np.float32)
        radius, reach, fine = 2.5, 3, 101
        line = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
        inside = np.hypot(line[:, None], line) <= radius
        kernel = inside.reshape(7, fine, 7, fine).mean((1, 3))
        padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
        expected = sum(
            kernel[row, column] / kernel.sum() * padded[row : row + 14, column : column + 17]
            for row in range(7)
            for column in range(7)
        )
        # The kernel is sampled nine times a pixel, here 101 times.
        np.testing.assert_allclose(DefocusBlur().apply(image, radius, rng()), expected, atol=0.01)


class TestPoisson:
    @pytest.mark.parametrize(("level", "sigma"), [(255 * 0.64, 16), (255 * 0.16, 8), (255 * 0.04, 4)])
    def test_noise_grows_with_the_root_of_the_brightness(self, level, sigma):
        noise = PoissonNoise().apply(np.full((200, 200, 3), level / 255, np.float32), 20, rng()) * 255 - level
        # 120,000 values: the standard deviation is known to 0.2%.
        assert noise.std() == pytest.approx(sigma, rel=0.02) and noise.mean() == pytest.approx(0, abs=0.1)
        assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02

    def test_values_are_whole_photons(self):
        noisy = PoissonNoise().apply(np.full((50, 50, 3), 0.3, np.float32), 255 / 4, rng())
        np.testing.assert_allclose(noisy * 16, np.rint(noisy * 16), atol=1e-5)
        assert noisy.max() <= 1 and len(np.unique(noisy)) > 5


class TestSaltAndPepper:
    def test_as_many_pixels_are_white_as_black_and_the_others_stay(self, photo):
        grey = np.clip(photo, 1, 254)
        distorted, _ = fixed(SaltAndPepperNoise, 0.1)(grey, rng())
        changed = (distorted != grey).any(2)
        assert np.isin(distorted[changed], (0, 255)).all() and (distorted[changed] == distorted[changed][:, :1]).all()
        n = changed.size  # four standard deviations of a share
        for value in (0, 255):
            share = (distorted == value).all(2).mean()
            assert share == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / n))

    def test_all_pixels(self, photo):
        assert np.isin(fixed(SaltAndPepperNoise, 1)(photo, rng())[0], (0, 255)).all()


class TestResampling:
    def test_whole_factors_keep_the_mean_of_blocks_and_lose_what_is_fine(self):
        rows, columns = np.mgrid[:32, :32]
        checks = np.repeat(np.where((rows + columns) % 2, 200, 100)[..., None], 3, axis=2).astype(np.uint8)
        np.testing.assert_array_equal(fixed(Resampling, 2)(checks, rng())[0], 150)

    def test_it_is_not_shifted(self):
        ramp = np.repeat(np.arange(0, 192, 2)[None, :, None], 40, axis=0).repeat(3, axis=2).astype(np.uint8)
        distorted = fixed(Resampling, 2.7)(ramp, rng())[0].astype(int)
        assert abs((distorted - ramp)[:, 16:-16].mean()) < 0.5

    def test_overshoots_are_clipped(self):
        image = np.zeros((16, 16, 3), np.float32)
        image[:, 8:] = 1
        result = Resampling().apply(image, 3, rng())
        assert (result.min(), result.max()) == (0, 1)


class TestWebP:
    @pytest.mark.parametrize("quality", [10, 50, 90])
    def test_is_libwebp(self, photo, quality):
        stream = io.BytesIO()
        Image.fromarray(photo).save(stream, "WEBP", quality=quality)
        distorted, parameters = fixed(WebPCompression, quality)(photo, rng())
        assert parameters == {"webp_quality": quality}
        expected = np.asarray(Image.open(stream).convert("RGB"))
        # OpenCV and Pillow bring a libwebp each, perhaps of two versions.
        assert np.abs(distorted.astype(int) - expected).mean() < 0.5

    def test_it_loses_colour_and_detail(self, photo):
        assert input_psnr(Pair(fixed(WebPCompression, 100)(photo, rng())[0], photo)) < 50

    def test_the_quality_is_an_integer(self):
        generator = rng()
        assert {WebPCompression(20, 24).draw(generator) for _ in range(200)} == {20, 21, 22, 23, 24}

    def test_what_no_file_can_hold_is_refused_in_one_line(self):
        with pytest.raises(ValueError, match="an image of 16400x2 pixels is too large for WebP, which takes 16383"):
            WebPCompression(50, 50)(np.zeros((2, 16400, 3), np.uint8), rng())


class TestAnyOrder:
    parts = (fixed(GaussianBlur, 1), fixed(GaussianNoise, 9), fixed(JPEGCompression, 40))

    def test_numbers_kinds_and_orders_come_evenly(self):
        image, generator = np.full((2, 2, 3), 128, np.uint8), rng()
        drawn = Counter(tuple(AnyOrder(self.parts)(image, generator)[1]) for _ in range(1500))
        assert len(drawn) == 3 + 6 + 6
        for chain, count in drawn.items():
            share = 1 / 3 / {1: 3, 2: 6, 3: 6}[len(chain)]
            assert count / 1500 == pytest.approx(share, abs=4 * np.sqrt(share / 1500))

    def test_at_most_as_many_as_asked_for(self):
        image, generator = np.full((2, 2, 3), 128, np.uint8), rng()
        assert {len(AnyOrder(self.parts, most=2)(image, generator)[1]) for _ in range(50)} == {1, 2}

    def test_its_text_tells_all_of_it(self):
        texts = {repr(AnyOrder(self.parts)), repr(AnyOrder(self.parts, 2)), repr(AnyOrder(self.parts[:2]))}
        assert len(texts) == 3 and repr(AnyOrder(self.parts)) == repr(AnyOrder(list(self.parts), 3))

    @pytest.mark.parametrize(("n", "most"), [(0, None), (2, 3), (2, 0), (2, 1.5)])
    def test_wrong_numbers_are_refused(self, n, most):
        with pytest.raises(ValueError, match=f"most={most!r} is not a number from 1 to that of the distortions, {n}"):
            AnyOrder(self.parts[:n], most)

    def test_what_is_no_distortion_is_refused(self):
        with pytest.raises(TypeError, match="distortions: 'blur' is not a Distortion"):
            AnyOrder(["blur"])


class TestMixtures:
    def test_all_are_names_of_severities(self):
        assert set(MIXTURES) < set(get_args(Severity))

    @pytest.mark.parametrize("name", MIXTURES)
    def test_a_name_gives_its_damage(self, name, photo):
        first = {
            "motion": {"motion_length"},
            "defocus": {"defocus_radius"},
            "low-light": {"poisson_sigma"},
            "salt-and-pepper": {"salt_and_pepper"},
            "web": {"resampling_factor", "jpeg_quality"},
        }
        model, generator = as_distortion(name), rng()
        drawn = [next(iter(model(photo[:16, :16], generator)[1])) for _ in range(30)]
        assert set(drawn) == first[name] if name in first else len(set(drawn)) > 5
        assert repr(model) == repr(as_distortion(name))

    def test_wild_holds_every_kind_of_damage(self):
        assert {type(part) for part in as_distortion("wild").distortions} >= {*KINDS, GaussianBlur, GaussianNoise}
        assert as_distortion("wild").most == 3

    def test_names_can_be_joined_with_others(self):
        assert len(as_distortion("moderate+web+wild").distortions) == 3


@pytest.mark.parametrize("name", ["motion", "wild"])
def test_infos_tell_what_they_always_told_and_the_pair_tells_all(name):
    env = ImageRestoreEnv(severity=name, toolbox="classical")
    for seed in range(4):
        _, info = env.reset(seed=seed)
        told = env.pair.distortion
        for key in ("blur_sigma", "noise_sigma", "jpeg_quality"):
            assert info[key] == told.get(key, -1)
        assert "motion_length" not in info and (name != "motion" or {"motion_length", "motion_angle"} < set(told))
