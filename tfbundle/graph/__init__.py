"""Graphs: GraphDef, MetaGraphDef and SavedModel as nodes, tensors, collections, signatures and constants."""
