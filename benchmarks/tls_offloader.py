"""TLS in front of a plain port, for measurements: `python -m benchmarks.tls_offloader PORT PLAIN_PORT`.

Makes its own certificate. It stands where HAProxy stands in a deployment, and is not measured itself.
"""

from __future__ import annotations

import asyncio
import ssl
import sys

import trustme


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(16384):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def _serve(port: int, plain_port: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def offload(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        plain_reader, plain_writer = await asyncio.open_connection("127.0.0.1", plain_port)
        await asyncio.gather(_copy(reader, plain_writer), _copy(plain_reader, writer))

    server = await asyncio.start_server(offload, "127.0.0.1", port, ssl=context, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
