"""``cli.py extract`` on real files gives the vectors of a direct call of each library.

Every model is tiny, built here with random weights and saved to disk, as a person's own would be.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import json

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
import torchaudio
import torchvision
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

import cli
from extract import FeatureStore
from extract.files import sha256_file

IDS = ["7", "007", "b/é.1", "東京", "e"]
TEXTS = ["red shoes", "a cat .", "two cats and a train " * 6, "the bridge", "blue"]
VOCABULARY = "a the red blue shoes cat two cats train bridge and . <pad> <unk> <s> </s>"
WORDS = VOCABULARY.split()
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """Five items with a PNG, a text and a WAV each, of unlike sizes, lengths and rates."""
    folder = tmp_path_factory.mktemp("catalogue")
    rng = np.random.default_rng(3)
    pictures, sounds = [], []
    for n, (width, height) in enumerate(((40, 30), (30, 50), (64, 64), (33, 200), (300, 20))):
        pixels = rng.integers(0, 256 - 45 * n, (height, width, 3), dtype=np.uint8)
        pictures.append(f"{n}.png")
        Image.fromarray(pixels).save(folder / f"{n}.png")
    for n, (seconds, rate) in enumerate(
        ((0.5, 16_000), (1.2, 16_000), (0.4, 44_100), (2.3, 22_050), (0.5, 16_000))
    ):
        time = np.arange(int(seconds * rate)) / rate
        wave = 0.4 * np.sin(2 * np.pi * 200 * (n + 1) * time) + 0.02 * rng.standard_normal(
            len(time)
        )
        sounds.append(f"{n}.wav")
        soundfile.write(folder / f"{n}.wav", wave, rate)
    table = pl.DataFrame({"item_id": IDS, "image": pictures, "text": TEXTS, "audio": sounds})
    table.write_csv(folder / "items.csv")
    return folder


@pytest.fixture
def stored(catalogue, tmp_path, capsys):
    """``stored(modality, uri)``: the vectors that the command writes, in the table's order."""

    def run(modality, uri):
        out = tmp_path / "store"
        arguments = ["--modality", modality, "--items", str(catalogue / "items.csv")]
        arguments += ["--encoder", uri, "--out", str(out), "--device", "cpu"]
        # Two batches and two parts, so that order and padding have a chance to go wrong.
        arguments += ["--batch-size", "2", "--rows-per-part", "3"]
        with pytest.raises(SystemExit) as stop:
            cli.run(cli.app, ["extract", *arguments])
        assert not stop.value.code, capsys.readouterr().err
        loaded = FeatureStore.open(out).load()
        assert loaded.ids == IDS
        assert loaded.present.all()
        return torch.from_numpy(np.array(loaded.vectors))

    return run


@pytest.fixture
def pictures(catalogue):
    return [Image.open(catalogue / f"{n}.png").convert("RGB") for n in range(5)]


@pytest.fixture
def waves(catalogue):
    """(n,) float32 at 16 kHz."""
    found = []
    for n in range(5):
        samples, rate = soundfile.read(catalogue / f"{n}.wav", dtype="float32")
        found.append(torchaudio.functional.resample(torch.from_numpy(samples), rate, 16_000))
    return found


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        yield


def same(actual, expected):
    assert expected.shape[1] > 1
    torch.testing.assert_close(actual, expected.float(), rtol=0, atol=1e-5)


def save_tokenizer(folder, **options):
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    frame = [(word, WORDS.index(word)) for word in ("<s>", "</s>")]
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=frame
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>", **options
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def save_bert(folder):
    model = BertModel(BertConfig(vocab_size=20, max_position_embeddings=40, **SMALL)).eval()
    model.save_pretrained(folder)
    return model, save_tokenizer(folder, model_max_length=40)


def test_torchvision(stored, pictures, tmp_path):
    model = torchvision.models.shufflenet_v2_x0_5(weights=None).eval()
    path = tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)
    transform = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.transforms()
    model.fc = torch.nn.Identity()
    with torch.inference_mode():
        expected = torch.cat([model(transform(picture).unsqueeze(0)) for picture in pictures])
    uri = f"torchvision:shufflenet_v2_x0_5?weights={path}&sha256={sha256_file(path)}"
    same(stored("image", uri), expected)


