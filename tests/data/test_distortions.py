"""Gaussian blur, Gaussian noise and JPEG: their levels, what they do to pixels, and how they are mixed."""

import io
from collections import Counter
from itertools import permutations, product

import numpy as np
import pytest
from PIL import Image

from restore_env.data.distortions import (
    Distortion,
    GaussianBlur,
    GaussianNoise,
    JPEGCompression,
    MixedDistortion,
    OneOf,
    SeverityDistortion,
    as_distortion,
    everyday,
)
from restore_env.data.pairs import input_psnr
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import draw_pairs
from restore_env.utils.tensors import to_bytes, to_float

KINDS = (GaussianBlur, GaussianNoise, JPEGCompression)

# The authors' released program (section 4.1 of the paper): ten levels each, mildest first.
LEVEL_EDGES = {
    GaussianBlur: [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5],
    GaussianNoise: [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50],
    JPEGCompression: [100, 80, 60, 50, 40, 35, 30, 25, 20, 15, 10],
}
SUM_OF_LEVELS = {"mild": (9, 11), "moderate": (12, 17), "severe": (18, 20)}


@pytest.fixture
def photo(photos):
    return photos[0]


def rng(seed=0):
    return np.random.default_rng(seed)


def fixed(kind, value):
    return kind(value, value)


def possible_levels(kind, value):
    """The levels that a drawn parameter may come from: two if it lies on an edge, as a rounded quality can."""
    edges = LEVEL_EDGES[kind]
    return [
        level
        for level in range(1, 11)
        if min(edges[level - 1 : level + 1]) <= value <= max(edges[level - 1 : level + 1])
    ]


class TestLevels:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("level", range(1, 11))
    def test_edges_are_those_of_the_authors_generator(self, kind, level):
        distortion = kind.level(level)
        assert sorted(LEVEL_EDGES[kind][level - 1 : level + 1]) == [distortion.low, distortion.high]

    @pytest.mark.parametrize("kind", KINDS)
    def test_default_spans_all_levels(self, kind):
        assert (kind().low, kind().high) == (min(LEVEL_EDGES[kind]), max(LEVEL_EDGES[kind]))

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("level", [0, 11, -1, 1.5, "mild", None])
    def test_unknown_level_is_refused(self, kind, level):
        with pytest.raises(ValueError, match=f"level={level!r} is not one of 1 to 10"):
            kind.level(level)

    @pytest.mark.parametrize("kind", KINDS)
    def test_parameter_is_drawn_uniformly_from_the_level(self, kind):
        distortion, generator = kind.level(4), rng()
        drawn = np.array([distortion.draw(generator) for _ in range(2000)])
        width = distortion.high - distortion.low
        assert drawn.min() >= distortion.low and drawn.max() <= distortion.high
        # The mean of 2000 uniform draws deviates by 0.65% of the width; rounding to a quality adds little.
        assert drawn.mean() == pytest.approx((distortion.low + distortion.high) / 2, abs=0.03 * width)
        assert drawn.std() == pytest.approx(width / np.sqrt(12), rel=0.1)

    def test_jpeg_quality_is_an_integer(self):
        generator = rng()
        drawn = {JPEGCompression(20, 35).draw(generator) for _ in range(500)}
        assert drawn == set(range(20, 36))

    @pytest.mark.parametrize(
        ("kind", "low", "high", "message"),
        [
            (GaussianBlur, -1, 2, "GaussianBlur: blur_sigma from low=-1 to high=2"),
            (GaussianBlur, 3, 2, "GaussianBlur: blur_sigma from low=3 to high=2"),
            (GaussianNoise, 0, 256, "GaussianNoise: noise_sigma from low=0 to high=256"),
            (GaussianNoise, float("nan"), 10, "GaussianNoise: noise_sigma from low=nan to high=10"),
            (JPEGCompression, 0, 50, "JPEGCompression: jpeg_quality from low=0 to high=50"),
            (JPEGCompression, 50, 101, "JPEGCompression: jpeg_quality from low=50 to high=101"),
        ],
    )
    def test_impossible_interval_is_refused(self, kind, low, high, message):
        with pytest.raises(ValueError, match=message):
            kind(low, high)


