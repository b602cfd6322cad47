"""Tiny models, built from a configuration with a fixed seed and saved as people have them."""

import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
from PIL import Image

from extract.encoders.base import Waveform
from extract.encoders.registry import load_encoder

WORDS = (
    "a the red blue shoes cat two cats train crosses bridge picture of . <pad> <unk> <s> </s>"
    " passage query : search"
)


def tokenizer(**special):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(WORDS.split())}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if frame := special.pop("frame", "<s> $A </s>"):
        backend.post_processor = processors.TemplateProcessing(
            single=frame,
            special_tokens=[("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])],
        )
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", **special)


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
EOS = WORDS.split().index("</s>")
PAD = WORDS.split().index("<pad>")


def bert(folder):
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=24, max_position_embeddings=40, **SMALL)
    # Without its pooler, as many published checkpoints are.
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer(pad_token="<pad>", model_max_length=40).save_pretrained(folder)


def roberta(folder):
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=24, max_position_embeddings=30, pad_token_id=PAD, type_vocab_size=1, **SMALL
    )
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer(pad_token="<pad>", model_input_names=["input_ids", "attention_mask"]).save_pretrained(
        folder
    )


def gpt2(folder):
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(vocab_size=24, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    GPT2Model(config).save_pretrained(folder)
    # No padding token and no frame, as GPT-2 itself.
    tokenizer(eos_token="</s>", frame=None, model_max_length=64).save_pretrained(folder)


def llama(folder):
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(vocab_size=24, num_key_value_heads=1, max_position_embeddings=64, **SMALL)
    LlamaModel(config).save_pretrained(folder)
    # A token at the beginning, no padding token, as Llama.
    tokenizer(
        frame="<s> $A",
        eos_token="</s>",
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)


def qwen3(folder):
    from transformers import Qwen3Config, Qwen3Model

    config = Qwen3Config(
        vocab_size=24, num_key_value_heads=1, head_dim=16, max_position_embeddings=64, **SMALL
    )
    Qwen3Model(config).save_pretrained(folder)
    # Qwen3-Embedding's tokenizer appends the token whose state is the embedding.
    tokenizer(
        frame="$A </s>",
        pad_token="<pad>",
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)


def e5(folder):
    """As multilingual-e5-small: XLM-RoBERTa, and a name that says what it is."""
    from transformers import XLMRobertaConfig, XLMRobertaModel

    config = XLMRobertaConfig(
        vocab_size=24, max_position_embeddings=80, pad_token_id=PAD, type_vocab_size=1, **SMALL
    )
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer(pad_token="<pad>", model_input_names=["input_ids", "attention_mask"]).save_pretrained(
        folder
    )


def t5(folder):
    from transformers import T5Config, T5Model

    config = T5Config(vocab_size=24, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
    T5Model(config).save_pretrained(folder)
    tokenizer(
        pad_token="<pad>",
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)


def clip(folder):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    text = {"vocab_size": 24, "max_position_embeddings": 24, "eos_token_id": EOS, **SMALL}
    vision = {"image_size": 32, "patch_size": 16, **SMALL}
    CLIPModel(
        CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    ).save_pretrained(folder)
    size = {"shortest_edge": 32}
    CLIPImageProcessor(size=size, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    tokenizer(
        pad_token="</s>", model_max_length=24, model_input_names=["input_ids", "attention_mask"]
    ).save_pretrained(folder)


def siglip(folder):
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    text = {"vocab_size": 24, "max_position_embeddings": 16, **SMALL}
    vision = {"image_size": 32, "patch_size": 16, **SMALL}
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    tokenizer(
        pad_token="<pad>", model_max_length=16, model_input_names=["input_ids"]
    ).save_pretrained(folder)


def siglip2(folder):
    """With pictures of any shape, as patches that are padded to a number."""
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    text = {"vocab_size": 24, "max_position_embeddings": 16, **SMALL}
    vision = {"num_patches": 16, "patch_size": 8, **SMALL}
    Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)).save_pretrained(folder)
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)
    tokenizer(
        pad_token="<pad>", model_max_length=16, model_input_names=["input_ids", "attention_mask"]
    ).save_pretrained(folder)


