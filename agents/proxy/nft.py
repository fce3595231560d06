"""The program `nft`: one call at a time, which ends in good time."""

import asyncio

TIMEOUT_S = 20.0


async def nft(*arguments: str, given: bytes = b"") -> bytes:
    """What it prints, with `given` to read. Raises OSError if it is not there, refuses, or does not answer."""
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec("nft", *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            printed, said = await program.communicate(given)
    except TimeoutError:
        program.kill()
        await program.wait()
        raise OSError(f"nft has not answered for {TIMEOUT_S:g} s") from None
    if program.returncode:
        raise OSError(f"nft: {said.decode(errors='replace').strip()[:1000]}")
    return printed
