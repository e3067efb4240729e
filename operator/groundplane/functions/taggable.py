"""Which kinds of upjet's AWS and Azure providers have `spec.forProvider.tags`, by group; their namespaced groups (`.m.`) have the same.

Source: the kinds that function-tag-manager v0.9 lists, from the providers' CustomResourceDefinitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_KINDS = """
accessanalyzer.aws.upbound.io: Analyzer
acm.aws.upbound.io: Certificate
acmpca.aws.upbound.io: CertificateAuthority
amp.aws.upbound.io: RuleGroupNamespace Scraper Workspace
amplify.aws.upbound.io: App Branch
apigateway.aws.upbound.io: APIKey ClientCertificate DomainName RestAPI Stage UsagePlan VPCLink
apigatewayv2.aws.upbound.io: API DomainName Stage VPCLink
appautoscaling.aws.upbound.io: Target
appconfig.aws.upbound.io: Application ConfigurationProfile Deployment DeploymentStrategy Environment Extension
appflow.aws.upbound.io: Flow
appintegrations.aws.upbound.io: EventIntegration
applicationinsights.aws.upbound.io: Application
appmesh.aws.upbound.io: GatewayRoute Mesh Route VirtualGateway VirtualNode VirtualRouter VirtualService
apprunner.aws.upbound.io: AutoScalingConfigurationVersion Connection ObservabilityConfiguration Service VPCConnector
appstream.aws.upbound.io: Fleet ImageBuilder Stack
appsync.aws.upbound.io: GraphQLAPI
athena.aws.upbound.io: DataCatalog Workgroup
backup.aws.upbound.io: Framework Plan ReportPlan Vault
batch.aws.upbound.io: ComputeEnvironment JobDefinition JobQueue SchedulingPolicy
bedrock.aws.upbound.io: Guardrail InferenceProfile
bedrockagent.aws.upbound.io: Agent
bedrockagentcore.aws.upbound.io: APIKeyCredentialProvider AgentRuntime AgentRuntimeEndpoint Browser CodeInterpreter
  Evaluator Gateway Harness Memory Oauth2CredentialProvider OnlineEvaluationConfig PolicyEngine
budgets.aws.upbound.io: Budget BudgetAction
ce.aws.upbound.io: AnomalyMonitor
chime.aws.upbound.io: VoiceConnector
cloud9.aws.upbound.io: EnvironmentEC2
cloudformation.aws.upbound.io: Stack StackSet
cloudfront.aws.upbound.io: Distribution Function VPCOrigin
cloudtrail.aws.upbound.io: EventDataStore Trail
cloudwatch.aws.upbound.io: CompositeAlarm MetricAlarm MetricStream
cloudwatchevents.aws.upbound.io: Bus Rule
cloudwatchlogs.aws.upbound.io: Destination Group
codeartifact.aws.upbound.io: Domain Repository
codebuild.aws.upbound.io: Project ReportGroup
codecommit.aws.upbound.io: Repository
codeguruprofiler.aws.upbound.io: ProfilingGroup
codepipeline.aws.upbound.io: Codepipeline CustomActionType Webhook
codestarconnections.aws.upbound.io: Connection
codestarnotifications.aws.upbound.io: NotificationRule
cognitoidentity.aws.upbound.io: Pool
cognitoidp.aws.upbound.io: UserPool
configservice.aws.upbound.io: ConfigRule ConfigurationAggregator
connect.aws.upbound.io: ContactFlow ContactFlowModule HoursOfOperation Instance PhoneNumber Queue QuickConnect
  RoutingProfile SecurityProfile User Vocabulary
cur.aws.upbound.io: ReportDefinition
dataexchange.aws.upbound.io: DataSet Revision
datapipeline.aws.upbound.io: Pipeline
datasync.aws.upbound.io: LocationS3 Task
dax.aws.upbound.io: Cluster
deploy.aws.upbound.io: App DeploymentGroup
detective.aws.upbound.io: Graph
devicefarm.aws.upbound.io: DevicePool InstanceProfile NetworkProfile Project TestGridProject
directconnect.aws.upbound.io: Connection Gateway HostedPrivateVirtualInterfaceAccepter
  HostedPublicVirtualInterfaceAccepter HostedTransitVirtualInterfaceAccepter Lag PrivateVirtualInterface
  PublicVirtualInterface TransitVirtualInterface
