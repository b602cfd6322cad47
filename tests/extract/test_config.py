from pathlib import Path

import pytest
import yaml

from extract.config import ExtractionConfig, parse_modalities, plan_extractions
from extract.errors import InputError

BASE = {"items": "items.csv", "modality": "text", "out": "features"}


def refusal(values) -> str:
    with pytest.raises(InputError) as error:
        ExtractionConfig.parse(values)
    return str(error.value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"batch_sise": 1}, "unknown extraction option 'batch_sise' (did you mean 'batch_size'?)"),
        ({"batch_size": 0}, "batch-size 0: Input should be greater than or equal to 1"),
        ({"workers": -1}, "workers -1"),
        ({"max_errors": -1}, "max-errors -1"),
        ({"max_seconds": 0}, "max-seconds 0"),
        ({"max_seconds": float("inf")}, "max-seconds inf"),
        ({"rows_per_part": 0}, "rows-per-part 0"),
        ({"dtype": "int8"}, "dtype 'int8'"),
        ({"modality": "smell"}, "modality 'smell'"),
        ({"column": "a", "text_template": "{b}"}, "give a column or a text template, not both"),
        ({"modality": "image", "text_template": "{b}"}, "acts on the modality text, not on image"),
        ({"frames": 4}, "frames acts on the modality video, not on text"),
        ({"frame_sampling": "scene"}, "frame-sampling acts on the modality video, not on text"),
        ({"modality": "video", "frames": 0}, "frames 0: Input should be greater than or equal"),
        ({"modality": "video", "frames": 1001}, "frames 1001"),
        ({"modality": "video", "frame_sampling": "random"}, "frame-sampling 'random'"),
    ],
)
def test_a_bad_option_is_one_line_that_names_it(values, says):
    message = refusal(BASE | values)
    assert says in message
    assert "\n" not in message


def test_the_configuration_as_yaml_reads_back_as_itself():
    config = ExtractionConfig.parse(BASE | {"media_roots": ["/media"], "workers": 2})
    assert ExtractionConfig.parse(yaml.safe_load(config.to_yaml())) == config


def test_modalities_come_repeated_or_with_commas():
    assert parse_modalities(["image,text", "audio"]) == ["image", "text", "audio"]
    assert parse_modalities(["text, image"]) == ["text", "image"]
    with pytest.raises(InputError, match=r"unknown modality 'img'"):
        parse_modalities(["img"])
    with pytest.raises(InputError, match="'image' is given twice"):
        parse_modalities(["image", "text,image"])
    with pytest.raises(InputError, match="unknown modality ''"):
        parse_modalities(["image,"])


def test_a_plan_gives_each_modality_its_own_store_column_and_encoder():
    outs = {"image": Path("f/image"), "text": Path("f/text")}
    image, text = plan_extractions(
        outs, columns=["image=photo"], text_template="{title}", items=Path("items.csv"), workers=3
    )
    assert (image.out, image.column, image.text_template) == (Path("f/image"), "photo", None)
    assert (text.out, text.column, text.text_template) == (Path("f/text"), None, "{title}")
    assert image.encoder == "packaged:efficientnet-lite0"
    assert text.encoder == "packaged:minilm"
    assert image.workers == text.workers == 3


def test_one_modality_needs_no_name_before_its_column():
    for column, name in (("photo", "photo"), ("image=photo", "photo"), ("a=b", "a=b")):
        (config,) = plan_extractions(
            {"image": Path("f")}, columns=[column], items=Path("i.csv"), encoder="melstats:64"
        )
        assert config.column == name
        assert config.encoder == "melstats:64"


def test_options_that_act_on_no_modality_are_refused():
    outs = {"image": Path("f/image"), "audio": Path("f/audio")}
    with pytest.raises(InputError, match="MODALITY=NAME"):
        plan_extractions(outs, columns=["photo"], items=Path("i.csv"))
    with pytest.raises(InputError, match="MODALITY=NAME"):
        plan_extractions(outs, columns=["text=title"], items=Path("i.csv"))
    with pytest.raises(InputError, match="image has a column already"):
        plan_extractions(outs, columns=["image=a", "image=b"], items=Path("i.csv"))
    with pytest.raises(InputError, match="--text-template acts on text, not on image, audio"):
        plan_extractions(outs, text_template="{title}", items=Path("i.csv"))
    with pytest.raises(InputError, match="--max-seconds acts on audio and video, not on image"):
        plan_extractions({"image": Path("i")}, items="items.csv", max_seconds=5)
    with pytest.raises(InputError, match="--media-root acts on files"):
        plan_extractions({"text": Path("t")}, items="items.csv", media_roots=["."])
    both = plan_extractions(
        {"text": Path("t"), "audio": Path("a")}, items="items.csv", max_seconds=5, media_roots=["."]
    )
    assert [config.max_seconds for config in both] == [600, 5]
    assert [len(config.media_roots) for config in both] == [0, 1]
    with pytest.raises(InputError, match="--frames acts on video, not on image, audio"):
        plan_extractions(outs, frames=4, items=Path("i.csv"))
    with pytest.raises(InputError, match="--frame-sampling acts on video, not on image, audio"):
        plan_extractions(outs, frame_sampling="scene", items=Path("i.csv"))


def test_frames_go_to_video_alone_and_have_defaults_there():
    outs = {"audio": Path("f/audio"), "video": Path("f/video")}
    audio, video = plan_extractions(outs, frames=4, items=Path("i.csv"))
    assert (audio.frames, audio.frame_sampling) == (None, None)
    assert (video.frames, video.frame_sampling) == (4, "uniform")
    assert video.encoder == "packaged:efficientnet-lite0"
    _, video = plan_extractions(outs, frame_sampling="scene", items=Path("i.csv"))
    assert (video.frames, video.frame_sampling) == (8, "scene")
    assert ExtractionConfig.parse(yaml.safe_load(video.to_yaml())) == video


@pytest.mark.parametrize(("batch_size", "frames", "videos"), [(32, 8, 4), (32, 5, 6), (4, 8, 1)])
def test_a_batch_holds_as_many_videos_as_have_its_size_in_frames(batch_size, frames, videos):
    config = ExtractionConfig.parse(
        BASE | {"modality": "video", "batch_size": batch_size, "frames": frames}
    )
    assert config.items_at_once == videos
    assert ExtractionConfig.parse(BASE | {"batch_size": batch_size}).items_at_once == batch_size


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"actors": 2}, "actors acts with engine ray only"),
        ({"ray_address": "auto"}, "ray-address acts with engine ray only"),
        ({"engine": "ray", "device": "cuda:1"}, "device cuda:1: with engine ray write auto, cpu"),
        ({"engine": "ray", "actors": 0}, "actors 0: Input should be greater than or equal to 1"),
    ],
)
def test_options_of_ray(options, says):
    with pytest.raises(InputError, match=says):
        ExtractionConfig.parse({"items": "a.csv", "modality": "text", "out": "b"} | options)
