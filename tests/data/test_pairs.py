"""Fixed pairs: files, folders, and what an environment's `images` argument stands for."""

import re

import numpy as np
import pytest
import torch
from located import darken, located_photo, place, rng
from PIL import Image

from restore_env.data.distortions import GaussianNoise, SeverityDistortion
from restore_env.data.image_io import read_image, write_image
from restore_env.data.pairs import Pairs, check_same_size, input_psnr, load_pairs, save_pairs
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import as_source, draw_pairs
from restore_env.errors import ImageError


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

    def test_drawn_pairs_know_their_photo(self):
        photos = [np.full((70, 70, 3), level, np.uint8) for level in (60, 120, 180)]
        drawn = draw_pairs(PatchSampler(photos, GaussianNoise(20, 20)), 30, seed=0)
        assert set(drawn.photos) == {0, 1, 2}
        assert [int(pair.reference[0, 0, 0]) // 60 - 1 for pair in drawn] == drawn.photos
        assert drawn.first(7).photos == drawn.photos[:7]
        assert as_source(drawn, "moderate", 20).photos == drawn.photos
        assert Pairs(photos, photos).photos == [None] * 3
        with pytest.raises(ValueError, match="2 photos for 3 pairs"):
            Pairs(photos, photos, photos=[0, 1])

    @pytest.fixture
    def known(self):
        """Pairs of which everything is known."""
        reference = np.arange(5 * 8 * 9 * 3, dtype=np.uint8).reshape(5, 8, 9, 3)
        names, labels = ["a", "b", "c", "d", "e"], ["cat", "dog", "cat", "owl", "elk"]
        return Pairs(reference // 2, reference, names, 8, photos=[7, 7, None, 9, 0], labels=labels)

    @staticmethod
    def check_known(pair, known):
        row = known.names.index(pair.name)
        assert (pair.photo, pair.label) == (known.photos[row], known.labels[row])
        assert pair.reference[0, 0, 0] in known.reference[row, :, :, 0]

    def test_a_pair_knows_its_photo_name_and_label(self, known):
        for pairs in (known, list(known), [known[row] for row in range(5)], [known[np.int64(1)], known[-1]]):
            for pair in pairs:
                self.check_known(pair, known)
        assert [pair.name for pair in known] == known.names
        drawn = [known.sample(rng()) for _ in range(20)]
        for pair in drawn:
            self.check_known(pair, known)
        again = draw_pairs(known, 6, seed=0)
        for pair in again:
            self.check_known(pair, known)
        other = as_source(known, "moderate", 4)
        assert (other.names, other.photos, other.labels) == (known.names, known.photos, known.labels)

    def test_a_slice_is_pairs(self, known):
        for part, rows in ((known[1:4], [1, 2, 3]), (known[::-2], [4, 2, 0]), (known.first(2), [0, 1])):
            assert part.names == [known.names[row] for row in rows]
            assert part.photos == [known.photos[row] for row in rows]
            assert part.labels == [known.labels[row] for row in rows]
            assert part.patch_size == 8
            np.testing.assert_array_equal(part.distorted, known.distorted[rows])
        with pytest.raises(IndexError):
            known[5]

    def test_drawn_pairs_are_called_by_their_numbers(self):
        assert draw_pairs(PatchSampler([located_photo(100, 120)]), range(7, 9), seed=3).names == ["7", "8"]

    @pytest.mark.parametrize("as_list", [False, True])
    @pytest.mark.parametrize(
        "take",
        [
            lambda pairs: pairs.sample(rng()),
            lambda pairs: pairs[0],
            lambda pairs: next(iter(pairs)),
            lambda pairs: pairs[:2],
            lambda pairs: pairs.first(1),
        ],
    )
    def test_whoever_changes_what_is_returned_changes_no_pair(self, known, take, as_list):
        images = [list(part) if as_list else part for part in (known.distorted, known.reference)]
        pairs, before = Pairs(*images, patch_size=8), known.reference.copy()
        for part in (take(pairs).distorted, take(pairs).reference):
            part[0][:] = 99
        np.testing.assert_array_equal(pairs.reference, before)
        np.testing.assert_array_equal(pairs.distorted, before // 2)

    def test_labels_are_of_one_kind(self):
        images = np.zeros((2, 8, 8, 3), np.uint8)
        for labels, message in ((["cat", 1], "int and str"), (["cat", None], "NoneType and str")):
            with pytest.raises(ValueError, match=f"labels of the types {message}; one type is needed"):
                Pairs(images, images, labels=labels)
        with pytest.raises(ValueError, match="1 labels for 2 pairs"):
            Pairs(images, images, labels=[3])

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
        assert (loaded.names, loaded.photos, loaded.labels) == (pairs.names, pairs.photos, [None] * 4)
        assert list(tmp_path.iterdir()) == [tmp_path / "pairs.npz"]

    def test_format(self, tmp_path, pairs):
        save_pairs(str(tmp_path / "pairs.npz"), pairs)
        with np.load(tmp_path / "pairs.npz") as file:
            assert {name: (file[name].shape, file[name].dtype.name) for name in file} == {
                "distorted": ((4, 63, 63, 3), "uint8"),
                "reference": ((4, 63, 63, 3), "uint8"),
                "name": ((4,), "str32"),
                "photo": ((4,), "int64"),
            }

    @pytest.mark.parametrize("labels", [None, [3, 5, 3, -1], ["cat", "dog", "", "cat"]])
    def test_what_is_known_comes_back(self, tmp_path, pairs, labels):
        known = Pairs(
            pairs.distorted, pairs.reference, ["a", "b c", "ö", "d.png"], photos=[3, None, 0, 3], labels=labels
        )
        save_pairs(tmp_path / "pairs.npz", known)
        loaded = load_pairs(tmp_path / "pairs.npz")
        assert (loaded.names, loaded.photos) == (known.names, known.photos)
        assert loaded.labels == known.labels and {type(label) for label in loaded.labels} == set(
            map(type, known.labels)
        )

    def test_a_file_of_version_0_1_knows_neither_names_nor_photos(self, tmp_path, pairs):
        np.savez(tmp_path / "pairs.npz", distorted=pairs.distorted, reference=pairs.reference)
        loaded = load_pairs(tmp_path / "pairs.npz")
        assert (loaded.names, loaded.photos) == (["0", "1", "2", "3"], [None] * 4)

    @pytest.mark.parametrize(
        ("known", "message"),
        [
            ({"photo": np.arange(3)}, "3 photos for 4 pairs"),
            ({"photo": np.arange(4.0)}, "photo=0.0 is not a whole number of at least 0"),
            ({"photo": np.array([0, 1, -2, 3])}, "photo=-2 is not a whole number of at least 0"),
            ({"photo": np.zeros((4, 1), int)}, "photo has the shape (4, 1); (n,) is needed"),
            ({"name": np.arange(4)}, "name is int, not a text"),
            ({"name": np.array(["a", "../b", "c", "d"])}, "name='../b' cannot name a file in a folder"),
            ({"name": np.array(["a", "", "c", "d"])}, "name='' cannot name a file in a folder"),
            ({"label": np.zeros(4)}, "label is float, neither a whole number nor a word"),
            ({"label": np.array(["a", "b\n", "c", "d"])}, "label='b\\n' has a control character"),
        ],
    )
    def test_wrong_names_photos_and_labels(self, tmp_path, pairs, known, message):
        np.savez(tmp_path / "pairs.npz", distorted=pairs.distorted, reference=pairs.reference, **known)
        assert self.refused(tmp_path / "pairs.npz") == message

    def test_a_name_that_could_not_be_loaded_is_not_saved(self, tmp_path, pairs):
        with pytest.raises(ValueError, match="name='a/b' cannot name a file in a folder"):
            save_pairs(tmp_path / "pairs.npz", Pairs(pairs.distorted[:1], pairs.reference[:1], ["a/b"]))
        assert not list(tmp_path.iterdir())

    def test_a_flipped_bit(self, tmp_path, pairs):
        path = tmp_path / "pairs.npz"
        save_pairs(path, pairs)
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\x01\x02") + 14] ^= 1  # the time of an entry, which no CRC covers
        path.write_bytes(content)
        assert self.refused(path).startswith("not a pairs file, or damaged")

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


def test_tensors_are_the_images_as_floats(photos):
    pairs = draw_pairs(as_source(photos, "moderate", 24), 5, seed=0)
    for tensor, images in zip(pairs.to_tensors(), (pairs.distorted, pairs.reference), strict=True):
        assert tensor.dtype == torch.float32
        assert np.array_equal(tensor.numpy(), np.stack(images).astype(np.float32).transpose(0, 3, 1, 2) / 255)


def test_tensors_of_different_sizes_are_refused():
    images = [np.zeros((11, 11, 3), np.uint8), np.zeros((12, 11, 3), np.uint8)]
    with pytest.raises(ValueError, match=r"shapes \(11, 11, 3\) and \(12, 11, 3\); one size is needed"):
        Pairs(images, images).to_tensors()


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
