from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from compress.config.errors import UserError
from compress.records.schema import RunRecord, write_record
from compress.report.callback import ReportAfterMultirun
from compress.store.run_folder import RUN, write_mark
from tests.configs import compose_config
from tests.records.test_schema import make_failed, make_record

pytestmark = pytest.mark.usefixtures("undrawn")

OK, FAILED = make_record(), make_failed()


def config_of(folder: Path, *, search: bool) -> DictConfig:
    cfg = compose_config("teacher=tiny_random")
    OmegaConf.set_struct(cfg, False)
    cfg.hydra = {"sweep": {"dir": str(folder)}}
    if search:
        cfg.search = {"name": "x"}
    return cfg


def put(root: Path, *records: RunRecord) -> Path:
    for number, record in enumerate(records):
        (root / str(number)).mkdir()
        write_mark(root / str(number), RUN)
        write_record(record, root / str(number))
    return root


def end_sweep(config: DictConfig) -> None:
    callback = ReportAfterMultirun()
    callback.on_multirun_start(config)
    callback.on_multirun_end(config)


@pytest.mark.parametrize(
    ("records", "search", "fails"),
    [
        ((OK, OK), False, False),
        ((OK, FAILED), False, True),
        ((OK, FAILED), True, False),
        ((FAILED, FAILED), True, True),
    ],
)
def test_a_sweep_with_a_failed_run_fails_and_a_search_without_a_finished_one(
    records: tuple[RunRecord, ...], search: bool, fails: bool, tmp_path: Path
) -> None:
    config = config_of(put(tmp_path, *records), search=search)
    if fails:
        with pytest.raises(SystemExit, match="1"):
            end_sweep(config)
    else:
        end_sweep(config)
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize("records", [(), (FAILED,)])
def test_the_cause_that_ended_a_sweep_is_not_replaced(
    records: tuple[RunRecord, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hydra calls it while the error is on its way, and an exit would take its place."""
    config = config_of(put(tmp_path, *records), search=True)

    def sweep() -> None:
        try:
            raise UserError("no rows")
        finally:
            end_sweep(config)

    with pytest.raises(UserError, match="no rows"):
        sweep()
    assert (tmp_path / "report.html").exists() == bool(records)
    assert ("1 failed" in capsys.readouterr().out) == bool(records)


def test_a_damaged_record_beside_what_was_not_tracked_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, OK, OK)
    (tmp_path / "0" / "metrics.json").write_text("{")
    (tmp_path / "0" / "untracked.txt").write_text("the server was away")
    with pytest.raises(SystemExit):
        end_sweep(config_of(tmp_path, search=False))
    assert "not all of it was tracked: " in caplog.text
    assert "0/metrics.json is not valid JSON" in caplog.text
