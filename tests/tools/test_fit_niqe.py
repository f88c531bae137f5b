import pytest
import torch
from torch.nn.functional import avg_pool2d

from restore_env.data.image_io import write_image
from restore_env.data.photos import embedded_photos
from restore_env.restoration.niqe import NaturalImages, block_features, niqe
from restore_env.utils.serialization import read_json, read_tensors
from restore_env.utils.tensors import images_to_tensor
from tools.fit_niqe import Args, main, sharp_features


def test_a_model_is_fitted_and_described(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    photos = [photo[:192, left : left + 192] for photo in embedded_photos() for left in range(0, 250, 60)]
    for number, photo in enumerate(photos):
        write_image(folder / f"{number:02}.png", photo)
    model = main(Args(photos=folder, output=tmp_path / "niqe", licence="none"))
    read = NaturalImages(**read_tensors(tmp_path / "niqe" / "niqe.safetensors"))
    assert torch.equal(read.mean, model.mean)
    record = read_json(tmp_path / "niqe" / "training.json")
    assert record["photos"] == 22 and record["blocks"] > 36 and record["held_out"]["images"] == 6
    held_out = images_to_tensor(photos[::10])
    values = torch.cat([niqe(held_out, model), niqe(avg_pool2d(held_out, 2), model)])
    assert record["held_out"]["mean"] == pytest.approx(values.mean().item(), abs=1e-3)
    assert "niqe" in (tmp_path / "niqe" / "README.md").read_text()


def test_only_sharp_blocks_count():
    image = torch.full((1, 3, 96, 192), 0.5)
    image[..., :96] = images_to_tensor([embedded_photos()[0][100:196, 100:196]])
    assert torch.equal(sharp_features(image), block_features(image)[0, :1])


def test_too_few_blocks_are_refused(photo_folder, tmp_path):
    with pytest.raises(ValueError, match="hold 2 sharp blocks; over 36 are needed"):
        main(Args(photos=photo_folder, output=tmp_path / "niqe"))
    assert not (tmp_path / "niqe").exists()
