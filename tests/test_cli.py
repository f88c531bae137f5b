import json
import os
import subprocess
import sys
import warnings
from io import BytesIO, TextIOWrapper
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from own_networks import Gain
from PIL import Image

import restore_env
from restore_env import Pairs, Tool, Toolbox, load_pairs, restore, save_pairs, save_policy, save_toolbox
from restore_env.cli.main import main
from restore_env.data.image_io import read_image, write_image
from restore_env.policies import FixedToolchain
from restore_env.toolbox.networks import ThreeLayerCNN


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process: exit code, standard output, lines of standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["restore-env", *map(str, arguments)])
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main replaces it
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out
        return end.value.code, captured.out, captured.err.splitlines()

    return run


def shift(level):
    """A network that adds so many levels of 0-255."""
    network = ThreeLayerCNN(1, 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.conv3.bias.fill_(level / 255)
    return network


@pytest.fixture
def toolbox(tmp_path) -> Path:
    """A toolbox folder: one tool that helps by 10 levels and one that harms."""
    tools = [
        Tool.from_module("up", shift(10), removes="noise", interval=(0.0, 12.5)),
        Tool.from_module("down", shift(-10)),
    ]
    save_toolbox(Toolbox(tools, "shifts"), tmp_path / "shifts")
    return tmp_path / "shifts"


@pytest.fixture
def pairs_file(tmp_path, photos) -> Path:
    """Three pairs that are 10 levels too dark."""
    reference = np.stack([photo[:63, :63].clip(20, 220) for photo in photos])
    save_pairs(tmp_path / "pairs.npz", Pairs(reference - 10, reference))
    return tmp_path / "pairs.npz"


@pytest.fixture
def photo_file(photo_folder) -> Path:
    return photo_folder / "0.png"


def assert_refused(result, *words, code=2):
    """The exit code, no results, and one line on standard error with all words."""
    found, out, err = result
    assert (found, out, len(err)) == (code, "", 1)
    assert err[0].startswith("restore-env: ")
    assert all(word in err[0] for word in words), err[0]


@pytest.mark.parametrize("command", [(), ("demo",), ("restore",), ("evaluate",), ("distort",), ("toolbox",)])
def test_help_goes_to_standard_output(run, command):
    for option in ("--help", "-h"):
        code, out, err = run(*command, option)
        assert (code, err) == (0, [])
        assert out.startswith("Usage: ")
    assert command or all(name in out for name in ("demo", "restore", "evaluate", "distort", "toolbox"))


def test_version(run):
    assert run("--version") == (0, f"restore-env, version {restore_env.__version__}\n", [])


def test_wrong_usage_is_one_line_and_exit_code_2(run, photo_file):
    assert_refused(run(), "Missing command", "--help")
    assert_refused(run("improve"), "No such command 'improve'")
    assert_refused(run("restore"), "Missing argument 'IN...'")
    assert_refused(run("restore", photo_file, "--max-steps", 0), "--max-steps", "0")
    assert_refused(run("distort", photo_file, "--severity", "brutal"), "'brutal'", "'moderate'")
    assert_refused(run("distort", photo_file, "--seed", -1), "--seed")
    assert_refused(run("demo", "--severity", "brutal"), "'brutal'")


def test_restore_writes_beside_the_photo(run, photo_file, toolbox):
    code, out, err = run("restore", photo_file, "--policy", "fixed:up,up", "--toolbox", toolbox)
    target = photo_file.with_name("0-restored.png")
    assert (code, out, err) == (0, f"{photo_file} -> {target}: up, up, stop\n", [])
    photo = read_image(photo_file)
    assert np.array_equal(read_image(target), restore(photo, "fixed:up,up", toolbox).image)
    assert np.array_equal(read_image(photo_file), photo)


def test_restore_writes_to_the_file_named(run, photo_file, toolbox, tmp_path):
    code, out, _ = run(
        "restore", photo_file, "-o", tmp_path / "out.tif", "--policy", "fixed:up,up", "--toolbox", toolbox,
        "--max-steps", 1,
    )  # fmt: skip
    assert (code, out) == (0, f"{photo_file} -> {tmp_path / 'out.tif'}: up\n")
    expected = restore(read_image(photo_file), "fixed:up", toolbox).image
    assert np.array_equal(read_image(tmp_path / "out.tif"), expected)


def test_a_photo_that_is_left_alone_is_copied_byte_for_byte(run, toolbox, tmp_path):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8))
    photo.save(tmp_path / "photo.jpg", quality=70, comment=b"kept")
    code, *_ = run("restore", tmp_path / "photo.jpg", "--policy", "stop", "--toolbox", toolbox)
    assert code == 0
    assert (tmp_path / "photo-restored.jpg").read_bytes() == (tmp_path / "photo.jpg").read_bytes()
    run("restore", tmp_path / "photo.jpg", "-o", tmp_path / "other.png", "--policy", "stop", "--toolbox", toolbox)
    assert np.array_equal(read_image(tmp_path / "other.png"), read_image(tmp_path / "photo.jpg"))


