//! The conditions, and one table that says for every reason: Stalled or not, when to requeue,
//! which event.

use std::fmt;

/// The condition that sums up the others.
pub const READY: &str = "Ready";
/// There, and true, only while nothing moves until someone edits something.
pub const STALLED: &str = "Stalled";
/// Of an AWSAccount: there, and true, only while creation is paused after a mass deletion.
pub const CREATION_PAUSED: &str = "CreationPaused";

/// The condition types of the kinds that are bound to AWSAccounts, beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// The namespace may use an account, and the account is ready.
    AccountResolved,
    /// The endpoint is available in AWS, with groups, rules and tags as specified.
    EndpointAvailable,
    /// The Kubernetes Service leads to it.
    ServicePublished,
    /// The DNS names of the spec are published; not there where the spec has none.
    NamesPublished,
    /// The ConfigMap says what the endpoint has; not there where the spec asks for none.
    ConfigMapPublished,
    /// Of a VPCEndpointService: the endpoint service has the load balancers that the spec names.
    LoadBalancerReady,
    /// Of a VPCEndpointService: the endpoint service is available in AWS, as specified.
    ServiceAvailable,
    /// Of a VPCEndpointService: AWS has verified its private DNS name; not there where the spec has
    /// none.
    PrivateDNSVerified,
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// When an object with this reason is reconciled again, unless something requeues it earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// At the resync interval: nothing is wrong, or only an edit can help.
    Resync,
    /// At the next poll of the region: AWS is at work.
    Poll,
    /// With exponential backoff, at the resync interval at the slowest.
    Backoff,
    /// When the rate limiter has a token for the AWS action.
    RateLimit,
}

/// Which event reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// None: it is on the way to something that has one.
    None,
    /// `Normal`.
    Normal,
    /// `Warning`.
    Warning,
}

/// What a reason means for its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReasonPolicy {
    /// Whether the object will not move until someone edits it or its AWS resource.
    pub stalled: bool,
    /// When to requeue.
    pub retry: Retry,
    /// Which event reports it.
    pub event: EventKind,
}

macro_rules! reasons {
    ($( $(#[$doc:meta])* $name:ident => $stalled:literal, $retry:ident, $event:ident; )*) => {
        /// Why a condition is as it is; the `reason` field of a condition of a VPCEndpoint.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $( $(#[$doc])* $name, )*
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// As it stands in the condition.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)* }
            }

            /// What follows from it.
            pub fn policy(self) -> ReasonPolicy {
                match self {
                    $(Reason::$name => ReasonPolicy { stalled: $stalled, retry: Retry::$retry, event: EventKind::$event },)*
                }
            }
        }
    };
}

