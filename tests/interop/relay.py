"""A plain port on loopback in front of the mTLS listener, for clients that have no client certificate.

Prints its port, then serves until it is ended.
"""

import asyncio
import os
import ssl
from urllib.parse import urlsplit


async def copy(source, sink):
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()


async def main():
    server = urlsplit(os.environ["PECHAT_URL"])
    tls = ssl.create_default_context(cafile=os.environ["PECHAT_CA"])
    tls.load_cert_chain(os.environ["PECHAT_CERT"], os.environ["PECHAT_KEY"])

    async def serve(reader, writer):
        there_reader, there_writer = await asyncio.open_connection(server.hostname, server.port, ssl=tls)
        ways = [asyncio.ensure_future(copy(reader, there_writer)), asyncio.ensure_future(copy(there_reader, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        there_writer.close()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


asyncio.run(main())
