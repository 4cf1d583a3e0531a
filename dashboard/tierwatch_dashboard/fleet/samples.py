"""What a PromQL engine answers: series with their labels, at one moment or over a span. Pure."""

from __future__ import annotations

import msgspec

_Value = tuple[float, str]


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """The labels that Tierwatch asks for; what a series lacks is empty."""

    name: str = msgspec.field(default="", name="__name__")
    machine: str = ""
    instance: str = ""
    """HOST:PORT that was scraped."""
    hostname: str = ""
    old_hostname: str = msgspec.field(default="", name="Hostname")
    gpu: str = ""
    uuid: str = ""
    dcgm_uuid: str = msgspec.field(default="", name="UUID")
    index: str = ""
    gpu_instance: str = msgspec.field(default="", name="GPU_I_ID")
    """Of dcgm-exporter: the MIG instance within its GPU."""
    model_name: str = msgspec.field(default="", name="modelName")
    gpu_name: str = msgspec.field(default="", name="name")
    vendor: str = ""
    driver_version: str = ""
    dcgm_driver_version: str = msgspec.field(default="", name="DCGM_FI_DRIVER_VERSION")
    server: str = ""
    kind: str = ""
    version: str = ""
    os: str = ""
    agent_version: str = ""
    simulated: str = ""
    source: str = ""
    condition: str = ""
    reason: str = ""
    cause: str = ""
    action: str = ""
    xid: str = ""
    stat: str = ""
    outcome: str = ""
    sensor: str = ""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A series at one moment."""

    labels: Labels = msgspec.field(name="metric")
    point: _Value = msgspec.field(name="value")

    @property
    def value(self) -> float:
        """May be NaN or infinite, as the engine has it."""
        return float(self.point[1])


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """A series over a span."""

    labels: Labels = msgspec.field(name="metric")
    points: tuple[_Value, ...] = msgspec.field(name="values")


class _Vector(msgspec.Struct):
    result: list[Sample]


class _Matrix(msgspec.Struct):
    result: list[Course]


class _VectorAnswer(msgspec.Struct):
    data: _Vector


class _MatrixAnswer(msgspec.Struct):
    data: _Matrix


_vectors = msgspec.json.Decoder(_VectorAnswer)
_matrices = msgspec.json.Decoder(_MatrixAnswer)


def samples(answer: bytes) -> list[Sample]:
    """Those of an instant query's answer; msgspec.DecodeError where it is none."""
    return _vectors.decode(answer).data.result


def courses(answer: bytes) -> list[Course]:
    """Those of a range query's answer; msgspec.DecodeError where it is none."""
    return _matrices.decode(answer).data.result