dlm.aws.upbound.io: LifecyclePolicy
dms.aws.upbound.io: Certificate Endpoint EventSubscription ReplicationInstance ReplicationSubnetGroup
  ReplicationTask S3Endpoint
docdb.aws.upbound.io: Cluster ClusterInstance ClusterParameterGroup EventSubscription SubnetGroup
ds.aws.upbound.io: Directory
dsql.aws.upbound.io: Cluster
dynamodb.aws.upbound.io: Table TableReplica
ec2.aws.upbound.io: AMI AMICopy CapacityBlockReservation CapacityReservation CarrierGateway CustomerGateway
  DefaultNetworkACL DefaultRouteTable DefaultSecurityGroup DefaultSubnet DefaultVPC DefaultVPCDHCPOptions
  EBSSnapshot EBSSnapshotCopy EBSSnapshotImport EBSVolume EIP EgressOnlyInternetGateway Fleet FlowLog Host Instance
  InternetGateway KeyPair LaunchTemplate ManagedPrefixList NATGateway NetworkACL NetworkInsightsAnalysis
  NetworkInsightsPath NetworkInterface PlacementGroup RouteTable SecurityGroup SecurityGroupEgressRule
  SecurityGroupIngressRule SpotFleetRequest SpotInstanceRequest Subnet TrafficMirrorFilter TransitGateway
  TransitGatewayConnect TransitGatewayConnectPeer TransitGatewayMulticastDomain TransitGatewayPeeringAttachment
  TransitGatewayPeeringAttachmentAccepter TransitGatewayPolicyTable TransitGatewayRouteTable
  TransitGatewayVPCAttachment TransitGatewayVPCAttachmentAccepter VPC VPCDHCPOptions VPCEndpoint VPCEndpointService
  VPCIpam VPCIpamPool VPCIpamPoolCidrAllocation VPCIpamScope VPCPeeringConnection VPCPeeringConnectionAccepter
  VPNConnection VPNGateway
ecr.aws.upbound.io: Repository
ecrpublic.aws.upbound.io: Repository
ecs.aws.upbound.io: CapacityProvider Cluster Service TaskDefinition
efs.aws.upbound.io: AccessPoint FileSystem
eks.aws.upbound.io: AccessEntry Addon Capability Cluster FargateProfile IdentityProviderConfig NodeGroup
  PodIdentityAssociation
elasticache.aws.upbound.io: Cluster ParameterGroup ReplicationGroup ServerlessCache SubnetGroup User UserGroup
elasticbeanstalk.aws.upbound.io: Application ApplicationVersion
elasticsearch.aws.upbound.io: Domain
elb.aws.upbound.io: ELB
elbv2.aws.upbound.io: LB LBListener LBListenerRule LBTargetGroup LBTrustStore
emrcontainers.aws.upbound.io: VirtualCluster
emrserverless.aws.upbound.io: Application
evidently.aws.upbound.io: Feature Project Segment
firehose.aws.upbound.io: DeliveryStream
fis.aws.upbound.io: ExperimentTemplate
fsx.aws.upbound.io: Backup DataRepositoryAssociation LustreFileSystem OntapFileSystem OntapStorageVirtualMachine
  WindowsFileSystem
gamelift.aws.upbound.io: Alias Build Fleet GameSessionQueue Script
glacier.aws.upbound.io: Vault
globalaccelerator.aws.upbound.io: Accelerator
glue.aws.upbound.io: CatalogDatabase Connection Crawler Job Registry Schema Trigger Workflow
grafana.aws.upbound.io: Workspace
guardduty.aws.upbound.io: Detector Filter MalwareProtectionPlan
iam.aws.upbound.io: InstanceProfile OpenIDConnectProvider Policy Role SAMLProvider ServerCertificate
  ServiceLinkedRole User VirtualMfaDevice
imagebuilder.aws.upbound.io: Component ContainerRecipe DistributionConfiguration Image ImagePipeline ImageRecipe
  InfrastructureConfiguration
