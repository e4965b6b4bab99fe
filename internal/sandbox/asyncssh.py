# An SFTP server of Python's asyncssh: HOST PORT HOST-KEY AUTHORIZED-KEYS
import asyncio
import sys

import asyncssh


async def main(host, port, key, authorized):
    await asyncssh.listen(host, int(port), server_host_keys=[key], authorized_client_keys=authorized, sftp_factory=True)
    await asyncio.get_running_loop().create_future()


asyncio.run(main(*sys.argv[1:]))
