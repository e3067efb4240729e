"""Servers that take a call and hang in one way or another: each call ends in a bounded time, and says what it waited for."""

import asyncio
import contextlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ConnectionError, HTTPClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from groundplane.aws import deadline
from groundplane.aws.cloud import AwsCloud
from groundplane.aws.session import Sessions
from groundplane.errors import Denied, Unavailable
from groundplane.ports import Account
from tests.aws.conftest import EC2, INI, managed, provider_config
from tests.standin import REGION

A_DAY = timedelta(days=1)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
VPCS = b"<DescribeVpcsResponse><vpcSet></vpcSet></DescribeVpcsResponse>"
ROLE = (
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>AKIAROLE</AccessKeyId><SecretAccessKey>hush"
    "</SecretAccessKey><SessionToken>t</SessionToken><Expiration>{}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
)


class Hostile:
    """An AWS where no VPC exists, and whose STS gives a role for `lasts`; `hangs` says how what answers badly."""

    def __init__(self, server, tls=None):
        self._server, self._over, self._tls = server, threading.Event(), tls
        self.url = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{server.getsockname()[1]}"
        self.hangs, self.lasts, self.asked = {}, timedelta(hours=1), []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self):
        self._over.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join()

    def _accept(self):
        while not self._over.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), self._secured(connection) as connection:
            request = b""
            while b"Action=" not in request or b"\r\n\r\n" not in request:
                if not (more := connection.recv(65_536)):
                    return
                request += more
            action = request.rpartition(b"Action=")[2].partition(b"&")[0].decode()
            self.asked.append(action)
            body = VPCS
            if action == "AssumeRole":
                body = ROLE.format((datetime.now(UTC) + self.lasts).strftime("%Y-%m-%dT%H:%M:%SZ")).encode()
            answer = HEAD % len(body) + body
            match self.hangs.get(action):
                case None:
                    connection.sendall(answer)
                case "silent":
                    self._over.wait()
                case "dribbles its head":
                    self._dribble(connection, b"HTTP/1.1 200 OK\r\nX-Long: ")
                case "streams without end":
                    connection.sendall(HEAD % 10**12)
                    while True:
                        connection.sendall(bytes(2**16))
                case "dribbles its body":
                    connection.sendall(HEAD % 1_000_000)
                    self._dribble(connection, b"<")

    def _secured(self, connection):
        return self._tls.wrap_socket(connection, server_side=True) if self._tls else connection

    def _dribble(self, connection, beginning):
        connection.sendall(beginning)
        while not self._over.wait(0.02):
            connection.sendall(b"x")


@pytest.fixture
def hostile():
    made = Hostile(socket.create_server(("127.0.0.1", 0), backlog=64))
    yield made
    made.close()


