"""SavedModels: those of the fixtures, and those that the installed TensorFlow writes."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

import tfbundle
from tests.support.expected import FIXTURES
from tfbundle.proto import MetaGraphDef
from tfbundle.proto import SavedModel as SavedModelProto

OF_TWO = FIXTURES / "tf-1.15.5" / "saved-model-of-two" / "model"
SAVED = sorted(path.parent for path in FIXTURES.glob("tf-*/*/model/saved_model.pb*"))
every_model = pytest.mark.parametrize("folder", SAVED, ids=lambda path: "/".join(path.parts[-3:-1]))


@every_model
def test_variables_are_the_keys_of_the_checkpoint(folder: Path) -> None:
    saved = tfbundle.load_saved_model(folder)
    with saved.open_checkpoint() as checkpoint:
        keys = set(checkpoint) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
        for meta in saved.meta_graphs:
            assert set(meta.variables()) == keys
            assert meta.saver is not None
            assert {tensor.name for tensor in meta.saver.tensors} == set(checkpoint)
            for variable in meta.all_variables:
                tensor = checkpoint[variable.stored_name]
                assert (variable.data_type, variable.shape) == (tensor.data_type, tensor.shape)
        arrays = tfbundle.load(folder, names=meta.variables())
        assert set(arrays) == keys


@every_model
def test_a_model_fits_its_own_variables(folder: Path) -> None:
    saved = tfbundle.load_saved_model(folder)
    result = tfbundle.compare_graph(saved, folder)
    assert result.ok
    assert result.unexpected == ()
    assert set(result.matched) == set(saved.meta_graph().variables())


@every_model
def test_folder_and_file(folder: Path) -> None:
    (file,) = folder.glob("saved_model.pb*")
    saved = tfbundle.load_saved_model(folder)
    assert saved.proto == tfbundle.load_saved_model(str(file)).proto
    assert Path(saved.folder) == folder
    assert tfbundle.load_graph(folder).proto == saved.meta_graph().proto.graph_def
    assert tfbundle.load_meta_graph(file).proto == saved.meta_graph().proto
    assert saved.tensorflow_version in str(folder)
    assert (saved.fingerprint is not None) == (folder / "fingerprint.pb").exists()


@pytest.mark.parametrize("name", ["tfhub_module.pb", "fingerprint.pb", "keras_metadata.pb"])
def test_files_beside_it_mean_the_model(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FIXTURES / "tf-2.15.1" / "keras-saved-model" / "model", folder)
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")  # All that TensorFlow Hub writes there.
    monkeypatch.chdir(folder)
    for path in (folder / name, Path(name)):
        assert tfbundle.load_saved_model(path).proto == tfbundle.load_saved_model(folder).proto
        assert tfbundle.load_graph(path).proto == tfbundle.load_graph(folder).proto
        assert tfbundle.load(path).keys() == tfbundle.load(folder).keys()
        assert tfbundle.compare_graph(path, path).ok
        assert [file.kind for file in tfbundle.verify(path).files] == ["index", "data", "graph"]
    assert tfbundle.verify(folder).ok
    monkeypatch.undo()
    (folder / "saved_model.pb").unlink()
    for read in (tfbundle.open_checkpoint, tfbundle.load_graph, tfbundle.load_saved_model):
        with pytest.raises(tfbundle.UnsupportedError, match=rf"{name}.*; pass the folder of the SavedModel"):
            read(folder / name)
    (folder / name).unlink()
    with pytest.raises(tfbundle.MissingFileError, match=name):
        tfbundle.load_saved_model(folder / name)


def test_a_folder_above_the_model_names_it() -> None:
    with pytest.raises(tfbundle.MissingFileError) as caught:
        tfbundle.load_saved_model(OF_TWO.parent)
    assert str(caught.value).endswith(f"is not a SavedModel; there is one in {OF_TWO}")


@pytest.mark.parametrize(
    ("folder", "printed"),
    list(
        zip(
            SAVED,
            itertools.cycle([{}, {"as_one_line": True}, {"pointy_brackets": True}, {"force_colon": True}]),
            strict=False,
        )
    ),
    ids=str,
)
def test_a_model_without_a_version_as_text(folder: Path, printed: dict[str, Any], tmp_path: Path) -> None:
    """TensorFlow reads it, text or binary, though what it writes itself begins with the version of the schema."""
    wanted = SavedModelProto.FromString(tfbundle.load_saved_model(folder).proto.SerializeToString())
    wanted.ClearField("saved_model_schema_version")
    shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns("saved_model.*", "fingerprint.pb"))
    (tmp_path / "model" / "saved_model.pbtxt").write_text(text_format.MessageToString(wanted, **printed), "utf-8")
    (tmp_path / "model.pb").write_bytes(wanted.SerializeToString())
    for path in (tmp_path / "model", tmp_path / "model" / "saved_model.pbtxt", tmp_path / "model.pb"):
        assert tfbundle.load_saved_model(path).proto == wanted
    assert tfbundle.compare_graph(tmp_path / "model", tmp_path / "model").ok
    assert tfbundle.verify(tmp_path / "model").ok


def test_tensorflow_reads_a_model_without_a_version(tf: Any, tmp_path: Path) -> None:
    module = tf.Module()
    module.weights = tf.Variable([1.0, 2.0])
    tf.saved_model.save(module, str(tmp_path / "model"))
    message = tfbundle.load_saved_model(tmp_path / "model").proto
    message.ClearField("saved_model_schema_version")
    for name in ("saved_model.pb", "fingerprint.pb"):
        (tmp_path / "model" / name).unlink()
    (tmp_path / "model" / "saved_model.pbtxt").write_text(text_format.MessageToString(message), "utf-8")
    assert tf.saved_model.load(str(tmp_path / "model")).weights.numpy().tolist() == [1, 2]
    assert tfbundle.load_saved_model(tmp_path / "model").proto == message


def test_graphs_by_their_tags() -> None:
    saved = tfbundle.load_saved_model(OF_TWO)
    assert [meta.tags for meta in saved.meta_graphs] == [("train", "gpu"), ("serve",)]
    assert saved.meta_graph() is saved.meta_graph("serve") is saved.meta_graphs[1]
    assert saved.meta_graph(["gpu", "train"]) is saved.meta_graphs[0]
    with pytest.raises(KeyError, match=r"2 graphs, tagged \['train', 'gpu'\] and \['serve'\], and none \['gpu'\]"):
        saved.meta_graph("gpu")
    assert "train, gpu" in repr(saved)


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [([["a"]], 0), ([[]], 0), ([["a"], ["serve"]], 1), ([["serve", "gpu"], ["serve"]], 1),
     ([["serve"], ["serve"]], None), ([["a"], ["b"]], None), ([], None)],
)  # fmt: skip
def test_which_graph_is_meant(tmp_path: Path, tags: list[list[str]], wanted: int | None) -> None:
    graphs = [MetaGraphDef(meta_info_def={"tags": group}) for group in tags]
    file = tmp_path / "saved_model.pb"
    file.write_bytes(SavedModelProto(saved_model_schema_version=1, meta_graphs=graphs).SerializeToString())
    saved = tfbundle.load_saved_model(tmp_path)
    assert len(saved.meta_graphs) == len(tags)
    if wanted is None:
        with pytest.raises(tfbundle.UnsupportedError, match="meta_graphs"):
            tfbundle.load_graph(tmp_path)
    else:
        assert saved.meta_graph() is saved.meta_graphs[wanted]
        assert tfbundle.load_graph(tmp_path).op_counts == {}


def test_assets() -> None:
    for folder in (OF_TWO, FIXTURES / "tf-2.21.0" / "saved-model-with-asset" / "model"):
        (asset,) = tfbundle.load_saved_model(folder).assets
        assert asset.name == "vocabulary.txt"
        assert asset.exists
        assert Path(asset.path).read_text().split()
        assert asset.tensor_name in tfbundle.load_graph(folder)


def test_an_asset_that_is_not_there(tmp_path: Path) -> None:
    shutil.copytree(OF_TWO, tmp_path / "model", ignore=shutil.ignore_patterns("assets"))
    (asset,) = tfbundle.load_saved_model(tmp_path / "model").assets
    assert not asset.exists


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "..\\b", "a\0b"])
def test_an_asset_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    meta = MetaGraphDef(asset_file_def=[{"filename": name}])
    proto = SavedModelProto(saved_model_schema_version=1, meta_graphs=[meta])
    (tmp_path / "saved_model.pb").write_bytes(proto.SerializeToString())
    saved = tfbundle.load_saved_model(tmp_path)
    with pytest.raises(tfbundle.FormatError, match="outside"):
        _ = saved.assets


def test_a_model_without_variables(tmp_path: Path) -> None:
    shutil.copy(OF_TWO / "saved_model.pb", tmp_path)
    saved = tfbundle.load_saved_model(tmp_path)
    with pytest.raises(tfbundle.MissingFileError):
        saved.open_checkpoint()


def test_a_damaged_fingerprint(tmp_path: Path) -> None:
    shutil.copy(OF_TWO / "saved_model.pb", tmp_path)
    (tmp_path / "fingerprint.pb").write_bytes(b"\x0a\xff")
    saved = tfbundle.load_saved_model(tmp_path)
    with pytest.raises(tfbundle.FormatError, match=r"fingerprint\.pb is not a valid FingerprintDef"):
        _ = saved.fingerprint


def test_objects_that_refer_to_none(tmp_path: Path) -> None:
    objects: Any = {"nodes": [{"children": [{"node_id": 9, "local_name": "a"}]}]}
    proto = SavedModelProto(saved_model_schema_version=1, meta_graphs=[MetaGraphDef(object_graph_def=objects)])
    (tmp_path / "saved_model.pb").write_bytes(proto.SerializeToString())
    with pytest.raises(tfbundle.FormatError, match=r"refer to object 9, but there are only 1 .*saved_model\.pb"):
        tfbundle.load_meta_graph(tmp_path).variables()


# What the installed TensorFlow writes.


def check_signatures(tf: Any, folder: Path) -> int:
    """Hold the signatures of a folder against what TensorFlow's own loader of messages says."""
    from tensorflow.python.saved_model import loader_impl

    theirs = loader_impl.parse_saved_model(str(folder))
    ours = tfbundle.load_saved_model(folder)
    count = 0
    for meta, proto in zip(ours.meta_graphs, theirs.meta_graphs, strict=True):
        assert set(meta.signatures) == set(proto.signature_def)
        for name, signature in meta.signatures.items():
            for group in ("inputs", "outputs"):
                infos = getattr(proto.signature_def[name], group)
                tensors = getattr(signature, group)
                assert set(tensors) == set(infos)
                for key, tensor in tensors.items():
                    count += 1
                    info = infos[key]
                    if info.dtype:
                        assert tf.as_dtype(info.dtype) == tf.as_dtype(
                            "string" if tensor.dtype == object else tensor.dtype
                        )
                    else:
                        assert (tensor.data_type, tensor.dtype) == (None, None)
                    shape = tf.TensorShape(info.tensor_shape if info.HasField("tensor_shape") else None)
                    assert tensor.shape == (None if shape.rank is None else tuple(shape.as_list()))
                    assert all(part in meta.graph or part in meta.graph.nodes for part in tensor.names)
                    assert (tensor.name or "") == info.name
    return count


