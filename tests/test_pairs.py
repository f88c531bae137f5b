"""Where distorted and reference images come from: patches of photos, pairs files, pairs folders."""

import re

import numpy as np
import pytest
from PIL import Image

from restore_env.distortions import GaussianBlur, GaussianNoise, JPEGCompression, MixedDistortion, SeverityDistortion
from restore_env.errors import ImageError
from restore_env.images import FolderPhotos, read_image, write_image
from restore_env.pairs import (
    Pairs,
    PatchSampler,
    as_source,
    check_same_size,
    draw_pairs,
    input_psnr,
    load_pairs,
    save_pairs,
    shrink,
    shrink_factors,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def darken(image, generator):
    """A distortion of single pixels, so that a distorted patch tells whether it was cut from the right place."""
    return image // 2, {}


def located_photo(height, width):
    """A photo of noise whose red tells the column and whose green tells the row."""
    assert height <= 256 and width <= 256
    photo = rng().integers(256, size=(height, width, 3), dtype=np.uint8)
    photo[..., 0] = rng(1).permutation(width)
    photo[..., 1] = rng(2).permutation(height)[:, None]
    return photo


def place(photo, patch):
    """Row and column at which a patch was cut from a located photo."""
    row = int(np.flatnonzero(photo[:, 0, 1] == patch[0, 0, 1])[0])
    column = int(np.flatnonzero(photo[0, :, 0] == patch[0, 0, 0])[0])
    return row, column


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


@pytest.fixture
def pairs():
    return draw_pairs(PatchSampler([located_photo(100, 120)], SeverityDistortion("moderate")), 4, seed=3)


class TestPairs:
    def test_first_pairs_do_not_depend_on_how_many_are_drawn(self, pairs):
        fewer = draw_pairs(PatchSampler([located_photo(100, 120)]), 2, seed=3)
        other = draw_pairs(PatchSampler([located_photo(100, 120)]), 2, seed=4)
        np.testing.assert_array_equal(fewer.distorted, pairs.distorted[:2])
        np.testing.assert_array_equal(fewer.reference, pairs.first(2).reference)
        assert np.any(other.distorted != fewer.distorted)
        assert len(pairs.first(100)) == 4

    def test_sequence(self, pairs):
        assert len(pairs) == 4 and pairs.names == ["0", "1", "2", "3"]
        for index, pair in enumerate(pairs):
            np.testing.assert_array_equal(pair.distorted, pairs[index].distorted)
            np.testing.assert_array_equal(pair.reference, pairs.reference[index])

    def test_samples_the_same_place_of_both(self):
        reference = [located_photo(70, 90), located_photo(80, 64)]
        source, generator = Pairs([image // 2 for image in reference], reference), rng()
        places = set()
        for _ in range(60):
            pair = source.sample(generator)
            np.testing.assert_array_equal(pair.distorted, pair.reference // 2)
            assert pair.reference.shape == (63, 63, 3)
            which = next(i for i, image in enumerate(reference) if _contains(image, pair.reference))
            places.add((which, *place(reference[which], pair.reference)))
        assert {which for which, _, _ in places} == {0, 1}
        assert len(places) > 30

    def test_pair_smaller_than_a_patch_cannot_be_sampled(self):
        image = np.zeros((62, 80, 3), np.uint8)
        with pytest.raises(ImageError, match="pair night is smaller than the patch size of 63"):
            Pairs([image], [image], ["night"]).sample(rng())

    @pytest.mark.parametrize(
        ("distorted", "reference", "error", "message"),
        [
            ([], [], ValueError, "0 distorted and 0 reference images"),
            ([(8, 8, 3)] * 2, [(8, 8, 3)], ValueError, "2 distorted and 1 reference images"),
            ([(8, 8, 3)] * 2, [(8, 8, 3), (8, 9, 3)], ValueError, r"pair 1: distorted is \(8, 8, 3\), reference is"),
            ([(8, 8)], [(8, 8)], ValueError, r"distorted\[0\] has the shape \(8, 8\)"),
            ([(8, 8, 3)], [(8, 8, 4)], ValueError, r"reference\[0\] has the shape \(8, 8, 4\)"),
        ],
    )
    def test_what_are_no_pairs_is_refused(self, distorted, reference, error, message):
        arrays = [[np.zeros(shape, np.uint8) for shape in shapes] for shapes in (distorted, reference)]
        with pytest.raises(error, match=message):
            Pairs(*arrays)

    def test_floats_are_refused(self):
        images = np.zeros((1, 8, 8, 3))
        with pytest.raises(TypeError, match=r"distorted\[0\] is an array of float64"):
            Pairs(images, images)

    def test_check_same_size(self):
        small, large = np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)
        check_same_size(small, small)
        with pytest.raises(ValueError, match=r"distorted is \(8, 8, 3\), reference is \(9, 8, 3\)"):
            check_same_size(small, large)

    def test_input_psnr(self):
        reference = np.full((8, 8, 3), 100, np.uint8)
        pair = Pairs([reference + 10], [reference])[0]
        assert input_psnr(pair) == pytest.approx(20 * np.log10(255 / 10), abs=1e-5)
        assert input_psnr(Pairs([reference], [reference])[0]) == pytest.approx(100)


def _contains(photo, patch):
    return np.isin(patch[0, :, 0], photo[0, :, 0]).all() and any(
        np.array_equal(photo[row : row + 63, column : column + 63], patch)
        for row in np.flatnonzero(photo[:, 0, 1] == patch[0, 0, 1])
        for column in np.flatnonzero(photo[0, :, 0] == patch[0, 0, 0])
    )


class TestPairsFile:
    def test_round_trip(self, tmp_path, pairs):
        save_pairs(tmp_path / "pairs.npz", pairs)
        loaded = load_pairs(tmp_path / "pairs.npz")
        np.testing.assert_array_equal(loaded.distorted, pairs.distorted)
        np.testing.assert_array_equal(loaded.reference, pairs.reference)
        assert list(tmp_path.iterdir()) == [tmp_path / "pairs.npz"]

    def test_format(self, tmp_path, pairs):
        save_pairs(str(tmp_path / "pairs.npz"), pairs)
        with np.load(tmp_path / "pairs.npz") as file:
            assert {name: (file[name].shape, file[name].dtype.name) for name in file} == {
                "distorted": ((4, 63, 63, 3), "uint8"),
                "reference": ((4, 63, 63, 3), "uint8"),
            }

    def test_compressed_file_with_more_arrays(self, tmp_path, pairs):
        np.savez_compressed(
            tmp_path / "pairs.npz", distorted=pairs.distorted, reference=pairs.reference, seeds=np.arange(4)
        )
        np.testing.assert_array_equal(load_pairs(tmp_path / "pairs.npz").distorted, pairs.distorted)

    def test_pairs_of_different_sizes_do_not_go_into_a_file(self, tmp_path):
        images = [np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)]
        with pytest.raises(ValueError, match="one size"):
            save_pairs(tmp_path / "pairs.npz", Pairs(images, images))
        assert not list(tmp_path.iterdir())

    def test_other_ending_is_refused(self, tmp_path, pairs):
        with pytest.raises(ValueError, match=r"path='.*pairs\.zip' does not end in \.npz"):
            save_pairs(tmp_path / "pairs.zip", pairs)

    @staticmethod
    def refused(path):
        with pytest.raises(ImageError) as caught:
            load_pairs(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "\n" not in message
        return message.removeprefix(f"{path}: ")

    def test_missing(self, tmp_path):
        assert self.refused(tmp_path / "pairs.npz") == "no such file or folder"

    @pytest.mark.parametrize("content", [b"", b"no pairs", b"PK\x03\x04", b"\x93NUMPY"])
    def test_no_pairs_file(self, tmp_path, content):
        (tmp_path / "pairs.npz").write_bytes(content)
        assert self.refused(tmp_path / "pairs.npz").startswith("not a pairs file, or damaged")

    def test_single_array(self, tmp_path, pairs):
        with (tmp_path / "pairs.npz").open("wb") as file:
            np.save(file, pairs.distorted)
        assert self.refused(tmp_path / "pairs.npz").startswith("not a pairs file, or damaged")

    @pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_truncated(self, tmp_path, pairs, share, save):
        path = tmp_path / "pairs.npz"
        save(path, distorted=pairs.distorted, reference=pairs.reference)
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        assert self.refused(path).startswith("not a pairs file, or damaged")

    @pytest.mark.parametrize("at", [100, 5000, 30000])
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_corrupt(self, tmp_path, pairs, save, at):
        """Bytes within the arrays, and within their headers, are not what was written."""
        path = tmp_path / "pairs.npz"
        save(path, distorted=pairs.distorted, reference=pairs.reference)
        data = bytearray(path.read_bytes())
        data[at : at + 40] = rng().integers(256, size=40, dtype=np.uint8).tobytes()
        path.write_bytes(bytes(data))
        assert self.refused(path).startswith("not a pairs file, or damaged")

    def test_unknown_compression(self, tmp_path, pairs):
        path = tmp_path / "pairs.npz"
        save_pairs(path, pairs)
        data = path.read_bytes()
        directory = data.index(b"PK\x01\x02")
        path.write_bytes(data[: directory + 10] + b"\x63\x00" + data[directory + 12 :])
        assert self.refused(path).startswith("not a pairs file, or damaged")

    def test_pickled_objects_are_not_loaded(self, tmp_path):
        objects = np.array([{"any": "thing"}], dtype=object)
        np.savez(tmp_path / "pairs.npz", distorted=objects, reference=objects)
        assert self.refused(tmp_path / "pairs.npz").startswith("not a pairs file, or damaged")

    @pytest.mark.parametrize("there", ["distorted", "reference"])
    def test_missing_array(self, tmp_path, pairs, there):
        np.savez(tmp_path / "pairs.npz", **{there: pairs.distorted})
        (missing,) = {"distorted", "reference"} - {there}
        assert self.refused(tmp_path / "pairs.npz") == f"the array {missing} is missing"

    @pytest.mark.parametrize(
        ("distorted", "reference", "message"),
        [
            (np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 3), np.uint8), "distorted[0] is an array of float64"),
            (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), bool), "reference[0] is an array of bool"),
            (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 8, 9, 3), np.uint8), "pair 0: distorted is (8, 8, 3)"),
            (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((3, 8, 8, 3), np.uint8), "2 distorted and 3 reference"),
            (np.zeros((0, 8, 8, 3), np.uint8), np.zeros((0, 8, 8, 3), np.uint8), "0 distorted and 0 reference"),
            (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), "distorted[0] has the shape (8, 3)"),
            (np.uint8(1), np.uint8(1), ""),
        ],
    )
    def test_wrong_arrays(self, tmp_path, distorted, reference, message):
        np.savez(tmp_path / "pairs.npz", distorted=distorted, reference=reference)
        assert self.refused(tmp_path / "pairs.npz").startswith(message)


