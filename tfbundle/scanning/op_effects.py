"""Which ops reach beyond the graph: files, networks, Python, other programs, the process.

A line of the table is a class, the severity of its findings when a caller's request and when the loading of the model
runs the op, and the ops. An op is followed by its relevant inputs and attributes::

    WriteFile:0         its first input
    PrintV2:@output_stream     an attribute
    RemoteCall:0=...    a note after the equals sign chooses how the value is judged (``values``)

All other ops are harmless by themselves, and are listed in ``harmless_ops``.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

# Class, severity when called, severity when loaded: ops.
_TABLE = """
reads medium high:
 CSVDataset:0 CSVDatasetV2:0 ExperimentalCSVDataset:0 ExperimentalLMDBDataset:0 ExperimentalSqlDataset:1
 FixedLengthRecordDataset:0 FixedLengthRecordDatasetV2:0 FixedLengthRecordReader:queue
 FixedLengthRecordReaderV2:queue FixedUnigramCandidateSampler:@vocab_file=unless-empty GenerateVocabRemapping:0,1
 ImmutableConst:@memory_region_name InitializeTableFromTextFile:1 InitializeTableFromTextFileV2:1 LMDBDataset:0
 LMDBReader:queue ListSnapshotChunksDataset:0 LoadAndRemapMatrix:0 LoadDataset:0 ReadFile:0 RecordInput:@file_pattern
 RestoreIterator:1 Skipgram:@filename SnapshotChunkDataset:0 SnapshotDatasetReader:0 SqlDataset:1 TextLineDataset:0
 TextLineReader:queue TextLineReaderV2:queue WholeFileReader:queue WholeFileReaderV2:queue
 DecodeProtoV2:@descriptor_source=unless-built-in EncodeProto:@descriptor_source=unless-built-in
 Restore:0=checkpoint RestoreSlice:0=checkpoint RestoreV2:0=checkpoint DTensorRestoreV2:0=checkpoint
 TFRecordDataset:0=records TFRecordDatasetV2:0=records TFRecordReader:queue=records TFRecordReaderV2:queue=records
writes high critical:
 CacheDataset:1=unless-empty CacheDatasetV2:1=unless-empty CalibrationStatisticsSaver:@output_file_path
 CreateSummaryDbWriter:1 CreateSummaryFileWriter:1 DatasetToTFRecord:1 DistributedSave:1,2 DumpTensor:@log_dir_path
 ExperimentalDatasetToTFRecord:1 PrintV2:@output_stream=unless-terminal SaveDataset:1 SaveDatasetV2:1 SaveIterator:1
 SnapshotDataset:1 SnapshotDatasetV2:1 WriteFile:0
 MergeV2Checkpoints:1,0=checkpoint Save:0=checkpoint SaveSlices:0=checkpoint SaveV2:0=checkpoint
 DebugIdentity:@debug_urls=debug-urls DebugIdentityV2:@debug_urls=debug-urls DebugIdentityV3:@debug_urls=debug-urls
 DebugNanCount:@debug_urls=debug-urls DebugNumericSummary:@debug_urls=debug-urls
lists medium medium:
 ExperimentalMatchingFilesDataset:0 MatchingFiles:0 MatchingFilesDataset:0
network high critical:
 BigQueryReader:@project_id ConnectTPUEmbeddingHosts:- DataServiceDataset:2 DataServiceDatasetV2:2
 DataServiceDatasetV3:2 DataServiceDatasetV4:2 GenerateBigQueryReaderPartitions:@project_id RegisterDataset:1
 RegisterDatasetV2:1 RemoteCall:0=unless-local Rpc:0 RpcCall:1 RpcClient:0 RpcServer:0 RpcServerRegister:1
 RpcServerStart:- TryRpc:0
network info info:
 CollectiveAllToAllV2:- CollectiveAllToAllV3:- CollectiveAssignGroupV2:- CollectiveBcastRecv:- CollectiveBcastRecvV2:-
 CollectiveBcastSend:- CollectiveBcastSendV2:- CollectiveGather:- CollectiveGatherV2:-
 CollectiveInitializeCommunicator:- CollectivePermute:- CollectiveReduce:- CollectiveReduceScatterV2:-
 CollectiveReduceV2:- CollectiveReduceV3:- Recv:@tensor_name RpcCheckStatus:- RpcGetValue:- Send:@tensor_name
 _HostRecv:@tensor_name _HostSend:@tensor_name _Recv:@tensor_name _Send:@tensor_name
