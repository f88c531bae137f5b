"""The outermost pixels of a photo are restored nearly as well as those inside."""

import numpy as np
import pytest

from restore_env import load_toolbox, restore
from restore_env.data.distortions import as_distortion
from restore_env.data.photos import FolderPhotos

PHOTOS = 8
RIM = 4


@pytest.mark.slow
@pytest.mark.parametrize("severity", ["mild", "severe"])
def test_the_rim_of_a_crop_is_restored_nearly_as_in_the_larger_photo(shared_photos, severity):
    photos, toolbox = FolderPhotos(shared_photos / "valid-sharp"), load_toolbox()
    rim = np.ones((192, 192), bool)
    rim[RIM:-RIM, RIM:-RIM] = False
    alone, inside = [], []
    for number in range(PHOTOS):
        photo = photos[number][:320, :320]
        distorted, _ = as_distortion(severity)(photo, np.random.default_rng(number))
        crop = np.s_[64:256, 64:256]
        for found, image in (
            (inside, restore(distorted, toolbox=toolbox).image[crop]),
            (alone, restore(distorted[crop], toolbox=toolbox).image),
        ):
            error = np.square(image[rim].astype(float) - photo[crop][rim]).mean()
            found.append(10 * np.log10(255**2 / error))
    assert np.mean(inside) - np.mean(alone) <= 0.3
