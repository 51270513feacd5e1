//! What is set on an endpoint beside how it is attached: its policy, address types and DNS.
//!
//! An absent field is no difference: EC2 fills in what it takes for the default, and another may
//! have set it on an endpoint that was adopted. So what the spec once said and no longer says
//! returns to its default ([`Options::with_defaults`]), and nothing else does.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::addresses::SubnetAddresses;
use crate::api::{DnsRecordIpType, EndpointType, IpAddressType, PrivateDnsPreference};
use crate::policy::{Policy, PolicyDigest};

/// What is desired; what is absent is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// The endpoint policy.
    pub policy: Option<PolicyChoice>,
    /// The address families of the network interfaces, or of a gateway's prefix list.
    pub ip_address_type: Option<IpAddressType>,
    /// The families of the DNS records.
    pub dns_record_ip_type: Option<DnsRecordIpType>,
    /// Whether private DNS serves inbound Route 53 Resolver endpoints only.
    pub inbound_resolver_only: Option<bool>,
    /// Which private domains lead to the endpoint, which AWS fixes at creation.
    pub private_domains: Option<PrivateDomains>,
    /// The addresses of its network interfaces; of those that are not named AWS chooses.
    pub addresses: SubnetAddresses,
}

/// Which private domains of a resource or service network lead to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PrivateDomains {
    /// EC2's `PrivateDnsPreference`.
    pub preference: PrivateDnsPreference,
    /// EC2's `PrivateDnsSpecifiedDomains`.
    pub specified: Vec<String>,
}

/// Which policy an endpoint is to have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PolicyChoice {
    /// This one.
    Document(Policy),
    /// The one that EC2 gives: full access.
    FullAccess,
}

impl PolicyChoice {
    fn digest(&self) -> PolicyDigest {
        match self {
            Self::Document(policy) => policy.digest(),
            Self::FullAccess => PolicyDigest::full_access(),
        }
    }
}

/// The fields of a spec that have a default to return to, by their names.
pub const POLICY_DOCUMENT: &str = "policy_document";
/// See [`POLICY_DOCUMENT`].
pub const IP_ADDRESS_TYPE: &str = "ip_address_type";
/// See [`POLICY_DOCUMENT`].
pub const DNS_RECORD_IP_TYPE: &str = "dns_options.dns_record_ip_type";

impl Options {
    /// The names of the fields that are given and have a default to return to.
    pub fn fields(&self) -> BTreeSet<&'static str> {
        let given = [
            (POLICY_DOCUMENT, self.policy.is_some()),
            (IP_ADDRESS_TYPE, self.ip_address_type.is_some()),
            (DNS_RECORD_IP_TYPE, self.dns_record_ip_type.is_some()),
        ];
        given
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(name, _)| name)
            .collect()
    }

    /// The same, with the defaults of what was applied once to an endpoint of this type and is not
    /// given any more.
    pub fn with_defaults(&self, type_: EndpointType, applied: &[String]) -> Self {
        let was = |name: &str| applied.iter().any(|applied| applied == name);
        let ip_address_type = self
            .ip_address_type
            .or_else(|| was(IP_ADDRESS_TYPE).then_some(IpAddressType::Ipv4));
        Self {
            policy: self
                .policy
                .clone()
                .or_else(|| was(POLICY_DOCUMENT).then_some(PolicyChoice::FullAccess)),
            ip_address_type,
            dns_record_ip_type: self.dns_record_ip_type.or_else(|| {
                let default = || DnsRecordIpType::default_of(type_, ip_address_type.unwrap_or_default());
                was(DNS_RECORD_IP_TYPE).then(default)
            }),
            inbound_resolver_only: self.inbound_resolver_only,
            private_domains: self.private_domains.clone(),
            addresses: self.addresses.clone(),
        }
    }
}

/// What EC2 describes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedOptions {
    /// Its policy, by meaning; none where EC2 names none.
    pub policy: Option<PolicyDigest>,
    /// See [`Options::ip_address_type`].
    pub ip_address_type: Option<IpAddressType>,
    /// See [`Options::dns_record_ip_type`].
    pub dns_record_ip_type: Option<DnsRecordIpType>,
    /// See [`Options::inbound_resolver_only`].
    pub inbound_resolver_only: Option<bool>,
    /// See [`Options::addresses`]. EC2 does not describe them: those that it last accepted.
    pub addresses: SubnetAddresses,
}

impl ObservedOptions {
    /// What an endpoint has that was created with these.
    pub fn created(options: &Options) -> Self {
        let mut created = Self::default();
        created.apply(options);
        created
    }

    /// Takes over a change that AWS has accepted.
    pub(crate) fn apply(&mut self, change: &Options) {
        let Options {
            policy,
            ip_address_type,
            dns_record_ip_type,
            inbound_resolver_only,
            private_domains: _,
            addresses,
        } = change;
        self.addresses.extend(addresses.clone());
        if let Some(policy) = policy {
            self.policy = Some(policy.digest());
        }
        self.ip_address_type = ip_address_type.or(self.ip_address_type);
        self.dns_record_ip_type = dns_record_ip_type.or(self.dns_record_ip_type);
        self.inbound_resolver_only = inbound_resolver_only.or(self.inbound_resolver_only);
    }

