"""What Keras stores in a SavedModel, in a package apart: it has a `SavedObject` and a `VersionDef` of its own."""
