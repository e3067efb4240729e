"""AWS's errors, and botocore's own, as `groundplane.errors`.

The codes' classes follow the Terraform AWS provider 5.31 and botocore's retry tables.  The rule that stands
above them: credentials, throttling and server errors are never read as "missing".  A text is AWS's operation,
code and words without what changes from call to call (request ids, times), since it becomes a condition.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from groundplane.aws import judging
from groundplane.aws.grammar import Errors, Match, Mend
from groundplane.errors import Denied, GroundplaneError, InvalidInput, Throttled, Unavailable, Waiting

Outcome = Literal["success", "throttled", "denied", "not_found", "silent", "error"]  # of a call, for who counts them
BOTO = (boto.ClientError, boto.BotoCoreError, ResponseParserError)  # all that botocore raises
_THROTTLED = """Throttling ThrottlingException ThrottledException RequestThrottledException TooManyRequestsException
    RequestLimitExceeded ProvisionedThroughputExceededException BandwidthLimitExceeded LimitExceededException
    RequestThrottled SlowDown PriorRequestNotComplete EC2ThrottledException TransactionInProgressException 429"""
_DENIED = """ExpiredToken ExpiredTokenException InvalidClientTokenId SignatureDoesNotMatch UnrecognizedClientException
    AccessDenied AccessDeniedException UnauthorizedOperation AuthFailure OptInRequired InvalidAccessKeyId
    RequestExpired MissingAuthenticationToken IncompleteSignature InvalidIdentityToken IDPRejectedClaim
    AllAccessDisabled NotAuthorized UnauthorizedAccess 401 403 Forbidden"""
THROTTLED, DENIED = frozenset(_THROTTLED.split()), frozenset(_DENIED.split())
_FORBIDDEN = "AccessDenied AccessDeniedException UnauthorizedOperation UnauthorizedAccess NotAuthorized 403 Forbidden"
FORBIDDEN = frozenset(_FORBIDDEN.split())  # of DENIED, what a new role or policy gets until IAM is known everywhere
_STALE = """ExpiredToken ExpiredTokenException InvalidClientTokenId UnrecognizedClientException AuthFailure
    SignatureDoesNotMatch InvalidAccessKeyId RequestExpired InvalidIdentityToken"""
STALE = frozenset(_STALE.split())
BUSY = re.compile(
    r"DependencyViolation|DeleteConflict|Invalid\w*State(Fault|Exception)?|ResourceInUseException|\w+[.]?InUse"
    r"|OperationAborted|ConcurrentModification\w*|Concurrent\w*Exception|IncorrectState|ResourceNotReady\w*"
)
NOT_FOUND = re.compile(r"\w*NotFound(Fault|Exception)?|Invalid\w+\.NotFound|NoSuch\w+")
SERVER = re.compile(r"5\d\d|Internal\w*|ServiceUnavailable\w*|Unavailable|\w*ServiceException|RequestTimeout\w*")
CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.UnauthorizedSSOTokenError,
    boto.NoAuthTokenError,
    boto.MetadataRetrievalError,
    boto.ConfigNotFound,
    boto.ProfileNotFound,
    boto.InvalidConfigError,
)
VOLATILE = (
    (re.compile(r"\s*\((?:Service|Status Code|Request ?ID|Extended Request ID|Proxy):? ?[^()]*\)", re.I), ""),
    (re.compile(r"[,;.]?\s*(?:Extended )?Request ?Id:? ?[\w/+=-]+", re.I), ""),
    (re.compile(r"\s*Encoded authorization failure message: ?\S+"), ""),
    (re.compile(r"\d{8}T\d{6}Z"), "<time>"),
    (re.compile(r"\s*\(reached max retries: \d+\)"), ""),
)
PAGE, TITLE = re.compile(r"\s*<(?:!doctype )?html\b", re.I), re.compile(r"<title>([^<]*)</title>", re.I)
PARAMETER = re.compile(r"(?:\bat '|\bparameter:? ['\"(]?)([A-Za-z]\w*)", re.I)
MEND_NETWORK = (
    "check the network, the proxy (HTTPS_PROXY, NO_PROXY), forProvider.region and the ProviderConfig's endpoint"
)
MEND_TAKEN = "choose another name, by annotation crossplane.io/external-name or the field that gives it; or delete what has it, if that is left over"
MEND_CREDENTIALS = "check the ProviderConfig's credentials and what they may do"
MEND_FORBIDDEN = "allow it to the identity of the ProviderConfig: groundplane iam-policy prints what a kind needs"


def are_stale(error: Exception) -> bool:
    """Whether the credentials themselves were refused, so that others must be fetched; not a mere permission."""
    return isinstance(error, CREDENTIALS) or (isinstance(error, boto.ClientError) and code_of(error) in STALE)


def is_refused(error: boto.ClientError) -> bool:
    """Whether a call was refused for good though the credentials are: no right to it, or none who knows it."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0
    code = code_of(error)
    return (status < 500 or status == 501) and code not in THROTTLED and code not in STALE


def is_silence(error: BaseException | None) -> bool:
    """Whether no answer came: no connection, or one that stayed silent or broke."""
    return isinstance(error, boto.HTTPClientError | boto.ConnectionError)


def request_id(parsed: Mapping[str, Any] | None) -> str:
    """AWS's id of a request, by which its support finds it; "" if there was no answer."""
    metadata = (parsed or {}).get("ResponseMetadata") or {}
    return str(metadata.get("RequestId") or metadata.get("HostId") or "")


