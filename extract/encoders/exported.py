"""Transformers exported to ONNX or OpenVINO, run by those libraries in a PyTorch model's place.

Many models of the hubs carry ``onnx/model.onnx`` or ``openvino/openvino_model.xml``, often faster
on a CPU; optimum makes such files. They are run as they are, in the precision of the file.
"""

import hashlib
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from extract.encoders.uri import EncoderURI, loading
from extract.errors import missing_extra
from extract.files import sha256_file

BACKENDS = ("onnx", "openvino")
_USUAL_FILE = {"onnx": "onnx/model.onnx", "openvino": "openvino/openvino_model.xml"}
_TENSORS = ("last_hidden_state", "token_embeddings")


def exported_file(uri: EncoderURI, backend: str) -> Path:
    """The exported file of a model: ``file_name=``, within the model, or the usual one.

    Raises:
        InputError: the model has no such file, or it lies outside the model.
    """
    name = uri.options.get("file_name", _USUAL_FILE[backend])
    suffixes = (".onnx",) if backend == "onnx" else (".xml", ".onnx")
    inside = Path(name)
    if inside.is_absolute() or ".." in inside.parts or inside.suffix not in suffixes:
        uri.refuse(f"option file_name={name}: give a {' or '.join(suffixes)} file of the model")
    folder = uri.folder
    if folder is None:
        from huggingface_hub import snapshot_download

        repository = uri.name if "/" in uri.name else f"sentence-transformers/{uri.name}"
        files = [name, *(str(inside.with_name(other)) for other in _companions(inside))]
        with loading(uri):
            folder = Path(
                snapshot_download(repository, revision=uri.revision, allow_patterns=files)
            )
    path = folder / inside
    if not path.is_file():
        there = sorted(
            found.relative_to(folder).as_posix()
            for suffix in suffixes
            for found in folder.rglob(f"*{suffix}")
        )
        uri.refuse(f"the model has no file {name} (it has: {', '.join(there[:8]) or 'none'})")
    return path


def _companions(file: Path) -> list[str]:
    """Names of the files that may hold the weights of an exported graph."""
    return [f"{file.name}_data", f"{file.name}.data", f"{file.stem}.bin"]


def file_digest(file: Path) -> str:
    """SHA-256 over an exported graph and the files of weights beside it."""
    digest = hashlib.sha256()
    for path in (file, *(file.with_name(name) for name in _companions(file))):
        if path.is_file():
            digest.update(f"{path.name} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


class ExportedModel(torch.nn.Module):
    """What stands for the transformer: named (n, t) tensors to ``last_hidden_state`` (n, t, d)."""

    def __init__(self, uri: EncoderURI, backend: str, file: Path, config: Any) -> None:
        """Read the graph.

        Raises:
            InputError: the library is not installed, the file is damaged, or it gives no tokens.
        """
        super().__init__()
        self.uri, self.backend, self.file, self.config = uri, backend, file, config
        self._run_on(torch.device("cpu"))

    def _run_on(self, device: torch.device) -> None:
        self.device = device
        make = _OnnxSession if self.backend == "onnx" else _OpenVinoSession
        self.session: Any = make(self.uri, self.file, device)
        named = [name for name in _TENSORS if name in self.session.outputs]
        if not named:
            self.uri.refuse(
                f"{self.file.name} gives {', '.join(self.session.outputs) or 'nothing'}, and none"
                f" of {', '.join(_TENSORS)}: export the transformer alone"
            )
        self.output = named[0]

    def place(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Run on another device.

        Raises:
            InputError: a precision other than the file's own, or a device that the library lacks.
        """
        if dtype != torch.float32:
            self.uri.refuse(
                f"an exported model computes in its file's precision, not in {str(dtype)[6:]}:"
                " leave --dtype out and name another file with file_name="
            )
        if device != self.device:
            self._run_on(device)
        return self

    def forward(self, **features: Any) -> dict[str, torch.Tensor]:
        """Run the graph; an input of its own that the tokenizer does not give is zeros.

        Returns:
            ``last_hidden_state``, (n, t, d) float32.
        """
        ids = features["input_ids"]
        inputs = {}
        for name in self.session.inputs:
            value = features.get(name)
            inputs[name] = (torch.zeros_like(ids) if value is None else value).cpu().numpy()
        hidden = self.session.run(inputs, self.output)
        tokens = torch.from_numpy(np.ascontiguousarray(hidden, dtype=np.float32))
        return {"last_hidden_state": tokens.to(ids.device)}


class _OnnxSession:
    """ONNX Runtime."""

    def __init__(self, uri: EncoderURI, file: Path, device: torch.device) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise missing_extra("onnx", f"encoder {uri}") from None
        if device.type not in ("cpu", "cuda"):
            uri.refuse(f"backend=onnx runs on cpu and cuda, not on {device}")
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.type == "cuda":
            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                uri.refuse("the installed onnxruntime runs on the CPU alone: add --device cpu")
            providers = [("CUDAExecutionProvider", {"device_id": device.index or 0}), *providers]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # what matters of it is an exception
        with loading(uri):
            self.session = onnxruntime.InferenceSession(file, options, providers=providers)
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]

    def run(self, inputs: dict[str, Any], output: str) -> Any:
        return self.session.run([output], inputs)[0]


class _OpenVinoSession:
    """OpenVINO, of an IR (.xml with .bin) or an ONNX file, on the CPU in float32."""

    def __init__(self, uri: EncoderURI, file: Path, device: torch.device) -> None:
        try:
            import openvino
        except ImportError:
            raise missing_extra("openvino", f"encoder {uri}") from None
        if device.type != "cpu":
            uri.refuse(f"backend=openvino runs on the CPU, not on {device}: add --device cpu")
        settings = {
            # Left alone it takes bfloat16 where the processor has it.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        with loading(uri):
            self.model = openvino.Core().compile_model(file, "CPU", settings)
        self.inputs = [port.get_any_name() for port in self.model.inputs]
        self.outputs = [name for port in self.model.outputs for name in port.get_names()]

    def run(self, inputs: dict[str, Any], output: str) -> Any:
        return self.model(inputs)[output]
