import json
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
import torch
from fading import Fading

from restore_env import FormatError, load_toolbox, save_toolbox
from restore_env.data.distortions import (
    DefocusBlur,
    GaussianBlur,
    GaussianNoise,
    JPEGCompression,
    MixedDistortion,
    PoissonNoise,
    WebPCompression,
)
from restore_env.toolbox import Toolbox
from restore_env.toolbox.networks import ARCHITECTURES
from tools.specs import (
    SLIGHT,
    ToolboxSpec,
    ToolSpec,
    available_specs,
    distortion_of,
    load_spec,
    own_distortion,
    training_distortion,
)

NOISE = ToolSpec("noise-2", "noise", (12.5, 25), "three-layer", {"wide": 4, "narrow": 3})
FADE = ToolSpec("fade", "fading:Fading", (0.9, 0.5), "eight-layer", {"wide": 6, "narrow": 4})

# Table 1 of the paper: blur by its standard deviation in pixels, noise by its standard deviation, JPEG by its quality.
TABLE_1 = {
    "blur": [(0, 1.25), (1.25, 2.5), (2.5, 3.75), (3.75, 5)],
    "noise": [(0, 12.5), (12.5, 25), (25, 37.5), (37.5, 50)],
    "jpeg": [(100, 60), (60, 35), (35, 20), (20, 10)],
}
WHOLE = {"blur": (0, 5), "noise": (0, 50), "jpeg": (100, 10)}


def entry(**changes):
    tool = {"name": "a", "removes": "noise", "interval": [0, 50], "architecture": "three-layer"} | changes
    return {key: value for key, value in tool.items() if value is not None}


@pytest.fixture
def write(tmp_path):
    """Write a description of tools and return its path."""

    def written(*tools, **content):
        path = tmp_path / "tools.json"
        path.write_text(json.dumps({"format": 1, "name": "mine", "tools": list(tools)} | content))
        return path

    return written


