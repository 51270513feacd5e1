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

const FIELDS: [Bound; 4] = [
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
        // An endpoint service's id alone is completed with the region.
        is_same: "(self.spec.vpc_endpoint_service_id == self.status.vpc_endpoint_service_id || \
                  (self.spec.vpc_endpoint_service_id.startsWith('vpce-svc-') && \
                  self.status.vpc_endpoint_service_id.endsWith('.' + self.spec.vpc_endpoint_service_id)))",
        status_field: "status.vpc_endpoint_service_id",
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

/// One rule for each such field.
pub(super) fn rules() -> Vec<ValidationRule> {
    FIELDS.iter().map(Bound::rule).collect()
}