inspector.aws.upbound.io: AssessmentTemplate ResourceGroup
iot.aws.upbound.io: Authorizer DomainConfiguration Policy ProvisioningTemplate RoleAlias ThingGroup ThingType
  TopicRule
ivs.aws.upbound.io: Channel RecordingConfiguration
kafka.aws.upbound.io: Cluster Replicator ServerlessCluster VPCConnection
kafkaconnect.aws.upbound.io: Connector CustomPlugin WorkerConfiguration
kendra.aws.upbound.io: DataSource Index QuerySuggestionsBlockList Thesaurus
keyspaces.aws.upbound.io: Keyspace Table
kinesis.aws.upbound.io: Stream StreamConsumer
kinesisanalytics.aws.upbound.io: Application
kinesisanalyticsv2.aws.upbound.io: Application
kinesisvideo.aws.upbound.io: Stream
kms.aws.upbound.io: ExternalKey Key ReplicaExternalKey ReplicaKey
lambda.aws.upbound.io: CodeSigningConfig EventSourceMapping Function
licensemanager.aws.upbound.io: LicenseConfiguration
lightsail.aws.upbound.io: Bucket Certificate ContainerService Disk Instance KeyPair LB
location.aws.upbound.io: GeofenceCollection PlaceIndex RouteCalculator Tracker
macie2.aws.upbound.io: ClassificationJob CustomDataIdentifier FindingsFilter Member
mediaconvert.aws.upbound.io: Queue
medialive.aws.upbound.io: Channel Input InputSecurityGroup Multiplex
mediapackage.aws.upbound.io: Channel
mediastore.aws.upbound.io: Container
memorydb.aws.upbound.io: ACL Cluster MultiRegionCluster ParameterGroup Snapshot SubnetGroup User
mq.aws.upbound.io: Broker Configuration
mwaa.aws.upbound.io: Environment
neptune.aws.upbound.io: Cluster ClusterEndpoint ClusterInstance ClusterParameterGroup EventSubscription
  ParameterGroup SubnetGroup
networkfirewall.aws.upbound.io: Firewall FirewallPolicy RuleGroup
networkmanager.aws.upbound.io: ConnectAttachment Connection CoreNetwork Device GlobalNetwork Link Site VPCAttachment
networkmonitor.aws.upbound.io: Monitor Probe
oam.aws.upbound.io: Sink
opensearch.aws.upbound.io: Domain
opensearchserverless.aws.upbound.io: Collection CollectionGroup
organizations.aws.upbound.io: Account OrganizationalUnit Policy
osis.aws.upbound.io: Pipeline
pinpoint.aws.upbound.io: App
pipes.aws.upbound.io: Pipe
qldb.aws.upbound.io: Ledger Stream
ram.aws.upbound.io: ResourceShare
rds.aws.upbound.io: Cluster ClusterEndpoint ClusterInstance ClusterParameterGroup ClusterSnapshot DBSnapshotCopy
  EventSubscription GlobalCluster Instance OptionGroup ParameterGroup Proxy ProxyEndpoint Snapshot SubnetGroup
redshift.aws.upbound.io: Cluster EventSubscription HSMClientCertificate HSMConfiguration ParameterGroup
  SnapshotCopyGrant SnapshotSchedule SubnetGroup UsageLimit
redshiftserverless.aws.upbound.io: RedshiftServerlessNamespace Workgroup
resourcegroups.aws.upbound.io: Group
rolesanywhere.aws.upbound.io: Profile
route53.aws.upbound.io: HealthCheck Zone
route53profiles.aws.upbound.io: Association Profile
route53recoverycontrolconfig.aws.upbound.io: Cluster ControlPanel SafetyRule
route53recoveryreadiness.aws.upbound.io: Cell ReadinessCheck RecoveryGroup ResourceSet
route53resolver.aws.upbound.io: Endpoint QueryLogConfig Rule
rum.aws.upbound.io: AppMonitor
s3.aws.upbound.io: Bucket BucketObject DirectoryBucket Object ObjectCopy
s3control.aws.upbound.io: AccessPoint StorageLensConfiguration
s3vectors.aws.upbound.io: Index VectorBucket
sagemaker.aws.upbound.io: App AppImageConfig CodeRepository DeviceFleet Domain Endpoint EndpointConfiguration
  FeatureGroup Image MlflowTrackingServer Model ModelPackageGroup NotebookInstance
  NotebookInstanceLifecycleConfiguration Space StudioLifecycleConfig UserProfile Workteam
