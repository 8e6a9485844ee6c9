"""Connections: bytes are stamped when they arrive, whoever else is at work; silence; TLS."""

import asyncio
from types import SimpleNamespace

import httpcore
import pytest
from fault_cases import ask, run
from servers import behaviours as b
from servers.misbehaving import serving

from calibrate.endpoint import wire
from calibrate.endpoint.wire import ARRIVED_S, MOST_WAITING, StampingBackend

KEY = "sk-1234567890"


class Clock:
    """Seconds that pass only when somebody works."""

    now_s = 100.0

    def perf_counter(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(wire, "time", made)
    return made


async def connected(count=1):
    """Return connections, and the writers and readers at their other ends."""
    ends = []
    server = await asyncio.start_server(lambda r, w: ends.append((r, w)), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    backend = StampingBackend()
    streams = []
    for number in range(count):
        streams.append(await backend.connect_tcp("127.0.0.1", port, timeout=1.0))
        while len(ends) == number:
            await asyncio.sleep(0)
    return SimpleNamespace(
        streams=streams,
        readers=[reader for reader, _ in ends],
        writers=[writer for _, writer in ends],
        server=server,
    )


async def close(net):
    for stream in net.streams:
        await stream.aclose()
    for writer in net.writers:
        writer.close()
    net.server.close()
    await asyncio.sleep(0.01)


def test_a_stamp_does_not_move_while_the_event_loop_is_held_up(clock):
    async def try_it():
        net = await connected(8)
        stamps = []

        async def read(stream):
            await stream.read(100, timeout=1.0)
            stamps.append(stream.get_extra_info(ARRIVED_S))
            clock.now_s += 0.05  # the work on it: nobody else has the loop meanwhile

        tasks = [asyncio.create_task(read(stream)) for stream in net.streams]
        await asyncio.sleep(0.01)
        for writer in net.writers:  # as an engine sends a step's tokens: all at one instant
            writer.write(b"token")
        await asyncio.gather(*tasks)
        await close(net)
        return stamps

    assert run(try_it()) == [100.0] * 8


def test_arrivals_are_noted_between_the_turns_of_the_readers(clock):
    async def try_it():
        net = await connected(12)
        late = net.streams.pop()

        async def read(stream):
            await stream.read(100, timeout=1.0)
            clock.now_s += 0.05
            if stream is net.streams[0]:
                net.writers[-1].write(b"while the first is at work")
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(read(stream)) for stream in net.streams]
        await asyncio.sleep(0.01)
        for writer in net.writers[:-1]:
            writer.write(b"token")
        await asyncio.gather(*tasks)
        await late.read(100, timeout=1.0)
        stamp = late.get_extra_info(ARRIVED_S)
        net.streams.append(late)
        await close(net)
        return stamp

    # It came after 0.05 s of work; eleven readers need 0.55 s.
    assert 100.05 - 1e-9 <= run(try_it()) <= 100.2


def test_bytes_are_read_in_order_with_the_instants_of_their_arrival(clock):
    async def try_it():
        net = await connected()
        [stream], [writer] = net.streams, net.writers
        for part in (b"abc", b"defgh", b"i"):
            writer.write(part)
            await asyncio.sleep(0.01)
            clock.now_s += 1.0
        writer.close()
        await asyncio.sleep(0.01)
        found = []
        while data := await stream.read(2, timeout=1.0):
            found.append((data, stream.get_extra_info(ARRIVED_S)))
        await close(net)
        return found

    assert run(try_it()) == [
        (b"ab", 100.0),
        (b"c", 100.0),
        (b"de", 101.0),
        (b"fg", 101.0),
        (b"h", 101.0),
        (b"i", 102.0),
    ]


def test_silence_is_measured_from_the_last_read_on():
    async def try_it():
        net = await connected()
        [stream], [writer] = net.streams, net.writers
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for _ in range(4):  # longer in all than the silence that is allowed
            loop.call_later(0.06, writer.write, b"x")
            assert await stream.read(10, timeout=0.2) == b"x"
        quiet_s = loop.time()
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(10, timeout=0.2)
        first_s = loop.time() - quiet_s
        with pytest.raises(httpcore.ReadTimeout):  # a shorter one after a longer one
            await stream.read(10, timeout=0.01)
        second_s = loop.time() - quiet_s - first_s
        loop.call_later(0.01, writer.write, b"x")
        assert await stream.read(10, timeout=60.0) == b"x"  # whose limit is not waited for
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(10, timeout=0.01)
        loop.call_later(0.01, writer.write, b"y")
        assert await stream.read(10, timeout=None) == b"y"
        await close(net)
        return quiet_s - began_s, first_s, second_s

    busy_s, first_s, second_s = run(try_it())
    assert busy_s >= 0.23
    assert first_s >= 0.19
    assert 0.009 <= second_s < first_s


def test_a_connection_that_nobody_reads_takes_no_more_than_it_may():
    total = 64 * MOST_WAITING

    async def try_it():
        net = await connected()
        [stream], [writer] = net.streams, net.writers
        sent = 0

        async def flood():
            nonlocal sent
            while sent < total:
                writer.write(bytes(MOST_WAITING // 4))
                await writer.drain()
                sent += MOST_WAITING // 4

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(0.2)
        while_unread, got = sent, 0
        while got < total:
            got += len(await stream.read(65_536, timeout=1.0))
        await flooding
        await close(net)
        return while_unread

    assert run(try_it()) < total / 2  # the kernel's buffers hold some of it


def test_closing_does_not_wait_for_a_server_that_does_not_read():
    async def try_it():
        net = await connected()
        [stream], [reader] = net.streams, net.readers
        with pytest.raises(httpcore.WriteTimeout):
            await stream.write(bytes(2**25), timeout=0.05)
        await stream.aclose()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(2**25)
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"more", timeout=0.05)
        await close(net)

    run(try_it())


def test_a_connection_that_was_closed_at_rest_can_be_told():
    async def try_it():
        net = await connected()
        [stream], [writer] = net.streams, net.writers
        before = stream.get_extra_info("is_readable")
        writer.close()
        await asyncio.sleep(0.02)
        after = stream.get_extra_info("is_readable")
        peer, nothing = stream.get_extra_info("peername"), stream.get_extra_info("ssl_object")
        await close(net)
        return before, after, peer[0], nothing

    assert run(try_it()) == (False, True, "127.0.0.1", None)


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """Return a server with a certificate, and the file of the authority that vouches for it."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    folder = tmp_path_factory.mktemp("tls")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    with serving([b.stream()], ssl_certfile=str(folder / "server.pem")) as running:
        yield running, folder / "authority.pem"


def test_a_secured_server_is_trusted_through_ssl_cert_file(secured, monkeypatch):
    running, authority = secured
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))

    [reply] = ask(running, b.stream(gap_s=0.001, usage="each message"), key=KEY)

    assert (reply.status, reply.output_tokens) == ("finished", 5)
    assert running.asked[0].key == KEY


def test_a_certificate_that_nobody_vouches_for_is_refused(secured, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    running, _ = secured

    [reply] = ask(running, b.stream(), key=KEY)

    assert reply.status == "failed"
    assert reply.reason.startswith("no connection") and "CERTIFICATE_VERIFY_FAILED" in reply.reason
    assert not running.asked  # the key was not sent


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        (b.broken("reset", 2), "failed"),
        (b.broken("mid-chunk", 2), "failed"),
        (b.stream(silent_after=2), "timed_out"),
    ],
)
def test_faults_of_a_secured_server_are_counted_too(secured, monkeypatch, behaviour, status):
    running, authority = secured
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))

    [reply] = ask(running, behaviour, silence_s=1.0)

    assert (reply.status, reply.output_tokens) == (status, 2)


def test_a_server_that_speaks_no_tls_is_a_failure():
    with serving([b.stream()]) as running:
        running.url = running.url.replace("http:", "https:")
        [reply] = ask(running, b.stream())

    assert reply.status == "failed" and reply.reason.startswith("no connection")