def test_signatures_of_tensorflow_1(tf: Any, tmp_path: Path) -> None:
    v1 = tf.compat.v1
    folder = tmp_path / "model"
    with tf.Graph().as_default(), v1.Session() as running:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        sparse = v1.sparse_placeholder(tf.int64, [None, 4], name="sparse")
        ragged = tf.compat.v1.ragged.placeholder(tf.string, 1, name="ragged")
        anything = v1.placeholder(tf.bfloat16, name="anything")
        with v1.variable_scope("part", partitioner=v1.fixed_size_partitioner(2)):
            weights = v1.get_variable("w", [3, 2])
        y = tf.identity(x @ weights, name="y")
        running.run(v1.global_variables_initializer())
        build = v1.saved_model.utils.build_tensor_info
        signature = v1.saved_model.signature_def_utils.build_signature_def(
            {"x": build(x), "sparse": build(sparse), "ragged": build(ragged), "anything": build(anything)},
            {"y": build(y)},
            "tensorflow/serving/predict",
        )
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(running, ["serve"], {"serving_default": signature})
        builder.save()
        wanted = running.run(tf.convert_to_tensor(weights))
    assert check_signatures(tf, folder) == 5
    inputs = tfbundle.load_meta_graph(folder).signatures["serving_default"].inputs
    assert inputs["sparse"].names == ("sparse/values:0", "sparse/indices:0", "sparse/shape:0")
    assert inputs["sparse"].name is None
    assert len(inputs["ragged"].names) == 2
    assert inputs["anything"].shape is None
    assert tfbundle.load_meta_graph(folder).variables(trainable=True) == ["part/w"]
    assert np.array_equal(tfbundle.load(folder)["part/w"], wanted)