class TestBlur:
    @staticmethod
    def naive(image, sigma):
        """Sum over a normalized 21x21 kernel, in float64, with replicated edges."""
        offsets = np.arange(-10, 11)
        kernel = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * sigma**2))
        kernel /= kernel.sum()
        padded = np.pad(image.astype(np.float64), ((10, 10), (10, 10), (0, 0)), mode="edge")
        height, width = image.shape[:2]
        blurred = np.zeros(image.shape)
        for row, column in product(range(21), repeat=2):
            blurred += kernel[row, column] * padded[row : row + height, column : column + width]
        return blurred

    @pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 2.5, 5.0])
    def test_equals_a_naive_convolution(self, sigma):
        image = rng().random((25, 31, 3), dtype=np.float32)
        blurred = GaussianBlur().apply(image, sigma, rng())
        # Float32 sums of 21 terms, twice, of values up to 1.
        np.testing.assert_allclose(blurred, self.naive(image, sigma), rtol=0, atol=5e-7)

    def test_no_blur_changes_nothing(self, photo):
        distorted, _ = MixedDistortion([fixed(GaussianBlur, 0)])(photo, rng())
        np.testing.assert_array_equal(distorted, photo)

    def test_image_smaller_than_the_kernel(self):
        image = rng().random((4, 7, 3), dtype=np.float32)
        np.testing.assert_allclose(GaussianBlur().apply(image, 3, rng()), self.naive(image, 3), rtol=0, atol=5e-7)


class TestNoise:
    @pytest.mark.parametrize("sigma", [1, 5, 12.5, 30])
    def test_is_white_with_the_standard_deviation_asked_for(self, sigma):
        grey = np.full((200, 200, 3), 0.5, np.float32)
        noise = (GaussianNoise().apply(grey, sigma, rng()) - 0.5) * 255
        # 120,000 values: the standard deviation is known to 0.2%, the mean and correlations to 0.3%.
        assert noise.std() == pytest.approx(sigma, rel=0.01)
        assert noise.mean() == pytest.approx(0, abs=0.015 * sigma)
        for first, second in [(noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1]), (noise[..., 0], noise[..., 1])]:
            assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02

    @pytest.mark.parametrize("value", [0, 1])
    def test_is_clipped(self, value):
        noisy = GaussianNoise().apply(np.full((50, 50, 3), value, np.float32), 50, rng())
        assert noisy.min() >= 0 and noisy.max() <= 1
        assert np.mean(noisy == value) == pytest.approx(0.5, abs=0.03)

    def test_no_noise_changes_nothing(self, photo):
        distorted, _ = MixedDistortion([fixed(GaussianNoise, 0)])(photo, rng())
        np.testing.assert_array_equal(distorted, photo)


class TestJPEG:
    @staticmethod
    def by_pillow(image, quality, subsampling):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=quality, subsampling=subsampling)
        return np.asarray(Image.open(stream))

    @pytest.mark.parametrize("quality", [10, 20, 35, 60, 80, 100])
    def test_is_libjpeg_with_halved_chroma(self, photo, quality):
        distorted, _ = MixedDistortion([fixed(JPEGCompression, quality)])(photo, rng())
        np.testing.assert_array_equal(distorted, self.by_pillow(photo, quality, "4:2:0"))
        assert np.any(distorted != self.by_pillow(photo, quality, "4:4:4"))

    def test_odd_size(self, photo):
        odd = photo[:63, :41]
        distorted, _ = MixedDistortion([fixed(JPEGCompression, 30)])(odd, rng())
        np.testing.assert_array_equal(distorted, self.by_pillow(odd, 30, "4:2:0"))

    def test_rounds_what_comes_in(self):
        image = np.full((16, 16, 3), 100.6 / 255, np.float32)
        np.testing.assert_array_equal(to_bytes(JPEGCompression().apply(image, 100, rng())), 101)


