"""A file that is written is whole or as it was, and nothing is left beside it."""

import errno
import os

import pytest

from lavis_asym.files import replacing, write_atomically


def test_a_full_disk_leaves_the_old_content_and_no_other_file(tmp_path, monkeypatch):
    path = tmp_path / "val.json"
    write_atomically(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"old"


def test_what_fails_while_it_is_written_is_gone_and_what_does_not_is_there(tmp_path):
    path = tmp_path / "val.json"
    with pytest.raises(KeyboardInterrupt), replacing(path) as partial:
        partial.write_bytes(b"ne")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with replacing(path) as one, replacing(path) as other:  # as two processes would
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"one"
