"""What the benchmark's client counts as answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from benchmarks.websocket_frames import PING, TEXT, frames, masked

texts = st.tuples(st.just(Opcode.TEXT), st.binary(max_size=300) | st.integers(0, 70_000).map(bytes))
pings = st.tuples(st.just(Opcode.PING), st.binary(max_size=125))


@given(st.lists(texts | pings, max_size=5), st.integers(0, 200_000))
def test_every_whole_frame_is_counted_once_wherever_the_bytes_are_cut(
    sent: list[tuple[Opcode, bytes]], cut: int
) -> None:
    """An answer lost or counted twice at the edge of a read would bend every figure."""
    data = b"".join(Frame(opcode, payload).serialize(mask=False) for opcode, payload in sent)
    seen, rest = [], b""
    for piece in (data[:cut], data[cut:]):
        rest += piece
        end = 0
        for opcode, begin, end in frames(rest):
            seen.append((opcode, rest[begin:end]))
        rest = rest[end:]
    assert rest == b""
    assert [(int(opcode), payload) for opcode, payload in sent] == seen


@given(st.binary(max_size=65_535))
def test_a_server_reads_what_the_client_meant(payload: bytes) -> None:
    """A frame masked wrongly would measure how fast a server refuses."""
    reader = StreamReader()
    reader.feed_data(masked(TEXT, payload))
    parser = Frame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as parsed:
        next(parser)
    assert Frame(Opcode.TEXT, payload) == parsed.value.value


@pytest.mark.parametrize("data", [b"\x01\x00", b"\x81\x80\x00\x00\x00\x00"])
def test_what_cannot_be_counted_is_refused(data: bytes) -> None:
    """A fragment counted as an answer would be one of several."""
    with pytest.raises(ValueError, match="a fragment, or masked"):
        list(frames(data))


def test_a_frame_too_long_is_refused() -> None:
    """A frame with a wrong length would end the connection under measurement."""
    with pytest.raises(ValueError, match="65536 bytes"):
        masked(PING, bytes(65_536))
