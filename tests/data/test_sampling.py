"""Patches cut from clean photos and distorted."""

from itertools import permutations

import numpy as np
import pytest
from located import darken, located_photo, place, rng

from restore_env.data.distortions import GaussianBlur, GaussianNoise, JPEGCompression, MixedDistortion
from restore_env.data.image_io import write_image
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import STRETCH, PatchSampler, shrink, shrink_factors
from restore_env.errors import ImageError


class TestWindows:
    """A patch is what it would be had the whole photo been distorted."""

    @pytest.mark.parametrize(("height", "width"), [(240, 200), (70, 250), (66, 64)])
    @pytest.mark.parametrize(
        "chain",
        [
            [GaussianBlur(5, 5)],
            [JPEGCompression(10, 10)],
            [GaussianBlur(1, 1), JPEGCompression(40, 40)],
            [GaussianBlur(5, 5), JPEGCompression(10, 10)],
            [JPEGCompression(20, 20), GaussianBlur(2, 2)],
        ],
        ids=["blur", "jpeg", "weak", "strong", "reversed"],
    )
    def test_equals_distorting_the_whole_photo(self, height, width, chain):
        photo, distortion = located_photo(height, width), MixedDistortion(chain)
        whole, _ = distortion(photo, rng())
        sampler, generator = PatchSampler([photo], distortion), rng()
        places = set()
        for _ in range(100):
            pair = sampler.sample(generator)
            row, column = place(photo, pair.reference)
            places.add((row, column))
            np.testing.assert_array_equal(pair.reference, photo[row : row + 63, column : column + 63])
            np.testing.assert_array_equal(pair.distorted, whole[row : row + 63, column : column + 63])
        rows, columns = ({place[axis] for place in places} for axis in (0, 1))
        # Places near all four borders, where the window around a patch is cut off, were among them.
        assert min(rows) < 10 and max(rows) > height - 63 - 10
        assert min(columns) < 10 and max(columns) > width - 63 - 10

    def test_reaches_every_place(self):
        photo, sampler, generator = located_photo(65, 66), PatchSampler([located_photo(65, 66)]), rng()
        places = {place(photo, sampler.sample(generator).reference) for _ in range(200)}
        assert places == {(row, column) for row in range(3) for column in range(4)}

    @pytest.mark.parametrize("augment", [False, True])
    def test_patches_lie_anywhere_on_the_jpeg_grid(self, augment):
        """A distortion that marks where the blocks of a JPEG would start shows each patch's place on that grid."""

        def mark(image, generator):
            marked = image.copy()
            marked[::16, :, 0] = 255
            marked[:, ::16, 1] = 255
            return marked, {}

        sampler = PatchSampler([np.full((250, 300, 3), 100, np.uint8)], mark, augment=augment)
        generator, n = rng(), 800
        rows, columns = np.zeros(16), np.zeros(16)
        for _ in range(n):
            patch = sampler.sample(generator).distorted
            rows[np.flatnonzero((patch[..., 0] == 255).all(1))[0]] += 1
            columns[np.flatnonzero((patch[..., 1] == 255).all(0))[0]] += 1
        # Of 800 draws 50 +- 7 show each offset; photos of 250 and 300 pixels have some offsets once more than others.
        for counts in (rows, columns):
            assert counts.min() > 20 and counts.max() < 90

    def test_patches_do_not_share_memory_with_the_photo(self):
        photo = located_photo(80, 80)
        before = photo.copy()
        pair = PatchSampler([photo], darken).sample(rng())
        pair.reference[:] = 0
        pair.distorted[:] = 0
        np.testing.assert_array_equal(photo, before)

    @pytest.mark.parametrize("size", [1, 40, 64])
    def test_patch_size(self, size):
        pair = PatchSampler([located_photo(64, 80)], darken, size).sample(rng())
        assert pair.distorted.shape == pair.reference.shape == (size, size, 3)