reasons! {
    // reason                      Stalled  retry    event
    /// Everything is as specified, for this generation.
    Available                   => false, Resync,  Normal;
    /// The namespace may use the account.
    Resolved                    => false, Resync,  None;
    /// The Service leads to the endpoint.
    Published                   => false, Resync,  None;
    /// `spec.service.type` is None, `spec.dns_names` is empty, or `spec.publish_config_map` is
    /// false.
    NotRequested                => false, Resync,  None;

    /// No AWSAccount maps the namespace.
    NoAccount                   => false, Resync,  Warning;
    /// Several AWSAccounts map the namespace, and `spec.account` does not say which.
    AmbiguousAccount            => false, Resync,  Warning;
    /// `spec.account` names an AWSAccount that does not map the namespace.
    AccountNotMapped            => false, Resync,  Warning;
    /// The AWSAccount that the object is bound to no longer maps the namespace.
    MappingRevoked              => false, Resync,  Warning;
    /// The AWSAccount that the object is bound to is gone.
    AccountMissing              => false, Resync,  Warning;
    /// The AWSAccount of that name now leads to another AWS account than the one that the object is
    /// bound to.
    AccountReplaced             => false, Resync,  Warning;
    /// The AWSAccount is not Ready: its role cannot be assumed, or its spec does not parse.
    AccountNotReady             => false, Backoff, Warning;
    /// The AWSAccount's guardrails do not allow what the spec asks for.
    NotAllowed                  => false, Resync,  Warning;
    /// As many endpoints are bound to the AWSAccount as it allows.
    AccountFull                 => false, Resync,  Warning;
    /// The AWSAccount is suspended: nothing is changed in AWS.
    AccountSuspended            => false, Resync,  Warning;
    /// The operator as a whole is read-only: what it would change is in the message.
    ReadOnly                    => false, Resync,  Normal;
    /// The AWSAccount is decommissioned: its AWS account is closed.
    AccountDecommissioned       => false, Resync,  Warning;
    /// Neither the endpoint nor its AWSAccount names a region.
    RegionMissing               => false, Resync,  Warning;
    /// The AWSAccount has no network of the name that the spec says, or nothing says which.
    NetworkNotFound             => false, Resync,  Warning;
    /// The AWSAccount's network has no VPC or no subnets for the endpoint, or they cannot be read.
    NetworkNotReady             => false, Backoff, Warning;
    /// The spec names another account, region or VPC than the one that the object is bound to.
    BindingConflict             => true,  Resync,  Warning;

    /// The spec does not parse.
    InvalidSpec                 => true,  Resync,  Warning;
    /// The Python operator made this object; it has not been brought over.
    LegacyUnsettled             => true,  Resync,  Warning;

    /// The endpoint is being made.
    Creating                    => false, RateLimit, None;
    /// AWS allows only so many calls of a kind; the object waits in the queue.
    RateLimited               => false, RateLimit, None;
    /// AWS is still making or changing the endpoint.
    Pending                     => false, Poll,    None;
    /// The owner of the service must accept the connection.
    PendingAcceptance           => false, Poll,    Normal;
    /// The endpoint or its Service is being changed to what the spec says.
    Updating                    => false, Poll,    None;
    /// The endpoint exists, but AWS has not made all of it.
    Partial                     => false, Poll,    Warning;
    /// The endpoint and its group are being deleted.
    Deleting                    => false, Poll,    None;
    /// A security group cannot be deleted while something uses it; nor an endpoint while other
    /// objects share it.
    InUse                       => false, Backoff, Warning;
    /// The endpoint was deleted out of band, and is being confirmed gone or made again.
    DeletedInAWS                => false, Poll,    Warning;

    /// The owner of the service rejected the connection.
    Rejected                    => true,  Resync,  Warning;
    /// AWS could not make the endpoint.
    Failed                      => true,  Resync,  Warning;
    /// The connection was not accepted in time.
    Expired                     => true,  Resync,  Warning;
    /// What status names in AWS has lost the tags that say it is ours.
    OwnershipLost               => true,  Resync,  Warning;

    /// The endpoint that `spec.vpc_endpoint_id` names is not the object's to adopt or to observe.
    NotAdoptable                => true,  Resync,  Warning;
    /// AWS does not know something that the spec names.
    NotFound                    => false, Backoff, Warning;
    /// AWS refused an action to the role.
    Denied                      => false, Backoff, Warning;
    /// An AWS quota is used up.
    QuotaExceeded               => false, Backoff, Warning;
    /// AWS calls a value invalid.
    Invalid                     => true,  Resync,  Warning;
    /// AWS says that the resource is in a state that does not allow it yet.
    Conflict                    => false, Backoff, None;
    /// AWS refused a call for its rate.
    Throttled                   => false, Backoff, None;
    /// AWS could not be reached, or failed.
    AWSUnavailable              => false, Backoff, Warning;
    /// AWS refused a call with a code that the operator does not know.
    AWSRefused                  => false, Backoff, Warning;
    /// Many endpoints vanished at once; creation is paused until a person resumes it.
    CreationPaused               => false, Resync,  Warning;

    /// The VPCEndpoint that `vpc_endpoint_ref` names does not exist, or does not share its endpoint
    /// with this namespace.
    NotShared                   => false, Resync,  Warning;
    /// The endpoint of the VPCEndpoint that `vpc_endpoint_ref` names is not available.
    SharedEndpointNotReady      => false, Resync,  None;
    /// The VPCEndpoint that `vpc_endpoint_ref` names is being deleted.
    SharedEndpointDeleting      => false, Resync,  Warning;

    /// The VPCEndpointService that `vpc_endpoint_service_ref` names does not exist, or does not
    /// offer its service to this namespace.
    NotOffered                  => false, Resync,  Warning;
    /// The VPCEndpointService that `vpc_endpoint_service_ref` names is not available yet, or the
    /// AWS account of the endpoint is not allowed yet.
    EndpointServiceNotReady     => false, Resync,  None;

    /// AWS has not found the record that verifies the private DNS name, or has lost it.
    PrivateDNSNotVerified       => false, Resync,  Warning;

    /// Waits for the endpoint.
    WaitingForEndpoint          => false, Resync,  None;
    /// AWS has not reported the endpoint's DNS name yet.
    WaitingForDNS               => false, Poll,    None;
    /// AWS has not reported the addresses of all of the endpoint's network interfaces yet.
    WaitingForAddresses         => false, Poll,    None;
    /// The endpoint has no DNS name that a Service can lead to.
    NoUsableDNSName             => true,  Resync,  Warning;
    /// A Service of that name exists and is not ours.
    ServiceConflict             => false, Backoff, Warning;
    /// The API server refused the Service.
    ServiceRefused              => false, Backoff, Warning;
    /// The API server stores the Service otherwise than it is written.
    ServiceChanged              => false, Backoff, Warning;
    /// Another VPCEndpoint publishes a name of `spec.dns_names`.
    DNSNameConflict             => false, Resync,  Warning;
    /// No DNSEndpoint can be published: the operator may not, or there is no such kind.
    DNSEndpointsUnavailable     => false, Resync,  Warning;
    /// A DNSEndpoint of that name exists and is not ours.
    DNSEndpointConflict         => false, Backoff, Warning;
    /// The API server refused the DNSEndpoint.
    DNSEndpointRefused          => false, Backoff, Warning;
    /// The API server stores the DNSEndpoint otherwise than it is written.
    DNSEndpointChanged          => false, Backoff, Warning;
    /// No ConfigMap can be published: the operator may not.
    ConfigMapsUnavailable       => false, Resync,  Warning;
    /// A ConfigMap of that name exists and is not ours.
    ConfigMapConflict           => false, Backoff, Warning;
    /// The API server refused the ConfigMap.
    ConfigMapRefused            => false, Backoff, Warning;
    /// The API server stores the ConfigMap otherwise than it is written.
    ConfigMapChanged            => false, Backoff, Warning;
    /// There is no Service of type LoadBalancer, or no load balancer of it, that
    /// `spec.load_balancer.service` leads to.
    LoadBalancerNotFound        => false, Backoff, Warning;
    /// The Service that `spec.load_balancer.service` names has no load balancer yet, or AWS is
    /// creating it.
    LoadBalancerNotReady        => false, Poll,    None;
    /// The load balancer of the Service that `spec.load_balancer.service` names cannot be offered,
    /// or is not proven to be the Service's.
    LoadBalancerRefused         => true,  Resync,  Warning;
    /// The API server refused our finalizer, or its removal.
    FinalizerRefused            => false, Backoff, Warning;
    /// The operator failed in a way that it should not have.
    InternalError               => false, Backoff, Warning;
}