def dinov3(folder):
    from transformers import DINOv3ViTConfig, DINOv3ViTImageProcessor, DINOv3ViTModel

    config = DINOv3ViTConfig(image_size=32, patch_size=16, num_register_tokens=2, **SMALL)
    DINOv3ViTModel(config).save_pretrained(folder)
    DINOv3ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def vit(folder):
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    config = ViTConfig(image_size=32, patch_size=16, **SMALL)
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def dinov2(folder):
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    config = Dinov2Config(image_size=28, patch_size=14, mlp_ratio=2, **SMALL)
    Dinov2Model(config).save_pretrained(folder)
    size = {"shortest_edge": 32}
    BitImageProcessor(size=size, crop_size={"height": 28, "width": 28}).save_pretrained(folder)


def convnext(folder):
    from transformers import ConvNextConfig, ConvNextImageProcessor, ConvNextModel

    config = ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], image_size=32)
    ConvNextModel(config).save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": 384}).save_pretrained(folder)


def wav2vec2(folder, norm="group", family="Wav2Vec2"):
    import transformers

    config = getattr(transformers, f"{family}Config")(
        conv_dim=[16] * 3,
        conv_kernel=[10, 8, 8],
        conv_stride=[5, 8, 8],
        feat_extract_norm=norm,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        **SMALL,
    )
    getattr(transformers, f"{family}Model")(config).save_pretrained(folder)
    extractor = transformers.Wav2Vec2FeatureExtractor
    extractor(return_attention_mask=norm == "layer").save_pretrained(folder)


def hubert(folder):
    wav2vec2(folder, family="Hubert")


def wavlm(folder):
    wav2vec2(folder, family="WavLM")


def wav2vec2_layer_norm(folder):
    wav2vec2(folder, norm="layer")


def whisper(folder):
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    config = WhisperConfig(
        vocab_size=24,
        d_model=32,
        num_mel_bins=20,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=64,
        max_source_positions=100,
        max_target_positions=8,
        pad_token_id=PAD,
        bos_token_id=0,
        eos_token_id=EOS,
        decoder_start_token_id=1,
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=20, chunk_length=2).save_pretrained(folder)


def ast(folder):
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    ASTModel(ASTConfig(num_mel_bins=16, max_length=64, **SMALL)).save_pretrained(folder)
    ASTFeatureExtractor(num_mel_bins=16, max_length=64).save_pretrained(folder)


def clap(folder):
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    text = {"vocab_size": 24, "max_position_embeddings": 30, "pad_token_id": PAD, **SMALL}
    audio = {
        "spec_size": 32,
        "num_mel_bins": 8,
        "patch_size": 2,
        "patch_stride": [2, 2],
        "window_size": 4,
        "patch_embeds_hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "projection_dim": 24,
    }
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=24)).save_pretrained(
        folder
    )
    ClapFeatureExtractor(
        feature_size=8,
        sampling_rate=16_000,
        hop_length=160,
        fft_window_size=400,
        max_length_s=1,
        frequency_max=8_000,
        truncation="rand_trunc",
    ).save_pretrained(folder)
    tokenizer(
        pad_token="<pad>", model_max_length=20, model_input_names=["input_ids", "attention_mask"]
    ).save_pretrained(folder)


def sentence(folder):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    bert(folder / "bert")
    body = Transformer(str(folder / "bert"))
    SentenceTransformer(modules=[body, Pooling(32, "mean"), Normalize()], device="cpu").save(
        str(folder)
    )


def sentence_onnx(folder):
    """With its transformer exported too, as optimum lays it out; OpenVINO reads and writes it."""
    from sentence_transformers import SentenceTransformer

    sentence(folder)
    body = SentenceTransformer(str(folder), device="cpu")[0].model.eval()

    class Tokens(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = body

        def forward(self, input_ids, attention_mask, token_type_ids):
            named = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
            return self.body(input_ids=input_ids, **named).last_hidden_state

    names = ("input_ids", "attention_mask", "token_type_ids")
    ids = torch.tensor([[16, 2, 4, 17, 14], [16, 0, 5, 13, 17]])
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    (folder / "onnx").mkdir()
    torch.onnx.export(
        Tokens().eval(),
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        folder / "onnx" / "model.onnx",
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_shapes=dict.fromkeys(names, dynamic),
        dynamo=True,
        verbose=False,
    )


def speech(folder):
    from safetensors.torch import save_file
    from torchaudio.models import wav2vec2_model

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
    (folder / "config.json").write_text(json.dumps(config))
    save_file(wav2vec2_model(**config).state_dict(), folder / "weights.safetensors")


def squeezenet(folder):
    from torchvision.models import squeezenet1_1

    # As published for the first weights, whose digest's beginning the file's name bears.
    torch.save(squeezenet1_1(weights=None).state_dict(), folder / "weights.pth")


def timm_resnet(folder):
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("test_resnet").state_dict(), folder / "weights.safetensors")


