"""What somebody else says in AWS's name is no answer: a thing is not gone because a login page does not list it."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import botocore.session
import pytest
from botocore.parsers import ResponseParserError

from groundplane.aws import answers
from groundplane.errors import Unavailable
from groundplane.ports import Account
from tests.aws.conftest import EC2, INI, RDS, managed, provider_config

PAGE = b"<!-- gate --><html><body>Please log in</body></html>"
_session = botocore.session.Session()


def operation(service, name):
    return _session.get_service_model(service).operation_model(name)


def check(service, name, text, status=200):
    answers.check(operation(service, name), {"status_code": status, "headers": {}, "body": text})


@pytest.mark.parametrize(
    "service, name, text",
    [
        ("ec2", "DescribeVpcs", PAGE),
        ("ec2", "DescribeVpcs", b""),
        ("ec2", "CreateVpc", PAGE),
        ("rds", "DescribeDBInstances", PAGE),
        ("s3", "GetBucketTagging", PAGE),
        ("route53", "ListResourceRecordSets", b""),
        ("ecs", "DescribeServices", PAGE),
        ("ecs", "DescribeServices", b""),
        ("ecs", "DescribeServices", b'{"services": [{"serviceArn": "arn:'),
        ("dynamodb", "DescribeTable", b"null"),
        ("dynamodb", "DescribeTable", b"[" * 100_000),
        ("eks", "DescribeCluster", b"[]"),
        ("lambda", "GetFunction", PAGE),
    ],
)
def test_a_text_that_lists_nothing_because_it_is_not_awss_is_no_answer(service, name, text):
    with pytest.raises(ResponseParserError, match=f"^{name}: the answer is "):
        check(service, name, text)


@pytest.mark.parametrize(
    "service, name, text",
    [
        ("ec2", "DescribeVpcs", b'<?xml version="1.0"?>\n<!-- x --><DescribeVpcsResponse xmlns="http://x"/>'),
        ("rds", "DescribeDBInstances", b"<a:DescribeDBInstancesResponse xmlns:a='x'></a:DescribeDBInstancesResponse>"),
        ("iam", "DeleteRole", b"<DeleteRoleResponse></DeleteRoleResponse>"),
        ("s3", "HeadBucket", b""),
        ("s3", "PutBucketTagging", b""),
        ("s3", "GetBucketPolicy", b'{"Version": "2012-10-17"}'),
        ("s3", "GetBucketVersioning", b"<VersioningConfiguration/>"),
        ("s3", "GetObject", PAGE),
        ("ecs", "DescribeServices", b"{}"),
        ("sqs", "SetQueueAttributes", b""),
        ("lambda", "DeleteFunction", b""),
        ("lambda", "Invoke", PAGE),
    ],
)
def test_whatever_aws_says_is_an_answer(service, name, text):
    check(service, name, text)


def test_a_text_that_comes_with_an_error_is_read_as_the_error():
    check("ec2", "DescribeVpcs", PAGE, status=503)


@pytest.fixture
def page():
    """The URL of a server that answers everything with a login page, as if all were well."""

    class Login(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Login) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "thing",
    [
        managed(EC2, "VPC", "main", external_name="vpc-1", cidrBlock="10.0.0.0/16"),
        managed(RDS, "Instance", "main", engine="postgres", instanceClass="db.t3.micro"),
    ],
    ids=["VPC", "Instance"],
)
async def test_nothing_counts_as_gone_because_a_login_page_does_not_show_it(thing, page, cloud):
    with pytest.raises(Unavailable, match="can't be read"):
        await cloud.observe(thing, Account(provider_config(page), {"creds": INI}, "1"), {})