class TestPairsFolder:
    @pytest.fixture
    def folder(self, tmp_path, photos):
        """Three pairs of three sizes, matched across file formats."""
        root = tmp_path / "pairs"
        for side in ("distorted", "reference"):
            (root / side).mkdir(parents=True)
        for name, photo, size in zip(("b", "a", "c"), photos, (96, 80, 70), strict=True):
            write_image(root / "reference" / f"{name}.png", photo[:size])
            write_image(root / "distorted" / f"{name}.tif", photo[:size] // 2)
        return root

    def test_images_are_matched_by_name(self, folder, photos):
        (folder / "distorted" / "notes.txt").write_text("no image")
        pairs = load_pairs(folder)
        assert pairs.names == ["a", "b", "c"]
        for pair, photo, size in zip(pairs, (photos[1], photos[0], photos[2]), (80, 96, 70), strict=True):
            np.testing.assert_array_equal(pair.reference, photo[:size])
            np.testing.assert_array_equal(pair.distorted, photo[:size] // 2)

    def test_grey_images_become_rgb(self, folder):
        write_image(folder / "distorted" / "c.tif", read_image(folder / "distorted" / "c.tif")[..., 0])
        distorted = load_pairs(folder)[2].distorted
        assert distorted.shape == (70, 128, 3)
        np.testing.assert_array_equal(distorted[..., 0], distorted[..., 2])

    @staticmethod
    def refused(folder, *parts):
        with pytest.raises(ImageError) as caught:
            load_pairs(folder)
        message = str(caught.value)
        assert "\n" not in message
        for part in (str(folder), *parts):
            assert part in message

    @pytest.mark.parametrize("path", ["distorted/a.tif", "reference/b.png"])
    def test_unmatched_name(self, folder, path):
        (folder / path).unlink()
        self.refused(folder, repr(path[-5]), "not in both distorted/ and reference/")

    def test_different_sizes(self, folder, photos):
        write_image(folder / "reference" / "b.png", photos[0][:90])
        self.refused(folder, "pair b: distorted is (96, 128, 3), reference is (90, 128, 3)")

    @pytest.mark.parametrize("content", [b"", b"no image"])
    def test_unreadable_image(self, folder, content):
        (folder / "reference" / "c.png").write_bytes(content)
        self.refused(folder, str(folder / "reference" / "c.png"))

    def test_truncated_image(self, folder):
        path = folder / "distorted" / "a.tif"
        path.write_bytes(path.read_bytes()[:2000])
        self.refused(folder, str(path))

    def test_empty_folders(self, tmp_path):
        (tmp_path / "distorted").mkdir()
        (tmp_path / "reference").mkdir()
        self.refused(tmp_path, "0 distorted and 0 reference images")

    def test_missing_side(self, folder, tmp_path):
        (folder / "reference").rename(tmp_path / "elsewhere")
        self.refused(folder, "a folder with distorted/ and reference/ is needed")


class TestAsSource:
    def test_embedded(self):
        pair = as_source("embedded", "severe", 63).sample(rng())
        assert pair.reference.shape == (63, 63, 3)
        assert set(pair.distortion) == {"blur_sigma", "noise_sigma", "jpeg_quality"}

    def test_folder_of_photos(self, photo_folder, photos):
        by_path = as_source(str(photo_folder), "mild", 40).sample(rng())
        by_array = as_source(photos, "mild", 40).sample(rng())
        assert by_path.reference.shape == (40, 40, 3)
        np.testing.assert_array_equal(by_path.distorted, by_array.distorted)
        np.testing.assert_array_equal(by_path.reference, by_array.reference)

    def test_own_distortion(self, photos):
        pair = as_source(photos, darken, 63).sample(rng())
        np.testing.assert_array_equal(pair.distorted, pair.reference // 2)

    def test_pairs_file_and_folder(self, tmp_path, pairs):
        save_pairs(tmp_path / "pairs.npz", pairs)
        for side in ("distorted", "reference"):
            (tmp_path / "folder" / side).mkdir(parents=True)
            for index, image in enumerate(getattr(pairs, side)):
                Image.fromarray(image).save(tmp_path / "folder" / side / f"{index}.png")
        for path in (tmp_path / "pairs.npz", tmp_path / "folder"):
            pair = as_source(path, "moderate", 63).sample(rng())
            assert any(np.array_equal(pair.distorted, image) for image in pairs.distorted)
            assert as_source(str(path), "moderate", 20).sample(rng()).reference.shape == (20, 20, 3)

    def test_source_itself(self, photos):
        sampler = PatchSampler(photos)
        assert as_source(sampler, "moderate", 63) is sampler

    def test_pairs_are_cut_to_the_patch_size_asked_for(self, photos):
        source = as_source(Pairs(photos, photos), "moderate", 17)
        assert source.sample(np.random.default_rng(0)).distorted.shape == (17, 17, 3)

    def test_missing_path(self, tmp_path):
        path = str(tmp_path / "photos")
        with pytest.raises(ImageError, match=re.escape(f"images={path!r}: no such file or folder")):
            as_source(path, "moderate", 63)

    @pytest.mark.parametrize(("images", "named"), [(None, "None"), (3, "3"), ([], "an empty sequence")])
    def test_anything_else_is_refused(self, images, named):
        with pytest.raises(TypeError, match=re.escape(f"images={named} is not 'embedded', a folder")):
            as_source(images, "moderate", 63)

    def test_photos_of_the_wrong_kind(self, photos):
        with pytest.raises(TypeError, match=r"images\[1\] is an array of float64"):
            as_source([photos[0], photos[1] / 255], "moderate", 63)
        with pytest.raises(ValueError, match=r"images\[0\] has the shape \(96, 128\)"):
            as_source([photos[0][..., 0]], "moderate", 63)

    def test_unknown_severity(self, photos):
        with pytest.raises(ValueError, match="severity='hard'"):
            as_source(photos, "hard", 63)
