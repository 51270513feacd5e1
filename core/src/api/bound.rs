//! What AWS fixes when it creates an endpoint: the schema takes any value until there is an
//! endpoint, and from then on the one that it has.
//!
//! The rules are on the whole object, since they see its status. A value that has not changed
//! passes whatever it is: were it refused, so would be each later write of the object, of its
//! status and of its finalizers too.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

/// A field of the spec, and where the status has what it is bound to.
struct Bound {
    field: &'static str,
    /// CEL: whether the status has it.
    is_known: &'static str,
    /// CEL: what the status has.
    value: &'static str,
    /// CEL: whether the spec says the same, in whatever spelling.
    is_same: &'static str,
    /// For people: where the status has it.
    status_field: &'static str,
    /// Whether it may be left out, which means what the status says.
    optional: bool,
}

const FIELDS: [Bound; 8] = [
    Bound {
        field: "resource_configuration_arn",
        is_known: "has(self.status.vpc_endpoint_service_id)",
        value: "self.status.vpc_endpoint_service_id",
        is_same: "self.spec.resource_configuration_arn == self.status.vpc_endpoint_service_id",
        status_field: "status.vpc_endpoint_service_id",
        optional: false,
    },
    Bound {
        field: "service_network_arn",
        is_known: "has(self.status.vpc_endpoint_service_id)",
        value: "self.status.vpc_endpoint_service_id",
        is_same: "self.spec.service_network_arn == self.status.vpc_endpoint_service_id",
        status_field: "status.vpc_endpoint_service_id",
        optional: false,
    },
    Bound {
        field: "vpc_id",
        is_known: "has(self.status.network)",
        value: "self.status.network.vpc_id",
        is_same: "self.spec.vpc_id == self.status.network.vpc_id",
        status_field: "status.network.vpc_id",
        optional: false,
    },
    Bound {
        field: "vpc_endpoint_service_id",
        is_known: "has(self.status.vpc_endpoint_service_id)",
        value: "self.status.vpc_endpoint_service_id",
        // An endpoint service's id alone is completed with the region, as a short name is.
        is_same: "(self.spec.vpc_endpoint_service_id == self.status.vpc_endpoint_service_id || \
                  (has(self.status.region) && self.status.vpc_endpoint_service_id.endsWith('.' + \
                  (has(self.status.service_region) ? self.status.service_region : self.status.region) + '.' + \
                  self.spec.vpc_endpoint_service_id)))",
        status_field: "status.vpc_endpoint_service_id",
        optional: false,
    },
    Bound {
        field: "vpc_endpoint_service_ref",
        is_known: "has(self.status.vpc_endpoint_service_id)",
        value: "self.status.vpc_endpoint_service_id",
        // Another object is never known to offer the same.
        is_same: "false",
        status_field: "status.vpc_endpoint_service_id",
        optional: false,
    },
    Bound {
        field: "service_region",
        is_known: "has(self.status.region)",
        value: "(has(self.status.service_region) ? self.status.service_region : self.status.region)",
        is_same: "self.spec.service_region == \
                  (has(self.status.service_region) ? self.status.service_region : self.status.region)",
        status_field: "status.service_region",
        optional: false,
    },
    Bound {
        field: "region",
        is_known: "has(self.status.region)",
        value: "self.status.region",
        is_same: "self.spec.region == self.status.region",
        status_field: "status.region",
        optional: true,
    },
    Bound {
        field: "account",
        is_known: "has(self.status.account)",
        value: "self.status.account.name",
        is_same: "self.spec.account == self.status.account.name",
        status_field: "status.account.name",
        optional: true,
    },
];

impl Bound {
    fn rule(&self) -> ValidationRule {
        let Self {
            field,
            is_known,
            value,
            is_same,
            status_field,
            optional,
        } = self;
        let or_leave_out = if *optional { ", or leave it out" } else { "" };
        let another = "for another, apply another object and delete this one";
        let rule = format!(
            "!has(self.status) || !has(self.status.vpc_endpoint_id) || !has(self.spec.{field}) || \
             (has(oldSelf.spec.{field}) && self.spec.{field} == oldSelf.spec.{field}) || ({is_known} && {is_same})"
        );
        let message = format!(
            "{field} cannot change once status.vpc_endpoint_id is there, since AWS fixes it when it creates an endpoint: keep what {status_field} \
             says{or_leave_out}; {another}"
        );
        let expression = format!(
            "{is_known} ? '{field} stays ' + {value} + ': endpoint ' + self.status.vpc_endpoint_id + ' is there, and AWS fixes it when it creates an \
             endpoint; keep ' + {value} + '{or_leave_out}; {another}' : '{message}'"
        );
        ValidationRule {
            rule,
            message: Some(message),
            message_expression: Some(expression),
            field_path: Some(format!(".spec.{field}")),
            ..ValidationRule::default()
        }
    }
}

