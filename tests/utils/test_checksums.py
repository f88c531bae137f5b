"""Files that hold their checksum: any damage is noticed, and a file without one is not checked."""

import pytest

from restore_env.errors import FormatError
from restore_env.utils.checksums import LENGTH, add_checksum, check_checksum, with_checksum, without_checksum


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(range(256)) * 3)
    add_checksum(path)
    return path


def test_the_contents_stay_and_the_checksum_is_right(path):
    check_checksum(path)
    assert path.read_bytes()[:-LENGTH] == bytes(range(256)) * 3


def test_every_flipped_bit_is_noticed(path):
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=r"file\.bin: damaged, its SHA-256 is not the one that it holds"):
            check_checksum(path)


@pytest.mark.parametrize(
    "change", [lambda content: content[:-1], lambda content: content[1:], lambda content: content[5:9] + content]
)
def test_a_file_of_another_length_is_noticed(path, change):
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FormatError, match="damaged"):
        check_checksum(path)


@pytest.mark.parametrize("content", [b"", b"short", bytes(1000)])
def test_a_file_without_a_checksum_is_not_checked(tmp_path, content):
    (tmp_path / "file.bin").write_bytes(content)
    check_checksum(tmp_path / "file.bin")


def test_a_large_file_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("restore_env.utils.checksums.CHUNK", 100)
    (tmp_path / "file.bin").write_bytes(bytes(1234))
    add_checksum(tmp_path / "file.bin")
    check_checksum(tmp_path / "file.bin")


def test_a_json_object_holds_the_checksum_of_its_other_entries(path):
    content = {"b": [1, 2.5, None], "a": "ä"}
    held = with_checksum(content)
    assert without_checksum(held, path) == content == without_checksum(content, path)
    for wrong in ({**held, "a": "a"}, {**held, "c": 1}, {**held, "sha256": None}):
        with pytest.raises(FormatError, match=r"file\.bin: damaged, its SHA-256"):
            without_checksum(wrong, path)
