//! What an endpoint service keeps from its creation on: its account, its region, and the type of
//! its load balancers. As with endpoints ([`bound`](super::bound)), a value that has not changed
//! passes whatever it is, and so does the one that the status has.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

/// CEL: whether no endpoint service is there yet.
const IS_FREE: &str = "!has(self.status) || !has(self.status.service_id)";

/// CEL: whether the spec names Gateway Load Balancers, or used to.
macro_rules! is_gateway {
    ($spec:literal) => {
        concat!(
            "(has(",
            $spec,
            ".load_balancer) && has(",
            $spec,
            ".load_balancer.gateway_load_balancer_arns))"
        )
    };
}

fn rule(field: &str, is_kept: &str, what: &str, keep: &str) -> ValidationRule {
    ValidationRule {
        rule: format!("{IS_FREE} || {is_kept}"),
        message: Some(format!(
            "{what} cannot change once status.service_id is there: {keep}; for another, apply another object and delete \
             this one"
        )),
        field_path: Some(format!(".spec.{field}")),
        ..ValidationRule::default()
    }
}

/// One rule for each.
pub(super) fn rules() -> Vec<ValidationRule> {
    let named = |field: &str, status: &str, is_known: &str| {
        let is_kept = format!(
            "!has(self.spec.{field}) || (has(oldSelf.spec.{field}) && self.spec.{field} == oldSelf.spec.{field}) || \
             ({is_known} && self.spec.{field} == self.status.{status})"
        );
        let keep = format!("keep what status.{status} says, or leave it out");
        rule(field, &is_kept, field, &keep)
    };
    let (is, was) = (is_gateway!("self.spec"), is_gateway!("oldSelf.spec"));
    let is_kept = format!(
        "{is} == {was} || (has(self.status.load_balancer_type) && {is} == (self.status.load_balancer_type == 'Gateway'))"
    );
    vec![
        named("account", "account.name", "has(self.status.account)"),
        named("region", "region", "has(self.status.region)"),
        rule(
            "load_balancer",
            &is_kept,
            "the type of the load balancers",
            "keep to the one that status.load_balancer_type says",
        ),
    ]
}
