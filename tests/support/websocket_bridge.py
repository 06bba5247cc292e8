"""RTSP over WebSocket in front of an RTSP server, with the `websockets` library.

websocket_bridge.py LISTEN-PORT SERVER-PORT [CERTIFICATE KEY]
"""
import asyncio
import ssl
import sys

import websockets

port, server = int(sys.argv[1]), int(sys.argv[2])
tls = None
if len(sys.argv) > 3:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[3], sys.argv[4])


async def bridge(socket, *_):
    reader, writer = await asyncio.open_connection("127.0.0.1", server)

    async def down():
        while data := await reader.read(65536):
            await socket.send(data)

    async def up():
        async for data in socket:
            writer.write(data)
            await writer.drain()

    tasks = [asyncio.ensure_future(down()), asyncio.ensure_future(up())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    writer.close()
    await socket.close()


async def main():
    protocols = ["rtsp.onvif.org"]
    async with websockets.serve(bridge, "127.0.0.1", port, ssl=tls, subprotocols=protocols):
        await asyncio.Future()


asyncio.run(main())
