"""Protobuf without schemas, so far as two answers can be compared: fields by number, what is no text is read as a message if it can be."""
MAGIC = b"k8s\x00"
# Managed fields and versions, by the numbers of ObjectMeta and ListMeta: below an object's field 1, or its items' (2).
DROPPED = {(1, 17), (1, 6), (2, 1, 17), (2, 1, 6), (1, 2)}


def varint(data, at):
    shift = value = 0
    while True:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number is too long")


def fields(data):
    at, out = 0, []
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0 or kind not in (0, 1, 2, 5):
            raise ValueError("no message")
        if kind == 0:
            value, at = varint(data, at)
        else:
            size, at = (8, at) if kind == 1 else (4, at) if kind == 5 else varint(data, at)
            if at + size > len(data):
                raise ValueError("a field is too long")
            value, at = data[at:at + size], at + size
        out.append((number, value))
    return out


def value(data, path=()):
    if isinstance(data, int):
        return data
    try:
        text = data.decode()
        if data and all(c.isprintable() or c in "\n\t" for c in text):
            return text
    except UnicodeDecodeError:
        pass
    try:
        return message(data, path)
    except (ValueError, IndexError):
        return data.hex()


def message(data, path=()):
    out = {}
    for number, raw in fields(data):
        at = path + (number,)
        if at in DROPPED and not (at == (1, 2) and not looks_like_version(raw)):
            continue
        read = value(raw, at)
        if read not in (0, "", {}):  # what is empty may be written or not
            out.setdefault(str(number), []).append(read)
    if set(out) <= {"1", "2"} and path and isinstance(out.get("1", [None])[0], int) and out["1"][0] > 1_000_000_000:
        return "<time>"
    return out


def looks_like_version(raw):
    return isinstance(raw, bytes) and raw.isdigit()


def unknown(data):
    """What Kubernetes wraps each object in: type, the object's bytes, and how they are coded."""
    if not data.startswith(MAGIC):
        return value(data)
    parts = dict(fields(data[len(MAGIC):]))
    return {"type": value(parts.get(1, b"")), "object": message(parts.get(2, b"")), "coding": value(parts.get(4, b""))}


def answer(data, watch):
    try:
        if not watch:
            return unknown(data)
        out, at = [], 0
        while at < len(data):
            size = int.from_bytes(data[at:at + 4], "big")
            event = dict(fields(data[at + 4:at + 4 + size]))
            inner = dict(fields(event.get(2, b"")))
            out.append({"type": value(event.get(1, b"")), "object": unknown(inner.get(1, b""))})
            at += 4 + size
        return out
    except (ValueError, IndexError):
        return data.hex()