scheduler.aws.upbound.io: ScheduleGroup
schemas.aws.upbound.io: Discoverer Registry Schema
secretsmanager.aws.upbound.io: Secret
serverlessrepo.aws.upbound.io: CloudFormationStack
servicecatalog.aws.upbound.io: Portfolio Product
servicediscovery.aws.upbound.io: HTTPNamespace PrivateDNSNamespace PublicDNSNamespace Service
sesv2.aws.upbound.io: ConfigurationSet DedicatedIPPool EmailIdentity
sfn.aws.upbound.io: Activity StateMachine
signer.aws.upbound.io: SigningProfile
sns.aws.upbound.io: Topic
sqs.aws.upbound.io: Queue
ssm.aws.upbound.io: Activation Association Document MaintenanceWindow Parameter PatchBaseline
ssoadmin.aws.upbound.io: PermissionSet
swf.aws.upbound.io: Domain
timestreaminfluxdb.aws.upbound.io: DBCluster DBInstance
timestreamwrite.aws.upbound.io: Database Table
transcribe.aws.upbound.io: LanguageModel Vocabulary VocabularyFilter
transfer.aws.upbound.io: Connector Server User Workflow
verifiedaccess.aws.upbound.io: Endpoint Group Instance TrustProvider
vpclattice.aws.upbound.io: AccessLogSubscription Listener ListenerRule ResourceConfiguration ResourceGateway Service
  ServiceNetwork ServiceNetworkResourceAssociation ServiceNetworkServiceAssociation ServiceNetworkVPCAssociation
  TargetGroup
waf.aws.upbound.io: RateBasedRule Rule WebACL
wafregional.aws.upbound.io: RateBasedRule Rule WebACL
wafv2.aws.upbound.io: IPSet RegexPatternSet RuleGroup WebACL
workspaces.aws.upbound.io: Directory IPGroup
xray.aws.upbound.io: Group SamplingRule
alertsmanagement.azure.upbound.io: MonitorAlertProcessingRuleActionGroup MonitorAlertProcessingRuleSuppression
  MonitorAlertPrometheusRuleGroup MonitorSmartDetectorAlertRule
analysisservices.azure.upbound.io: Server
apimanagement.azure.upbound.io: Management
appconfiguration.azure.upbound.io: Configuration Key
appplatform.azure.upbound.io: SpringCloudService
attestation.azure.upbound.io: Provider
automation.azure.upbound.io: Account RunBook
azure.upbound.io: ResourceGroup Subscription
azurestackhci.azure.upbound.io: Cluster
botservice.azure.upbound.io: BotChannelsRegistration BotWebApp
cache.azure.upbound.io: ManagedRedis RedisCache RedisEnterpriseCluster
cdn.azure.upbound.io: Endpoint FrontdoorEndpoint FrontdoorFirewallPolicy FrontdoorProfile Profile
certificateregistration.azure.upbound.io: AppServiceCertificateOrder
cognitiveservices.azure.upbound.io: AIServices Account AccountRaiBlocklist AccountRaiPolicy
communication.azure.upbound.io: Service
compute.azure.upbound.io: AvailabilitySet CapacityReservation CapacityReservationGroup DedicatedHost DiskAccess
  DiskEncryptionSet GalleryApplication GalleryApplicationVersion Image LinuxVirtualMachine
  LinuxVirtualMachineScaleSet ManagedDisk OrchestratedVirtualMachineScaleSet ProximityPlacementGroup SSHPublicKey
  SharedImage SharedImageGallery Snapshot VirtualMachineExtension VirtualMachineRunCommand
  VirtualMachineScaleSetStandbyPool WindowsVirtualMachine WindowsVirtualMachineScaleSet