def test_signatures_of_tensorflow_2(tf: Any, tmp_path: Path) -> None:
    class Model(tf.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.weights = [tf.Variable(tf.ones([3, 2]), name="w"), tf.Variable(1, trainable=False, name="count")]
            self.by_name = {"a/b.c": tf.Variable(0.5, name="odd")}

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, "x"), tf.TensorSpec(None, tf.string, "s")])
        def __call__(self, x: Any, s: Any) -> Any:
            return {"y": x @ self.weights[0], "s": s, "count": self.weights[1]}

    model = Model()
    tf.saved_model.save(model, str(tmp_path / "model"))
    assert check_signatures(tf, tmp_path / "model") == 6
    meta = tfbundle.load_meta_graph(tmp_path / "model")
    checkpoint = tfbundle.load(tmp_path / "model")
    assert set(meta.variables()) == set(checkpoint) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    (odd,) = meta.variables("odd:0")
    assert odd == "by_name/a.Sb..c/.ATTRIBUTES/VARIABLE_VALUE"
    assert checkpoint[odd] == 0.5
    assert meta.variables(trainable=False) == ["weights/1/.ATTRIBUTES/VARIABLE_VALUE"]
    assert meta.object_graph is not None
    assert meta.tensorflow_version == tf.__version__


def test_the_variables_of_a_checkpoint_with_slots(tf: Any, tmp_path: Path) -> None:
    model = tf.Module()
    model.w = tf.Variable([1.0, 2.0], name="w")
    model.optimizer = tf.keras.optimizers.SGD(0.1, momentum=0.9)
    model.optimizer.build([model.w])
    tf.saved_model.save(model, str(tmp_path / "model"))
    meta = tfbundle.load_meta_graph(tmp_path / "model")
    with tfbundle.open_checkpoint(tmp_path / "model") as checkpoint:
        assert set(meta.variables()) == set(checkpoint) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}


def test_a_saved_model_in_chunks_is_named(tmp_path: Path) -> None:
    (tmp_path / "saved_model.cpb").write_bytes(b"chunks")
    with pytest.raises(tfbundle.UnsupportedError, match=r"saved_model\.cpb is a chunked protobuf .* only TensorFlow"):
        tfbundle.load_saved_model(tmp_path)
    (tmp_path / "saved_model.cpb").unlink()
    with pytest.raises(tfbundle.MissingFileError):
        tfbundle.load_saved_model(tmp_path)
