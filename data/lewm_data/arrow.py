"""Arrow files of other people's, through pyarrow: they take no more memory than their bytes, and are checked.

pyarrow trusts what a file says about the places of its values, and would read anywhere in memory.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from lewm_data.errors import DataError, missing
from lewm_data.foreign import check_file, decoding
from lewm_data.store.contents import memory_limit

if TYPE_CHECKING:
    import pyarrow

MAGIC = b"ARROW1"  # the first and last bytes of a file
BODY = 8  # bytes before the first message: MAGIC, and zeros
DAMAGED, AGAIN = "is no Arrow file that can be read, or not all of one", "Copy or write it again."


def read_arrow(path: Path) -> tuple[pyarrow.Schema, list[pyarrow.RecordBatch]]:
    """All rows of a file.

    Raises:
        DataError: pyarrow is not installed, or the file is compressed, encoded by dictionaries, too large or damaged.
    """
    try:
        import pyarrow as pa  # an extra
        import pyarrow.ipc
    except ModuleNotFoundError as error:
        raise missing("reading .arrow needs pyarrow", "formats") from error
    check_file(path, memory_limit())
    with decoding(path, DAMAGED, AGAIN):
        content = path.read_bytes()
        if not (content.startswith(MAGIC) and content.endswith(MAGIC)):
            raise ValueError("no Arrow file")
        messages = pa.ipc.MessageReader.open_stream(pa.BufferReader(pa.py_buffer(content).slice(BODY)))
        schema, batches = pa.ipc.read_schema(messages.read_next_message()), []
        for message in messages:
            if message.type != "record batch" or _is_compressed(message.metadata.to_pybytes()):
                raise DataError(
                    f"{path}: is compressed, or encoded by dictionaries", "Write it again, as its columns are."
                )
            batches.append(pa.ipc.read_record_batch(message, schema))
            batches[-1].validate(full=True)
        return schema, batches


def _is_compressed(header: bytes) -> bool:
    """Whether a message is a batch of compressed rows: a field of its header, which pyarrow does not tell.

    Compressed rows may be any number of times as large, which only unpacking them shows.

    Source: Message.fbs of Apache Arrow: Message.header is the field 2, RecordBatch.compression the field 3.
    """

    def field(table: int, number: int) -> int:
        index = table - struct.unpack_from("<i", header, table)[0]
        fields = (struct.unpack_from("<H", header, index)[0] - 4) // 2
        offset = struct.unpack_from("<H", header, index + 4 + 2 * number)[0] if number < fields else 0
        return table + offset if offset else 0

    def follow(place: int) -> int:
        return place + int(struct.unpack_from("<I", header, place)[0])

    return field(follow(field(follow(0), 2)), 3) != 0
