"""TensorBoard's own reader finds what the tracker was told."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tests import told
from textmill.tracking.to_tensorboard import MOST_ROWS, TensorBoardTracker, markdown_table


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(
        str(folder / "tensorboard"), size_guidance={"images": 0, "histograms": 0}
    )
    events.Reload()
    return events


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    tracker = TensorBoardTracker(told.facts(folder))
    told.tell_training(tracker)
    told.tell_end(tracker, folder)
    return folder


def scalars(events: EventAccumulator, name: str) -> dict[int, float]:
    return {event.step: pytest.approx(event.value) for event in events.Scalars(name)}


def test_metrics_are_scalars_and_the_final_ones_apart(folder: Path) -> None:
    events = read(folder)
    for moments in (told.TRAINING, told.VALIDATION):
        names = {name for metrics in moments.values() for name in metrics}
        for name in names:
            expected = {step: one[name] for step, one in moments.items() if name in one}
            assert scalars(events, name) == expected
    for name, value in told.SUMMARY.items():
        assert scalars(events, f"final/{name}") == {40: value}


def test_charts_are_pictures_at_each_step(folder: Path) -> None:
    events = read(folder)
    assert set(events.Tags()["images"]) == set(told.charts())
    for name in told.charts():
        shown = events.Images(name)
        assert [one.step for one in shown] == [20, 40]
        picture = Image.open(io.BytesIO(shown[0].encoded_image_string))
        assert picture.size == (shown[0].width, shown[0].height)
        assert np.asarray(picture.convert("L")).std() > 0


def test_histograms_keep_their_bins(folder: Path) -> None:
    (first, _) = read(folder).Histograms("parameters/head.weight")
    value = first.histogram_value
    assert list(value.bucket) == told.HISTOGRAM.counts.tolist()
    assert list(value.bucket_limit) == told.HISTOGRAM.edges[1:].tolist()
    assert (value.min, value.max, value.num) == (0.0, 3.0, 8.0)
    assert value.sum == pytest.approx(0.5 + 4 * 1.5 + 3 * 2.5)


def text(events: EventAccumulator, name: str) -> str:
    (event,) = events.Tensors(f"{name}/text_summary")
    return str(event.tensor_proto.string_val[0].decode())


def test_the_configuration_and_the_artifacts_are_text(folder: Path) -> None:
    events = read(folder)
    assert '    "lr": 0.0001' in text(events, "config/optimizer")
    assert '"commit": "abc123"' in text(events, "config/manifest")
    assert '"fingerprint": "' + "b" * 64 in text(events, "artifacts/model/demo")
    assert text(events, "state") == "finished"


def test_text_of_tables_is_no_markup(folder: Path) -> None:
    lines = text(read(folder), "tables/samples-test").splitlines()
    assert lines[0] == "| text | label | loss | cut |"
    assert len(lines) == 5
    assert "<script>" not in lines[3]
    assert "*bold*" not in lines[3]
    assert lines[3].count("|") == 5


def test_long_tables_say_what_is_left_out() -> None:
    table = pa.table({"text": ["a"] * (MOST_ROWS + 7)})
    assert markdown_table(table).endswith("\n\nand 7 more rows")


def test_the_final_metrics_stand_beside_the_configuration(folder: Path) -> None:
    plugin = read(folder).summary_metadata["_hparams_/session_start_info"].plugin_data
    start = HParamsPluginData.FromString(plugin.content).session_start_info
    assert start.hparams["optimizer.lr"].number_value == pytest.approx(1e-4)
    assert start.hparams["tracking.report"].number_value == 1
    assert start.hparams["data.labels"].string_value == '["bad", "good"]'
    assert "manifest.command" not in start.hparams


def test_a_run_gone_on_with_starts_the_file_anew(tmp_path: Path) -> None:
    stopped = TensorBoardTracker(told.facts(tmp_path))
    told.tell_training(stopped, last=20)
    stopped.finish("interrupted")
    tracker = TensorBoardTracker(told.facts(tmp_path, resumed=True))
    told.tell_training(tracker)
    tracker.finish("finished")
    events = read(tmp_path)
    assert [event.step for event in events.Scalars("train/loss")] == [10, 20]
    assert text(events, "state") == "finished"
