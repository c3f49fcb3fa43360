"""The schema that is given to candidates: Caffe's own numbers, types and defaults, in their processes."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from grader.inside.given import caffe_pb2
from grader.inside.trtprep_worker import bridge

#: From BVLC's src/caffe/proto/caffe.proto: what files hold most of all, as (message, field, number, type).
FIELDS = [
    ("NetParameter", "name", 1, "string"), ("NetParameter", "layers", 2, "message"),
    ("NetParameter", "input", 3, "string"), ("NetParameter", "input_dim", 4, "int32"),
    ("NetParameter", "input_shape", 8, "message"), ("NetParameter", "layer", 100, "message"),
    ("BlobProto", "num", 1, "int32"), ("BlobProto", "width", 4, "int32"), ("BlobProto", "data", 5, "float"),
    ("BlobProto", "shape", 7, "message"), ("BlobProto", "double_data", 8, "double"), ("BlobShape", "dim", 1, "int64"),
    ("LayerParameter", "name", 1, "string"), ("LayerParameter", "type", 2, "string"),
    ("LayerParameter", "bottom", 3, "string"), ("LayerParameter", "top", 4, "string"),
    ("LayerParameter", "blobs", 7, "message"), ("LayerParameter", "include", 8, "message"),
    ("LayerParameter", "exclude", 9, "message"), ("LayerParameter", "phase", 10, "enum"),
    ("LayerParameter", "concat_param", 104, "message"), ("LayerParameter", "convolution_param", 106, "message"),
    ("LayerParameter", "dropout_param", 108, "message"), ("LayerParameter", "eltwise_param", 110, "message"),
    ("LayerParameter", "inner_product_param", 117, "message"), ("LayerParameter", "lrn_param", 118, "message"),
    ("LayerParameter", "pooling_param", 121, "message"), ("LayerParameter", "relu_param", 123, "message"),
    ("LayerParameter", "softmax_param", 125, "message"), ("LayerParameter", "batch_norm_param", 139, "message"),
    ("LayerParameter", "scale_param", 142, "message"), ("LayerParameter", "input_param", 143, "message"),
    ("V1LayerParameter", "bottom", 2, "string"), ("V1LayerParameter", "top", 3, "string"),
    ("V1LayerParameter", "name", 4, "string"), ("V1LayerParameter", "blobs", 6, "message"),
    ("ConvolutionParameter", "num_output", 1, "uint32"), ("ConvolutionParameter", "bias_term", 2, "bool"),
    ("ConvolutionParameter", "pad", 3, "uint32"), ("ConvolutionParameter", "kernel_size", 4, "uint32"),
    ("ConvolutionParameter", "group", 5, "uint32"), ("ConvolutionParameter", "stride", 6, "uint32"),
    ("ConvolutionParameter", "kernel_h", 11, "uint32"), ("ConvolutionParameter", "dilation", 18, "uint32"),
    ("PoolingParameter", "pool", 1, "enum"), ("PoolingParameter", "kernel_size", 2, "uint32"),
    ("PoolingParameter", "stride", 3, "uint32"), ("PoolingParameter", "pad", 4, "uint32"),
    ("PoolingParameter", "global_pooling", 12, "bool"), ("PoolingParameter", "round_mode", 13, "enum"),
    ("InnerProductParameter", "axis", 5, "int32"), ("InnerProductParameter", "transpose", 6, "bool"),
    ("LRNParameter", "local_size", 1, "uint32"), ("LRNParameter", "norm_region", 4, "enum"),
    ("LRNParameter", "k", 5, "float"), ("BatchNormParameter", "use_global_stats", 1, "bool"),
    ("BatchNormParameter", "eps", 3, "float"), ("ScaleParameter", "bias_term", 4, "bool"),
    ("EltwiseParameter", "operation", 1, "enum"), ("EltwiseParameter", "coeff", 2, "float"),
    ("SoftmaxParameter", "axis", 2, "int32"), ("ConcatParameter", "axis", 2, "int32"),
]  # fmt: skip


def number_of(type_name: str) -> int:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto

    return FieldDescriptorProto.Type.Value(f"TYPE_{type_name.upper()}")


@pytest.mark.parametrize(("message", "field", "number", "kind"), FIELDS)
def test_a_field_has_caffes_number_and_type(message: str, field: str, number: int, kind: str) -> None:
    found = getattr(caffe_pb2, message).DESCRIPTOR.fields_by_name[field]
    assert (found.number, found.type) == (number, number_of(kind))


def test_a_blob_is_read_from_bytes_that_were_put_together_by_hand() -> None:
    """Packed floats in field 5; a shape in field 7 with packed sizes 2 and 300 in its field 1."""
    data = b"\x2a\x08" + struct.pack("<2f", 1.5, -2.0)
    shape = b"\x3a\x05" + b"\x0a\x03" + b"\x02" + b"\xac\x02"
    blob = caffe_pb2.BlobProto.FromString(data + shape)
    assert list(blob.data) == [1.5, -2.0]
    assert list(blob.shape.dim) == [2, 300]
    assert blob.SerializeToString() == data + shape


def test_floats_that_are_not_packed_are_read_too() -> None:
    """As Caffe wrote them before it asked for packing."""
    data = b"".join(b"\x2d" + struct.pack("<f", value) for value in (1.0, 2.0))
    assert list(caffe_pb2.BlobProto.FromString(data).data) == [1.0, 2.0]


def test_defaults_are_caffes() -> None:
    layer = caffe_pb2.LayerParameter()
    assert layer.convolution_param.bias_term
    assert layer.convolution_param.group == layer.pooling_param.stride == layer.softmax_param.axis == 1
    assert layer.pooling_param.pool == caffe_pb2.PoolingParameter.MAX
    assert layer.eltwise_param.operation == caffe_pb2.EltwiseParameter.SUM
    assert layer.pooling_param.round_mode == caffe_pb2.PoolingParameter.CEIL
    assert layer.lrn_param.norm_region == caffe_pb2.LRNParameter.ACROSS_CHANNELS
    assert (layer.lrn_param.local_size, layer.lrn_param.alpha, layer.lrn_param.beta) == (5, 1, 0.75)
    assert layer.batch_norm_param.eps == pytest.approx(1e-5)
    assert not layer.batch_norm_param.HasField("use_global_stats")
    assert not layer.scale_param.bias_term
    assert (caffe_pb2.TRAIN, caffe_pb2.TEST) == (0, 1)
    assert caffe_pb2.NetState().phase == caffe_pb2.TEST


def test_a_prototxt_may_hold_what_the_schema_lacks_where_that_is_allowed() -> None:
    text = 'layer { name: "a" type: "PReLU" prelu_param { filler { value: 0.25 } } param { lr_mult: 1 } }'
    net = caffe_pb2.NetParameter()
    text_format.Parse(text, net, allow_unknown_field=True)
    assert net.layer[0].type == "PReLU"
    with pytest.raises(text_format.ParseError, match=r"no field named .prelu_param"):
        text_format.Parse(text, caffe_pb2.NetParameter())


def test_a_cut_off_file_is_no_message() -> None:
    data = caffe_pb2.NetParameter(name="net", layer=[caffe_pb2.LayerParameter(name="a layer")]).SerializeToString()
    with pytest.raises(DecodeError):
        caffe_pb2.NetParameter.FromString(data[:-3])


def test_a_mistake_in_the_file_is_told_with_its_text() -> None:
    with pytest.raises(SyntaxError, match="required int32 no"):
        caffe_pb2._file("message A {\n  required int32 no = 1;\n}")


@pytest.mark.parametrize("tier", ["twin", "rtx"])
def test_it_is_found_on_every_tier(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, sys.modules.get(name) or __import__("tensorrt_rtx"))
    monkeypatch.setattr(bridge, "entries", lambda tier, version: [])

    bridge.install(tier, {})

    assert sys.path[-1] == str(Path(caffe_pb2.__file__).parent)


@pytest.mark.slow
def test_a_candidates_file_may_import_it(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import caffe_pb2\nprint(caffe_pb2.LayerParameter(name='found').name)\n", encoding="utf-8")
    command = [sys.executable, "-m", "grader", "python", "--tier", "twin", str(program)]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)
    assert done.stdout == "found\n", done.stderr
