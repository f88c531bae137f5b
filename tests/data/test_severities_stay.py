"""A seed gives the pixels that it gave in version 0.1: pairs, logs and published numbers are made of them."""

import numpy as np
import pytest

from restore_env.data.distortions import as_distortion

# Severity, seed; the parameters, the next random number, and two pixels of the image, as version 0.1 had them.
BEFORE = [
    ("mild", 1, (1.4752318481629676, 35.72079806359817, 71.0), 0.330971580297149, (73, 77, 63, 88, 78, 79)),
    ("mild", 2, (3.1492455717070618, 9.071128702971402, 66.0), 0.28866525551893285, (80, 86, 76, 80, 79, 87)),
    ("moderate", 0, (4.1348933568819355, 5.204867619680973, 40.0), 0.13227372832989281, (71, 97, 86, 70, 86, 86)),
    ("moderate", 1, (2.475231848162968, 35.72079806359817, 45.0), 0.330971580297149, (62, 75, 58, 94, 96, 91)),
    ("severe", 0, (4.6348933568819355, 5.204867619680973, 15.0), 0.13227372832989281, (67, 118, 85, 66, 106, 82)),
    ("severe", 2, (4.649245571707062, 4.071128702971402, 11.0), 0.28866525551893285, (92, 94, 80, 85, 87, 76)),
    ("any", 2, (4.149245571707062, 19.0711287029714, 21.0), 0.28866525551893285, (67, 108, 76, 64, 95, 79)),
    ("everyday", 0, (0.20486761968097345,), 0.016527635528529094, (61, 60, 57, 70, 44, 72)),
    ("everyday", 2, (0.9071128702971402, 0.45957971067548453, 11.0), 0.2779312012141565, (56, 77, 72, 55, 62, 68)),
    ("everyday", 5, (56.0, 1.429006900440708, 2.6965351190828213), 0.008282083768452297, (58, 72, 63, 60, 49, 64)),
    ("everyday", 6, (18.45336198976891,), 0.07782760830505508, (54, 78, 62, 86, 34, 37)),
    ("light", 2, (81.0,), 0.8142257405942803, (55, 61, 51, 59, 49, 58)),
    ("light", 4, (0.9135930633772338, 7.833705939953929, 89.0), 0.684322719918172, (60, 55, 51, 73, 48, 69)),
    ("everyday+everyday+light", 1, (0.7860399031799085,), 0.330971580297149, (61, 60, 58, 71, 45, 74)),
]


@pytest.mark.parametrize(("severity", "seed", "drawn", "following", "pixels"), BEFORE)
def test_a_seed_gives_what_it_gave_before(photos, severity, seed, drawn, following, pixels):
    rng = np.random.default_rng(seed)
    distorted, parameters = as_distortion(severity)(photos[0], rng)
    assert tuple(parameters.values()) == drawn
    assert rng.random() == following  # as many numbers were drawn
    # Other processors sum a blur in another order; one pixel that is then rounded otherwise changes its JPEG block.
    np.testing.assert_allclose(distorted[40, 50:52].ravel(), pixels, atol=3)