    /// What of these is different, for an endpoint of this type.
    pub(crate) fn differences(&self, type_: EndpointType, desired: &Options) -> Options {
        let policy = desired.policy.as_ref().filter(|policy| {
            let there = self.policy.unwrap_or_else(PolicyDigest::full_access);
            there != policy.digest()
        });
        // Where EC2 describes none it is as EC2 has it by default.
        let addresses = self.ip_address_type.unwrap_or_default();
        let records = self
            .dns_record_ip_type
            .unwrap_or_else(|| DnsRecordIpType::default_of(type_, addresses));
        let ip_address_type = desired.ip_address_type.filter(|wanted| addresses != *wanted);
        let dns_record_ip_type = desired.dns_record_ip_type.filter(|wanted| records != *wanted);
        // EC2 refuses other addresses while the records that are there do not go with them.
        let misfit = ip_address_type.filter(|addresses| {
            desired.dns_record_ip_type.is_none() && type_.has_dns_options() && !records.goes_with(*addresses)
        });
        Options {
            policy: policy.cloned(),
            ip_address_type,
            dns_record_ip_type: dns_record_ip_type
                .or_else(|| misfit.map(|addresses| DnsRecordIpType::default_of(type_, addresses))),
            inbound_resolver_only: desired
                .inbound_resolver_only
                .filter(|wanted| self.inbound_resolver_only.unwrap_or(false) != *wanted),
            private_domains: None,
            addresses: desired
                .addresses
                .iter()
                .filter(|(subnet, wanted)| self.addresses.get(subnet) != Some(wanted))
                .map(|(subnet, wanted)| (subnet.clone(), *wanted))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::Addresses;
    use crate::policy::Policy;
    use serde_json::json;

    #[test]
    fn what_was_applied_and_is_taken_away_returns_to_its_default_and_nothing_else_does() {
        let none = Options::default();
        assert_eq!(none.with_defaults(EndpointType::Gateway, &[]), none);
        let applied = [POLICY_DOCUMENT, IP_ADDRESS_TYPE, DNS_RECORD_IP_TYPE].map(str::to_owned);
        let defaults = none.with_defaults(EndpointType::Gateway, &applied);
        assert_eq!(defaults.policy, Some(PolicyChoice::FullAccess));
        assert_eq!(defaults.ip_address_type, Some(IpAddressType::Ipv4));
        assert_eq!(defaults.dns_record_ip_type, Some(DnsRecordIpType::Ipv4));
        let dualstack = Options {
            ip_address_type: Some(IpAddressType::Dualstack),
            ..Options::default()
        };
        for (type_, records) in [
            (EndpointType::Gateway, DnsRecordIpType::ServiceDefined),
            (EndpointType::Interface, DnsRecordIpType::Dualstack),
        ] {
            let defaults = dualstack.with_defaults(type_, &applied[2..]);
            assert_eq!(defaults.dns_record_ip_type, Some(records));
            assert_eq!(defaults.policy, None);
        }
    }

    #[test]
    fn an_absent_field_is_no_difference() {
        let there = ObservedOptions {
            policy: Some(PolicyDigest::read("{}")),
            ip_address_type: Some(IpAddressType::Dualstack),
            dns_record_ip_type: Some(DnsRecordIpType::Ipv6),
            inbound_resolver_only: Some(true),
            addresses: [("subnet-1".into(), Addresses::default())].into(),
        };
        let none = Options::default();
        assert_eq!(there.differences(EndpointType::Interface, &none), none);
        // What EC2 does not describe is as it has it by default.
        let policy = json!({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]});
        let defaults = Options {
            policy: Some(PolicyChoice::Document(Policy::parse(&policy).expect("a policy"))),
            ip_address_type: Some(IpAddressType::Ipv4),
            dns_record_ip_type: Some(DnsRecordIpType::Ipv4),
            inbound_resolver_only: Some(false),
            private_domains: None,
            addresses: SubnetAddresses::new(),
        };
        let unknown = ObservedOptions::default();
        assert_eq!(unknown.differences(EndpointType::Interface, &defaults), none);
    }

    #[test]
    fn other_addresses_take_records_along_that_do_not_go_with_them() {
        let dualstack = |records| ObservedOptions {
            ip_address_type: Some(IpAddressType::Dualstack),
            dns_record_ip_type: Some(records),
            ..ObservedOptions::default()
        };
        let ipv4 = Options {
            ip_address_type: Some(IpAddressType::Ipv4),
            ..Options::default()
        };
        let sent = |records| {
            let differences = dualstack(records).differences(EndpointType::Gateway, &ipv4);
            differences.dns_record_ip_type
        };
        assert_eq!(sent(DnsRecordIpType::ServiceDefined), Some(DnsRecordIpType::Ipv4));
        assert_eq!(sent(DnsRecordIpType::Ipv4), None);
    }
}
