import json
from dataclasses import replace

import pytest

from benchmarks.joint import Args, main
from restore_env import Toolbox, evaluate, save_toolbox
from restore_env.data.photos import FolderPhotos
from restore_env.data.sources import as_source, draw_pairs


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path) -> Args:
    tools = [
        replace(tool, removes="noise", interval=interval)
        for tool, interval in zip(network_toolbox, ((0.0, 10.0), (10.0, 30.0)), strict=True)
    ]
    save_toolbox(Toolbox(tools), tmp_path / "one")
    save_toolbox(Toolbox([replace(tools[0], function=tools[1].function), tools[1]]), tmp_path / "two")
    stages = (f"before=fixed:three@{tmp_path / 'one'}", f"after=fixed:three@{tmp_path / 'two'}")
    return Args(photos=photo_folder, output=tmp_path / "joint.json", stages=stages, n=3)


def test_stages_are_measured_on_the_same_patches_and_tools_on_their_own_tasks(args, tmp_path):
    rows = main(args)["rows"]
    assert [row.get("severity", row.get("tool")) for row in rows] == ["mild", "moderate", "severe", "three", "eight"]
    pairs = draw_pairs(as_source(str(args.photos), "severe", 63), 3, 0)
    found = [evaluate(pairs, "fixed:three", tmp_path / name) for name in ("one", "two")]
    assert rows[2]["psnr_out"] == pytest.approx([result.psnr_out for result in found])
    assert rows[2]["rise"] == pytest.approx([found[1].gain - found[0].gain])
    assert rows[3]["psnr_out"][0] != rows[3]["psnr_out"][1] and rows[4]["psnr_out"][0] == rows[4]["psnr_out"][1]
    assert json.loads(args.output.read_text())["labels"] == ["before", "after"]
    text = args.output.with_suffix(".md").read_text()
    assert "| severity | input | before | after |" in text and text.count("\n| ") == 2 * 2 + len(rows)


def test_a_rival_is_compared_with_the_last_stage_alone(args, tmp_path):
    alone = main(args)["rows"]
    results = main(replace(args, rival=f"other=fixed:eight@{tmp_path / 'one'}"))
    severe, rows = results["rows"][2], results["rows"]
    assert results["labels"] == ["before", "after", "other"]
    assert severe["rise"] == alone[2]["rise"]
    assert severe["over_rival"][0] == pytest.approx(severe["psnr_out"][1] - severe["psnr_out"][2])
    text = args.output.with_suffix(".md").read_text()
    assert "| severity | input | before | after | other | after over other |" in text
    assert {line.count("|") for line in text.splitlines() if line.startswith("| severe")} == {7}
    assert len(rows[3]["psnr_out"]) == 3


def test_results_that_would_replace_each_other_are_refused(args):
    with pytest.raises(ValueError, match=r"joint\.md' does not end in \.json"):
        main(replace(args, output=args.output.with_suffix(".md")))


def test_stages_of_one_name_are_refused(args):
    with pytest.raises(ValueError, match="two are called 'before'; give each a LABEL= of its own"):
        main(replace(args, rival=args.stages[0]))


def test_a_wrong_stage_is_one_line(args):
    with pytest.raises(ValueError, match="policy='nobody' is neither"):
        main(replace(args, stages=("nobody",)))


def test_the_photos_are_opened_once(args, monkeypatch):
    opened = []
    init = FolderPhotos.__init__
    monkeypatch.setattr(FolderPhotos, "__init__", lambda self, folder: opened.append(folder) or init(self, folder))
    main(args)
    assert opened == [args.photos]
