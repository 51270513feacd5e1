//! How the parts of an object stand, and how its condition Ready sums them up.

use vpce_core::conditions::{Finding, Reason};
use vpce_core::resolve::Binding;

/// How the parts of an object stand. A part that was not observed keeps what it said before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    /// The account.
    pub account: Option<Finding>,
    /// The endpoint.
    pub endpoint: Option<Finding>,
    /// The Service.
    pub service: Option<Finding>,
    /// The DNS names. Where none are asked for, there is no condition.
    pub names: Option<Finding>,
    /// The ConfigMap, likewise.
    pub config_map: Option<Finding>,
}

impl Findings {
    /// Only this about the account.
    pub(crate) fn account(finding: Finding) -> Self {
        Self {
            account: Some(finding),
            ..Self::default()
        }
    }

    /// What Ready says: the first part that is not as it should be; else how to connect. What only
    /// pauses changes does not take away that the endpoint serves as the spec says: Ready stays
    /// true then, and says until when. docs/concepts.md has the rule.
    pub(crate) fn summary(&self, standing: Standing) -> Finding {
        let parts = [
            &self.account,
            &self.endpoint,
            &self.service,
            &self.names,
            &self.config_map,
        ];
        let Some(bad) = parts.into_iter().flatten().find(|finding| !finding.ok) else {
            let good = self.endpoint.as_ref().or(self.account.as_ref()).cloned();
            return good.unwrap_or_else(|| Finding::bad(Reason::InternalError, "nothing was observed"));
        };
        // Planned changes are in the message of the part that they are for.
        let planned_changes = self
            .endpoint
            .as_ref()
            .filter(|finding| !finding.ok && finding.reason == bad.reason);
        let said = planned_changes.unwrap_or(bad);
        let Some(until) = bad
            .reason
            .paused_until()
            .filter(|_| standing.serves && !standing.deleting)
        else {
            return said.clone();
        };
        let is_of_account = self.account.as_ref().is_some_and(|account| !account.ok);
        let mut others = parts.into_iter().skip(1).flatten().peekable();
        let is_carried_out = match others.peek() {
            None => standing.was_ready,
            Some(_) => others.all(|finding| finding.ok),
        };
        // Guardrails that were tightened pause changes; an edit that they do not allow is not
        // carried out, whatever it would change in AWS.
        let is_edit = bad.reason == Reason::NotAllowed && !standing.was_ready;
        Finding {
            ok: is_of_account && bad.reason.only_pauses() && is_carried_out && !is_edit,
            reason: bad.reason,
            message: format!(
                "the endpoint keeps serving; changes are paused until {until}: {}",
                said.message
            ),
        }
    }
}

/// How an object stood before its parts were observed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// Whether it was Ready, for this generation.
    pub was_ready: bool,
    /// Whether its endpoint is available, as far as was seen.
    pub serves: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// What an object says whose spec does not parse.
pub(crate) fn does_not_parse(error: &str) -> Finding {
    Finding::bad(
        Reason::InvalidSpec,
        format!("the spec does not parse: {error}; correct it, or delete the object"),
    )
}

/// What a bound object says of its account.
pub(crate) fn account_resolved(binding: &Binding) -> Finding {
    Finding::good(
        Reason::Resolved,
        format!(
            "AWSAccount {}: AWS account {} in {}",
            binding.account, binding.account_id, binding.region
        ),
    )
}
