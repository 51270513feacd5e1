//! What an AWS error code means for us: one class each, in one table.
//!
//! The class decides requeue, condition and event, and is the `result` label of the request
//! metrics. Everything that talks to AWS classifies here, and nowhere else.

use std::fmt;

/// What kind of refusal an AWS error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// What the call names is not there (or not there yet: EC2 is eventually consistent).
    NotFound,
    /// Too many calls: the account's token bucket for this action is empty.
    Throttled,
    /// The caller may not do this, here or at all.
    Denied,
    /// The values of the call are wrong; sent again, they would be refused again.
    Invalid,
    /// The state of something else stands in the way, and may change.
    Conflict,
    /// A limit of the account, or of something in it, is reached.
    Quota,
    /// It failed in passing: on AWS's side, on the way, or with credentials being replaced.
    Transient,
    /// AWS refused it with a code that is not known here: it cannot be told whether it would be
    /// refused again.
    Unknown,
}

impl Class {
    /// All classes, for metrics that want every label value to exist.
    pub const ALL: [Class; 8] = [
        Class::NotFound,
        Class::Throttled,
        Class::Denied,
        Class::Invalid,
        Class::Conflict,
        Class::Quota,
        Class::Transient,
        Class::Unknown,
    ];

    /// The class in lower case, as metrics label it.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::NotFound => "not_found",
            Class::Throttled => "throttled",
            Class::Denied => "denied",
            Class::Invalid => "invalid",
            Class::Conflict => "conflict",
            Class::Quota => "quota",
            Class::Transient => "transient",
            Class::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The codes whose name does not already tell their class, or tells the wrong one.
///
/// Sources: the EC2 API reference's "Error codes", the STS API reference's "Common errors" and the
/// errors of AssumeRole.
const CODES: &[(&str, Class)] = &[
    // The account's buckets. The other spellings are those of STS and of the services' frontend.
    ("RequestLimitExceeded", Class::Throttled),
    ("Throttling", Class::Throttled),
    ("ThrottlingException", Class::Throttled),
    ("ThrottledException", Class::Throttled),
    ("EC2ThrottledException", Class::Throttled),
    ("RequestThrottled", Class::Throttled),
    ("RequestThrottledException", Class::Throttled),
    ("TooManyRequests", Class::Throttled),
    ("TooManyRequestsException", Class::Throttled),
    ("PriorRequestNotComplete", Class::Throttled),
    ("SlowDown", Class::Throttled),
    // What a person with rights in that account has to change.
    ("UnauthorizedOperation", Class::Denied),
    ("UnauthorizedAccess", Class::Denied),
    ("AccessDenied", Class::Denied),
    ("AccessDeniedException", Class::Denied),
    ("AuthFailure", Class::Denied),
    ("OptInRequired", Class::Denied),
    ("PendingVerification", Class::Denied),
    ("Blocked", Class::Denied),
    ("AccountDisabled", Class::Denied),
    ("OperationNotPermitted", Class::Denied),
    ("RegionDisabledException", Class::Denied),
    ("NotAuthorized", Class::Denied),
    ("InvalidClientTokenId", Class::Denied),
    ("InvalidIdentityToken", Class::Denied),
    ("InvalidAccessKeyId", Class::Denied),
    ("UnrecognizedClientException", Class::Denied),
    ("MissingAuthenticationToken", Class::Denied),
    ("IncompleteSignature", Class::Denied),
    ("SignatureDoesNotMatch", Class::Denied),
    // A session that ran out, or was signed with a clock that is off: the next call signs again
    // with the session that replaces it. No permission is missing, so this is no denial.
    ("ExpiredToken", Class::Transient),
    ("ExpiredTokenException", Class::Transient),
    ("TokenRefreshRequired", Class::Transient),
    ("RequestExpired", Class::Transient),
    ("IDPCommunicationError", Class::Transient),
    // A service of that name may appear, or let this account in, at any time: to those who may not
    // use a service EC2 says that it does not exist.
    ("InvalidServiceName", Class::NotFound),
    ("InvalidVpcEndpointServiceId.NotFound", Class::NotFound),
    ("NoSuchEntity", Class::NotFound),
    // Values.
    ("DuplicateSubnetsInSameZone", Class::Invalid),
    ("MissingParameter", Class::Invalid),
    ("MissingAction", Class::Invalid),
    ("UnknownParameter", Class::Invalid),
    ("ValidationError", Class::Invalid),
    ("MalformedQueryString", Class::Invalid),
    ("MalformedPolicyDocument", Class::Invalid),
    ("PackedPolicyTooLarge", Class::Invalid),
    ("UnsupportedOperation", Class::Invalid),
    ("UnsupportedProtocol", Class::Invalid),
    ("Unsupported", Class::Invalid),
    ("UnsupportedException", Class::Invalid),
    ("UnsupportedFeature", Class::Invalid),
    ("TagPolicyViolation", Class::Invalid),
    ("CannotDelete", Class::Invalid),
    ("VPCIdNotSpecified", Class::Invalid),
    ("VPCResourceNotSpecified", Class::Invalid),
    // In the way.
    ("DependencyViolation", Class::Conflict),
    ("OperationInProgress", Class::Conflict),
    ("InvalidStateTransition", Class::Conflict),
    ("IdempotentParameterMismatch", Class::Conflict),
    ("IdempotentInstanceTerminated", Class::Conflict),
    ("ExistingVpcEndpointConnections", Class::Conflict),
    ("ResourceInUse", Class::Conflict),
    // Room.
    ("InsufficientFreeAddressesInSubnet", Class::Quota),
    // Failures of AWS.
    ("ConcurrentTagAccess", Class::Transient),
    ("ConcurrentUpdate", Class::Transient),
    ("InternalError", Class::Transient),
    ("InternalFailure", Class::Transient),
    ("InternalServiceError", Class::Transient),
    ("ServerInternal", Class::Transient),
    ("Unavailable", Class::Transient),
    ("ServiceUnavailable", Class::Transient),
    ("RequestTimeout", Class::Transient),
    ("RequestTimeoutException", Class::Transient),
    ("InsufficientCapacity", Class::Transient),
    ("InsufficientAddressCapacity", Class::Transient),
];

/// How EC2 ends the names of codes that say the same of different things. The first that fits
/// counts.
const ENDINGS: &[(&str, Class)] = &[
    ("NotFound", Class::NotFound),
    ("DoesNotExist", Class::NotFound),
    (".Malformed", Class::Invalid),
    (".Duplicate", Class::Conflict),
    (".InUse", Class::Conflict),
    ("InUse", Class::Conflict),
    (".Conflict", Class::Conflict),
    ("InUseException", Class::Conflict),
    ("AlreadyAssociated", Class::Conflict),
    ("AlreadyExists", Class::Conflict),
    // What it is about is being made or changed, or about to go: IncorrectInstanceState,
    // InvalidCustomerGatewayState, CreditSpecificationUpdateInProgress, FleetNotInModifiableState.
    ("InProgress", Class::Conflict),
    ("State", Class::Conflict),
    ("StateException", Class::Conflict),
    ("LimitExceeded", Class::Quota),
    ("QuotaExceeded", Class::Quota),
    ("LimitExceededException", Class::Quota),
];

/// How EC2 begins the names of codes that blame the values of a call.
const BEGINNINGS: &[(&str, Class)] = &[
    ("Invalid", Class::Invalid),
    ("Malformed", Class::Invalid),
    ("Missing", Class::Invalid),
];

/// The class of an AWS error, from its code and, for unknown codes, the HTTP status. That says
/// little: EC2 answers with 400 to what is wrong for good and to what is in the way for a moment.
///
/// An error without either is `Transient`: it did not come from AWS.
pub fn classify(code: &str, http_status: Option<u16>) -> Class {
    // The frontend of EC2 prefixes some codes with the side it blames.
    let code = code
        .strip_prefix("Client.")
        .or_else(|| code.strip_prefix("Server."))
        .unwrap_or(code);
    if let Some((_, class)) = CODES.iter().find(|(known, _)| *known == code) {
        return *class;
    }
    if let Some((_, class)) = ENDINGS.iter().find(|(end, _)| code.ends_with(end)) {
        return *class;
    }
    if let Some((_, class)) = BEGINNINGS.iter().find(|(begin, _)| code.starts_with(begin)) {
        return *class;
    }
    match http_status {
        Some(401 | 403) => Class::Denied,
        Some(404) => Class::NotFound,
        Some(408) => Class::Transient,
        Some(409) => Class::Conflict,
        Some(429) => Class::Throttled,
        Some(400..=499) => Class::Unknown,
        _ => Class::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_our_actions_can_give_has_its_class() {
        for (code, status, class) in [
            ("RequestLimitExceeded", Some(503), Class::Throttled),
            ("Client.RequestLimitExceeded", Some(503), Class::Throttled),
            ("Throttling", Some(400), Class::Throttled),
            ("UnauthorizedOperation", Some(403), Class::Denied),
            ("AccessDenied", Some(403), Class::Denied),
            ("AuthFailure", Some(401), Class::Denied),
            ("OptInRequired", Some(403), Class::Denied),
            ("InvalidClientTokenId", Some(403), Class::Denied),
            ("RegionDisabledException", Some(403), Class::Denied),
            ("ExpiredToken", Some(403), Class::Transient),
            ("ExpiredTokenException", Some(400), Class::Transient),
            ("RequestExpired", Some(400), Class::Transient),
            ("InvalidVpcEndpoint.NotFound", None, Class::NotFound),
            ("InvalidVpcEndpointId.NotFound", Some(400), Class::NotFound),
            ("InvalidSubnetID.NotFound", Some(400), Class::NotFound),
            ("InvalidVpcID.NotFound", Some(400), Class::NotFound),
            ("InvalidGroup.NotFound", Some(400), Class::NotFound),
            ("InvalidSecurityGroupID.NotFound", Some(400), Class::NotFound),
            ("InvalidPermission.NotFound", Some(400), Class::NotFound),
            ("InvalidPrefixListID.NotFound", Some(400), Class::NotFound),
            ("InvalidServiceName", Some(400), Class::NotFound),
            ("InvalidParameter", Some(400), Class::Invalid),
            ("InvalidParameterValue", Some(400), Class::Invalid),
            ("InvalidParameterCombination", Some(400), Class::Invalid),
            ("InvalidSubnetID.Malformed", Some(400), Class::Invalid),
            ("InvalidGroupId.Malformed", Some(400), Class::Invalid),
            ("DuplicateSubnetsInSameZone", Some(400), Class::Invalid),
            ("MissingParameter", Some(400), Class::Invalid),
            ("ValidationError", Some(400), Class::Invalid),
            ("UnsupportedOperation", Some(400), Class::Invalid),
            ("DependencyViolation", Some(400), Class::Conflict),
            ("IncorrectState", Some(400), Class::Conflict),
            ("IncorrectInstanceState", Some(400), Class::Conflict),
            ("IncorrectStateException", Some(400), Class::Conflict),
            ("IncorrectModificationState", Some(400), Class::Conflict),
            ("InvalidState", Some(400), Class::Conflict),
            ("InvalidStateTransition", Some(400), Class::Conflict),
            ("InvalidCustomerGatewayState", Some(400), Class::Conflict),
            ("OperationInProgress", Some(400), Class::Conflict),
            ("Client.OperationInProgress", Some(400), Class::Conflict),
            ("BundlingInProgress", Some(400), Class::Conflict),
            ("ResourceInUse", Some(400), Class::Conflict),
            ("ResourceInUseException", Some(400), Class::Conflict),
            ("VolumeInUse", Some(400), Class::Conflict),
            ("VpcEndpointAlreadyExists", Some(400), Class::Conflict),
            ("ExistingVpcEndpointConnections", Some(400), Class::Conflict),
            ("TagPolicyViolation", Some(400), Class::Invalid),
            ("InvalidGroup.Reserved", Some(400), Class::Invalid),
            ("ServerInternal", Some(500), Class::Transient),
            ("InsufficientAddressCapacity", Some(500), Class::Transient),
            ("AccountDisabled", Some(400), Class::Denied),
            ("InvalidGroup.Duplicate", Some(400), Class::Conflict),
            ("InvalidGroup.InUse", Some(400), Class::Conflict),
            ("InvalidPermission.Duplicate", Some(400), Class::Conflict),
            ("IdempotentParameterMismatch", Some(400), Class::Conflict),
            ("RouteAlreadyExists", Some(400), Class::Conflict),
            ("VpcEndpointLimitExceeded", Some(400), Class::Quota),
            ("SecurityGroupLimitExceeded", Some(400), Class::Quota),
            ("RulesPerSecurityGroupLimitExceeded", Some(400), Class::Quota),
            ("SecurityGroupsPerInterfaceLimitExceeded", Some(400), Class::Quota),
            ("TagLimitExceeded", Some(400), Class::Quota),
            ("InsufficientFreeAddressesInSubnet", Some(400), Class::Quota),
            ("InternalError", Some(500), Class::Transient),
            ("Unavailable", Some(503), Class::Transient),
            ("ServiceUnavailable", Some(503), Class::Transient),
        ] {
            assert_eq!(classify(code, status), class, "{code} with {status:?}");
        }
    }

    #[test]
    fn an_unknown_code_goes_by_the_http_status_and_is_never_terminal() {
        for (status, class) in [
            (Some(400), Class::Unknown),
            (Some(422), Class::Unknown),
            (Some(401), Class::Denied),
            (Some(403), Class::Denied),
            (Some(404), Class::NotFound),
            (Some(408), Class::Transient),
            (Some(409), Class::Conflict),
            (Some(429), Class::Throttled),
            (Some(500), Class::Transient),
            (Some(502), Class::Transient),
            (Some(200), Class::Transient),
            (None, Class::Transient),
        ] {
            assert_eq!(classify("SomethingNew", status), class, "{status:?}");
        }
    }

    #[test]
    fn no_code_is_listed_twice() {
        for (at, (code, _)) in CODES.iter().enumerate() {
            assert!(
                CODES[at + 1..].iter().all(|(other, _)| other != code),
                "{code} is listed twice"
            );
        }
    }

    #[test]
    fn labels_are_lower_case_and_distinct() {
        let labels: std::collections::BTreeSet<String> = Class::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(labels.len(), Class::ALL.len());
        assert!(
            labels
                .iter()
                .all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        );
    }
}