class TestMixed:
    @pytest.mark.parametrize("kind", KINDS)
    def test_each_distortion_alone(self, kind, photo):
        before = photo.copy()
        distorted, parameters = MixedDistortion([kind.level(8)])(photo, rng())
        assert distorted.dtype == np.uint8 and distorted.shape == photo.shape
        assert np.any(distorted != photo)
        np.testing.assert_array_equal(photo, before)
        assert list(parameters) == [kind.parameter]
        assert kind.level(8).low <= parameters[kind.parameter] <= kind.level(8).high

    def test_every_order_is_another_distortion(self, photo):
        chain = [fixed(GaussianBlur, 1.5), fixed(GaussianNoise, 20), fixed(JPEGCompression, 25)]
        results = {}
        for order in permutations(chain):
            distorted, parameters = MixedDistortion(order)(photo, rng())
            assert list(parameters) == [distortion.parameter for distortion in order]
            results[order] = distorted.tobytes()
        assert len(set(results.values())) == 6

    def test_distortions_happen_in_the_order_given(self, photo):
        blur, jpeg = fixed(GaussianBlur, 2), fixed(JPEGCompression, 25)
        blurred, _ = MixedDistortion([blur])(photo, rng())
        blurred_first, _ = MixedDistortion([blur, jpeg])(photo, rng())
        np.testing.assert_array_equal(blurred_first, MixedDistortion([jpeg])(blurred, rng())[0])
        compressed, _ = MixedDistortion([jpeg])(photo, rng())
        compressed_first, _ = MixedDistortion([jpeg, blur])(photo, rng())
        np.testing.assert_array_equal(compressed_first, MixedDistortion([blur])(compressed, rng())[0])

    def test_nothing_is_rounded_between_blur_and_noise(self, photo):
        """Two blurs without rounding between them are one blur; 0.5 is what the last rounding may add."""
        image = photo[:40, :40]
        twice, _ = MixedDistortion([fixed(GaussianBlur, 1.5), fixed(GaussianBlur, 2)])(image, rng())
        exact = TestBlur.naive(TestBlur.naive(to_float(image), 1.5), 2) * 255
        assert np.abs(twice - exact).max() <= 0.5 + 1e-3

    def test_repeated_kinds_are_told_apart(self):
        grey = np.full((150, 150, 3), 128, np.uint8)
        chain = [fixed(GaussianNoise, 6), fixed(GaussianBlur, 0), fixed(GaussianNoise, 8), fixed(GaussianNoise, 0)]
        distorted, parameters = MixedDistortion(chain)(grey, rng())
        assert parameters == {"noise_sigma": 6, "blur_sigma": 0, "noise_sigma_2": 8, "noise_sigma_3": 0}
        # Independent noises of 6 and 8 make 10; rounding adds a variance of 1/12.
        assert distorted.std() == pytest.approx(10, rel=0.01)

    def test_no_distortion_is_the_image(self, photo):
        distorted, parameters = MixedDistortion([])(photo, rng())
        np.testing.assert_array_equal(distorted, photo)
        assert distorted is not photo and parameters == {}

    def test_what_is_no_distortion_is_refused(self):
        with pytest.raises(TypeError, match="distortions: 'blur' is not a Distortion"):
            MixedDistortion([GaussianBlur(), "blur"])