/// The type of an endpoint that the spec says, or used to say.
macro_rules! type_of {
    ($spec:literal) => {
        concat!(
            "(has(",
            $spec,
            ".vpc_endpoint_type) ? ",
            $spec,
            ".vpc_endpoint_type : 'Interface')"
        )
    };
}

/// CEL: whether the private domains that the spec says are those that it used to say.
const SAME_DOMAINS: &str = "(has(self.spec.dns_options) && has(self.spec.dns_options.private_dns_preference) ? \
     (has(oldSelf.spec.dns_options) && has(oldSelf.spec.dns_options.private_dns_preference) && \
      self.spec.dns_options.private_dns_preference == oldSelf.spec.dns_options.private_dns_preference && \
      (has(self.spec.dns_options.private_dns_specified_domains) ? self.spec.dns_options.private_dns_specified_domains : []) == \
      (has(oldSelf.spec.dns_options.private_dns_specified_domains) ? oldSelf.spec.dns_options.private_dns_specified_domains : [])) : \
     !(has(oldSelf.spec.dns_options) && has(oldSelf.spec.dns_options.private_dns_preference)))";

/// CEL: whether private DNS that the spec says is as it used to say.
const SAME_PRIVATE_DNS: &str = "(has(self.spec.private_dns_enabled) && self.spec.private_dns_enabled) == \
     (has(oldSelf.spec.private_dns_enabled) && oldSelf.spec.private_dns_enabled)";

/// What has a rule of its own: the field, CEL for whether it may be as it is, and what is fixed.
fn of_types() -> [(&'static str, String, &'static str); 6] {
    let type_ = type_of!("self.spec");
    let of_lattice = format!("{type_} in ['Resource', 'ServiceNetwork']");
    [
        (
            "vpc_endpoint_type",
            format!(
                "{type_} == {former} || (has(self.status.vpc_endpoint_type) && {type_} == self.status.vpc_endpoint_type)",
                former = type_of!("oldSelf.spec"),
            ),
            "vpc_endpoint_type cannot change",
        ),
        (
            "service_region",
            "has(self.spec.service_region) || !has(oldSelf.spec.service_region) || !has(self.status.service_region)"
                .to_owned(),
            "service_region cannot be left out",
        ),
        (
            "subnet_ids",
            format!(
                "{type_} != 'GatewayLoadBalancer' || !has(self.spec.subnet_ids) || \
                 (has(oldSelf.spec.subnet_ids) && self.spec.subnet_ids == oldSelf.spec.subnet_ids) || \
                 (has(self.status.network) && self.spec.subnet_ids == self.status.network.subnet_ids)"
            ),
            "subnet_ids of an endpoint of type GatewayLoadBalancer cannot change",
        ),
        (
            "private_dns_enabled",
            format!("!({of_lattice}) || {SAME_PRIVATE_DNS}"),
            "private_dns_enabled of an endpoint of type Resource or ServiceNetwork cannot change",
        ),
        (
            "dns_options",
            format!("!({of_lattice}) || {SAME_DOMAINS}"),
            "private_dns_preference and private_dns_specified_domains cannot change",
        ),
        (
            "ip_address_type",
            format!(
                "{type_} != 'Gateway' || \
                 (has(self.spec.ip_address_type) && self.spec.ip_address_type == 'ipv6') == \
                 (has(oldSelf.spec.ip_address_type) && oldSelf.spec.ip_address_type == 'ipv6')"
            ),
            "ip_address_type of an endpoint of type Gateway cannot change to or from ipv6",
        ),
    ]
}

fn of_type((field, rule, fixed): (&str, String, &str)) -> ValidationRule {
    ValidationRule {
        rule: format!("!has(self.status) || !has(self.status.vpc_endpoint_id) || {rule}"),
        message: Some(format!(
            "{fixed} once status.vpc_endpoint_id is there, since AWS fixes it when it creates an endpoint; for another, \
             apply another object and delete this one"
        )),
        field_path: Some(format!(".spec.{field}")),
        ..ValidationRule::default()
    }
}

/// An object keeps the endpoint that it has.
fn endpoint() -> ValidationRule {
    let message = "vpc_endpoint_id cannot name another endpoint than status.vpc_endpoint_id, which the object has: name that one, or leave \
                   it out; for another, apply another object and delete this one";
    ValidationRule {
        rule: "!has(self.status) || !has(self.status.vpc_endpoint_id) || !has(self.spec.vpc_endpoint_id) || \
               (has(oldSelf.spec.vpc_endpoint_id) && self.spec.vpc_endpoint_id == oldSelf.spec.vpc_endpoint_id) || \
               self.spec.vpc_endpoint_id == self.status.vpc_endpoint_id"
            .to_owned(),
        message: Some(message.to_owned()),
        field_path: Some(".spec.vpc_endpoint_id".to_owned()),
        ..ValidationRule::default()
    }
}

/// One rule for each such field.
pub(super) fn rules() -> Vec<ValidationRule> {
    let fields = FIELDS.iter().map(Bound::rule);
    fields.chain(of_types().map(of_type)).chain([endpoint()]).collect()
}