confidentialledger.azure.upbound.io: Ledger
containerapp.azure.upbound.io: ContainerApp ContainerJob Environment EnvironmentCertificate
containerregistry.azure.upbound.io: AgentPool Registry Webhook
containerservice.azure.upbound.io: KubernetesCluster KubernetesClusterNodePool KubernetesFleetManager
cosmosdb.azure.upbound.io: Account CassandraCluster MongoCluster
customproviders.azure.upbound.io: CustomProvider
dashboard.azure.upbound.io: Grafana GrafanaManagedPrivateEndpoint
databoxedge.azure.upbound.io: Device
databricks.azure.upbound.io: AccessConnector Workspace
datafactory.azure.upbound.io: Factory
datamigration.azure.upbound.io: DatabaseMigrationProject DatabaseMigrationService
dataprotection.azure.upbound.io: BackupVault ResourceGuard
datashare.azure.upbound.io: Account
dbformysql.azure.upbound.io: FlexibleServer
dbforpostgresql.azure.upbound.io: FlexibleServer Server
desktopvirtualization.azure.upbound.io: VirtualDesktopApplicationGroup VirtualDesktopHostPool
  VirtualDesktopWorkspace
devcenter.azure.upbound.io: Center Project
devices.azure.upbound.io: IOTHub IOTHubDPS
deviceupdate.azure.upbound.io: IOTHubDeviceUpdateAccount IOTHubDeviceUpdateInstance
devopsinfrastructure.azure.upbound.io: ManagedDevopsPool
devtestlab.azure.upbound.io: GlobalVMShutdownSchedule Lab LinuxVirtualMachine Policy Schedule VirtualNetwork
  WindowsVirtualMachine
digitaltwins.azure.upbound.io: Instance
elastic.azure.upbound.io: CloudElasticsearch
eventgrid.azure.upbound.io: Domain EventGridNamespace PartnerConfiguration SystemTopic Topic
eventhub.azure.upbound.io: Cluster EventHubNamespace
fluidrelay.azure.upbound.io: Server
hdinsight.azure.upbound.io: HBaseCluster HadoopCluster InteractiveQueryCluster KafkaCluster SparkCluster
healthbot.azure.upbound.io: HealthBot
healthcareapis.azure.upbound.io: HealthcareDICOMService HealthcareFHIRService HealthcareMedtechService
  HealthcareService HealthcareWorkspace
insights.azure.upbound.io: ApplicationInsights ApplicationInsightsStandardWebTest ApplicationInsightsWebTest
  ApplicationInsightsWorkbook ApplicationInsightsWorkbookTemplate MonitorActionGroup MonitorActivityLogAlert
  MonitorAutoscaleSetting MonitorDataCollectionEndpoint MonitorDataCollectionRule MonitorMetricAlert
  MonitorPrivateLinkScope MonitorScheduledQueryRulesAlert MonitorScheduledQueryRulesAlertV2
  MonitorScheduledQueryRulesLog MonitorWorkspace
iotcentral.azure.upbound.io: Application
keyvault.azure.upbound.io: Certificate Key ManagedHardwareSecurityModule ManagedStorageAccount
  ManagedStorageAccountSASTokenDefinition Secret Vault
kusto.azure.upbound.io: Cluster
loadtestservice.azure.upbound.io: LoadTest
logic.azure.upbound.io: AppIntegrationAccount AppWorkflow
machinelearningservices.azure.upbound.io: AIFoundry AIFoundryProject ComputeCluster ComputeInstance SynapseSpark
  Workspace