@pytest.fixture
def secure(tmp_path, monkeypatch):
    """The same over TLS, with a certificate of its own that botocore is told to trust."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=localhost")
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime.now(UTC), datetime.now(UTC) + A_DAY)
    built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    certificate = built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "both.pem").write_bytes(key.private_bytes(*form) + certificate)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "both.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "both.pem")
    made = Hostile(socket.create_server(("127.0.0.1", 0), backlog=64), tls)
    yield made
    made.close()


@pytest.fixture
def cloud():
    """One that is asked again only when the pauses after trouble are over: a minute passes with each look at its clock."""
    made = AwsCloud(sessions=Sessions(attempts=1), clock=iter(range(0, 10**6, 60)).__next__)
    yield made
    assert made.close() == 0


def account(url, name="default", **spec):
    config = provider_config(url, **spec)
    config["metadata"] |= {"name": name, "uid": name}
    return Account(config, {"creds": INI}, "1")


ROLES = {"assumeRoleChain": [{"roleARN": "arn:aws:iam::111111111111:role/other"}]}


async def observed(cloud, account, name="v"):
    vpc = managed(EC2, "VPC", name, "vpc-1", cidrBlock="10.0.0.0/16")
    async with asyncio.timeout(60):
        return await cloud.observe(vpc, account, {})


@pytest.mark.parametrize(
    "action, spec, named", [("DescribeVpcs", {}, "ec2 DescribeVpcs"), ("AssumeRole", ROLES, "sts AssumeRole")]
)
async def test_whatever_hangs_ends_and_names_itself_and_works_again_when_it_answers(
    cloud, hostile, action, spec, named
):
    used = account(hostile.url, **spec)
    hostile.lasts = timedelta(seconds=30)  # so short that the role is asked for anew before each call
    assert not (await observed(cloud, used)).exists
    cloud._patience = 2.0  # clients are built by now
    for how in ("silent", "dribbles its head", "dribbles its body"):
        hostile.hangs[action] = how
        with pytest.raises(Unavailable, match=f"{named}: "):
            await observed(cloud, used)
        assert cloud.in_flight == 0
    hostile.hangs.clear()
    cloud._patience = 60.0
    assert not (await observed(cloud, used)).exists
    assert hostile.asked[-1] == "DescribeVpcs"


@pytest.mark.parametrize(
    ("region", "told"), [("us-west-9", "the SDK lists no region us-west-9: did you mean us-west-2?"), ("us-west-2", "")]
)
async def test_a_region_that_the_sdk_does_not_list_is_tried_and_told_where_nobody_answers(cloud, hostile, region, told):
    vpc = managed(EC2, "VPC", "v", "vpc-1", region=region, cidrBlock="10.0.0.0/16")
    assert not (await cloud.observe(vpc, account(hostile.url), {})).exists  # it may be new
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = account(f"http://127.0.0.1:{gone.getsockname()[1]}", "gone")
    with pytest.raises(Unavailable) as raised:
        await cloud.observe(vpc, nobody, {})
    assert raised.value.mend.startswith(told or "check the network")


@pytest.mark.parametrize(
    ("action", "unsent"), [("nobody", True), ("CreateVpc", False)], ids=["nobody is there", "no answer comes"]
)
async def test_a_create_that_was_never_sent_is_known_to_have_made_nothing(cloud, hostile, action, unsent):
    url = hostile.url
    if unsent:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    hostile.hangs[action], cloud._patience = "silent", 0.5
    with pytest.raises(Unavailable) as raised:
        await cloud.create(managed(EC2, "VPC", "v", cidrBlock="10.0.0.0/16"), account(url), {})
    assert raised.value.unsent is unsent


@pytest.mark.parametrize("how", ["silent", "dribbles its head", "dribbles its body"])
def test_over_tls_a_call_ends_as_well(secure, how):
    client = Sessions(attempts=1).clients(account(secure.url)).client("ec2", REGION)
    assert client.describe_vpcs()["Vpcs"] == []
    secure.hangs["DescribeVpcs"] = how
    with deadline.within(0.5), pytest.raises((HTTPClientError, ConnectionError)):
        client.describe_vpcs()
    assert deadline.doing() == "ec2 DescribeVpcs"
    client.close()


@pytest.mark.parametrize(
    "action, spec, named", [("DescribeVpcs", {}, "ec2 DescribeVpcs"), ("AssumeRole", ROLES, "sts AssumeRole")]
)
async def test_an_answer_without_end_is_not_read(cloud, hostile, monkeypatch, action, spec, named):
    monkeypatch.setattr(deadline, "LONGEST", 2**20)
    hostile.hangs[action] = "streams without end"
    with pytest.raises(Unavailable, match=f"{named}: .*longer than 1 MiB"):
        await observed(cloud, account(hostile.url, **spec))
    hostile.hangs.clear()
    assert not (await observed(cloud, account(hostile.url, **spec))).exists


def test_over_tls_an_answer_without_end_is_not_read_either(secure, monkeypatch):
    client = Sessions(attempts=1).clients(account(secure.url)).client("ec2", REGION)
    assert client.describe_vpcs()["Vpcs"] == []
    monkeypatch.setattr(deadline, "LONGEST", 2**20)
    secure.hangs["DescribeVpcs"] = "streams without end"
    with pytest.raises(HTTPClientError, match="longer than 1 MiB"):
        client.describe_vpcs()
    client.close()


async def test_a_role_that_has_ended_already_points_at_the_clock(cloud, hostile):
    hostile.lasts = timedelta(seconds=-30)
    with pytest.raises(Denied, match=r"STS gave credentials that ended at .*Mend: set the clock"):
        await observed(cloud, account(hostile.url, **ROLES))


async def test_a_host_that_nobody_knows_is_named(cloud):
    with pytest.raises(Unavailable, match=r"ec2 DescribeVpcs: .*http://nowhere\.invalid"):
        await observed(cloud, account("http://nowhere.invalid"))