def outcome(parsed: Mapping[str, Any] | None, error: Exception | None) -> Outcome:
    """How a call ended, for who counts calls, from the answer as botocore has parsed it or from what was raised instead."""
    if error is not None:
        return "silent" if is_silence(error) else "error"
    answer = parsed or {}
    status = (answer.get("ResponseMetadata") or {}).get("HTTPStatusCode") or 0
    if status < 300:
        return "success"
    code = str((answer.get("Error") or {}).get("Code") or "")
    if code in THROTTLED or status == 429:
        return "throttled"
    if code in DENIED:
        return "denied"
    return "not_found" if NOT_FOUND.fullmatch(code) or status == 404 else "error"


def code_of(error: boto.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def stable(text: str) -> str:
    """AWS's words without what differs from call to call.

    >>> stable("Not authorized. (Service: Rds, Status Code: 403, Request ID: 1-2)")
    'Not authorized.'
    >>> stable("<!doctype html><html lang=en><title>502 Bad Gateway</title><h1>Bad Gateway</h1>")  # a proxy's, not AWS's
    '502 Bad Gateway'
    """
    for pattern, instead in VOLATILE:
        text = pattern.sub(instead, text)
    if PAGE.match(text):
        found = TITLE.search(text)
        text = found[1] if found else "a page of HTML"
    return " ".join(text.split())


def is_of_another(error: Exception) -> bool:
    """Whether it says that something is not there: not the thing itself, which is no error, but what it refers to."""
    return isinstance(error, boto.ClientError) and bool(NOT_FOUND.fullmatch(code_of(error)))


def parameter(words: str) -> str:
    """The parameter that an error names, as AWS or `translate` spells it; "" if it names none.

    >>> parameter("Value 'x' at 'tableName' failed to satisfy constraint"), parameter("Invalid parameter: Policy is too long")
    ('tableName', 'Policy')
    """
    found = PARAMETER.search(words)
    return found[1] if found else ""


def said(match: Match, operation: str, code: str, text: str) -> bool:
    return match.code == code and match.operation in ("", operation) and match.text.lower() in text.lower()


def translate(
    error: Exception, known: Errors, *, busy: Sequence[str] = (), secrets: Iterable[str] = (), young: bool = False
) -> GroundplaneError:
    """Our error for one of `BOTO`.

    `busy` are the codes that mean "later" here; `young`: the managed resource is so new that a role it
    refers to may not be known everywhere yet; `secrets` are values that no text may contain.
    """
    answered = isinstance(error, boto.ClientError)
    found = _client_error(error, known, busy, young) if answered else _own_error(error)
    for secret in secrets:
        if secret:
            found.what = found.what.replace(secret, "<secret>")
    found.args = (found.what,)
    return found


def _own_error(error: Exception) -> GroundplaneError:
    words = stable(str(error))
    if isinstance(error, CREDENTIALS):
        return Denied(words, mend="check ProviderConfig spec.credentials, and what its source offers")
    if isinstance(error, boto.ParamValidationError):
        found = judging.unfit(str(error.kwargs["report"]))
        found.what, found.where = " ".join(("parameter", *found.where, found.what)), ()
        return found
    if isinstance(error, boto.NoRegionError | boto.InvalidRegionError | boto.UnknownRegionError):
        return InvalidInput(words, mend="set forProvider.region to a region of AWS")
    if isinstance(error, ResponseParserError):
        return Unavailable("AWS's answer can't be read: the endpoint is faulty, or doesn't know this call")
    return Unavailable(words, mend=MEND_NETWORK if isinstance(error, boto.ConnectionError) else "")


def _client_error(error: boto.ClientError, known: Errors, busy: Sequence[str], young: bool) -> GroundplaneError:
    code = code_of(error)
    words = stable(str(error.response.get("Error", {}).get("Message") or ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0
    asked = error.operation_name if code not in STALE else ""  # the credentials are the same for all that use them
    what = ": ".join(part for part in (asked, code, words) if part)
    if any(said(match, error.operation_name, code, words) and (young or not match.young) for match in known.wait):
        return Waiting(what)
    if code in THROTTLED or status == 429:
        return Throttled(what)
    mend = next((mend for mend in known.mends if said(mend, error.operation_name, code, words)), None)
    if code in DENIED:
        forbidden = code in FORBIDDEN
        denied = Denied(what, mend=mend.mend if mend else MEND_FORBIDDEN if forbidden else MEND_CREDENTIALS)
        denied.fresh = forbidden
        return denied
    if NOT_FOUND.fullmatch(code):  # what it refers to, since its own absence is no error: it may come yet
        return _mended(Waiting(what), mend)
    if code in busy:
        return _mended(Waiting(what), mend)
    if mend is not None:
        return _mended(InvalidInput(what), mend)
    if BUSY.fullmatch(code):
        return Waiting(what)
    if status >= 500 or SERVER.fullmatch(code):
        return Unavailable(what)
    if code == "404":  # REST-JSON: an endpoint that doesn't know the call; S3's HEAD is read before this
        return Unavailable(what)
    if code == "InvalidParameterValue" and "iam role" in words.lower() and young:
        return Waiting(what)
    return InvalidInput(what, mend=MEND_TAKEN if code in known.exists else "")


def _mended(error: GroundplaneError, mend: Mend | None) -> GroundplaneError:
    if mend is not None:
        error.mend = mend.mend
        error.where = (f"spec.forProvider.{mend.field}",) if mend.field else ()
    return error