def test_restore_takes_a_policy_folder(run, photo_file, toolbox, tmp_path):
    save_policy(FixedToolchain(["down"], ("up", "down", "stop"), "saved"), tmp_path / "policy", "shifts")
    code, out, _ = run("restore", photo_file, "--policy", tmp_path / "policy", "--toolbox", toolbox)
    assert code == 0
    assert out.endswith(": down, stop\n")


def test_restore_takes_a_folder_and_writes_into_one(run, photo_folder, toolbox, tmp_path):
    (photo_folder / "notes.txt").write_text("no photo")
    options = ("--policy", "fixed:up", "--toolbox", toolbox)
    code, out, err = run("restore", photo_folder, "-o", tmp_path / "deep" / "out", *options)
    assert (code, err, len(out.splitlines())) == (0, [], 3)
    for name in ("0.png", "1.png", "2.png"):
        expected = restore(read_image(photo_folder / name), "fixed:up", toolbox).image
        assert np.array_equal(read_image(tmp_path / "deep" / "out" / name), expected)


def test_restore_keeps_16_bits_and_alpha(run, toolbox, tmp_path):
    photo = np.random.default_rng(0).integers(0, 2**16, (20, 30, 4), dtype=np.uint16)
    write_image(tmp_path / "deep.png", photo)
    assert run("restore", tmp_path / "deep.png", "--policy", "stop", "--toolbox", toolbox)[0] == 0
    assert np.array_equal(read_image(tmp_path / "deep-restored.png"), photo)


def test_restore_writes_the_steps(run, photo_folder, toolbox, tmp_path):
    options = ("--policy", "fixed:up", "--toolbox", toolbox, "--steps", tmp_path / "steps.json")
    assert run("restore", photo_folder, "-o", tmp_path / "out", *options)[0] == 0
    votes = [{"step": 1, "action": "up", "votes": {"up": 1}}, {"step": 2, "action": "stop", "votes": {"stop": 1}}]
    expected = {str(photo_folder / name): votes for name in ("0.png", "1.png", "2.png")}
    assert json.loads((tmp_path / "steps.json").read_text()) == expected


def test_a_corrupt_photo_is_named_and_the_others_are_done(run, photo_folder, toolbox, tmp_path):
    path = photo_folder / "1.png"
    path.write_bytes(path.read_bytes()[:2000])
    steps = tmp_path / "steps.json"
    options = ("--policy", "fixed:up", "--toolbox", toolbox, "--steps", steps)
    code, out, err = run("restore", photo_folder, photo_folder / "missing.png", "-o", tmp_path / "out", *options)
    assert code == 1
    assert len(err) == 2 and str(path) in err[0] and "missing.png: no such file" in err[1]
    assert len(out.splitlines()) == 2
    assert sorted(file.name for file in (tmp_path / "out").glob("*.png")) == ["0.png", "2.png"]
    assert sorted(json.loads(steps.read_text())) == [str(photo_folder / "0.png"), str(photo_folder / "2.png")]


