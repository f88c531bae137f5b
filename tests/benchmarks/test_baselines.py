import json

from benchmarks.baselines import SEVERITIES, Args, main
from restore_env import save_toolbox


def test_measures_every_baseline_and_writes_both_files(photo_folder, network_toolbox, tmp_path):
    save_toolbox(network_toolbox, tmp_path / "tools")
    output = tmp_path / "results.json"
    results = main(
        Args(photo_folder, photo_folder, output, str(tmp_path / "tools"), n=3, n_oracle=2, n_search=2, beam=1)
    )
    policies = [row["policy"] for row in results["rows"] if row["severity"] == "mild"]
    assert policies == ["stop", "random", "best single tool", "best fixed toolchain", "greedy", "oracle"]
    by_name = {(row["severity"], row["policy"]): row for row in results["rows"]}
    for severity in SEVERITIES:
        assert by_name[severity, "stop"]["gain"] == 0
        assert by_name[severity, "oracle"]["gain"] >= 0
        assert by_name[severity, "oracle"]["n"] == 2
    assert len(json.loads(output.read_text())["rows"]) == len(results["rows"])
    assert output.with_suffix(".md").read_text().count("\n| ") == 2 + len(results["rows"])