BUILDERS = (
    *(bert, roberta, e5, gpt2, llama, qwen3, t5, clip, siglip, siglip2, vit, dinov2, dinov3),
    *(convnext, wav2vec2, wav2vec2_layer_norm, hubert, wavlm, whisper, ast, clap),
    *(sentence, sentence_onnx, speech, squeezenet, timm_resnet),
)
# Folders that say more than their builder does: a model's name has a meaning for E5.
FOLDER_NAMES = {"e5": "multilingual-e5-small"}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """``tiny("bert")``: the folder of a saved tiny model, built once a session."""
    builders = {builder.__name__: builder for builder in BUILDERS}
    folders = {}

    def build(name):
        if name not in folders:
            folder = tmp_path_factory.mktemp(name) / FOLDER_NAMES.get(name, name)
            folder.mkdir()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(7)
                builders[name](folder)
            folders[name] = folder
        return folders[name]

    return build


@pytest.fixture(scope="session")
def load():
    """``load(uri, modality)`` on the CPU in float32."""

    def on_cpu(uri, modality, dtype=torch.float32, **options):
        return load_encoder(uri, modality, device=torch.device("cpu"), dtype=dtype, **options)

    return on_cpu


@pytest.fixture(scope="session")
def encode():
    """``encode(encoder, raws)``: preprocess each, encode them as one batch, float32 on the CPU."""

    def run(encoder, raws):
        with torch.inference_mode():
            return encoder.encode([encoder.preprocess(raw) for raw in raws]).float().cpu()

    return run


@pytest.fixture(scope="session")
def raws():
    """Five unlike media of each modality."""
    rng = np.random.default_rng(5)
    sizes = ((40, 30), (30, 50), (64, 64), (33, 200), (300, 20))
    tops = (256, 60, 256, 130, 20)
    pictures = [
        Image.fromarray(rng.integers(0, top, (height, width, 3), dtype=np.uint8))
        for (width, height), top in zip(sizes, tops, strict=True)
    ]
    texts = ["red shoes", "a cat .", "two cats " * 12, "the train crosses the bridge", "blue"]
    sounds = []
    for seconds, rate, pitch in (
        (0.5, 16_000, 200),
        (1.3, 16_000, 900),
        (0.31, 44_100, 440),
        (2.6, 22_050, 300),
        (0.5, 16_000, 2_000),
    ):
        time = np.arange(int(seconds * rate)) / rate
        tone = 0.4 * np.sin(2 * np.pi * pitch * time) + 0.02 * rng.standard_normal(len(time))
        sounds.append(Waveform(tone.astype(np.float32), rate))
    return {"image": pictures, "text": texts, "audio": sounds}


@pytest.fixture(scope="module")
def words_plugin(tmp_path_factory):
    """An installed distribution that offers the encoder ``plugin:word-lengths``."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "word_lengths.py").write_text(
        "import torch\n"
        "from extract import Encoder\n"
        "class WordLengths(Encoder):\n"
        "    modalities, space = ('text',), 'word-lengths'\n"
        "    def __init__(self, most='5'): self.dim = int(most)\n"
        "    def preprocess(self, raw):\n"
        "        return [min(len(word), self.dim) for word in raw.split()]\n"
        "    def encode(self, batch):\n"
        "        rows = [torch.bincount(torch.tensor(v), minlength=self.dim + 1) for v in batch]\n"
        "        return torch.stack(rows)[:, 1:].double()\n"
        "    def fingerprint(self): return {'most': self.dim}\n"
    )
    info = folder / "word_lengths-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: word-lengths\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[mmssl.encoders]\nword-lengths = word_lengths:WordLengths\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield
