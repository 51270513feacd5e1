//! How the operator runs: flags and environment, validated.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use vpce_core::metadata::KeyPattern;
use vpce_core::rate::Override;

use crate::telemetry::{AdminAddress, LogFormat};

/// Whether the operator may change anything but the objects that it watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Creates, changes and deletes.
    #[value(name = "ReadWrite")]
    ReadWrite,
    /// Reads only, and reports the planned changes.
    #[value(name = "ReadOnly")]
    ReadOnly,
}

/// How the operator runs. Every flag has an environment variable.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The cluster id, which is the value of the tag silvermullet.com/cluster. Default: the UID of
    /// the namespace kube-system.
    #[arg(long, env = "VPCE_CLUSTER_ID", value_parser = cluster_id)]
    pub cluster_id: Option<String>,

    /// The id of a former cluster, whose endpoints and groups are adopted by the objects of the
    /// same namespace and name; may be given several times.
    #[arg(long, env = "VPCE_ADOPT_FROM", value_delimiter = ',', value_name = "CLUSTER-ID", value_parser = cluster_id)]
    pub adopt_from: Vec<String>,

    /// ReadOnly changes nothing in AWS, and no Service: conditions, metrics and the subcommand
    /// `plan` show the planned changes.
    #[arg(long, env = "VPCE_MODE", value_enum, default_value = "ReadWrite")]
    pub mode: Mode,

    /// The namespace of the Lease for leader election, which is the pod's own. Without it there is
    /// no leader election: run a single process only.
    #[arg(long, env = "VPCE_LEASE_NAMESPACE", requires = "pod_name")]
    pub lease_namespace: Option<String>,

    /// The name of the Lease for leader election.
    #[arg(long, env = "VPCE_LEASE_NAME", default_value = "vpce-operator")]
    pub lease_name: String,

    /// The name of the pod, which identifies the replica.
    #[arg(long, env = "VPCE_POD_NAME")]
    pub pod_name: Option<String>,

    /// Lease duration: a standby replica takes over this long after the last renewal. The leader
    /// exits after two thirds of it without a renewal.
    #[arg(long = "lease-duration-seconds", env = "VPCE_LEASE_DURATION_SECONDS", default_value = "15", value_parser = seconds)]
    pub lease_duration: Duration,

    /// Listen address of /healthz and /readyz, served over HTTP without authentication.
    #[arg(long, env = "VPCE_HEALTH_ADDRESS", default_value = "0.0.0.0:8080")]
    pub health_address: SocketAddr,

    /// Listen address of /metrics.
    #[arg(long, env = "VPCE_METRICS_ADDRESS", default_value = "0.0.0.0:8443")]
    pub metrics_address: SocketAddr,

    /// Whether requests to /metrics are authenticated and authorized by the API server
    /// (TokenReview, SubjectAccessReview).
    #[arg(long, env = "VPCE_METRICS_AUTH", default_value = "true", action = clap::ArgAction::Set)]
    pub metrics_auth: bool,

    /// Whether /metrics is served over HTTPS. Over HTTP, bearer tokens can be read on the network.
    #[arg(long, env = "VPCE_METRICS_TLS", default_value = "true", action = clap::ArgAction::Set)]
    pub metrics_tls: bool,

    /// The folder with the certificate of /metrics and its key, tls.crt and tls.key, reloaded when
    /// they change. Default: a self-signed certificate, generated at each start.
    #[arg(long, env = "VPCE_METRICS_CERTIFICATE_DIR")]
    pub metrics_certificate_dir: Option<PathBuf>,

    /// Listen address for reading and changing the log level (GET and PUT /log-level), without
    /// authentication: keep it on loopback, which `kubectl port-forward` reaches. `off`: turned
    /// off.
    #[arg(long, env = "VPCE_ADMIN_ADDRESS", default_value = "127.0.0.1:8081")]
    pub admin_address: AdminAddress,

    /// Log format.
    #[arg(long, env = "VPCE_LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,

    /// Log level, or directives such as `info,vpce_operator=debug`. Can be changed at run time at
    /// the admin address.
    #[arg(long, env = "VPCE_LOG_LEVEL", default_value = "info")]
    pub log_level: String,

    /// Resync interval: how often everything is compared with AWS.
    #[arg(long = "resync-interval-seconds", env = "VPCE_RESYNC_INTERVAL_SECONDS", default_value = "300", value_parser = seconds)]
    pub resync_interval: Duration,

    /// Maximum number of AWS regions, each in one account, that are compared per minute: where more
    /// than that are due in a resync interval, the interval grows.
    #[arg(long, env = "VPCE_REFRESHES_PER_MINUTE", default_value = "100")]
    pub refreshes_per_minute: NonZeroU32,

    /// Poll interval: how often endpoints that AWS is creating, changing or deleting are read.
    #[arg(long = "poll-interval-seconds", env = "VPCE_POLL_INTERVAL_SECONDS", default_value = "5", value_parser = seconds)]
    pub poll_interval: Duration,

    /// How long differences are ignored after a change in AWS, because EC2 is eventually
    /// consistent.
    #[arg(long = "settle-seconds", env = "VPCE_SETTLE_SECONDS", default_value = "10", value_parser = seconds)]
    pub settle: Duration,

    /// Probe interval: how often the roles of AWSAccounts are verified.
    #[arg(long = "account-probe-interval-seconds", env = "VPCE_ACCOUNT_PROBE_INTERVAL_SECONDS", default_value = "3600", value_parser = seconds)]
    pub account_probe_interval: Duration,

    /// How long the first refusal of a role is cached.
    #[arg(long = "refused-retry-seconds", env = "VPCE_REFUSED_RETRY_SECONDS", default_value = "30", value_parser = seconds)]
    pub refused_retry: Duration,

    /// Send a source identity with AssumeRole, the session's name, which CloudTrail shows for every
    /// call of the session. Base role and trust policies must allow sts:SetSourceIdentity first.
    #[arg(long, env = "VPCE_SOURCE_IDENTITY", default_value = "false", action = clap::ArgAction::Set)]
    pub source_identity: bool,

    /// A key of labels that VPCEndpoints may set on their Services, or a prefix of keys with a
    /// trailing *; may be given several times.
    #[arg(
        long = "service-label",
        env = "VPCE_SERVICE_LABELS",
        value_delimiter = ',',
        value_name = "KEY"
    )]
    pub service_labels: Vec<KeyPattern>,

    /// The same for annotations.
    #[arg(
        long = "service-annotation",
        env = "VPCE_SERVICE_ANNOTATIONS",
        value_delimiter = ',',
        value_name = "KEY"
    )]
    pub service_annotations: Vec<KeyPattern>,

    /// Whether `dns_names` of VPCEndpoints are published as DNSEndpoints for external-dns.
    #[arg(long, env = "VPCE_DNS_ENDPOINTS", default_value = "false", action = clap::ArgAction::Set)]
    pub dns_endpoints: bool,

    /// A label of DNSEndpoints, by which external-dns may select them (`--label-filter`); may be
    /// given several times.
    #[arg(
        long = "dns-endpoint-label",
        env = "VPCE_DNS_ENDPOINT_LABELS",
        value_delimiter = ',',
        value_name = "KEY=VALUE",
        value_parser = pair
    )]
    pub dns_endpoint_labels: Vec<(String, String)>,

    /// The same for annotations (`--annotation-filter`).
    #[arg(
        long = "dns-endpoint-annotation",
        env = "VPCE_DNS_ENDPOINT_ANNOTATIONS",
        value_delimiter = ',',
        value_name = "KEY=VALUE",
        value_parser = pair
    )]
    pub dns_endpoint_annotations: Vec<(String, String)>,

    /// Whether what an endpoint has is published as a ConfigMap where a VPCEndpoint asks for it.
    #[arg(long, env = "VPCE_CONFIG_MAPS", default_value = "false", action = clap::ArgAction::Set)]
    pub config_maps: bool,

    /// The cluster's own DNS domain, in which no names are published.
    #[arg(long, env = "VPCE_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// The name of the cluster, as the AWS Load Balancer Controller tags load balancers with it
    /// (its `--cluster-name`): a VPCEndpointService offers the load balancer of a Service only
    /// where it has that tag. Default: the tag is not compared.
    #[arg(long, env = "VPCE_CLUSTER_NAME")]
    pub cluster_name: Option<String>,

    /// A rate limit that AWS raised, as ACTION=BURST/REFILL with REFILL in calls per second; may be
    /// given several times.
    #[arg(
        long = "aws-limit",
        env = "VPCE_AWS_LIMITS",
        value_delimiter = ',',
        value_name = "ACTION=BURST/REFILL"
    )]
    pub aws_limits: Vec<Override>,

    /// Maximum concurrent reconciles that call AWS, per AWS account.
    #[arg(long, env = "VPCE_ACCOUNT_CONCURRENCY", default_value = "8", value_parser = clap::value_parser!(u16).range(1..))]
    pub account_concurrency: u16,

    /// Maximum concurrent reconciles.
    #[arg(long, env = "VPCE_WORKER_CONCURRENCY", default_value = "64", value_parser = clap::value_parser!(u16).range(1..))]
    pub worker_concurrency: u16,

    /// Whether metrics of single VPCEndpoints are exported.
    #[arg(long, env = "VPCE_METRICS_PER_OBJECT", default_value = "true", action = clap::ArgAction::Set)]
    pub metrics_per_object: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("KEY=VALUE, such as zone=private".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "a number of seconds, such as 5 or 0.5".to_owned())?;
    // A day bounds what anybody means, and keeps sums of times far from overflow.
    if !(0.05..=86_400.0).contains(&seconds) {
        return Err("from 0.05 to 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

pub(crate) fn cluster_id(text: &str) -> Result<String, String> {
    if vpce_core::tags::is_cluster_id(text) {
        Ok(text.to_owned())
    } else {
        Err("1 to 64 letters, digits, '-', '_' and '.'".to_owned())
    }
}
