"""Tools that spandrel opens: any image that a tool may get, saved folders, and networks that no tool can be made of.

`make examples` runs these tests: spandrel needs torchvision, which `make install` does not install.
"""

import json
import sys
from copy import deepcopy

import cloudpickle
import pytest
import torch
from torch import nn

from restore_env import FormatError, Tool, Toolbox, ToolError, load_toolbox, save_toolbox
from restore_env.toolbox.fingerprint import digest_of_toolbox

SUFFIXES = "ends with .safetensors, .pth, .ckpt"

spandrel = pytest.importorskip("spandrel", reason="spandrel is not installed here; `make examples` installs it")

from safetensors.torch import save_file  # noqa: E402
from spandrel.architectures.DRUNet import DRUNet, DRUNetArch  # noqa: E402
from spandrel.architectures.ESRGAN import ESRGAN  # noqa: E402
from spandrel.architectures.NAFNet import NAFNet  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # of torchvision and spandrel


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def nafnet():
    network = seeded(lambda: NAFNet(img_channel=3, width=4, middle_blk_num=1, enc_blk_nums=[1], dec_blk_nums=[1]))
    with torch.no_grad():  # as made, the network returns its input
        for name, weight in network.named_parameters():
            if name.endswith(("beta", "gamma")):
                weight.fill_(0.5)
    return network


def drunet():
    return seeded(lambda: DRUNet(in_nc=4, out_nc=3, nc=[4, 4, 4, 4], nb=2, downsample_mode="strideconv"))


@pytest.fixture
def nafnet_file(tmp_path):
    torch.save(nafnet().state_dict(), tmp_path / "nafnet-4.pth")
    return tmp_path / "nafnet-4.pth"


def images(n=3, height=21, width=18):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


