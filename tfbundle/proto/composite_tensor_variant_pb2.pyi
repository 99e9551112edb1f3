from tfbundle.proto import struct_pb2 as _struct_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CompositeTensorVariantMetadata(_message.Message):
    __slots__ = ("type_spec_proto",)
    TYPE_SPEC_PROTO_FIELD_NUMBER: _ClassVar[int]
    type_spec_proto: _struct_pb2.TypeSpecProto
    def __init__(self, type_spec_proto: _Optional[_Union[_struct_pb2.TypeSpecProto, _Mapping[str, object]]] = ...) -> None: ...