class TestOneOf:
    def test_each_comes_as_often_as_its_weight_says(self):
        choices = [fixed(GaussianBlur, 1), MixedDistortion([fixed(GaussianNoise, 5)]), SeverityDistortion("mild")]
        distortion, generator, n = OneOf(choices, weights=(6, 3, 1)), rng(), 1000
        image = np.full((2, 2, 3), 128, np.uint8)
        drawn = Counter(tuple(distortion(image, generator)[1]) for _ in range(n))
        expected = {
            ("blur_sigma",): 0.6,
            ("noise_sigma",): 0.3,
            ("blur_sigma", "noise_sigma", "jpeg_quality"): 0.1,
        }
        assert set(drawn) == set(expected)
        for keys, share in expected.items():
            assert drawn[keys] / n == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / n))

    def test_all_come_equally_often_by_default(self):
        distortion, generator, n = OneOf([fixed(GaussianNoise, sigma) for sigma in range(4)]), rng(), 1000
        image = np.full((2, 2, 3), 128, np.uint8)
        drawn = Counter(distortion(image, generator)[1]["noise_sigma"] for _ in range(n))
        assert all(drawn[sigma] / n == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / n)) for sigma in range(4))

    def test_distorts_as_what_was_drawn_alone(self, photo):
        noise = fixed(GaussianNoise, 20)
        generator = rng(3)
        distorted, parameters = OneOf([noise])(photo, generator)
        expected = rng(3)
        expected.choice(1, p=[1.0])  # which of them
        np.testing.assert_array_equal(distorted, noise(photo, expected)[0])
        assert parameters == {"noise_sigma": 20}

    def test_same_seed_same_result(self, photo):
        distortion = OneOf([GaussianBlur(1, 3), GaussianNoise(5, 50), JPEGCompression(10, 50)])
        results = [distortion(photo, rng(seed)) for seed in (0, 0, 1)]
        np.testing.assert_array_equal(results[0][0], results[1][0])
        assert results[0][1] == results[1][1] != results[2][1]

    def test_its_text_tells_all_of_it(self):
        """A training goes on only with the same text."""
        kinds = [GaussianBlur(1, 3), MixedDistortion([GaussianNoise(5, 50)])]
        texts = {repr(OneOf(kinds)), repr(OneOf(kinds[::-1])), repr(OneOf(kinds[:1])), repr(OneOf(kinds, (1, 2)))}
        assert len(texts) == 4
        assert repr(OneOf(kinds)) == repr(OneOf(tuple(kinds), (1.0, 1.0)))

    @pytest.mark.parametrize(
        ("n", "weights"),
        [(0, None), (0, ()), (2, (1,)), (2, (1, 2, 3)), (2, (1, 0)), (2, (1, -1)), (1, (float("nan"),))],
    )
    def test_wrong_weights_are_refused(self, n, weights):
        with pytest.raises(ValueError, match=f"weights=.* are not {n} positive numbers"):
            OneOf([GaussianBlur()] * n, weights)


class TestSeverity:
    @pytest.mark.parametrize("severity", SUM_OF_LEVELS)
    def test_sum_of_levels(self, severity):
        first, last = SUM_OF_LEVELS[severity]
        distortion, generator = SeverityDistortion(severity), rng()
        image = np.full((4, 4, 3), 128, np.uint8)
        sums = Counter()
        for _ in range(600):
            _, parameters = distortion(image, generator)
            assert list(parameters) == ["blur_sigma", "noise_sigma", "jpeg_quality"]
            candidates = [possible_levels(kind, parameters[kind.parameter]) for kind in KINDS]
            possible = {sum(triple) - 2 for triple in product(*candidates)} & set(range(first, last + 1))
            assert possible, parameters
            if len(possible) == 1:
                sums.update(possible)
        assert set(sums) == set(range(first, last + 1))

    @pytest.mark.parametrize("severity", [*SUM_OF_LEVELS, "any"])
    def test_triples_are_drawn_uniformly(self, severity):
        first, last = SUM_OF_LEVELS.get(severity, (1, 28))
        triples = [triple for triple in product(range(1, 11), repeat=3) if first <= sum(triple) - 2 <= last]
        expected = Counter(blur for blur, _, _ in triples)
        distortion, generator, n = SeverityDistortion(severity), rng(), 1000
        image = np.full((2, 2, 3), 128, np.uint8)
        drawn = Counter(int(distortion(image, generator)[1]["blur_sigma"] / 0.5) + 1 for _ in range(n))
        assert set(drawn) <= set(expected)
        for level, count in expected.items():
            share = count / len(triples)
            assert drawn[level] / n == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / n))

    @pytest.mark.parametrize("severity", [*SUM_OF_LEVELS, "any"])
    def test_same_seed_same_result(self, severity, photo):
        distortion = SeverityDistortion(severity)
        first, parameters = distortion(photo, rng(5))
        again, same_parameters = SeverityDistortion(severity)(photo, rng(5))
        other, _ = distortion(photo, rng(6))
        np.testing.assert_array_equal(first, again)
        assert parameters == same_parameters
        assert np.any(first != other)

    def test_stronger_severities_are_worse(self, photo):
        errors = []
        for severity in SUM_OF_LEVELS:
            distortion, generator = SeverityDistortion(severity), rng()
            distorted = [distortion(photo, generator)[0].astype(float) for _ in range(40)]
            errors.append(np.mean([np.square(image - photo).mean() for image in distorted]))
        assert errors == sorted(errors)

    @pytest.mark.parametrize("severity", ["hard", "", "Mild"])
    def test_unknown_severity_is_refused(self, severity):
        with pytest.raises(
            ValueError, match=f"severity={severity!r} is not one of 'mild', 'moderate', 'severe', 'any'"
        ):
            SeverityDistortion(severity)


