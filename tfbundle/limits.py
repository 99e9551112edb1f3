"""How much a file may ask for: every bound on untrusted input that is a fixed number, with its reason.

Most bounds are not fixed numbers. A handle, a record, a string, a slice or a tensor has to be inside its file, a count
has to fit the bytes that it counts, and tensors that share bytes may be read only a limited number of times; each
reader checks that where it reads the size, before it allocates or reads anything. The bounds below are those that the
size of a file does not give: nesting, density, counts of items that take almost no bytes, and the effort of searches.

Constants that only tune speed or the length of lists stay beside the code that uses them.
"""

from __future__ import annotations

# Numbers and messages.

# A 64-bit number needs ten groups of seven bits. A longer varint is malformed.
LONGEST_VARINT = 10
# Protobuf counts the bytes of a message in signed 32-bit integers ("Proto Limits" in its documentation).
LARGEST_MESSAGE = (1 << 31) - 1
# Field numbers have 29 bits (the same page).
LARGEST_FIELD_NUMBER = (1 << 29) - 1
# Protobuf's readers of wire bytes refuse a message that is nested more deeply. Text has the same limit: a level
# takes two bytes in the file, and a stack frame in a recursive reader.
DEEPEST_NESTING = 100

# What a message may take in memory when it is decoded: so many bytes, and so many times its own. An empty message takes
# two bytes in a file and fifty times as many in memory, while graphs that TensorFlow writes take five times theirs.
FREE_MESSAGE_MEMORY = 64 << 20
LARGEST_MESSAGE_GROWTH = 8

# What TensorFlow writes as text escapes a byte as four characters at most.
LARGEST_TEXT_GROWTH = 4

# Tensors.

# TensorFlow's own bound (TensorShape::MaxDimensions), of tensors and of the slices in a key.
LARGEST_RANK = 254
# numpy and TensorFlow count elements and bytes in signed 64-bit integers, and no element has more than 16 bytes, so
# that a product of dimensions up to here cannot overflow as a size in bytes either.
LARGEST_COUNT = ((1 << 63) - 1) // 16
# A TensorProto may state a few of its elements and have the last one repeated, which costs no bytes in the file. An
# array that repeats one value costs nothing in memory either. One that opens with others has to be allocated: up to so
# many bytes, or to so many times those that are stated. No honest constant is larger.
LARGEST_EXPANSION = 64 << 20
LARGEST_EXPANSION_GROWTH = 64
# Where an array that repeats one value is needed as a writable array, it costs its full size after all, unless the
# value is zero: so many bytes for all constants of a graph together. Frozen models do have constants of
# tens of megabytes that were never trained.
LARGEST_REPETITION = 160 << 20

# Elements of a text, histogram, image, audio clip or PR curve that a summary does not state but has repeated.
MOST_REPEATED_ELEMENTS = 100_000

# Tables.

# The densest Snappy element is "copy 64 bytes" in three bytes, so that no valid block grows more.
LARGEST_SNAPPY_GROWTH = 22

# Checkpoints.

# TensorFlow numbers shards with five digits. This is far beyond, and still few enough to loop over.
MOST_SHARDS = 1 << 20
# Checkpoints of large models have thousands of files, and many systems allow a process 1024 open ones, or 256.
MOST_OPEN_FILES = 64
# Partitioners cut a variable into as many slices as there are machines or shards; none has so many. Each takes a few
# bytes in the file and hundreds in memory, and has to be compared with the others.
MOST_SLICES = 1 << 14
# Their extents together: as many as the largest number of slices has in eight dimensions.
MOST_EXTENTS = 8 * MOST_SLICES
# Bytes of a tensor's entry in an index. So many extents with the largest numbers take less.
LARGEST_ENTRY = 4 << 20
# Bytes of entries that list slices, of all tensors together: so many, and so many more for each byte of the keys under
# which slices are stored. A key repeats the description of a slice in an entry, in at least a third of the bytes.
FREE_SLICE_LISTS = 512 << 10
MOST_BYTES_A_KEY_BYTE = 3
# Slices that one file of a V1 checkpoint lists, of all tensors together: so many, and so many more as it has values,
# which are counted only where there are more.
FREE_SLICES = 1 << 13
# Comparisons of coordinates until slices have proved not to overlap, of all tensors of a checkpoint together but those
# whose slices tile a box, which takes none. So many take a fifth of a second; the largest number of slices in a grid
# with holes takes less than that.
OVERLAP_EFFORT = 1 << 23
# Parts that a graph reads of tensors of which slices are missing, times these slices. So many take a second.
MOST_COMPARED_PARTS = 1 << 25
# Bytes of an object graph, and nodes and references in it: so many, and so many more for each tensor of the checkpoint.
# Large models have five a tensor; SavedModels have more of them for each layer, and fewer tensors. One takes two bytes
# in the file, and a hundred in memory.
LARGEST_OBJECT_GRAPH = 64 << 20
MOST_OBJECTS = 200_000
MOST_OBJECTS_A_TENSOR = 8
# Bytes of a state file, which has a line or two for each checkpoint that training kept, and of a SavedModel's
# fingerprint, which holds a few numbers. This is room for fifty thousand checkpoints.
LARGEST_NOTE = 4 << 20
# Characters of a path in a state file: twice as many as Windows opens, and sixteen times as many as Linux.
LONGEST_PATH = 1 << 16
# Bytes of a state file in which single backslashes are taken for separators. None that is written by hand is longer.
LARGEST_BY_HAND = 1 << 20
# How many components of a stale path in a state file are tried, each with one call to the file system.
MOST_FOLDERS = 16
# Names of folders in one state file. An honest one has a few; each costs a call to the file system.
MOST_FOLDER_NAMES = 10_000

