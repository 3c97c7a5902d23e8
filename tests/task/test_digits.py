from __future__ import annotations

from tests.configs import settings_of
from tests.task.tables import checked


def test_every_image_is_in_one_split() -> None:
    data = checked(settings_of("task", "digits"))
    parts = [data.training.train, data.training.validation, data.evaluation]
    assert [len(part) for part in parts] == [1257, 180, 360]
    assert data.training.problem.names == tuple("0123456789")
    assert data.training.problem.others == ("f1_macro", "top5")
    for part in parts:
        counts = [part.labels.tolist().count(digit) / len(part) for digit in range(10)]
        assert all(abs(share - 0.1) < 0.01 for share in counts)
    seen = [part.pixels(i).tobytes() for part in parts for i in range(len(part))]
    assert len(set(seen)) == 1797


def test_shades_run_from_black_to_white() -> None:
    pixels = settings_of("task", "digits").load().evaluation.pixels(0)
    assert pixels.shape == (8, 8, 3)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert (pixels[..., 0] == pixels[..., 2]).all()