class TestShipped:
    def test_their_names(self):
        assert available_specs() == ["restore-12", "rl-restore-6", "rl-restore-12", "rl-restore-18"]

    @pytest.mark.parametrize("number", [6, 12, 18])
    def test_cover_what_the_severities_draw_without_gaps(self, number):
        spec = load_spec(f"rl-restore-{number}")
        assert spec.name == f"rl-restore-{number}"
        assert [tool.name for tool in spec.tools] == [
            f"{removes}-{place + 1}" for removes in WHOLE for place in range(number // 3)
        ]
        for removes, (mildest, strongest) in WHOLE.items():
            tools = [tool for tool in spec.tools if tool.removes == removes]
            edges = [mildest, *(tool.interval[1] for tool in tools)]
            assert [tool.interval for tool in tools] == list(zip(edges, edges[1:], strict=False))
            assert edges[-1] == strongest
            assert edges in (sorted(edges), sorted(edges, reverse=True))
            layers = ["three-layer"] * (number // 6) + ["eight-layer"] * (number // 6)
            assert [tool.architecture for tool in tools] == layers

    def test_the_twelve_are_the_papers_table_1(self):
        tools = iter(load_spec("rl-restore-12").tools)
        for removes, intervals in TABLE_1.items():
            for number, interval in enumerate(intervals):
                tool = next(tools)
                assert (tool.name, tool.removes, tool.interval) == (f"{removes}-{number + 1}", removes, interval)
                network = tool.network(0)
                assert type(network) is ARCHITECTURES["three-layer" if number < 2 else "eight-layer"]
                # "21,827 parameters at the default sizes", "50,851"
                assert sum(value.numel() for value in network.parameters()) == (21_827 if number < 2 else 50_851)

    def test_the_shipped_toolbox_is_of_these_twelve(self):
        toolbox = load_toolbox("rl-restore-12")
        for tool, spec in zip(toolbox, load_spec("rl-restore-12").tools, strict=True):
            assert (tool.name, tool.removes, tool.interval) == (spec.name, spec.removes, spec.interval)
            assert type(tool.module) is type(spec.network(0))


class TestFiles:
    def test_a_description_is_read(self, write):
        spec = ToolboxSpec("mine", (NOISE, FADE, ToolSpec("jpeg", "jpeg", (90, 10), "three-layer")))
        path = write(*(asdict(tool) for tool in spec.tools))
        assert load_spec(path, trust=True) == load_spec(str(path), trust=True) == spec

    def test_arguments_may_be_left_out(self, write):
        tool = load_spec(write(entry())).tools[0]
        assert tool == ToolSpec("a", "noise", (0, 50), "three-layer")
        assert tool.network(0).arguments == {"wide": 32, "narrow": 16}

    def test_the_description_in_a_toolbox_folder_is_one_too(self, tmp_path):
        toolbox = Toolbox([NOISE.tool(NOISE.network(0)), FADE.tool(FADE.network(0))], "trained")
        save_toolbox(toolbox, tmp_path / "trained")
        assert load_spec(tmp_path / "trained" / "toolbox.json", trust=True) == ToolboxSpec("trained", (NOISE, FADE))

    def test_a_class_is_imported_from_a_trusted_file_only(self, write, tmp_path, monkeypatch):
        (tmp_path / "harmful.py").write_text("raise SystemExit('it was run')")
        monkeypatch.syspath_prepend(tmp_path)
        path = write(entry(removes="harmful:Rain"))
        with pytest.raises(FormatError, match="tool 'a': removes='harmful:Rain' names a class, which is imported only"):
            load_spec(path)
        with pytest.raises(SystemExit):
            load_spec(path, trust=True)
        with pytest.raises(ValueError, match="names a class"):
            own_distortion("a", "harmful:Rain", (0.0, 1.0))

    @pytest.mark.parametrize("name", ["rl-restore-13", "rl-restore", "missing.json", ""])
    def test_a_description_that_is_not_there(self, name):
        known = "'restore-12', 'rl-restore-6'"
        with pytest.raises(ValueError, match=f"toolbox='{name or '.'}' is neither one of {known}.* nor a file"):
            load_spec(name or ".")

    @pytest.mark.parametrize(
        ("tools", "message"),
        [
            ([entry(intervall=[0, 1])], "tool 'a': 'intervall' means nothing here"),
            (
                [entry(removes="rain")],
                "tool 'a': removes='rain' is not one of 'blur', .*'webp' or 'package.module:Cl",
            ),
            ([entry(removes="")], "tool 'a': removes='' is not one of 'blur', .*'webp' or 'package.module:Cl"),
            ([entry(removes="fadin:Fading")], "tool 'a': removes='fadin:Fading' cannot be imported .*No module named"),
            (
                [entry(removes="fading:Fade")],
                "tool 'a': removes='fading:Fade' cannot be imported .*no attribute 'Fade'",
            ),
            ([entry(removes=":Fading")], "tool 'a': removes=':Fading' cannot be imported"),
            ([entry(removes="fading:Grey")], "tool 'a': removes='fading:Grey' is not a class of restore_env.data.dist"),
            (
                [entry(removes="fading:np")],
                "tool 'a': removes='fading:np' is not a class of restore_env.data.dist",
            ),
            ([entry(interval=[-1, 5])], "tool 'a': .*noise_sigma from low=-1.0 to high=5.0 is not an interval within"),
            ([entry(interval=[0, 5, 9])], r"tool 'a': interval=\[0, 5, 9\] is not two numbers"),
            ([entry(interval=5)], "tool 'a': interval=5 is not two numbers"),
            ([entry(interval=["mild", "strong"])], "tool 'a': interval=.* is not two numbers"),
            ([entry(interval=None)], "tool 'a': 'interval' is missing"),
            ([entry(architecture=None)], "tool 'a': 'architecture' is missing"),
            ([entry(name=None)], "tool None: 'name' is missing"),
            ([entry(name="")], "tool='' cannot name a file in a folder"),
            ([entry(name="../a")], "tool='../a' cannot name a file in a folder"),
            ([entry(name=["a"])], "tool is list, not a text"),
            ([entry(removes=5)], "tool 'a': removes is int, not a text"),
            ([entry(interval=[0, 10**400])], "tool 'a': interval=.* is not two numbers"),
            ([entry(arguments={"wide": 10**30})], "tool 'a': 'three-layer' cannot be made from the arguments"),
            ([entry(name="stop")], "tools: the name 'stop' is reserved"),
            ([entry(architecture="two-layer")], "tool 'a': architecture='two-layer' is not one of 'three-layer', 'eig"),
            ([entry(arguments={"width": 4})], "tool 'a': 'three-layer' cannot be made from the arguments {'width': 4}"),
            ([entry(arguments={"wide": -4})], "tool 'a': 'three-layer' cannot be made from the arguments {'wide': -4}"),
            ([entry(arguments=[4, 3])], r"tool 'a': arguments=\[4, 3\] are not names and numbers"),
            ([entry(), entry(name="b"), entry()], "tools: the name 'a' is taken twice"),
            ([], "tools is empty"),
            (["noise"], "'noise' is not the description of a tool"),
        ],
    )
    def test_a_wrong_description_is_named_in_one_line(self, tools, message, write):
        path = write(*tools)
        with pytest.raises(FormatError, match=rf"tools\.json: {message}") as error:
            load_spec(path, trust=True)
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(str(path))

    @pytest.mark.parametrize(
        "content",
        [{"tools": None}, {"tools": 3}, {"format": 2}, {"format": None}, {"name": "../a", "tools": [entry()]}],
    )
    def test_a_file_of_something_else_is_named(self, content, write):
        with pytest.raises(ValueError, match=r"tools\.json: "):
            load_spec(write(**content))

    def test_a_damaged_file_is_named(self, write):
        path = write(entry())
        path.write_text(path.read_text()[:-3])
        with pytest.raises(ValueError, match=r"tools\.json: cannot be read as JSON"):
            load_spec(path)


class TestToolboxSpec:
    def test_tools_are_chosen_by_name(self):
        spec = ToolboxSpec("both", (NOISE, FADE))
        assert spec.chosen(()) == [NOISE, FADE]
        assert spec.chosen(["fade"]) == spec.chosen(["fade", "fade"]) == [FADE]
        assert spec.chosen(["fade", "noise-2"]) == [FADE, NOISE]

    def test_a_name_that_is_none_of_theirs_is_refused(self):
        with pytest.raises(ValueError, match="tools: 'noise-9' is not one of noise-2, fade"):
            ToolboxSpec("both", (NOISE, FADE)).chosen(["fade", "noise-9"])


class TestToolSpec:
    def test_first_weights_depend_on_the_seed_alone(self):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        one, same, other = (NOISE.network(seed).state_dict() for seed in (0, 0, 1))
        assert torch.equal(torch.get_rng_state(), before)
        assert all(torch.equal(one[key], same[key]) for key in one)
        assert not any(torch.equal(one[key], other[key]) for key in one)

    def test_becomes_a_tool(self):
        network = FADE.network(0)
        tool = FADE.tool(network)
        assert (tool.name, tool.removes, tool.interval, tool.module) == ("fade", "fading:Fading", (0.9, 0.5), network)

    def test_is_measured_on_its_own_distortion_then_slight_noise_and_jpeg(self):
        assert NOISE.task() == MixedDistortion([GaussianNoise(12.5, 25), GaussianNoise(0, 5), JPEGCompression(80, 100)])
        assert NOISE.task(robust=False) == MixedDistortion([GaussianNoise(12.5, 25)])
        assert FADE.task(robust=False) == MixedDistortion([Fading(0.5, 0.9)])

    def test_without_robustness_is_trained_on_its_own_distortion_only(self, photos):
        rng = np.random.default_rng(0)
        drawn = [NOISE.distortion(robust=False)(photos[0], rng)[1] for _ in range(20)]
        assert all(list(parameters) == ["noise_sigma"] for parameters in drawn)
        assert all(12.5 <= parameters["noise_sigma"] <= 25 for parameters in drawn)

    def test_intervals_go_from_mild_to_strong(self):
        assert distortion_of("a", "jpeg", (60, 35)) == JPEGCompression(35, 60)
        assert distortion_of("a", "blur", (1, 2)) == GaussianBlur(1, 2)
        assert distortion_of("a", "webp", (60, 35)) == WebPCompression(35, 60)
        assert FADE.own_distortion == Fading(0.5, 0.9)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"removes": "rain"}, "tool 'a': removes='rain' is not one of"),
            ({"architecture": "ten-layer"}, "tool 'a': architecture='ten-layer' is not one of"),
            (
                {"interval": (0, 1000)},
                "tool 'a': GaussianNoise: noise_sigma from low=0 to high=1000 is not an interval",
            ),
        ],
    )
    def test_a_tool_that_cannot_be_is_refused(self, changes, message):
        with pytest.raises(ValueError, match=message):
            ToolSpec(
                **({"name": "a", "removes": "noise", "interval": (0, 50), "architecture": "three-layer"} | changes)
            )


