"""Files of the models that are served, made once in the work folder."""

import shutil
import time
from pathlib import Path
from typing import Final

import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.serving_peers.cases import CASES, SHARED, ServingCase
from benchmarks.serving_peers.contenders import ContenderError, FaceterContender, upload

_CHANNELS, _BLOCKS = 32, 9
_ORIGINALS: Final = {"resnet20.onnx": "cifar10/resnet20.onnx", "fastestdet.onnx": "detection/fastestdet.onnx"}
_QUANTIZED: Final = "-w8a8.onnx"
_JOB_SECONDS: Final = 900
_WIDTH, _LAYERS = 1810, 3


def model_file(case: ServingCase, folder: Path) -> Path:
    """Return the model of a case, made if it is not there."""
    path = folder / case.model
    if path.exists():
        return path
    if case.model in _ORIGINALS:
        shutil.copy(SHARED / _ORIGINALS[case.model], path)
    elif case.model.endswith(_QUANTIZED):
        original = next(item for item in CASES if item.model == case.model.replace(_QUANTIZED, ".onnx"))
        path.write_bytes(_quantized(original, folder))
    else:
        path.write_bytes(_generator())
    return path


def large_model(folder: Path) -> Path:
    """Return a model of about 40 MB: three Gemm layers with random weights."""
    path = folder / "large.onnx"
    if path.exists():
        return path
    random, nodes, weights, name = np.random.default_rng(0), [], [], "x"
    for layer in range(_LAYERS):
        values = random.normal(0, _WIDTH**-0.5, (_WIDTH, _WIDTH)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{layer}"))
        nodes.append(helper.make_node("Gemm", [name, f"w{layer}"], [f"y{layer}"], name=f"gemm{layer}"))
        name = f"y{layer}"
    inputs, outputs = (
        [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, ["N", _WIDTH])] for tensor in ("x", name)
    )
    graph = helper.make_graph(nodes, "large", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def _quantized(case: ServingCase, folder: Path) -> bytes:
    """Quantize a model to W8A8 by a job of the service, with RQ."""
    work = folder / "quantizing"
    work.mkdir(exist_ok=True)
    service = FaceterContender("faceter", work, 1)
    try:
        service.start_service(workers=1)
        with httpx.Client(base_url=service.url, timeout=120) as client:
            id = upload(client, model_file(case, folder), case.metadata)
            job = client.post(f"/v1/models/{id}/quantizations", json={"method": "rq"}).raise_for_status().json()
            deadline = time.monotonic() + _JOB_SECONDS
            while job["status"] not in ("succeeded", "failed", "canceled") and time.monotonic() < deadline:
                time.sleep(1)
                job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
            if job["status"] != "succeeded":
                raise ContenderError(f"{case.model} was not quantized: {job}")
            return client.get(f"/v1/models/{job['result']['id']}/content").raise_for_status().content
    finally:
        service.stop()


def _generator() -> bytes:
    """Return CycleGAN's generator with initial weights."""
    from benchmarks.translation_serving import network
    from workers.translation.onnx_writer import write_generator

    content: bytes = write_generator(network(_CHANNELS, _BLOCKS)).SerializeToString()
    return content