macro_rules! account_reasons {
    ($( $(#[$doc:meta])* $name:ident, )*) => {
        /// Why a condition of an AWSAccount is as it is; the `reason` field of the condition.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum AccountReason {
            $( $(#[$doc])* $name, )*
        }

        impl AccountReason {
            /// Every reason there is.
            pub const ALL: &'static [AccountReason] = &[$(AccountReason::$name,)*];
        }
    };
}

account_reasons! {
    /// `Ready`: the role was assumed, and GetCallerIdentity named its account.
    Verified,
    /// `Ready`: the role was assumed, and `spec.suspended` is set: nothing is changed in AWS.
    Suspended,
    /// `Ready`: the role was assumed, and the AWSAccount names no namespace that may use it.
    NoNamespaces,
    /// `Ready`: STS refuses the role to the operator.
    AssumeRoleDenied,
    /// `Ready`: the session is in another account.
    WrongAccount,
    /// `Ready`: STS, or the operator's own identity, does not work.
    STSUnavailable,
    /// `Ready`: the spec does not parse.
    InvalidSpec,
    /// `Ready`: the API server refused our finalizer, or its removal.
    FinalizerRefused,
    /// `Ready`: it is being deleted while endpoints use it.
    InUse,
    /// `Ready`: the AWS account is closed.
    Decommissioned,
    /// `PermissionsVerified`: EC2 allows the role all that endpoints need.
    AllAllowed,
    /// `PermissionsVerified`: EC2 denies the role an action.
    ActionsDenied,
    /// `PermissionsVerified`: some actions could not be asked about.
    NotAllAsked,
    /// `PermissionsVerified`: nothing names a region to ask in.
    NoRegion,
    /// `PermissionsVerified`: what answers as EC2 carries dry runs out.
    NoDryRuns,
    /// `PermissionsVerified`: EC2 is being asked.
    Asking,
    /// `CreationPaused`: many endpoints vanished at once.
    MassDeletionDetected,
}

impl AccountReason {
    /// Whether `Ready` is true for this reason: the role was assumed.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Verified | Self::Suspended | Self::NoNamespaces)
    }
}

/// As it stands in the condition.
impl fmt::Display for AccountReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Reason {
    /// Whether an event on the AWSAccount reports it too: its cause is there, and it meets many
    /// endpoints at once.
    pub fn concerns_account(self) -> bool {
        matches!(
            self,
            Self::Denied | Self::QuotaExceeded | Self::AccountFull | Self::MappingRevoked | Self::AccountReplaced
        )
    }
}

impl Reason {
    /// Until when changes wait that cannot be made for this reason, while the endpoint that is
    /// there keeps serving; none for reasons that do not let it serve, or pass by themselves within
    /// moments.
    pub fn paused_until(self) -> Option<&'static str> {
        Some(match self {
            Self::AccountSuspended => "your platform team resumes the AWSAccount",
            Self::MappingRevoked => "your platform team maps the namespace again",
            Self::AccountMissing => "your platform team creates the AWSAccount again",
            Self::AccountReplaced => "the AWSAccount leads to the same AWS account again",
            Self::AccountNotReady => "your platform team has fixed the AWSAccount",
            Self::NetworkNotFound => "the AWSAccount has the network",
            Self::NetworkNotReady => "the network is as the AWSAccount says",
            Self::NotAllowed => "the spec is within the guardrails",
            Self::ReadOnly => "the operator may write again",
            Self::BindingConflict => "the spec names again what the endpoint has",
            Self::InvalidSpec | Self::Invalid => "the spec is corrected",
            Self::NotShared => "its owner shares the endpoint with this namespace again",
            Self::NotFound => "AWS finds what the spec names",
            Self::NotAdoptable => "the endpoint is the object's to adopt or to observe",
            Self::Denied => "the role is allowed to make them",
            Self::QuotaExceeded => "the quota allows them",
            Self::AWSUnavailable => "AWS answers again",
            Self::AWSRefused => "AWS carries them out",
            _ => return None,
        })
    }

    /// Whether this stops changes without saying that the spec is not carried out: what is as
    /// specified stays Ready.
    pub fn only_pauses(self) -> bool {
        matches!(
            self,
            Self::AccountSuspended
                | Self::MappingRevoked
                | Self::AccountMissing
                | Self::AccountReplaced
                | Self::AccountNotReady
                | Self::NetworkNotFound
                | Self::NetworkNotReady
                | Self::NotAllowed
                | Self::Denied
                | Self::AWSUnavailable
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one aspect of an endpoint stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `True`, or `False` while something is missing.
    pub ok: bool,
    /// Why.
    pub reason: Reason,
    /// For people: what is, and what to do.
    pub message: String,
}

impl Finding {
    /// A part that is as it should be.
    pub fn good(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            ok: true,
            reason,
            message: message.into(),
        }
    }

    /// A part that is not.
    pub fn bad(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            ok: false,
            reason,
            message: message.into(),
        }
    }
}

/// What a class of AWS error means for the object that met it.
pub fn reason_of(class: crate::error::Class) -> Reason {
    use crate::error::Class;
    match class {
        Class::NotFound => Reason::NotFound,
        Class::Throttled => Reason::Throttled,
        Class::Denied => Reason::Denied,
        Class::Invalid => Reason::Invalid,
        Class::Conflict => Reason::Conflict,
        Class::Quota => Reason::QuotaExceeded,
        Class::Transient => Reason::AWSUnavailable,
        Class::Unknown => Reason::AWSRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_account_tells_of_is_a_warning_on_its_endpoints() {
        for reason in Reason::ALL.iter().filter(|reason| reason.concerns_account()) {
            assert_eq!(reason.policy().event, EventKind::Warning, "{reason}");
        }
    }

    #[test]
    fn what_only_pauses_says_until_when_and_is_told() {
        for reason in Reason::ALL.iter().filter(|reason| reason.only_pauses()) {
            assert!(reason.paused_until().is_some(), "{reason}");
            assert_eq!(reason.policy().event, EventKind::Warning, "{reason}");
            assert!(!reason.policy().stalled, "{reason}");
        }
    }

    #[test]
    fn stalled_reasons_are_not_retried_before_the_resync() {
        for reason in Reason::ALL {
            let policy = reason.policy();
            if policy.stalled {
                assert_eq!(policy.retry, Retry::Resync, "{reason}");
                assert_eq!(policy.event, EventKind::Warning, "{reason}");
            }
        }
    }
}
