from dataclasses import replace

from benchmarks import recipes
from benchmarks.recipes import Args, main
from tools.recipes import Recipe


def test_trains_by_each_recipe_and_writes_the_results(photo_folder, tmp_path, monkeypatch):
    small = Recipe(batch_size=2, crop=24)
    monkeypatch.setattr(recipes, "COMPARED", {"one": small, "two": replace(small, optimizer="adam")})
    output = tmp_path / "recipes.json"
    results = main(Args(photo_folder, photo_folder, output, "noise-1", minutes=0.01, pool=8, n=4))
    assert [row["recipe"] for row in results["rows"]] == ["one", "two"]
    for row in results["rows"]:
        assert row["iterations"] > 0
        assert row["minutes"] == sorted(row["minutes"]) and row["minutes"][-1] >= 0.01
        assert row["psnr"][-1] == row["psnr_out"]
    assert results["rows"][0]["psnr_in"] == results["rows"][1]["psnr_in"]
    assert output.with_suffix(".md").read_text().count("\n| ") == 4
    assert output.with_suffix(".png").exists()
