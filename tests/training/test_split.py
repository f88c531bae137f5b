"""Photos that are kept aside to measure on."""

from restore_env.training.split import kept_aside


def test_every_tenth_photo_is_kept_aside():
    rest, aside = kept_aside([f"photo-{number:02}" for number in range(21)])
    assert aside == [0, 10, 20]
    assert rest == [number for number in range(21) if number % 10]


def test_sizes_of_one_photo_stay_together():
    names = [f"{number:04}{size}" for number in range(12) for size in ("_x2", "_x4")]
    rest, aside = kept_aside(names)
    assert [names[number] for number in aside] == ["0000_x2", "0000_x4", "0010_x2", "0010_x4"]
    assert len(rest) == 20
    assert kept_aside(["1x2", "1x3", "2x2", "2x3"]) == ([2, 3], [0, 1])