maintenance.azure.upbound.io: MaintenanceConfiguration
managedidentity.azure.upbound.io: UserAssignedIdentity
maps.azure.upbound.io: Account Creator
netapp.azure.upbound.io: Account Pool SnapshotPolicy Volume
network.azure.upbound.io: ApplicationGateway ApplicationSecurityGroup BastionHost ConnectionMonitor
  DDoSProtectionPlan DNSAAAARecord DNSARecord DNSCAARecord DNSCNAMERecord DNSMXRecord DNSNSRecord DNSPTRRecord
  DNSSRVRecord DNSTXTRecord DNSZone ExpressRouteCircuit ExpressRouteGateway ExpressRoutePort Firewall FirewallPolicy
  FrontDoor FrontdoorFirewallPolicy IPGroup LoadBalancer LocalNetworkGateway Manager ManagerIpamPool
  ManagerVerifierWorkspace NATGateway NetworkInterface PointToSiteVPNGateway PrivateDNSAAAARecord PrivateDNSARecord
  PrivateDNSCNAMERecord PrivateDNSMXRecord PrivateDNSPTRRecord PrivateDNSResolver
  PrivateDNSResolverDNSForwardingRuleset PrivateDNSResolverInboundEndpoint PrivateDNSResolverOutboundEndpoint
  PrivateDNSSRVRecord PrivateDNSTXTRecord PrivateDNSZone PrivateDNSZoneVirtualNetworkLink PrivateEndpoint
  PrivateLinkService Profile PublicIP PublicIPPrefix RouteFilter RouteServer RouteTable SecurityGroup
  SubnetServiceEndpointStoragePolicy TrafficManagerProfile VPNGateway VPNServerConfiguration VPNSite VirtualHub
  VirtualHubSecurityPartnerProvider VirtualNetwork VirtualNetworkGateway VirtualNetworkGatewayConnection VirtualWAN
  Watcher WatcherFlowLog WebApplicationFirewallPolicy
notificationhubs.azure.upbound.io: NotificationHub NotificationHubNamespace
operationalinsights.azure.upbound.io: LogAnalyticsQueryPack LogAnalyticsQueryPackQuery LogAnalyticsSavedSearch
  Workspace
operationsmanagement.azure.upbound.io: LogAnalyticsSolution
oracle.azure.upbound.io: AutonomousDatabase AutonomousDatabaseCloneFromBackup AutonomousDatabaseCloneFromDatabase
orbital.azure.upbound.io: ContactProfile Spacecraft
portal.azure.upbound.io: Dashboard
powerbidedicated.azure.upbound.io: PowerBIEmbedded
purview.azure.upbound.io: Account
recoveryservices.azure.upbound.io: Vault
relay.azure.upbound.io: EventRelayNamespace
resources.azure.upbound.io: ResourceDeploymentScriptAzureCli ResourceDeploymentScriptAzurePowerShell
  ResourceGroupTemplateDeployment SubscriptionTemplateDeployment
search.azure.upbound.io: Service
security.azure.upbound.io: IOTSecuritySolution
servicebus.azure.upbound.io: ServiceBusNamespace
servicefabric.azure.upbound.io: Cluster ManagedCluster
servicenetworking.azure.upbound.io: ApplicationLoadBalancer ApplicationLoadBalancerFrontend
  ApplicationLoadBalancerSecurityPolicy ApplicationLoadBalancerSubnetAssociation
signalrservice.azure.upbound.io: Service WebPubsub
solutions.azure.upbound.io: ManagedApplicationDefinition
sql.azure.upbound.io: MSSQLDatabase MSSQLElasticPool MSSQLFailoverGroup MSSQLJobAgent MSSQLManagedDatabase
  MSSQLManagedInstance MSSQLServer
storage.azure.upbound.io: Account
storagecache.azure.upbound.io: HPCCache
storagesync.azure.upbound.io: StorageSync
streamanalytics.azure.upbound.io: Cluster Job
synapse.azure.upbound.io: PrivateLinkHub SQLPool SparkPool Workspace
web.azure.upbound.io: AppServiceManagedCertificate AppServicePlan FunctionApp FunctionAppFlexConsumption
  FunctionAppSlot LinuxFunctionApp LinuxFunctionAppSlot LinuxWebApp LinuxWebAppSlot ServicePlan StaticSite
  WindowsFunctionApp WindowsFunctionAppSlot WindowsWebApp WindowsWebAppSlot
"""


def _read(text: str) -> dict[str, frozenset[str]]:
    """A line that begins with blanks goes on with the group before it."""
    rows = text.replace("\n  ", " ").split("\n")
    return {group: frozenset(kinds.split()) for group, _, kinds in (row.partition(": ") for row in rows if row)}


TAGGABLE: Final[Mapping[str, frozenset[str]]] = _read(_KINDS)
