"""Just enough CBOR to read what the box holds."""


def text(string):
    """A text string as CBOR, the way the server stores TEXT."""
    data = string.encode()
    return head(3, len(data)) + data


def head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << (8 * size):
            return bytes([major << 5 | code]) + value.to_bytes(size, "big")
    raise ValueError(value)


def decode(data):
    """The one item that the bytes are; ValueError where they are not one."""
    value, at = _item(data, 0)
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes after the item")
    return value


def _head(data, at):
    low = data[at] & 31
    if low < 24:
        return data[at] >> 5, low, at + 1
    if low > 27:
        raise ValueError(f"head {data[at]:#x} at {at}")
    size = 1 << (low - 24)
    return data[at] >> 5, int.from_bytes(data[at + 1:at + 1 + size], "big"), at + 1 + size


def _item(data, at):
    major, value, at = _head(data, at)
    if major == 0:
        return value, at
    if major == 1:
        return -1 - value, at
    if major in (2, 3):
        if at + value > len(data):
            raise ValueError(f"a string of {value} bytes at {at} is cut off")
        raw = bytes(data[at:at + value])
        return raw if major == 2 else raw.decode(), at + value
    if major == 4:
        items = []
        for _ in range(value):
            item, at = _item(data, at)
            items.append(item)
        return items, at
    if major == 5:
        pairs = {}
        for _ in range(value):
            key, at = _item(data, at)
            pairs[key], at = _item(data, at)
        return pairs, at
    if major == 7 and value in (20, 21, 22):
        return {20: False, 21: True, 22: None}[value], at
    raise ValueError(f"major type {major} at {at}")
