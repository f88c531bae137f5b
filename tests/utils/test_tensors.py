"""The eight symmetries of a square, of arrays and of tensors."""

import numpy as np
import torch

from restore_env.utils.tensors import augment_dihedral


def test_the_eight_symmetries_differ_and_are_the_same_for_arrays_and_tensors():
    images = np.arange(2 * 3 * 3).reshape(2, 3, 3, 1)
    found = [augment_dihedral(images, symmetry) for symmetry in range(8)]
    assert len({array.tobytes() for array in found}) == 8
    for symmetry, array in enumerate(found):
        np.testing.assert_array_equal(augment_dihedral(torch.from_numpy(images), symmetry), array)
        other = augment_dihedral(images.transpose(0, 3, 1, 2), symmetry, axes=(-2, -1))
        np.testing.assert_array_equal(other.transpose(0, 2, 3, 1), array)


def test_mirrors_come_before_the_transposition():
    image = np.array([[[1], [2]], [[3], [4]]])
    assert augment_dihedral(image, 1)[..., 0].tolist() == [[3, 4], [1, 2]]
    assert augment_dihedral(image, 2)[..., 0].tolist() == [[2, 1], [4, 3]]
    assert augment_dihedral(image, 4)[..., 0].tolist() == [[1, 3], [2, 4]]
    assert augment_dihedral(image, 1 + 4)[..., 0].tolist() == [[3, 1], [4, 2]]