class TestSampling:
    def test_parameters_are_those_of_the_distortion(self):
        sampler = PatchSampler([located_photo(90, 90)], MixedDistortion([GaussianNoise(10, 12)]))
        pair = sampler.sample(rng())
        assert list(pair.distortion) == ["noise_sigma"]
        difference = pair.distorted.astype(float) - pair.reference
        inside = (pair.reference > 60) & (pair.reference < 195)  # where noise is not clipped
        assert difference[inside].std() == pytest.approx(pair.distortion["noise_sigma"], rel=0.05)

    def test_patches_above_50_db_never_come(self):
        """Half of the photo is plain, where JPEG changes nothing; more than one patch in five would lie there."""
        photo = located_photo(200, 200)
        photo[:100] = 128
        sampler, generator = PatchSampler([photo], MixedDistortion([JPEGCompression(50, 50)])), rng()
        for _ in range(100):
            pair = sampler.sample(generator)
            assert np.mean(np.square(pair.distorted.astype(float) - pair.reference)) >= 255**2 * 10**-5

    def test_photos_with_nothing_to_restore_are_an_error(self):
        sampler = PatchSampler([np.full((64, 64, 3), 128, np.uint8)], MixedDistortion([JPEGCompression(90, 90)]))
        with pytest.raises(ImageError, match="above 50 dB"):
            sampler.sample(rng())

    def test_same_seed_same_pair(self, photos):
        one, other = PatchSampler(photos), PatchSampler(photos)
        one.sample(rng(1))  # what was drawn before does not matter
        for seed in range(5):
            first, second = one.sample(rng(seed)), other.sample(rng(seed))
            np.testing.assert_array_equal(first.distorted, second.distorted)
            np.testing.assert_array_equal(first.reference, second.reference)
            assert first.distortion == second.distortion

    def test_every_photo_is_drawn(self):
        photos = [np.full((70, 70, 3), value, np.uint8) for value in (50, 100, 150)]
        sampler, generator = PatchSampler(photos, darken), rng()
        values = [int(sampler.sample(generator).reference[0, 0, 0]) for _ in range(300)]
        for value in (50, 100, 150):
            assert values.count(value) == pytest.approx(100, abs=35)  # more than four standard deviations

    def test_augment_turns_pairs_in_all_eight_ways(self):
        photo = np.zeros((150, 150, 3), np.uint8)
        photo[..., 0], photo[..., 1] = np.arange(150), np.arange(150)[:, None]
        ways = {False: set(), True: set()}
        for augment, seen in ways.items():
            sampler, generator = PatchSampler([photo], darken, augment=augment), rng()
            for _ in range(150):
                pair = sampler.sample(generator)
                np.testing.assert_array_equal(pair.distorted, pair.reference // 2)
                corner = pair.reference[:2, :2, :2].astype(int)
                steps = np.concatenate([corner[0, 1] - corner[0, 0], corner[1, 0] - corner[0, 0]])
                seen.add(tuple(steps.tolist()))
        assert ways[False] == {(1, 0, 0, 1)}
        turned = {(a, 0, 0, b) for a in (-1, 1) for b in (-1, 1)} | {(0, a, b, 0) for a in (-1, 1) for b in (-1, 1)}
        assert ways[True] == turned

    def test_colours_move_the_black_and_the_white_point_of_half_of_the_windows(self):
        photo = np.zeros((70, 70, 3), np.uint8)
        photo[:, 1::3], photo[:, 2::3] = 255, 100
        sampler, generator = PatchSampler([photo], darken, colours=True), rng()
        moved = []
        for _ in range(200):
            pair = sampler.sample(generator)
            np.testing.assert_array_equal(pair.distorted, pair.reference // 2)
            black, middle, white = (np.unique(pair.reference.reshape(-1, 3), axis=0).astype(int)[i] for i in range(3))
            np.testing.assert_allclose(middle, black + (white - black) * (100 / 255), atol=1.01)
            if (black > 0).any() or (white < 255).any():
                moved.append((black, white))
        assert len(moved) == pytest.approx(100, abs=30)  # more than four standard deviations
        blacks, whites = np.concatenate([black for black, _ in moved]), np.concatenate([white for _, white in moved])
        for distances in (blacks, 255 - whites):
            assert 0 <= distances.min() < 3 and 29 < distances.max() <= 32
        assert any(len(set(black.tolist())) == 3 for black, _ in moved)  # each channel by itself

    def test_colours_exchange_the_channels_of_half_of_the_windows(self):
        photo = np.tile(np.array([40, 120, 200], np.uint8), (70, 70, 1))
        sampler, generator = PatchSampler([photo], darken, colours=True), rng()
        orders = [tuple(np.argsort(sampler.sample(generator).reference[0, 0]).tolist()) for _ in range(300)]
        counts = {order: orders.count(order) for order in permutations(range(3))}
        plain = counts.pop((0, 1, 2))
        assert plain == pytest.approx(175, abs=35)  # the half that stays, and a sixth of the other
        assert all(count == pytest.approx(25, abs=19) for count in counts.values())


class TestScales:
    @pytest.mark.parametrize(
        ("side", "factors"),
        [(63, [1]), (319, [1]), (640, [1, 2]), (1080, [1, 2, 3]), (1356, [2, 3, 4]), (2160, [2, 3, 4]), (6000, [4])],
    )
    def test_factors_leave_a_shorter_side_of_320_to_1080(self, side, factors):
        assert shrink_factors(side) == factors

    def test_patch_larger_than_320_pixels_still_fits(self):
        assert shrink_factors(640, 500) == [1]
        assert shrink_factors(5000, 2000) == [1]

    def test_photos_are_sampled_at_every_scale(self):
        photo = np.zeros((640, 960, 3), np.uint8)
        photo[..., 0] = np.arange(960) // 6  # grows by 10 over 60 pixels, by 20 when they are shrunk by 2
        sampler, generator = PatchSampler([photo], lambda image, generator: (image + 50, {})), rng()
        steps = []
        for _ in range(40):
            row = sampler.sample(generator).reference[0, :, 0].astype(int)
            steps.append(row[60] - row[0])
        # A ramp of whole numbers is known to one step.
        assert {round(step / 10) for step in steps} == {1, 2}
        assert all(min(abs(step - 10), abs(step - 20)) <= 1 for step in steps)

    def test_factors_of_ones_own(self):
        photo = np.zeros((640, 640, 3), np.uint8)
        photo[..., 0] = np.arange(640) // 4
        sampler, generator = PatchSampler([photo], darken, factors=(1.0, 1.6)), rng()
        rises = {int(np.ptp(sampler.sample(generator).reference[0, :, 0])) for _ in range(40)}
        assert min(rises) in (15, 16) and max(rises) in (24, 25)  # 62 pixels of the photo, or of one 1.6 times smaller
        assert "shrunk by 1, 1.6" in repr(sampler)

    @pytest.mark.parametrize(("height", "width"), [(64, 150), (200, 160)])
    def test_windows_are_shrunk_further(self, height, width):
        rows, columns = np.mgrid[:height, :width]
        photo = np.stack([rows, columns, rows], 2).astype(np.uint8)
        sampler, generator = PatchSampler([photo], darken, between=True), rng()
        steps, places = [], []
        for _ in range(200):
            reference = sampler.sample(generator).reference.astype(float)
            assert reference.shape == (63, 63, 3)
            down, across = np.diff(reference[..., 0], axis=0).mean(), np.diff(reference[..., 1], axis=1).mean()
            assert down == pytest.approx(across, abs=0.05)
            steps.append(down)
            places.append((reference[0, 0, 1], reference[-1, -1, 1]))
        largest = min(STRETCH, height / 63)
        assert 1 <= min(steps) < 1.02 and largest - 0.05 < max(steps) <= largest + 0.05
        assert min(first for first, _ in places) <= 2 and max(last for _, last in places) >= width - 4

    def test_shrinking_averages(self):
        photo = rng().integers(256, size=(60, 49, 3), dtype=np.uint8)
        blocks = photo[:, :48].reshape(15, 4, 12, 4, 3).mean((1, 3))
        shrunk = shrink(photo[:, :48], 4)
        assert np.abs(shrunk - blocks).max() <= 0.5  # rounding
        assert shrink(photo, 4).shape == (15, 12, 3)
        np.testing.assert_array_equal(shrink(photo, 1), photo)


class TestPhotosThatCannotBeUsed:
    @staticmethod
    def truncate(path):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])

    def test_truncated_photo_is_named_once_and_left_out(self, photo_folder, photos):
        self.truncate(photo_folder / "1.png")
        sampler, generator = PatchSampler(FolderPhotos(photo_folder), darken), rng()
        with pytest.warns(UserWarning, match="skipped") as record:
            patches = [sampler.sample(generator).reference for _ in range(60)]
        assert len(record) == 1
        message = str(record[0].message)
        assert str(photo_folder / "1.png") in message and "\n" not in message
        assert len(patches) == 60

    def test_same_seed_same_pair_whether_or_not_the_photo_is_known_to_be_bad(self, photo_folder):
        self.truncate(photo_folder / "1.png")
        fresh, used = (PatchSampler(FolderPhotos(photo_folder), darken) for _ in range(2))
        with pytest.warns(UserWarning, match=r"1\.png"):
            first = [used.sample(rng(seed)).reference for seed in range(10)]
        again = [used.sample(rng(seed)).reference for seed in range(10)]
        with pytest.warns(UserWarning, match=r"1\.png"):
            other = [fresh.sample(rng(seed)).reference for seed in reversed(range(10))]
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(first, other[::-1])

    def test_folder_with_no_usable_photo(self, photo_folder):
        for path in photo_folder.iterdir():
            self.truncate(path)
        sampler = PatchSampler(FolderPhotos(photo_folder))
        with pytest.warns(UserWarning) as record, pytest.raises(ImageError, match="no usable image") as caught:
            sampler.sample(rng())
        assert len(record) == 3
        assert str(photo_folder) in str(caught.value)

    def test_photo_smaller_than_a_patch_is_left_out(self, photo_folder):
        write_image(photo_folder / "small.png", np.zeros((62, 200, 3), np.uint8))
        sampler, generator = PatchSampler(FolderPhotos(photo_folder), darken), rng()
        with pytest.warns(UserWarning, match=r"small\.png: 200x62 pixels, less than 63x63") as record:
            patches = [sampler.sample(generator).reference for _ in range(40)]
        assert len(record) == 1
        assert all(patch.any() for patch in patches)

    def test_only_photos_smaller_than_a_patch(self):
        sampler = PatchSampler([np.zeros((62, 62, 3), np.uint8)])
        with pytest.warns(UserWarning, match="62x62"), pytest.raises(ImageError, match="at least 63x63") as caught:
            sampler.sample(rng())
        assert "\n" not in str(caught.value)

    def test_photo_of_exactly_a_patch(self):
        photo = located_photo(63, 63)
        np.testing.assert_array_equal(PatchSampler([photo], darken).sample(rng()).reference, photo)

    def test_no_photos(self):
        with pytest.raises(ImageError, match="no usable image"):
            PatchSampler([]).sample(rng())

    def test_photos_of_floats_are_refused(self):
        with pytest.raises(TypeError, match=r"photos\[0\] is an array of float64"):
            PatchSampler([np.zeros((80, 80, 3))]).sample(rng())

    def test_a_distortion_that_writes_into_its_argument_changes_no_photo(self):
        def darken_in_place(image, generator):
            image //= 2
            return image, {}

        photo = np.random.default_rng(0).integers(40, 256, (80, 80, 3), dtype=np.uint8)
        before, pair = photo.copy(), PatchSampler([photo], darken_in_place).sample(rng())
        np.testing.assert_array_equal(photo, before)
        np.testing.assert_array_equal(pair.distorted, pair.reference // 2)