def test_transformers_image(stored, pictures, tmp_path):
    model = ViTModel(ViTConfig(image_size=32, patch_size=16, **SMALL)).eval()
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    model.save_pretrained(tmp_path / "vit")
    processor.save_pretrained(tmp_path / "vit")
    with torch.inference_mode():
        inputs = processor(images=pictures, return_tensors="pt")
        expected = model(**inputs).last_hidden_state[:, 0]
    same(stored("image", f"hf:{tmp_path}/vit"), expected)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_both_towers_of_clip(modality, stored, pictures, tmp_path):
    text = {"vocab_size": 20, "max_position_embeddings": 40, "eos_token_id": 15, **SMALL}
    config = CLIPConfig(
        text_config=text,
        vision_config={"image_size": 32, "patch_size": 16, **SMALL},
        projection_dim=24,
    )
    model = CLIPModel(config).eval()
    model.save_pretrained(tmp_path / "clip")
    processor = CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    processor.save_pretrained(tmp_path / "clip")
    names = ["input_ids", "attention_mask"]
    tokenizer = save_tokenizer(tmp_path / "clip", model_max_length=40, model_input_names=names)
    with torch.inference_mode():
        if modality == "image":
            inputs = processor(images=pictures, return_tensors="pt")
            expected = model.get_image_features(**inputs).pooler_output
        else:
            inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
            expected = model.get_text_features(**inputs).pooler_output
    same(stored(modality, f"hf:{tmp_path}/clip"), expected)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max"])
def test_transformers_text(pooling, stored, tmp_path):
    model, tokenizer = save_bert(tmp_path / "bert")
    rows = []
    with torch.inference_mode():
        for text in TEXTS:  # one by one: without padding there is nothing to mask
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            pooled = {
                "mean": hidden.mean(0),
                "cls": hidden[0],
                "last": hidden[-1],
                "max": hidden.amax(0),
            }
            rows.append(pooled[pooling])
    same(stored("text", f"hf:{tmp_path}/bert?pooling={pooling}"), torch.stack(rows))


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_transformers_audio(norm, stored, waves, tmp_path):
    config = Wav2Vec2Config(
        conv_dim=[16] * 3,
        conv_kernel=[10, 8, 8],
        conv_stride=[5, 8, 8],
        feat_extract_norm=norm,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        **SMALL,
    )
    Wav2Vec2Model(config).save_pretrained(tmp_path / "wav2vec2")
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer")
    extractor.save_pretrained(tmp_path / "wav2vec2")
    model = AutoModel.from_pretrained(tmp_path / "wav2vec2").eval()
    rows = []
    with torch.inference_mode():
        for wave in waves:
            inputs = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt")
            rows.append(model(**inputs).last_hidden_state[0].mean(0))
    same(stored("audio", f"hf:{tmp_path}/wav2vec2"), torch.stack(rows))


def test_sentence_transformers(stored, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    save_bert(tmp_path / "bert")
    body = Transformer(str(tmp_path / "bert"))
    model = SentenceTransformer(modules=[body, Pooling(32, "mean"), Normalize()], device="cpu")
    model.save(str(tmp_path / "sentence"))
    expected = model.encode(TEXTS, convert_to_tensor=True)
    same(stored("text", f"st:{tmp_path}/sentence"), expected)


def test_torchaudio(stored, waves, tmp_path):
    from safetensors.torch import save_file

    config = {
        "extractor_mode": "group_norm",
        "extractor_conv_layer_config": [[16, 10, 5], [16, 8, 8], [16, 8, 8]],
        "extractor_conv_bias": False,
        "encoder_embed_dim": 32,
        "encoder_projection_dropout": 0.1,
        "encoder_pos_conv_kernel": 8,
        "encoder_pos_conv_groups": 2,
        "encoder_num_layers": 2,
        "encoder_num_heads": 2,
        "encoder_attention_dropout": 0.1,
        "encoder_ff_interm_features": 64,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.1,
        "encoder_layer_norm_first": False,
        "encoder_layer_drop": 0.05,
        "aux_num_out": None,
    }
    model = torchaudio.models.wav2vec2_model(**config).eval()
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    with torch.inference_mode():
        expected = torch.stack([model(wave.unsqueeze(0))[0][0].mean(0) for wave in waves])
    uri = (
        f"torchaudio:wav2vec2_model?config={tmp_path}/config.json"
        f"&weights={tmp_path}/weights.safetensors"
    )
    same(stored("audio", uri), expected)


def test_ones_own_class(stored, pictures):
    rows = []
    for picture in pictures:
        hsv = np.asarray(picture.convert("HSV")).reshape(-1, 3).astype(int) * 4 // 256
        counts, _ = np.histogramdd(hsv, bins=(4, 4, 4), range=[(0, 4)] * 3)
        rows.append(torch.from_numpy(counts.ravel() / len(hsv)))
    same(stored("image", "examples.custom_encoder:ColourHistogram"), torch.stack(rows))