def test_restore_refuses_what_it_cannot_write(run, photo_file, toolbox, tmp_path):
    options = ("--policy", "stop", "--toolbox", toolbox)
    assert_refused(run("restore", photo_file, "-o", tmp_path / "out.xyz", *options), "out.xyz", code=1)
    assert_refused(
        run("restore", photo_file, "-o", tmp_path / "no" / "out.png", *options), "the folder", "does not exist", code=1
    )


def test_two_inputs_of_one_target_are_refused(run, photo_folder, toolbox, tmp_path):
    options = ("--policy", "stop", "--toolbox", toolbox, "-o", tmp_path / "out")
    photo = photo_folder / "1.png"
    assert_refused(run("restore", photo, photo, *options), str(tmp_path / "out" / "1.png"), "more than one")
    assert not (tmp_path / "out").exists()


def test_restore_refuses_wrong_policies_and_toolboxes(run, photo_folder, photo_file, toolbox, tmp_path):
    def restored(*options):
        return run("restore", photo_folder, "-o", tmp_path / "out", *options)

    assert_refused(restored("--policy", "best", "--toolbox", toolbox), "policy='best'", "'random'")
    assert_refused(restored("--policy", "fixed:left", "--toolbox", toolbox), "'left'", "up, down, stop")
    assert_refused(restored("--policy", "oracle", "--toolbox", toolbox), "'oracle' needs a reference")
    assert_refused(restored("--policy", "stop", "--toolbox", "nope"), "toolbox='nope'", "'rl-restore-12'")
    assert_refused(restored("--policy", "stop", "--device", "gpu"), "device='gpu'")
    (toolbox / "tools.safetensors").write_bytes(b"")
    assert_refused(restored("--policy", "stop", "--toolbox", toolbox), "tools.safetensors")


def test_a_folder_without_photos_is_an_error(run, tmp_path, toolbox):
    (tmp_path / "empty").mkdir()
    options = ("--policy", "stop", "--toolbox", toolbox)
    assert_refused(run("restore", tmp_path / "empty", *options), "empty: no image in this folder", code=1)


def test_file_names_are_printed_as_they_are(run, photo_file, toolbox):
    odd = photo_file.with_name("a:heart:[red] [b.png")
    odd.write_bytes(photo_file.read_bytes())
    code, out, _ = run("restore", odd, "--policy", "stop", "--toolbox", toolbox)
    assert (code, out) == (0, f"{odd} -> {odd.with_name('a:heart:[red] [b-restored.png')}: stop\n")


@pytest.mark.skipif(sys.platform != "linux", reason="other disks take names in Unicode only")
def test_a_name_that_is_not_in_utf_8_is_escaped(run, photo_file, toolbox, monkeypatch):
    odd = photo_file.with_name("odd-\udcff.png")
    odd.write_bytes(photo_file.read_bytes())
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(BytesIO(), "utf-8"))
    code, _, err = run("restore", odd, "--policy", "stop", "--toolbox", toolbox)
    sys.stdout.seek(0)
    assert (code, err) == (0, []) and "odd-\\udcff-restored.png: stop" in sys.stdout.read()
    assert odd.with_name("odd-\udcff-restored.png").exists()


