//! How an endpoint is addressed: IP address types and DNS options, and which go together.

use super::endpoint::EndpointType;
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

/// `IpAddressType`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IpAddressType {
    Ipv4,
    Dualstack,
    Ipv6,
}

impl IpAddressType {
    const ALL: [Self; 3] = [Self::Ipv4, Self::Dualstack, Self::Ipv6];

    pub(crate) fn wire(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Dualstack => "dualstack",
            Self::Ipv6 => "ipv6",
        }
    }

    pub(super) fn take(form: &mut Form) -> Result<Option<Self>, ApiError> {
        take_one(form, "IpAddressType", &Self::ALL, Self::wire)
    }

    pub(crate) fn has_ipv4(self) -> bool {
        self != Self::Ipv6
    }

    pub(crate) fn has_ipv6(self) -> bool {
        self != Self::Ipv4
    }
}

/// `DnsRecordIpType`: which records the endpoint's names have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DnsRecordIpType {
    Ipv4,
    Dualstack,
    Ipv6,
    ServiceDefined,
}

impl DnsRecordIpType {
    const ALL: [Self; 4] = [Self::Ipv4, Self::Dualstack, Self::Ipv6, Self::ServiceDefined];

    pub(crate) fn wire(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Dualstack => "dualstack",
            Self::Ipv6 => "ipv6",
            Self::ServiceDefined => "service-defined",
        }
    }

    /// What Describe fills in where none was asked for.
    pub(crate) fn default_of(endpoint_type: EndpointType, ip: IpAddressType) -> Self {
        match (ip, endpoint_type) {
            (IpAddressType::Ipv4, _) => Self::Ipv4,
            (IpAddressType::Ipv6, _) => Self::Ipv6,
            (IpAddressType::Dualstack, EndpointType::Gateway) => Self::ServiceDefined,
            (IpAddressType::Dualstack, _) => Self::Dualstack,
        }
    }

    fn goes_with(self, ip: IpAddressType) -> bool {
        match self {
            Self::Ipv4 => ip.has_ipv4(),
            Self::Ipv6 => ip.has_ipv6(),
            Self::Dualstack | Self::ServiceDefined => ip == IpAddressType::Dualstack,
        }
    }

    pub(super) fn check(self, ip: IpAddressType) -> Result<(), ApiError> {
        if self.goes_with(ip) {
            return Ok(());
        }
        Err(ApiError::invalid(format!(
            "The DNS record IP type {} is not valid for the IP address type {}.",
            self.wire(),
            ip.wire()
        )))
    }
}

/// `PrivateDnsPreference`
const PREFERENCES: [&str; 4] = [
    ALL_DOMAINS,
    "VERIFIED_DOMAINS_ONLY",
    "VERIFIED_DOMAINS_AND_SPECIFIED_DOMAINS",
    "SPECIFIED_DOMAINS_ONLY",
];
const ALL_DOMAINS: &str = "ALL_DOMAINS";
const MAX_DOMAINS: usize = 10;

/// The `DnsOptions` of a request.
#[derive(Debug, Clone, Default)]
pub(super) struct DnsOptionsRequest {
    pub(super) record: Option<DnsRecordIpType>,
    pub(super) inbound_only: Option<bool>,
    pub(super) preference: Option<String>,
    pub(super) domains: Vec<String>,
}

impl DnsOptionsRequest {
    pub(super) fn take(form: &mut Form) -> Result<Self, ApiError> {
        let wire = DnsRecordIpType::wire;
        let preference = form.take("DnsOptions.PrivateDnsPreference");
        if let Some(given) = &preference
            && !PREFERENCES.contains(&given.as_str())
        {
            return Err(ApiError::invalid_value(format!(
                "Value ({given}) for parameter PrivateDnsPreference is invalid."
            )));
        }
        let domains = form.list("DnsOptions.PrivateDnsSpecifiedDomain");
        if domains.len() > MAX_DOMAINS {
            return Err(ApiError::invalid_value(format!(
                "At most {MAX_DOMAINS} domains may be given as PrivateDnsSpecifiedDomains."
            )));
        }
        Ok(Self {
            record: take_one(form, "DnsOptions.DnsRecordIpType", &DnsRecordIpType::ALL, wire)?,
            inbound_only: form.flag("DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint")?,
            preference,
            domains,
        })
    }

    /// Domains are specified with the preferences that name them, and only there.
    pub(super) fn check_domains(&self) -> Result<(), ApiError> {
        let preference = self.preference.as_deref().unwrap_or(ALL_DOMAINS);
        if preference.contains("SPECIFIED_DOMAINS") == self.domains.is_empty() {
            return Err(ApiError::invalid(format!(
                "PrivateDnsSpecifiedDomains must be given with a PrivateDnsPreference that names specified domains, and \
                 only then; the preference is {preference}."
            )));
        }
        Ok(())
    }

    /// Which private names a Lattice endpoint asks for, as Describe shows them: by default, all.
    pub(super) fn private_domains(&self) -> PrivateDomains {
        let everything = || vec!["*".to_owned()];
        PrivateDomains {
            preference: self.preference.clone().unwrap_or_else(|| ALL_DOMAINS.to_owned()),
            specified: Some(self.domains.clone())
                .filter(|domains| !domains.is_empty())
                .unwrap_or_else(everything),
        }
    }
}

/// Which private names a Resource or ServiceNetwork endpoint asks for.
#[derive(Debug, Clone)]
pub(crate) struct PrivateDomains {
    pub(crate) preference: String,
    pub(crate) specified: Vec<String>,
}

/// An endpoint's DNS options.
#[derive(Debug, Clone)]
pub(crate) struct DnsOptions {
    pub(crate) record: DnsRecordIpType,
    pub(crate) inbound_only: Option<bool>,
    pub(crate) private: Option<PrivateDomains>,
}

impl DnsOptions {
    /// Those of an endpoint that asked for none.
    pub(crate) fn default_of(endpoint_type: EndpointType, ip: IpAddressType) -> Self {
        Self {
            record: DnsRecordIpType::default_of(endpoint_type, ip),
            inbound_only: None,
            private: None,
        }
    }

    pub(super) fn write(&self, xml: &mut Xml) {
        xml.element("dnsOptions", |xml| {
            xml.text("dnsRecordIpType", self.record.wire());
            xml.optional("privateDnsOnlyForInboundResolverEndpoint", self.inbound_only);
            if let Some(private) = &self.private {
                xml.text("privateDnsPreference", &private.preference);
                xml.values("privateDnsSpecifiedDomainSet", &private.specified);
            }
        });
    }
}

/// Takes a parameter that has one of several values.
fn take_one<T: Copy>(
    form: &mut Form,
    name: &str,
    all: &[T],
    wire: fn(T) -> &'static str,
) -> Result<Option<T>, ApiError> {
    let Some(given) = form.take(name) else {
        return Ok(None);
    };
    let found = all.iter().copied().find(|one| wire(*one) == given);
    found
        .map(Some)
        .ok_or_else(|| ApiError::invalid_value(format!("Value ({given}) for parameter {name} is invalid.")))
}
