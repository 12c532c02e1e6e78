"""The index of a chunked column, read from the file without HDF5: where each chunk lies.

h5py gives the place of one chunk at a time, through a Python function that is called for each: three seconds for two
million frames. The index is an array in the file, or a tree of arrays, which NumPy reads in a tenth of a second. Here
are the kinds that HDF5 makes for columns that grow along their rows only; whatever else is found is left to h5py.

Source: HDF5 File Format Specification 4.0: III.A.1 (B-tree, version 1), IV.A (object headers), IV.A.2.i (data layout),
VII.C and VII.D (fixed and extensible array). Addresses and lengths have 8 bytes.

Shape letters: C chunks, E elements of a part of the index.
"""

import os
import struct
from collections.abc import Iterator

import h5py
import numpy as np
from jaxtyping import Shaped, UInt8

LAYOUT, CONTINUATION = 0x08, 0x10  # types of messages in an object header
TREE, FIXED, EXTENSIBLE = 1, 3, 4  # kinds of index, as the layout message counts them; a tree stands for version 3
UNDEFINED = (1 << 64) - 1  # the address of what was never written
MOST_BLOCKS = 1000  # of one object header: h5py writes one or two

Index = Shaped[np.ndarray, "C"]  # records of CHUNK


class Unfamiliar(Exception):  # noqa: N818  # no error: another reader takes over
    """The index is of another kind, or not as the specification says."""


CHUNK = np.dtype([("start", "<u8"), ("size", "<u8"), ("skipped", "<u4")])


def read_index(item: h5py.Dataset, handle: int, count: int) -> Index:
    """The places of the first `count` chunks of a column whose chunks hold whole rows; `start` may be `UNDEFINED`.

    Args:
        item: The column, in a file that is closed and has no user block.
        handle: A descriptor of the file.
        count: C.

    Raises:
        Unfamiliar: The index is not read here.
    """
    if item.file.id.get_create_plist().get_sizes() != (8, 8):
        raise Unfamiliar
    source = _Bytes(handle)
    kind, address, width = _layout(source, h5py.h5o.get_info(item.id).addr, item.ndim)
    chunks = np.zeros(count, CHUNK)
    chunks["start"], chunks["size"] = UNDEFINED, width
    if address == UNDEFINED:
        return chunks
    if kind == TREE:
        _read_tree(source, address, item, chunks)
    else:
        read = _fixed_elements if kind == FIXED else _extensible_elements
        for first, elements in read(source, address, count):
            there = chunks[first : first + len(elements)]
            _decode(elements[: len(there)], there)
    return chunks


def overlap(chunks: Index) -> bool:
    """Whether chunks overlap: some address is wrong. The checksums of the index are not computed here."""
    placed = chunks[chunks["start"] != UNDEFINED]
    starts, sizes = placed["start"], placed["size"]
    if (starts[1:] < starts[:-1]).any():
        order = np.argsort(starts, kind="stable")
        starts, sizes = starts[order], sizes[order]
    return bool((starts[1:] - starts[:-1] < sizes[:-1]).any())


class _Bytes:
    """Reads parts of a file; a part that is not there, or does not begin as it should, is unfamiliar."""

    def __init__(self, handle: int) -> None:
        self._handle, self._size = handle, os.fstat(handle).st_size

    def __call__(self, address: int, count: int, signature: bytes = b"") -> bytes:
        if address + count > self._size:
            raise Unfamiliar
        data = os.pread(self._handle, count, address)
        if len(data) != count or not data.startswith(signature):
            raise Unfamiliar
        return data


