//! What is shown of an object's plan, whatever its kind.

use std::io::Write;

use serde_json::{Value, json};
use vpce_core::conditions::{Finding, Reason};
use vpce_core::object_key::ObjectKey;
use vpce_core::resolve::Binding;

use crate::endpoint::preview::Preview as EndpointPreview;
use crate::endpoint_service::preview::Preview as ServicePreview;

/// What would be done for an object, and how things stand before.
pub(super) struct Shown {
    /// Where; none for an object that shares the endpoint of another.
    binding: Option<Binding>,
    /// Why none of it is done for now, where that is so.
    frozen: Option<Finding>,
    /// In this order.
    pub(super) steps: Vec<ShownStep>,
    parts: Vec<Part>,
    /// What AWS does not know at the moment, though the status names it.
    unconfirmed: Vec<String>,
}

/// A step, in words.
pub(super) struct ShownStep {
    action: &'static str,
    description: String,
}

/// How a part of the object stands.
struct Part {
    /// Its field in JSON.
    field: &'static str,
    /// For people.
    what: &'static str,
    finding: Finding,
}

impl Shown {
    pub(super) fn of_endpoint(planned: EndpointPreview) -> Self {
        let parts = [
            ("endpoint", "endpoint", planned.endpoint),
            ("service", "Service", planned.service),
            ("names", "DNS names", planned.names),
            ("config_map", "ConfigMap", planned.config_map),
        ];
        let steps = planned.steps.iter();
        Self {
            binding: planned.binding,
            frozen: planned.frozen,
            steps: steps.map(|step| shown(step.action(), step)).collect(),
            parts: parts.map(part).into(),
            unconfirmed: planned.unconfirmed,
        }
    }

    pub(super) fn of_service(planned: ServicePreview) -> Self {
        let parts = [
            ("endpoint_service", "endpoint service", planned.service),
            ("load_balancers", "load balancers", planned.load_balancers),
            ("private_dns", "private DNS", planned.private_dns),
        ];
        let steps = planned.steps.iter();
        Self {
            binding: Some(planned.binding),
            frozen: planned.frozen,
            steps: steps.map(|step| shown(step.action(), step)).collect(),
            parts: parts.map(part).into(),
            unconfirmed: planned.unconfirmed.into_iter().collect(),
        }
    }

    /// For people.
    pub(super) fn write(&self, key: &ObjectKey, out: &mut impl Write) -> anyhow::Result<()> {
        let ObjectKey { kind, namespace, name } = key;
        match &self.binding {
            Some(binding) => writeln!(
                out,
                "{kind} {namespace}/{name}: AWSAccount {}, AWS account {} in {}",
                binding.account, binding.account_id, binding.region
            )?,
            None => writeln!(out, "{kind} {namespace}/{name}")?,
        }
        for (number, Part { what, finding, .. }) in self.parts.iter().enumerate() {
            // The first two are what each object has.
            if number < 2 || finding.reason != Reason::NotRequested {
                writeln!(out, "{what}: {}: {}", finding.reason, finding.message)?;
            }
        }
        for id in &self.unconfirmed {
            writeln!(
                out,
                "AWS does not return {id}, which the status names: the operator reads again to confirm that it is gone"
            )?;
        }
        if let Some(Finding { reason, message, .. }) = &self.frozen {
            writeln!(out, "not carried out: {reason}: {message}")?;
        }
        if self.steps.is_empty() {
            writeln!(out, "no steps")?;
        }
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(out, "{number}. {} ({})", step.description, step.action)?;
        }
        Ok(())
    }
}

fn part((field, what, finding): (&'static str, &'static str, Finding)) -> Part {
    Part { field, what, finding }
}

fn shown(action: &'static str, step: &impl ToString) -> ShownStep {
    ShownStep {
        action,
        description: step.to_string(),
    }
}

/// For programs.
pub(super) fn as_json(key: &ObjectKey, planned: &Result<Shown, Finding>) -> Value {
    let said = |finding: &Finding| json!({"reason": finding.reason.to_string(), "message": finding.message});
    let mut object = json!({"kind": key.kind, "namespace": key.namespace, "name": key.name});
    match planned {
        Err(finding) => object["error"] = said(finding),
        Ok(found) => {
            let steps = found.steps.iter();
            let steps = steps.map(|step| json!({"action": step.action, "description": step.description}));
            if let Some(binding) = &found.binding {
                object["account"] = json!(binding.account);
                object["account_id"] = json!(binding.account_id.as_str());
                object["region"] = json!(binding.region.to_string());
            }
            for Part { field, finding, .. } in &found.parts {
                object[field] = said(finding);
            }
            object["unconfirmed"] = json!(found.unconfirmed);
            object["not_carried_out"] = found.frozen.as_ref().map_or(Value::Null, said);
            object["steps"] = steps.collect();
        }
    }
    object
}