python high critical:
 EagerPyFunc:@token PyFunc:@token PyFuncStateless:@token
program medium high:
 DatasetFromGraph:0=program MlirPassthroughOp:@mlir_module=program _TPUCompileMlir:@mlir_module=program
 _XlaHostComputeMlir:@host_mlir_module=program
native medium medium:
 RemoteFusedGraphExecute:@serialized_remote_fused_graph_execute_info=program XlaCallModule:@module=program
 XlaCustomCall:@target_name XlaCustomCallV2:@call_target_name
native info info:
 TPUCompile:- TPUExecute:- TPUExecuteAndUpdateVariables:- TPUPartitionedCall:- TPUReplicateMetadata:- XlaHostCompute:-
 XlaLaunch:- XlaLaunchV2:- _TPUReplicate:- _XlaCompile:- _XlaRun:-
process high critical:
 Abort:@error_msg WorkerHeartbeat:-
process low medium:
 ExperimentalSleepDataset:1 ShutdownDistributedTPU:- ShutdownTPUSystem:- SleepDataset:1 SleepIdentityOp:0 SleepOp:0
 _DisconnectHostFromDistributedTPUSystem:- _ShutdownDistributedTPU:-
configuration medium high:
 FileSystemSetConfiguration:0,1,2 GcsConfigureBlockCache:- GcsConfigureCredentials:0
configuration info info:
 ConfigureAndInitializeGlobalTPU:- ConfigureDistributedTPU:- ConfigureTPUEmbedding:- ConfigureTPUEmbeddingHost:-
 ConfigureTPUEmbeddingMemory:- DTensorSetGlobalTPUArray:- UpdateTaskIdAndGlobalCoreArray:- _ConfigureDistributedTPU:-
 _InitializeHostForDistributedTPU:- _SetGlobalTPUArray:- _WaitForDistributedTPU:-
"""

CLASSES = {
    "pure": "computes from its inputs",
    "state": "keeps or changes values in memory: variables, tables, queues, random numbers",
    "reads": "reads files",
    "writes": "writes files",
    "lists": "lists folders",
    "network": "connects to other machines",
    "python": "calls Python functions of the process",
    "program": "runs a program that is stored in data",
    "native": "runs compiled code that the graph does not show",
    "process": "stops or delays the process",
    "configuration": "changes settings of the process",
}
"""The class of each op, with what such ops do."""


class Effect(NamedTuple):
    """What an op does beyond the graph.

    ``called`` and ``loaded`` are severities. ``inputs`` are the numbers of the inputs, or ``attribute`` the name of the
    attribute, that determine on what; ``is_queue`` means that the names of files come from a queue. ``judged``
    names the rule by which the value is judged, if not every value is equally bad.
    """

    op_class: str
    called: str
    loaded: str
    inputs: tuple[int, ...]
    attribute: str | None
    is_queue: bool
    judged: str | None


@cache
def effects() -> dict[str, Effect]:
    """Return the effect of each op that has one."""
    found: dict[str, Effect] = {}
    op_class = called = loaded = ""
    for line in _TABLE.strip().splitlines():
        if not line.startswith(" "):
            op_class, called, loaded = line.rstrip(":").split()
            continue
        for word in line.split():
            op, _, acts_on = word.partition(":")
            place, _, judged = acts_on.partition("=")
            found[op] = Effect(
                op_class,
                called,
                loaded,
                tuple(map(int, place.split(","))) if place[0].isdigit() else (),
                place[1:] if place.startswith("@") else None,
                place == "queue",
                judged or None,
            )
    return found


def class_of(op: str) -> str | None:
    """Return the class of an op of TensorFlow, a key of ``CLASSES``; ``None`` if TensorFlow has no such op."""
    from tfbundle.scanning.harmless_ops import PURE, STATE

    effect = effects().get(op)
    if effect is not None:
        return effect.op_class
    return "state" if op in STATE else "pure" if op in PURE else None