def _layout(source: _Bytes, address: int, ndim: int) -> tuple[int, int, int]:
    """The kind of index, its address, and the bytes of a chunk, from the data layout message."""
    for kind, body in _messages(source, address):
        if kind != LAYOUT:
            continue
        version, storage = body[:2]
        if version == 3 and storage == 2 and body[2] == ndim + 1:
            (start,) = struct.unpack_from("<Q", body, 3)
            return TREE, start, int(np.prod(struct.unpack_from(f"<{ndim + 1}I", body, 11), dtype=object))
        if version in (4, 5) and storage == 2 and body[3] == ndim + 1:
            width = body[4]
            sizes = [int.from_bytes(body[5 + n * width :][:width], "little") for n in range(ndim + 1)]
            place = 5 + (ndim + 1) * width
            parameters = {FIXED: 1, EXTENSIBLE: 5}.get(body[place])
            if parameters is not None:
                (start,) = struct.unpack_from("<Q", body, place + 1 + parameters)
                return body[place], start, int(np.prod(sizes, dtype=object))
        break
    raise Unfamiliar


def _messages(source: _Bytes, address: int) -> Iterator[tuple[int, bytes]]:
    """Type and body of each message of an object header, of version 1 or 2."""
    head = source(address, 16)
    if head.startswith(b"OHDR"):
        flags = head[5]
        width = 1 << (flags & 3)
        place = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        size = int.from_bytes(source(address + place, width), "little")
        blocks, form, unit, signed = [(address + place + width, size)], "<BHB", 1, 4
        skip = 2 if flags & 4 else 0
    else:
        version, size = head[0], int.from_bytes(head[8:12], "little")
        if version != 1:
            raise Unfamiliar
        blocks, form, unit, signed, skip = [(address + 16, size)], "<HHB3x", 8, 0, 0
    for number, (begin, size) in enumerate(blocks):  # grows in the loop
        if number > MOST_BLOCKS or size > 1 << 20:
            raise Unfamiliar
        block, place = source(begin, size), 0
        while place + struct.calcsize(form) + skip <= size:
            kind, length, _ = struct.unpack_from(form, block, place)
            place += struct.calcsize(form) + skip
            body = block[place : place + length]
            if kind == CONTINUATION and len(body) == 16:
                start, more = struct.unpack("<QQ", body)
                source(start, signed, b"OCHK" if signed else b"")
                blocks.append((start + signed, more - 2 * signed))  # without signature and checksum
            yield kind, body
            place += -(-length // unit) * unit


def _read_tree(source: _Bytes, address: int, item: h5py.Dataset, chunks: Index) -> None:
    """Fills in the chunks from a B-tree of version 1: a level of the tree at a time."""
    entry = np.dtype([("size", "<u4"), ("skipped", "<u4"), ("at", "<u8", item.ndim + 1), ("child", "<u8")])
    nodes, level = [address], None
    while nodes:
        found = []
        for node in nodes:
            head = source(node, 24, b"TREE\x01")
            used = int.from_bytes(head[6:8], "little")
            if level is not None and head[5] != level:
                raise Unfamiliar
            level = head[5]
            found.append(np.frombuffer(source(node + 24, used * entry.itemsize), entry))
        entries = np.concatenate(found)
        if len(entries) > 2 * len(chunks) + 64:  # each chunk is in one leaf; a damaged tree may lead in circles
            raise Unfamiliar
        if level == 0:
            rows, beside = np.divmod(entries["at"][:, 0], item.chunks[0])
            if beside.any():
                raise Unfamiliar
            there = rows < len(chunks)
            for name, value in (("start", "child"), ("size", "size"), ("skipped", "skipped")):
                chunks[name][rows[there]] = entries[value][there]
            return
        nodes, level = entries["child"].tolist(), (level or 0) - 1


def _fixed_elements(source: _Bytes, address: int, count: int) -> Iterator[tuple[int, UInt8[np.ndarray, "E W"]]]:
    """The elements of a fixed array, as bytes, with the number of the first of each part."""
    head = source(address, 28, b"FAHD")
    width, bits = head[6], head[7]
    total, block = struct.unpack_from("<QQ", head, 8)
    prefix, page = 14, 1 << bits
    source(block, prefix, b"FADB")
    if total <= page:
        yield 0, _elements(source, block + prefix, min(total, count), width)
        return
    pages = -(-total // page)
    marks = _bits(source(block + prefix, -(-pages // 8)))
    begin = block + prefix + -(-pages // 8) + 4
    for number in range(min(pages, -(-count // page))):
        if marks[number]:
            there = min(page, total - number * page)
            yield number * page, _elements(source, begin + number * (page * width + 4), there, width)


def _extensible_elements(source: _Bytes, address: int, count: int) -> Iterator[tuple[int, UInt8[np.ndarray, "E W"]]]:
    """The elements of an extensible array, as bytes, with the number of the first of each part.

    The index block holds the first elements, then the addresses of data blocks, then those of super blocks, which hold
    addresses of larger data blocks. Super block u stands for 2^⌊u/2⌋ data blocks of 2^⌈u/2⌉ times the least length.
    """
    head = source(address, 72, b"EAHD")
    width, most_bits, direct, least, pointers, page_bits = head[6:12]
    (index,) = struct.unpack_from("<Q", head, 60)
    if not (least and pointers) or index == UNDEFINED:
        raise Unfamiliar
    prefix, page = 14 + -(-most_bits // 8), 1 << page_bits
    source(index, 14, b"EAIB")
    yield 0, _elements(source, index + 14, min(direct, count), width)
    first, place, number = direct, index + 14 + direct * width, 0
    inside = 2 * (pointers.bit_length() - 1)  # super blocks whose data blocks the index block itself points to
    while first < count:
        blocks, length = 1 << number // 2, least << (number + 1) // 2
        pages = length // page if length > page else 0
        marks = np.ones((blocks, max(pages, 1)), bool)
        if number < inside:
            addresses = np.frombuffer(source(place, 8 * blocks), "<u8")
            place += 8 * blocks
        else:
            (block,) = struct.unpack("<Q", source(place, 8))
            place += 8
            addresses = np.full(blocks, UNDEFINED, np.uint64)
            if block != UNDEFINED:
                source(block, prefix, b"EASB")
                bitmap = blocks * -(-pages // 8)
                if pages:  # a bit for each page, without a gap between data blocks
                    marks = _bits(source(block + prefix, bitmap))[: blocks * pages].reshape(blocks, pages)
                addresses = np.frombuffer(source(block + prefix + bitmap, 8 * blocks), "<u8")
        for one, marked in zip(addresses.tolist(), marks, strict=True):
            if first < count and one != UNDEFINED:
                source(one, prefix, b"EADB")
                if not pages:
                    yield first, _elements(source, one + prefix, length, width)
                else:
                    yield from _pages(source, one + prefix + 4, first, marked, page, width)
            first += length
        number += 1


def _pages(
    source: _Bytes, begin: int, first: int, marked: np.ndarray, page: int, width: int
) -> Iterator[tuple[int, UInt8[np.ndarray, "E W"]]]:
    """The elements of those pages of a data block that were written; a checksum of 4 bytes follows each page."""
    step = page * width + 4
    if marked.all():  # one read for all
        data = np.frombuffer(source(begin, len(marked) * step), np.uint8).reshape(len(marked), step)
        yield first, data[:, :-4].reshape(-1, width)
        return
    for number in np.flatnonzero(marked).tolist():
        yield first + number * page, _elements(source, begin + number * step, page, width)


def _elements(source: _Bytes, address: int, count: int, width: int) -> UInt8[np.ndarray, "E W"]:
    return np.frombuffer(source(address, count * width), np.uint8).reshape(count, width)


def _bits(data: bytes) -> np.ndarray:
    """The bits of a page bitmap, the highest of each byte first."""
    return np.unpackbits(np.frombuffer(data, np.uint8)).astype(bool)


def _decode(elements: UInt8[np.ndarray, "E W"], chunks: Index) -> None:
    """An element is an address; where the column has filters, the size and the skipped filters follow it."""
    chunks["start"] = np.ascontiguousarray(elements[:, :8]).view("<u8")[:, 0]
    width = elements.shape[1] - 12
    if 0 < width <= 8:
        sizes = np.zeros((len(elements), 8), np.uint8)
        sizes[:, :width] = elements[:, 8:-4]
        chunks["size"] = sizes.view("<u8")[:, 0]
        chunks["skipped"] = np.ascontiguousarray(elements[:, -4:]).view("<u4")[:, 0]
    elif elements.shape[1] != 8:
        raise Unfamiliar