class Recorder(nn.Module):
    """Doubles images, and remembers what it got."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.shapes, self.dtypes = [], []

    def forward(self, image):
        assert image.min() >= 0 and image.max() <= 1
        self.shapes.append(tuple(image.shape))
        result = nn.functional.conv2d(image, self.weight * torch.eye(3, dtype=self.weight.dtype).view(3, 3, 1, 1))
        self.dtypes.append(result.dtype)
        return result


def recording(kind=spandrel.ImageModelDescriptor, **changes):
    network = Recorder()
    options = {
        "architecture": DRUNetArch(),
        "purpose": "Restoration",
        "tags": [],
        "supports_half": True,
        "supports_bfloat16": True,
        "scale": 1,
        "input_channels": 3,
        "output_channels": 3,
    }
    if kind is not spandrel.ImageModelDescriptor:
        options.pop("scale")
    return network, kind(network, network.state_dict(), **options | changes)


def test_a_file_becomes_a_tool_that_does_what_spandrel_does(nafnet_file):
    tool = Tool.from_spandrel(nafnet_file, removes="noise", interval=(0, 25))
    assert (tool.name, tool.removes, tool.interval) == ("nafnet-4", "noise", (0.0, 25.0))
    descriptor = spandrel.ModelLoader().load_from_file(nafnet_file)
    expected = torch.cat([descriptor(image) for image in images().split(1)])
    assert (expected - images()).abs().max() > 0.1
    assert torch.allclose(tool(images()), expected, atol=1e-6)
    assert torch.allclose(Toolbox([tool]).apply(images(), [0, 1, 0])[2], expected[2], atol=1e-6)
    assert tool.cost > 100
    assert Tool.from_spandrel(descriptor).name == "NAFNet"
    assert Tool.from_spandrel(descriptor, "mine", cost=7).cost == 7


def test_safetensors_files_too(tmp_path):
    save_file(nafnet().state_dict(), tmp_path / "naf.v2.safetensors")
    assert Tool.from_spandrel(str(tmp_path / "naf.v2.safetensors")).name == "naf.v2"


def test_a_network_that_takes_multiples_of_8_and_one_image_at_once(tmp_path):
    torch.save(drunet().state_dict(), tmp_path / "drunet.pth")
    tool = Tool.from_spandrel(tmp_path / "drunet.pth")
    assert tool.multiple == 8
    result = tool(images())
    assert result.shape == images().shape
    assert torch.allclose(result[1:2], tool(images()[1:2]), atol=1e-6)
    assert tool(images(1, 1, 1)).shape == (1, 3, 1, 1)


@pytest.mark.parametrize(
    ("requirements", "seen"), [({"minimum": 40}, 40), ({"square": True}, 21), ({"minimum": 10, "multiple_of": 16}, 32)]
)
def test_images_are_padded_to_the_sizes_that_the_network_takes(requirements, seen):
    network, descriptor = recording(size_requirements=spandrel.SizeRequirements(**requirements))
    values = images() * 3 - 1  # what tools before it left: not clipped
    result = Tool.from_spandrel(descriptor)(values)
    assert network.shapes == [(1, 3, seen, seen)] * 3
    assert torch.allclose(result, (values.clamp(0, 1) * 2).clamp(0, 1))


def test_large_images_are_processed_in_tiles_unless_spandrel_advises_against_it():
    large = images(1, 300, 280)
    network, descriptor = recording()
    result = Toolbox([Tool.from_spandrel(descriptor)]).apply(large, [0])
    assert network.shapes == [(1, 3, 288, 280), (1, 3, 288, 56), (1, 3, 76, 280), (1, 3, 76, 56)]
    assert torch.equal(result, (large * 2).clamp(0, 1))
    for tiling in (spandrel.ModelTiling.DISCOURAGED, spandrel.ModelTiling.INTERNAL):
        network, descriptor = recording(tiling=tiling)
        Toolbox([Tool.from_spandrel(descriptor)]).apply(large, [0])
        assert network.shapes == [(1, 3, 300, 280)]


@pytest.mark.parametrize("supported", [True, False])
def test_in_half_precision_it_computes_if_it_can(supported):
    network, descriptor = recording(supports_bfloat16=supported)
    toolbox = Toolbox([Tool.from_spandrel(descriptor)], dtype="bfloat16")
    result = toolbox.apply(images(), [0, 0, 1])
    assert set(network.dtypes) == {torch.bfloat16 if supported else torch.float32}
    assert result.dtype == torch.float32
    assert torch.allclose(result[:2], (images()[:2] * 2).clamp(0, 1), atol=0.01)


def test_a_network_with_half_weights():
    network, descriptor = recording()
    assert torch.allclose(Tool.from_spandrel(descriptor.half())(images()), (images() * 2).clamp(0, 1), atol=0.01)
    assert set(network.dtypes) == {torch.float16}


def test_a_toolbox_folder_holds_a_copy_of_the_file(tmp_path, nafnet_file, network_toolbox, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toolbox = Toolbox([Tool.from_spandrel(nafnet_file.name, "naf", removes="noise", cost=5), *network_toolbox], "mine")
    monkeypatch.chdir("/")
    save_toolbox(toolbox, tmp_path / "box")
    content = json.loads((tmp_path / "box" / "toolbox.json").read_text())
    assert content["tools"][0]["file"] == "nafnet-4.pth"
    nafnet_file.unlink()
    loaded = load_toolbox(tmp_path / "box")
    save_toolbox(loaded, tmp_path / "box")  # into its own folder
    loaded = load_toolbox(tmp_path / "box")
    assert [(tool.name, tool.removes, tool.cost) for tool in loaded][0] == ("naf", "noise", 5)
    assert digest_of_toolbox(loaded) == digest_of_toolbox(toolbox)
    assert torch.equal(loaded.apply(images(), [0, 1, 2]), toolbox.apply(images(), [0, 1, 2]))


def assert_not_loaded(folder, message):
    with pytest.raises(FormatError, match=message) as caught:
        load_toolbox(folder)
    assert str(folder / "toolbox.json") in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_or_other_file_is_refused_in_one_line(tmp_path, nafnet_file):
    box = tmp_path / "box"
    save_toolbox(Toolbox([Tool.from_spandrel(nafnet_file)]), box)
    torch.save(drunet().state_dict(), box / "nafnet-4.pth")
    assert_not_loaded(box, r"nafnet-4.pth: damaged or another file, its SHA-256 is \w{64} instead of \w{64}")
    (box / "nafnet-4.pth").unlink()
    assert_not_loaded(box, r"nafnet-4.pth: cannot be read \(No such file or directory\)")
    path = box / "toolbox.json"
    for before, after, message in (
        ('"nafnet-4.pth"', '"../nafnet-4.pth"', "tool 'nafnet-4': file='../nafnet-4.pth' cannot name a file in a fold"),
        ('"nafnet-4.pth"', '"nafnet-4.pkl"', f"nafnet-4.pkl: the name of a file for spandrel {SUFFIXES}"),
        ('"file"', '"path"', "'file' is missing"),
        ('"sha256": "', '"sha": "', "SHA-256|'sha256' is missing"),
    ):
        text = path.read_text()
        path.write_text(text.replace(before, after))
        assert_not_loaded(box, message)
        path.write_text(text)


def test_what_cannot_be_saved(tmp_path, nafnet_file):
    descriptor = spandrel.ModelLoader().load_from_file(nafnet_file)
    with pytest.raises(
        ValueError, match="tool 'a' cannot be saved: it was not made of a file; give Tool.from_spandrel"
    ):
        save_toolbox(Toolbox([Tool.from_spandrel(descriptor, "a")]), tmp_path / "box")
    tool = Tool.from_spandrel(nafnet_file)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / nafnet_file.name
    torch.save(drunet().state_dict(), other)
    with pytest.raises(ValueError, match="nafnet-4.pth: the folder would have two files of this name; rename this one"):
        save_toolbox(Toolbox([tool, Tool.from_spandrel(other, "other")]), tmp_path / "box")
    nafnet_file.write_bytes(other.read_bytes())
    with pytest.raises(ValueError, match="tool 'nafnet-4' cannot be saved: .*nafnet-4.pth has changed since it was"):
        save_toolbox(Toolbox([tool]), tmp_path / "box")
    assert not (tmp_path / "box").exists()


def test_networks_that_no_tool_can_be_made_of(tmp_path):
    torch.save(ESRGAN(num_filters=4, num_blocks=1, scale=2).state_dict(), tmp_path / "large.pth")
    with pytest.raises(ValueError, match="large.pth: makes images 2 times as large; a tool keeps their size"):
        Tool.from_spandrel(tmp_path / "large.pth")
    with pytest.raises(ValueError, match="DRUNet: takes 1 channels and returns 3; a tool has 3 and 3"):
        Tool.from_spandrel(recording(input_channels=1)[1])
    masked = recording(spandrel.MaskedImageModelDescriptor, purpose="Inpainting")[1]
    with pytest.raises(ValueError, match="fills in what a mask hides; a tool gets no mask"):
        Tool.from_spandrel(masked)
    with pytest.raises(TypeError, match="neither a path nor a network of spandrel; Tool.from_module takes networks"):
        Tool.from_spandrel(nafnet())


def test_files_that_cannot_be_opened(tmp_path, nafnet_file, monkeypatch):
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "unknown.pth")
    for name, message in (
        ("missing.pth", r"missing.pth: cannot be read \(No such file or directory\)"),
        ("nafnet.onnx", f"nafnet.onnx: the name of a file for spandrel {SUFFIXES}"),
        ("text.pth", "text.pth: spandrel cannot load it"),
        ("unknown.pth", r"unknown.pth: spandrel cannot load it \(UnsupportedModelError\)"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            Tool.from_spandrel(tmp_path / name)
        assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(ValueError, match="nafnet-4.pth: needs spandrel, which cannot be imported"):
        Tool.from_spandrel(nafnet_file)


def test_a_failing_network_is_a_tool_error():
    descriptor = recording(call_fn=lambda model, image: model(image[:, :2]))[1]
    with pytest.raises(ToolError, match="tool 'bad' raised RuntimeError"):
        Tool.from_spandrel(descriptor, "bad")(images())


def test_copies_share_nothing(nafnet_file):
    toolbox = Toolbox([Tool.from_spandrel(nafnet_file)])
    expected = toolbox.apply(images(), [0, 0, 0])
    copies = [toolbox.to("cpu"), deepcopy(toolbox), cloudpickle.loads(cloudpickle.dumps(toolbox))]
    for weight in toolbox[0].module.parameters():
        weight.data.zero_()
    for copy in copies:
        assert torch.equal(copy.apply(images(), [0, 0, 0]), expected)