class TestAsDistortion:
    def test_name(self, photo):
        by_name, _ = as_distortion("severe")(photo, rng())
        np.testing.assert_array_equal(by_name, SeverityDistortion("severe")(photo, rng())[0])

    @pytest.mark.parametrize("kind", KINDS)
    def test_single_distortion(self, kind, photo):
        distorted, parameters = as_distortion(kind.level(7))(photo, rng())
        expected, expected_parameters = MixedDistortion([kind.level(7)])(photo, rng())
        np.testing.assert_array_equal(distorted, expected)
        assert parameters == expected_parameters

    def test_function(self, photo):
        def invert(image, generator):
            return 255 - image, {"inverted": 1.0}

        distorted, parameters = as_distortion(invert)(photo, rng())
        np.testing.assert_array_equal(distorted, 255 - photo)
        assert parameters == {"inverted": 1.0}

    @pytest.mark.parametrize("severity", [3, None, ["mild"]])
    def test_anything_else_is_refused(self, severity):
        with pytest.raises(TypeError, match="severity=.* is neither one of 'mild'.* nor a distortion"):
            as_distortion(severity)


def test_bytes_survive_the_way_to_floats_and_back():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_bytes(to_float(values)), values)
    np.testing.assert_array_equal(to_bytes(np.array([-0.1, 1.1, 0.5 / 255 + 1e-5], np.float32)), [0, 255, 1])


def test_distortion_is_abstract():
    with pytest.raises(TypeError):
        Distortion(0, 1)


class TestEveryday:
    def test_it_holds_mixtures_singles_other_orders_and_clean_photos_in_their_shares(self, photo):
        model, generator = as_distortion("everyday"), np.random.default_rng(0)
        drawn = [tuple(model(photo[:16, :16], generator)[1].items()) for _ in range(1200)]
        paper = ("blur_sigma", "noise_sigma", "jpeg_quality")

        def kind_of(parameters):
            names = tuple(name for name, _ in parameters)
            if names == ("noise_sigma",) and 0.75 <= parameters[0][1] <= 1:
                return "clean"
            if names == paper or len(names) == 1:
                return "mixture" if names == paper else "single"
            return "order" if list(names) != sorted(names, key=paper.index) else "paper's order"

        kinds = [kind_of(parameters) for parameters in drawn]
        for kind, share in (("mixture", 1 / 3), ("single", 1 / 3), ("order", 1 / 6), ("clean", 1 / 6)):
            assert kinds.count(kind) / len(kinds) == pytest.approx(share, abs=0.05)

    def test_clean_photos_are_just_below_the_patches_that_are_drawn_again(self, photo):
        clean = everyday().distortions[-1]
        pairs = draw_pairs(PatchSampler([photo], clean), 8, 0)
        assert all(47.5 < input_psnr(pair) <= 50 for pair in pairs)

    def test_names_are_told(self):
        with pytest.raises(ValueError, match="severity='hard' is not one of .*'any', 'everyday'"):
            as_distortion("hard")
