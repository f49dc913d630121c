"""API keys, and where a service may be reached without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from textmill.errors import InputError
from textmill.serving.keys import ApiKeys, check_exposure, read_keys

KEY, OTHER = "k" * 16, "0123456789abcdef0123"


def test_only_a_known_key_opens() -> None:
    keys = ApiKeys([KEY, OTHER])
    assert keys.allow(KEY)
    assert keys.allow(OTHER)
    for wrong in (None, "", KEY[:-1], KEY + "k", KEY.upper(), "\udcff\xff"):
        assert not keys.allow(wrong)


def test_without_keys_everybody_may_ask() -> None:
    assert ApiKeys().allow(None)


def test_no_key_is_kept_as_it_is() -> None:
    assert KEY not in repr(vars(ApiKeys([KEY])))


def test_keys_of_the_environment_stand_between_commas() -> None:
    keys = read_keys({"TEXTMILL_API_KEYS": f" {KEY}, {OTHER},"}, None)
    assert len(keys) == 2
    assert keys.allow(OTHER)
    assert len(read_keys({}, None)) == 0


def test_a_file_has_a_key_on_each_line_and_goes_before_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# of the web shop\n{KEY}\n\n")
    keys = read_keys({"TEXTMILL_API_KEYS": OTHER}, file)
    assert keys.allow(KEY)
    assert not keys.allow(OTHER)


@pytest.mark.parametrize("content", ["", "# nothing\n", "short\n", f"{KEY} {KEY}\n", "ö" * 20])
def test_a_file_without_good_keys_is_refused_and_shows_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_keys({}, file)
    assert str(file) in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        read_keys({}, tmp_path / "missing")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_this_machine_alone_needs_no_key(host: str) -> None:
    check_exposure(host, ApiKeys(), insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "example.org", ""])  # noqa: S104
def test_other_machines_need_one_or_leave(host: str) -> None:
    with pytest.raises(InputError, match="--insecure"):
        check_exposure(host, ApiKeys(), insecure=False)
    check_exposure(host, ApiKeys(), insecure=True)
    check_exposure(host, ApiKeys([KEY]), insecure=False)
