"""TFLite files of writers from before 2020: operator codes in the 8-bit field alone."""

from __future__ import annotations

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from tests.support.tflite_builder import ModelSpec, TensorSpec, build
from tinygen.frontends.tflite import read_tflite


def test_codes_in_the_field_of_8_bits() -> None:
    x, y = TensorSpec((2, 3), "int8", 0.1, 3), TensorSpec((2, 3), "int8", 0.2, -5)
    content = build(ModelSpec(schema.BuiltinOperator.RELU, [x], [y], version=2))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    (entry,) = model.operatorCodes
    entry.deprecatedBuiltinCode, entry.builtinCode = schema.BuiltinOperator.RELU, 0
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (op,) = read_tflite(bytes(builder.Output())).ops
    (same,) = read_tflite(content).ops
    assert op == same