class TestRobustDistortion:
    """What a chain is shows in the names of its parameters."""

    N = 600
    CHAINS = {
        GaussianBlur(1, 2): [
            (0.8, ["blur_sigma", "noise_sigma", "jpeg_quality"]),
            (0.1, ["blur_sigma"]),
            (0.1, ["blur_sigma", "noise_sigma"]),
        ],
        GaussianNoise(20, 30): [
            (0.8, ["noise_sigma", "noise_sigma_2", "jpeg_quality"]),
            (0.1, ["noise_sigma"]),
            (0.1, ["blur_sigma", "noise_sigma", "noise_sigma_2", "jpeg_quality"]),
        ],
        DefocusBlur(1, 2): [
            (0.8, ["defocus_radius", "noise_sigma", "jpeg_quality"]),
            (0.1, ["defocus_radius"]),
            (0.1, ["defocus_radius", "noise_sigma"]),
        ],
        PoissonNoise(20, 30): [
            (0.8, ["poisson_sigma", "noise_sigma", "jpeg_quality"]),
            (0.1, ["poisson_sigma"]),
            (0.1, ["blur_sigma", "poisson_sigma", "noise_sigma", "jpeg_quality"]),
        ],
        JPEGCompression(20, 30): [
            (0.8, ["jpeg_quality", "noise_sigma", "jpeg_quality_2"]),
            (0.1, ["jpeg_quality"]),
            (0.1, ["blur_sigma", "jpeg_quality", "noise_sigma", "jpeg_quality_2"]),
        ],
        Fading(0.5, 0.9): [
            (0.8, ["contrast", "noise_sigma", "jpeg_quality"]),
            (0.1, ["contrast"]),
            (0.1, ["blur_sigma", "contrast", "noise_sigma", "jpeg_quality"]),
        ],
    }

    @staticmethod
    def drawn(own, n):
        rng, image = np.random.default_rng(0), np.full((8, 8, 3), 128, np.uint8)
        return [training_distortion(own)(image, rng)[1] for _ in range(n)]

    @pytest.mark.parametrize("own", CHAINS, ids=repr)
    def test_every_chain_comes_and_the_own_distortion_in_each(self, own):
        drawn = self.drawn(own, self.N)
        counts = Counter(tuple(parameters) for parameters in drawn)
        assert set(counts) == {tuple(names) for _, names in self.CHAINS[own]}
        for share, names in self.CHAINS[own]:
            assert counts[tuple(names)] / self.N == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / self.N))
        assert all(own.low <= parameters[own.parameter] <= own.high for parameters in drawn)

    def test_most_images_get_slight_noise_and_jpeg_and_some_more(self):
        drawn = [parameters for parameters in self.drawn(GaussianBlur(1, 2), self.N) if "jpeg_quality" in parameters]
        slight = [item for item in drawn if item["noise_sigma"] <= 5 and item["jpeg_quality"] >= 80]
        # 5 of 8, and of the other 3 every 24th by chance
        assert len(slight) / len(drawn) == pytest.approx(5 / 8 + 3 / 8 / 24, abs=0.09)
        more = [item for item in drawn if item not in slight]
        assert 20 <= min(item["jpeg_quality"] for item in more) < 30
        assert 25 < max(item["noise_sigma"] for item in more) <= 30

    def test_the_slight_ones_are_the_mildest_level(self):
        assert SLIGHT == (GaussianNoise.level(1), JPEGCompression.level(1))

    def test_is_what_a_tool_is_trained_on(self):
        assert repr(NOISE.distortion()) == repr(training_distortion(GaussianNoise(12.5, 25)))


@pytest.mark.parametrize("name", ["../noise", "a/b"])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(ValueError, match="cannot name a file in a folder"):
        ToolSpec(name, "noise", (0, 5), "three-layer")
