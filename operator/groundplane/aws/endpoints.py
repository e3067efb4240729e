"""Which service a name in a ProviderConfig's endpoint.services means: boto3's names, and Terraform's beside them.

Source: Terraform AWS provider, guide "Custom Service Endpoints": the keys of its `endpoints` block and their
aliases.  Hyphens and case don't matter, so only names that differ in more than these stand below.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from groundplane.errors import did_you_mean

_ALIASES = """amg=grafana amp=amp appautoscaling=application-autoscaling appintegrationsservice=appintegrations
    applicationdiscovery=discovery applicationdiscoveryservice=discovery appregistry=servicecatalog-appregistry
    augmentedairuntime=sagemaker-a2i-runtime beanstalk=elasticbeanstalk cloudcontrolapi=cloudcontrol
    cloudwatchevents=events cloudwatchlog=logs cloudwatchlogs=logs cloudwatchobservabilityaccessmanager=oam
    cloudwatchrum=rum cognitoidentityprovider=cognito-idp configservice=config connectwisdomservice=wisdom
    costandusagereportservice=cur costexplorer=ce databasemigration=dms databasemigrationservice=dms deploy=codedeploy
    directoryservice=ds elasticloadbalancing=elb elasticloadbalancingv2=elbv2 elasticsearch=es
    elasticsearchservice=es eventbridge=events forecastqueryservice=forecastquery forecastservice=forecast
    gluedatabrew=databrew inspectorv2=inspector2 iotdataplane=iot-data iotjobsdataplane=iot-jobs-data
    kinesisvideosignalingchannels=kinesis-video-signaling lex=lex-models lexmodelbuilding=lex-models
    lexmodelbuildingservice=lex-models lexmodelsv2=lexv2-models lexruntimeservice=lex-runtime
    lexruntimev2=lexv2-runtime locationservice=location managedgrafana=grafana
    marketplaceentitlementservice=marketplace-entitlement marketplacemetering=meteringmarketplace migrationhub=mgh
    migrationhubstrategyrecommendations=migrationhubstrategy msk=kafka opensearchingestion=osis
    opensearchservice=opensearch prometheus=amp prometheusservice=amp rdsdataservice=rds-data recyclebin=rbin
    redshiftdataapiservice=redshift-data resourcegroupstagging=resourcegroupstaggingapi s3api=s3
    sagemakeredgemanager=sagemaker-edge serverlessapplicationrepository=serverlessrepo serverlessapprepo=serverlessrepo
    sfn=stepfunctions simpledb=sdb transcribeservice=transcribe"""
# of Terraform's, and no services of boto3's any more: nothing is ever sent to them
_GONE = """alexaforbusiness cloudwatchevidently codestar elasticinference elastictranscoder evidently finspace finspacedata
    honeycode iot1clickdevices iot1clickdevicesservice iot1clickprojects iotanalytics iotevents ioteventsdata
    iotfleethub lookoutforvision lookoutmetrics lookoutvision macie mobile nimble nimblestudio opsworks opsworkscm
    panorama qldb qldbsession robomaker sms worklink"""
ALIASES = dict(pair.split("=") for pair in _ALIASES.split())
GONE = frozenset(_GONE.split())


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


@cache
def _services(known: frozenset[str]) -> dict[str, str]:
    return ALIASES | {_plain(name): name for name in known}


def service(name: str, known: Iterable[str]) -> str | None:
    """The service of boto3's `known` that a name means; "" one that is no more; None if no such name is known.

    >>> service("cloudwatchlogs", ["logs"]), service("CognitoIDP", ["cognito-idp"]), service("rdz", ["rds"])
    ('logs', 'cognito-idp', None)
    """
    found = _services(frozenset(known)).get(_plain(name))
    return "" if found is None and _plain(name) in GONE else found


def mend(name: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown name."""
    near = did_you_mean(name, [*known, *ALIASES])
    return near if near.startswith("did you mean") else "use a service's name as boto3 or Terraform have it: rds, elbv2"
