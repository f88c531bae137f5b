"""Folders go to the Hugging Face Hub and come from it; a server on this machine stands for the Hub."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from torch import nn

from restore_env import load_policy, load_toolbox, save_policy, save_toolbox
from restore_env.cli.main import main
from restore_env.policies import FixedToolchain
from restore_env.training.model_card import UNKNOWN, write_model_card
from restore_env.utils.serialization import PRETRAINED

# The library's own way of sending large files without hf_xet
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

REPO = "someone/my-tools"
SHIPPED = sorted(path.parent for name in ("toolbox.json", "policy.json") for path in PRETRAINED.rglob(name))


@pytest.fixture
def toolbox(tmp_path, network_toolbox) -> Path:
    """A toolbox folder with a model card, as training writes it."""
    save_toolbox(network_toolbox, tmp_path / "my-tools")
    write_model_card(tmp_path / "my-tools", {"tools": {"three": {"psnr_out": 30.1}}}, ["# my-tools"])
    return tmp_path / "my-tools"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command line in a folder of its own: exit code, standard output, the line of standard error."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main replaces it

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["restore-env", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        assert len(told.err.splitlines()) == (end.value.code != 0), told.err
        return end.value.code, told.out, told.err

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def nothing_is_left() -> bool:
    return not list(Path.cwd().iterdir())


class TestRoundTrip:
    def test_a_folder_comes_back_as_it_was(self, hub, run, toolbox):
        code, out, _ = run("push", toolbox, REPO)
        assert code == 0 and REPO in out
        code, out, _ = run("pull", REPO)
        assert code == 0 and out.split()[-1] == "my-tools" and hub.revisions[REPO]["main"] in out
        assert contents(Path("my-tools")) == contents(toolbox) == hub.files(REPO)
        assert load_toolbox(Path("my-tools")).names == ("three", "eight")
        assert [path.name for path in Path.cwd().iterdir()] == ["my-tools"]

    def test_a_program_of_its_own_asks_the_endpoint_of_the_environment(self, hub, toolbox):
        words = ["push", str(toolbox), REPO], ["pull", REPO, "-o", str(toolbox.parent / "again")]
        for line in words:
            code = "from restore_env.cli import main; main()"
            done = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, text=True, timeout=300)
            assert (done.returncode, done.stderr) == (0, "")
        assert contents(toolbox.parent / "again") == contents(toolbox)

    def test_a_policy_and_its_toolbox_share_a_repository(self, hub, run, toolbox):
        actions = ("three", "eight", "stop")
        save_policy(FixedToolchain(["eight"], actions, "mine"), toolbox, load_toolbox(toolbox))
        assert run("push", toolbox, REPO)[0] == 0
        assert run("pull", REPO, "-o", "both")[0] == 0
        both = Path("both")
        assert load_policy(both, load_toolbox(both)).name == "mine"

    def test_a_second_push_is_a_second_commit(self, hub, run, toolbox):
        run("push", toolbox, REPO)
        first = hub.revisions[REPO]["main"]
        (toolbox / "README.md").write_text((toolbox / "README.md").read_text() + "More.\n")
        run("push", toolbox, REPO)
        assert run("pull", REPO, "-o", "old", "--revision", first)[0] == 0
        assert run("pull", REPO, "-o", "new")[0] == 0
        assert contents(Path("new"))["README.md"] == contents(Path("old"))["README.md"] + b"More.\n"


class TestPull:
    def test_only_the_files_of_a_folder_are_fetched(self, hub, run, toolbox):
        others = dict.fromkeys(("run.py", "policy.pkl", "policy.zip", "policies/x/policy.json", "../up"), b"raise")
        hub.add(REPO, {**contents(toolbox), **others})
        assert run("pull", REPO)[0] == 0
        assert contents(Path("my-tools")) == contents(toolbox)
        assert not any(name in request for request in hub.asked for name in others)

    def test_a_revision_can_be_given(self, hub, run, toolbox):
        hub.add(REPO, contents(toolbox), "v1")
        hub.add(REPO, {**contents(toolbox), "README.md": b"# Changed"})
        assert run("pull", REPO, "--revision", "v1")[0] == 0
        assert contents(Path("my-tools")) == contents(toolbox)

    @pytest.mark.parametrize("name", ["tools.safetensors", "toolbox.json"])
    def test_a_damaged_folder_is_not_put_in_place(self, hub, run, toolbox, name):
        files = contents(toolbox)
        files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])
        hub.add(REPO, files)
        code, _, told = run("pull", REPO)
        assert code == 2 and f"{REPO}/{name}: " in told
        assert nothing_is_left()

    def test_missing_weights_are_told(self, hub, run, toolbox):
        hub.add(REPO, {name: content for name, content in contents(toolbox).items() if name != "tools.safetensors"})
        assert f"{REPO}/tools.safetensors: " in run("pull", REPO)[2]
        assert nothing_is_left()

    def test_a_policy_for_other_actions_is_refused(self, hub, run, toolbox):
        save_policy(FixedToolchain([], ("other", "stop"), "mine"), toolbox, "elsewhere")
        hub.add(REPO, contents(toolbox))
        assert run("pull", REPO)[0] == 2
        assert nothing_is_left()

    def test_a_repository_of_something_else_is_not_fetched(self, hub, run):
        hub.add(REPO, {"README.md": b"# Pickled", "pytorch_model.bin": b"raise"})
        code, _, told = run("pull", REPO)
        assert code == 2 and "holds neither toolbox.json nor policy.json" in told
        assert len(hub.asked) == 1 and nothing_is_left()

    def test_an_existing_folder_stays(self, hub, run, toolbox):
        hub.add(REPO, contents(toolbox))
        Path("my-tools").mkdir()
        code, _, told = run("pull", REPO)
        assert code == 1 and "my-tools: exists already" in told
        assert not hub.asked and not list(Path("my-tools").iterdir())

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["someone/nothing"], "someone/nothing: not at http://127.0.0.1"),
            ([REPO, "--revision", "v2"], f"{REPO}: has no revision 'v2'"),
            ([f"{REPO}.git"], "my-tools.git"),
        ],
    )
    def test_what_is_not_there_is_one_line(self, hub, run, toolbox, words, message):
        hub.add(REPO, contents(toolbox), "v1")
        code, _, told = run("pull", *words)
        assert code in (1, 2) and message in told
        assert nothing_is_left()

    def test_a_hub_that_does_not_answer_is_one_line(self, hub, run):
        hub.shutdown()
        hub.server_close()
        code, _, told = run("pull", REPO)
        assert code == 1 and told.startswith(f"restore-env: {REPO}: {hub.url}: ")
        assert nothing_is_left()


@pytest.fixture
def spandrel_toolbox(tmp_path, toolbox, monkeypatch) -> Path:
    """A toolbox folder with a tool whose weights are a file beside the others; spandrel itself is not needed."""

    def open_file(path, digest):
        assert path.read_bytes() == b"weights"
        return nn.Identity()

    monkeypatch.setattr("restore_env.toolbox.storage.open_spandrel", open_file)
    description = json.loads((toolbox / "toolbox.json").read_text())
    entry = {"name": "other", "architecture": "spandrel", "file": "net.pth", "sha256": "0" * 64}
    (toolbox / "toolbox.json").write_text(json.dumps(description | {"tools": [*description["tools"], entry]}))
    (toolbox / "net.pth").write_bytes(b"weights")
    (toolbox / "unused.pth").write_bytes(b"private")
    return toolbox


class TestFilesOfTools:
    def test_they_are_sent_and_fetched(self, hub, run, spandrel_toolbox):
        assert run("push", spandrel_toolbox, REPO)[0] == 0
        (spandrel_toolbox / "unused.pth").unlink()
        assert hub.files(REPO) == contents(spandrel_toolbox)
        assert run("pull", REPO)[0] == 0
        assert contents(Path("my-tools")) == contents(spandrel_toolbox)
        assert load_toolbox("my-tools").names == ("three", "eight", "other")

    def test_a_name_in_another_folder_is_not_fetched(self, hub, run, spandrel_toolbox):
        files = contents(spandrel_toolbox)
        files["toolbox.json"] = files["toolbox.json"].replace(b"net.pth", b"../net.pth")
        hub.add(REPO, {**files, "../net.pth": b"weights"})
        code, _, told = run("pull", REPO)
        assert code == 2 and f"{REPO}/toolbox.json: " in told and "'../net.pth' cannot name a file in a folder" in told
        assert nothing_is_left() and not any("../net.pth" in request for request in hub.asked)


class TestPush:
    def test_only_the_files_of_a_folder_are_sent(self, hub, run, toolbox):
        before = contents(toolbox)
        for name in (".env", "notes.txt", "checkpoint.pt"):
            (toolbox / name).write_text("private")
        run("push", toolbox, REPO)
        assert hub.files(REPO) == before

    def test_weights_are_sent_as_large_files(self, hub, run, toolbox):
        run("push", toolbox, REPO)
        assert list(hub.large.values()) == [contents(toolbox)["tools.safetensors"]]

    def test_damaged_weights_are_not_sent(self, hub, run, toolbox):
        path = toolbox / "tools.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        code, _, told = run("push", toolbox, REPO)
        assert code == 2 and "tools.safetensors: damaged" in told
        assert not hub.asked

    @pytest.mark.parametrize(
        "card", [None, "# my-tools\n", "---\ntags: [a]\n---\n", "---\nlicense: [\n---\n", "---\n- mit\n---\n"]
    )
    def test_a_folder_without_a_licence_is_not_sent(self, hub, run, toolbox, card, caplog):
        (toolbox / "README.md").unlink()
        if card is not None:
            (toolbox / "README.md").write_text(card)
        code, _, told = run("push", toolbox, REPO)
        assert code == 2 and "README.md: " in told
        assert not hub.asked

    def test_what_the_hub_says_of_a_card_is_one_line(self, hub, run, toolbox):
        card = (toolbox / "README.md").read_text()
        (toolbox / "README.md").write_text(card.replace(UNKNOWN, "nonsense"))
        code, _, told = run("push", toolbox, REPO)
        assert code == 1 and '"license" is not one of those known' in told
        assert not hub.commits[REPO]

    def test_who_may_not_write_is_told_in_one_line(self, hub, run, toolbox, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_someone_else")
        code, _, told = run("push", toolbox, REPO)
        assert code == 1 and REPO in told
        assert not hub.commits


@pytest.mark.parametrize("words", [["pull", REPO], ["push", "{toolbox}", REPO]])
def test_without_the_extra_one_line_names_it(words, run, toolbox, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    code, _, told = run(*(word.format(toolbox=toolbox) for word in words))
    assert code == 2 and "restore-env[hub]" in told
    assert nothing_is_left()


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_the_hub_understands_shipped_cards(folder):
    hub = pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    card = hub.ModelCard.load(folder / "README.md")
    assert card.data.license == "mit" and card.data.library_name == "restore-env"
    assert {"gymnasium", "image-restoration"} <= set(card.data.tags) and {"CID22", "CLIC-2025"} <= set(
        card.data.datasets
    )
    assert card.data.pipeline_tag == (
        "image-to-image" if "toolbox.json" in contents(folder) else "reinforcement-learning"
    )
    assert card.text.lstrip().startswith(f"# {folder.name}\n")