# Chunks of the dask arrays that one call makes. So many chunks of the usual size are 16 TiB, and take some megabytes.
MOST_CHUNKS = 1 << 17

# References to chunks of tensors that one call makes, beside a few for each tensor; the characters of their keys; and
# bytes of values that are included in them. Together they take some 200 MB.
MOST_REFERENCES = 1 << 19
LARGEST_REFERENCE_KEYS = 1 << 26
LARGEST_INLINED = 64 << 20

# Graphs.

# A node needs one number to claim any count of outputs. Unpacking a table of embeddings has tens of thousands, and so
# many take some megabytes when they are listed.
MOST_OUTPUTS = 1 << 17
# Dimensions of all tensors that the ops of a graph restore: one slice, and one variable, may represent many. Large
# models have some hundred thousand.
MOST_RESTORED_DIMENSIONS = 1 << 22
# Outputs in the definition of an op that are lists, whose lengths a node states, so that they are counted for each
# look-up of a tensor. No op of TensorFlow has more than four.
MOST_OUTPUT_LISTS = 64
# The keys of a SavedModel's variables together. A key is as long as the chain of objects that leads to its variable, so
# that a small file with a long chain can ask for any amount; those of large models take a few megabytes.
LARGEST_KEYS = 16 << 20

# Records.

# TensorFlow and TensorBoard crash on lengths like this one, which no file can have. Shorter ones are compared with what
# is left of the file, and of a compressed one no more is inflated than is used.
LARGEST_RECORD = 1 << 60
# A record in GZIP or ZLIB may be this large, or so many times its compressed bytes. These become up to a thousand times
# as many, and a record has to be in memory as a whole.
LARGEST_INFLATED = 32 << 20
LARGEST_INFLATED_GROWTH = 64
# Records of a compressed file, and values in those of events: so many, and one more for each byte of the file; and so
# many beyond one for each byte in all event files of a log together. Times and values that differ take several bytes
# each, however well the rest compresses; equal ones take a fifth of a byte.
MOST_INFLATED_RECORDS = 100_000
# Values in one record of events; a merged summary has one a tag. An empty one takes two bytes in the file.
MOST_VALUES = 100_000
# Values without any content, in all files of a log together. No known program writes any.
MOST_EMPTY_VALUES = 100_000
# Events in unusual form that are kept in memory, and their bytes, of all files of a log together; and records that are
# not events, which salvaging skips. No known program writes any, and they are decoded one by one.
MOST_UNUSUAL_EVENTS = 10_000
LARGEST_UNUSUAL_EVENTS = 16 << 20
# Values of a compressed event file up to the first size are unpacked together, in one pass and up to the second size.
LARGEST_SMALL_VALUE = 4 << 10
LARGEST_SMALL_VALUES = 16 << 20
# Cells of a table with a row for each session of hyperparameters and a column for each name: so many, or so many times
# what the files state. Sessions of one study have nearly all names in common.
MOST_TABLE_CELLS = 1_000_000
LARGEST_TABLE_GROWTH = 16
# The largest Snappy block that is unpacked to find out whether a stream is one; TensorFlow's own have 256 KiB.
LARGEST_SNAPPY_TRIAL = 1 << 24

# Searches, where no count is given.

# Fields that are examined before a message is identified. Every known kind of file is recognised by the first few.
MOST_FIELDS = 64
# How many entries, elements and offsets may be examined without success while a damaged table is searched for blocks:
# about a second's work, so that a crafted file cannot take longer.
SEARCH_EFFORT = 120_000
# After damage in a record file, headers are searched for. Many valid headers of long, invalid records could cause the
# same bytes to be checked again and again: at most so many times on average.
MOST_HEADER_PASSES = 16
# Tensors do not share bytes. A checkpoint in which a thousand do is not read a thousand times: so many passes over its
# files, and this many bytes, are the most that are loaded, verified or salvaged at once.
MOST_PASSES = 4
FREE_SIZE = 1 << 24