def test_an_interruption_is_one_line(run, photo_file, toolbox, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("restore_env.restore", interrupted)
    result = run("restore", photo_file, "--policy", "stop", "--toolbox", toolbox)
    assert_refused((result[0], result[1], [line for line in result[2] if line]), "interrupted", code=130)


def test_evaluate_prints_what_it_writes(run, pairs_file, toolbox, tmp_path):
    path = tmp_path / "result.json"
    code, out, err = run("evaluate", pairs_file, "--policy", "fixed:up", "--toolbox", toolbox, "--json", path)
    assert (code, err) == (0, [])
    content = json.loads(path.read_text())
    assert (content["n"], content["policy"], content["toolbox"], content["steps"]) == (3, "fixed:up", "shifts", 1)
    assert content["psnr_in"] == pytest.approx(20 * np.log10(255 / 10), abs=1e-3)
    assert content["psnr_out"] > 80  # what is left is rounding
    assert content["gain"] == content["psnr_out"] - content["psnr_in"]
    assert content["tool_ratio"] == [{"up": 1, "down": 0, "stop": 0}] + [{"up": 0, "down": 0, "stop": 1}] * 2
    assert [image["toolchain"] for image in content["images"]] == [["up"]] * 3
    lines = out.splitlines()
    assert lines[0].startswith("fixed:up with shifts on 3 pairs, ")
    assert lines[1] == f"PSNR {content['psnr_in']:.2f} -> {content['psnr_out']:.2f} dB ({content['gain']:+.2f})"
    assert lines[2:] == [
        f"SSIM {content['ssim_in']:.4f} -> {content['ssim_out']:.4f}",
        "tools applied to an image: 1.00",
        "step 1: up 100%",
        "step 2: stop 100%",
        "step 3: stop 100%",
    ]


def test_evaluate_takes_a_pairs_folder(run, pairs_file, toolbox, tmp_path):
    pairs = load_pairs(pairs_file)
    for side in ("distorted", "reference"):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        for name, image in zip("abc", getattr(pairs, side), strict=True):
            write_image(tmp_path / "pairs" / side / f"{name}.png", image)
    path = tmp_path / "result.json"
    assert run("evaluate", tmp_path / "pairs", "--policy", "stop", "--toolbox", toolbox, "--json", path)[0] == 0
    assert [image["name"] for image in json.loads(path.read_text())["images"]] == ["a", "b", "c"]


@pytest.mark.parametrize(("policy", "share"), [("fixed:up", 1.0), ("stop", 0.0)])
def test_evaluate_compares_with_the_oracle(run, policy, share, pairs_file, toolbox, tmp_path):
    path = tmp_path / "result.json"
    options = ("--policy", policy, "--toolbox", toolbox, "--max-steps", 1, "--oracle", 2, "--json", path)
    code, out, _ = run("evaluate", pairs_file, *options)
    content = json.loads(path.read_text())
    assert code == 0
    assert content["oracle"]["n"] == 2
    assert content["oracle"]["gain"] > 50
    assert content["oracle"]["share"] == pytest.approx(share)
    assert out.splitlines()[-1] == (
        f"oracle on 2 pairs: {content['oracle']['gain']:+.2f} dB; share reached there: {share:.0%}"
    )


def test_evaluate_says_when_the_oracle_gains_nothing(run, toolbox, tmp_path):
    images = np.full((1, 63, 63, 3), 100, dtype=np.uint8)
    save_pairs(tmp_path / "same.npz", Pairs(images, images))
    path = tmp_path / "result.json"
    options = ("--policy", "stop", "--toolbox", toolbox, "--max-steps", 1, "--oracle", 1, "--json", path)
    code, out, _ = run("evaluate", tmp_path / "same.npz", *options)
    assert (code, out.splitlines()[-1]) == (0, "oracle on 1 pair: +0.00 dB; nothing to gain")
    assert json.loads(path.read_text())["oracle"] == {"n": 1, "gain": 0, "share": None}


def test_evaluate_refuses_pairs_it_cannot_use(run, toolbox, tmp_path):
    def evaluated(name):
        return run("evaluate", tmp_path / name, "--policy", "stop", "--toolbox", toolbox)

    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 and so on")
    assert_refused(evaluated("damaged.npz"), "damaged.npz: not a pairs file, or damaged", code=1)
    assert_refused(evaluated("missing.npz"), "missing.npz: no such file", code=1)
    small = np.zeros((1, 20, 20, 3), dtype=np.uint8)
    save_pairs(tmp_path / "tiny.npz", Pairs(small[:, :8], small[:, :8]))
    assert_refused(evaluated("tiny.npz"), "20x8", "11x11")


def test_distort_writes_what_the_seed_says(run, photo_folder, tmp_path):
    def distorted(folder, seed):
        code, out, err = run("distort", photo_folder, "-o", tmp_path / folder, "--severity", "mild", "--seed", seed)
        assert (code, err, len(out.splitlines())) == (0, [], 3)
        assert "-> " in out and "blur" in out
        return [read_image(tmp_path / folder / f"{number}.png") for number in range(3)]

    first, again, other = distorted("a", 0), distorted("b", 0), distorted("c", 1)
    for number in range(3):
        assert np.array_equal(first[number], again[number])
        assert not np.array_equal(first[number], other[number])
        assert not np.array_equal(first[number], read_image(photo_folder / f"{number}.png"))


@pytest.mark.parametrize(
    ("severity", "told"),
    [
        ("motion", ["motion_length", "motion_angle", "noise_sigma", "jpeg_quality"]),
        ("salt-and-pepper", ["salt_and_pepper"]),
    ],
)
def test_distort_tells_all_parameters_of_other_damage(run, photo_file, severity, told):
    code, out, err = run("distort", photo_file, "--severity", severity)
    assert (code, err) == (0, [])
    assert [parameter.split()[0] for parameter in out.rpartition(": ")[2].split(", ")] == told


def test_distort_writes_png_beside_the_photo(run, photo_folder):
    source = photo_folder / "photo.jpg"
    write_image(source, read_image(photo_folder / "0.png"))
    code, out, _ = run("distort", source)
    assert code == 0
    assert out.startswith(f"{source} -> {photo_folder / 'photo-distorted.png'}: ")
    assert read_image(photo_folder / "photo-distorted.png").shape == read_image(source).shape


def test_toolbox_lists_toolboxes_and_tools(run, toolbox):
    code, out, err = run("toolbox")
    assert (code, err) == (0, [])
    assert {"rl-restore-12", "classical"} <= set(out.split())
    code, out, err = run("toolbox", toolbox)
    assert (code, err) == (0, [])
    assert [line.split() for line in out.splitlines()] == [["0", "up", "noise", "0", "to", "12.5"], ["1", "down"]]
    assert_refused(run("toolbox", "nope"), "toolbox='nope'", "'classical'")


def test_a_network_of_your_own_needs_trust(run, photo_file, pairs_file, tmp_path):
    save_toolbox(Toolbox([Tool.from_module("gain", Gain())]), tmp_path / "own", trust=True)
    for command in (
        ("restore", photo_file, "--policy", "fixed:gain", "--toolbox", tmp_path / "own"),
        ("evaluate", pairs_file, "--policy", "fixed:gain", "--toolbox", tmp_path / "own"),
        ("toolbox", tmp_path / "own"),
    ):
        code, out, errors = run(*command)
        assert code != 0 and not out and len(errors) == 1
        assert "architecture='own_networks:Gain' names a class, which is imported only with trust=True" in errors[0]
        code, out, errors = run(*command, "--trust")
        assert (code, errors) == (0, [])


def test_the_program_itself_ends_without_a_traceback(tmp_path, photo_file):
    """In a process of its own: no monkeypatching, no captured streams."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo_file.read_bytes()[:-500])
    done = subprocess.run(
        [sys.executable, "-c", "from restore_env.cli import main; main()", "restore", str(broken), str(photo_file)]
        + ["--policy", "stop", "--toolbox", "classical", "-o", str(tmp_path / "out")],
        capture_output=True, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"restore-env: {broken}: ") and len(done.stderr.splitlines()) == 1
    assert done.stdout == f"{photo_file} -> {tmp_path / 'out' / '0.png'}: stop\n"
    assert cv2.imread(str(tmp_path / "out" / "0.png")) is not None


def test_originals_are_never_overwritten(run, photo_folder, toolbox):
    before = {path: path.read_bytes() for path in photo_folder.iterdir()}
    options = ("--policy", "stop", "--toolbox", toolbox, "-o", photo_folder)
    assert_refused(run("restore", photo_folder, *options), "would be written over an input")
    assert {path: path.read_bytes() for path in photo_folder.iterdir()} == before


def test_no_output_overwrites_an_input_or_another_output(run, photo_file, pairs_file, toolbox, tmp_path):
    files = [photo_file, pairs_file, *toolbox.iterdir()]
    before = [path.read_bytes() for path in files]
    options, out = ("--policy", "stop", "--toolbox", toolbox), tmp_path / "out.png"
    restored = ("restore", photo_file, *options, "-o", out)
    assert_refused(run(*restored, "--steps", photo_file), f"--steps {photo_file}", "over an input, IN")
    assert_refused(run(*restored, "--steps", out), f"--steps {out}", "--output is written there too")
    assert_refused(run(*restored, "--steps", toolbox / "toolbox.json"), "--steps", "a file of an input, --toolbox")
    evaluated = ("evaluate", pairs_file, *options, "--json")
    assert_refused(run(*evaluated, pairs_file), f"--json {pairs_file}", "over an input, PAIRS")
    assert_refused(run(*evaluated, toolbox), f"--json {toolbox}", "over an input, --toolbox")
    (tmp_path / "link.json").symlink_to(pairs_file)
    assert_refused(run(*evaluated, tmp_path / "link.json"), "over an input, PAIRS")
    assert [path.read_bytes() for path in files] == before
    assert not out.exists()


def test_an_output_that_cannot_be_written_is_told_before_all_work(run, photo_file, pairs_file, monkeypatch):
    for work in ("restore_env.load_toolbox", "restore_env.load_pairs", "restore_env.cli.demo.demo_table"):
        monkeypatch.setattr(work, None)
    assert_refused(run("evaluate", pairs_file, "--json", photo_file.parent), "--json", "a folder, not a file", code=1)
    assert_refused(run("restore", photo_file, "--steps", photo_file.parent), "a folder, not a file", code=1)
    assert_refused(run("demo", "-o", photo_file.with_name("demo.txt")), "demo.txt", "does not end in one of")


def test_a_folder_restored_twice_leaves_the_results_of_the_first_time_alone(run, photo_folder, toolbox):
    options = ("--policy", "stop", "--toolbox", toolbox)
    outputs = [run("restore", photo_folder, *options)[1] for _ in range(2)]
    assert outputs[0] == outputs[1]


def test_devices_can_be_written_to(run, photo_file, toolbox):
    options = ("--policy", "stop", "--toolbox", toolbox, "--steps", "/dev/null")
    assert run("restore", photo_file, *options)[0] == 0
    assert not Path("/dev/null").is_file()


def test_restore_keeps_the_profile_and_chooses_a_format(run, photo_folder, toolbox, tmp_path):
    photo = Image.fromarray(read_image(photo_folder / "0.png"))
    photo.save(tmp_path / "photo.jpg", quality=98, subsampling=0, icc_profile=b"profile", dpi=(150, 150))
    options = ("--policy", "fixed:up", "--toolbox", toolbox)
    assert run("restore", tmp_path / "photo.jpg", *options)[0] == 0
    with Image.open(tmp_path / "photo-restored.jpg") as found:
        assert found.info["icc_profile"] == b"profile" and found.info["dpi"] == (150, 150)
    sizes = []
    for quality in (30, 90):
        assert run("restore", tmp_path / "photo.jpg", *options, "--format", "webp", "--quality", quality)[0] == 0
        sizes.append((tmp_path / "photo-restored.webp").stat().st_size)
    assert sizes[0] < sizes[1]
    wrong = run("restore", tmp_path / "photo.jpg", *options, "--format", "png", "-o", tmp_path / "other.webp")
    assert_refused(wrong, "--output", "does not end in .png")
    assert_refused(
        run("restore", tmp_path / "photo.jpg", *options, "--format", "png", "--quality", 90), "quality=90", code=1
    )


def test_restore_warns_of_what_it_leaves_out(run, photo_folder, toolbox, tmp_path):
    pages = [Image.fromarray(read_image(photo_folder / f"{number}.png")) for number in range(2)]
    pages[0].save(tmp_path / "two.tif", save_all=True, append_images=pages[1:])
    code, _, lines = run("restore", tmp_path / "two.tif", "--policy", "fixed:up", "--toolbox", toolbox)
    expected = f"restore-env: warning: {tmp_path / 'two.tif'} has 2 frames or pages; only the first is read"
    assert (code, lines) == (0, [expected])


def test_strength_margin_and_consistency_are_passed_on(run, photo_file, toolbox, tmp_path):
    options = ("--policy", "fixed:up", "--toolbox", toolbox, "--max-steps", 1)
    before = read_image(photo_file).astype(int)
    assert run("restore", photo_file, *options, "-o", tmp_path / "half.png", "--strength", 0.5)[0] == 0
    assert np.median(read_image(tmp_path / "half.png") - before) == 5
    assert_refused(run("restore", photo_file, *options, "--stop-margin", 1), "stop_margin=1.0", "has no Q-values")
    assert_refused(run("restore", photo_file, *options, "--strength", 2), "--strength", "2")
    assert_refused(run("restore", photo_file, *options, "--consistency", -1), "--consistency", "-1")


def test_a_report_compares_with_the_reference(run, photo_file, toolbox, tmp_path):
    page, clean, small = tmp_path / "page.html", tmp_path / "clean.png", tmp_path / "small.png"
    photo = read_image(photo_file)
    write_image(clean, photo)
    write_image(small, photo[:-1])
    options = [photo_file, "--toolbox", toolbox, "--policy", "stop", "-o", tmp_path / "out.png"]
    assert run("restore", *options, "--report", page, "--reference", clean)[0] == 0
    assert json.loads(page.with_suffix(".json").read_text())["likeness"][0] == {"psnr": 100, "ssim": 1}
    assert "PSNR 100.00 dB, SSIM 1.0000 before" in page.read_text()
    code, _, errors = run("restore", *options, "--report", page, "--reference", small)
    assert code == 1 and "the reference has" in errors[0]
    assert_refused(run("restore", *options, "--reference", clean), "--reference", "give --report too")


def test_restore_writes_a_report_of_one_photo(run, photo_file, photo_folder, toolbox, tmp_path):
    options = ("--policy", "fixed:up", "--toolbox", toolbox, "--max-steps", 1)
    assert run("restore", photo_file, *options, "--report", tmp_path / "page.html")[0] == 0
    assert "Removed slight noise everywhere." in (tmp_path / "page.html").read_text()
    assert json.loads((tmp_path / "page.json").read_text())["choices"] == [[["up"]]]
    assert_refused(
        run("restore", photo_folder, *options, "--report", tmp_path / "page.html"), "--report", "single photo"
    )
    assert_refused(
        run("restore", photo_folder, *options, "--compare", tmp_path / "a.html"), "--compare", "single photo"
    )
    assert run("restore", photo_file, *options, "--compare", tmp_path / "a.html")[0] == 0
    assert "<b>up</b>" in (tmp_path / "a.html").read_text()
    assert_refused(run("restore", photo_file, *options, "--resume"), "--resume", "a single photo has no journal")
