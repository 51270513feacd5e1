//! How the parts of an object stand, and how its condition Ready sums them up.

use vpce_core::conditions::{Finding, Reason};
use vpce_core::resolve::Binding;

use crate::k8s::writes::Refused;

/// How the parts of an object of a kind stand. A part that was not observed keeps what it said
/// before.
pub(crate) trait Parts: Default {
    /// Only this about the account.
    fn of_account(finding: Finding) -> Self;

    /// This about what the object stands for in AWS; and about the account, where it was looked at.
    fn of_resource(account: Option<Finding>, resource: Finding) -> Self;

    /// What Ready says.
    fn summary(&self, standing: Standing) -> Finding;
}

/// How an object stood before its parts were observed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// Whether it was Ready, for this generation.
    pub was_ready: bool,
    /// Whether what it stands for is available, as far as was seen.
    pub serves: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// The parts of an object, as far as they were observed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observed<'f> {
    /// The account.
    pub(crate) account: Option<&'f Finding>,
    /// What the object stands for in AWS, which says how to connect to it.
    pub(crate) resource: Option<&'f Finding>,
    /// What that is called.
    pub(crate) noun: &'static str,
}

impl Observed<'_> {
    /// What Ready says: the first part that is not as it should be, of the account, the resource
    /// and the `others`; else how to connect. What only pauses changes does not take away that the
    /// resource serves as the spec says: Ready stays true then, and says until when.
    /// docs/concepts.md has the rule.
    pub(crate) fn summary(self, others: &[Option<&Finding>], standing: Standing) -> Finding {
        let Self {
            account,
            resource,
            noun,
        } = self;
        let parts = || [account, resource].into_iter().chain(others.iter().copied());
        let Some(bad) = parts().flatten().find(|finding| !finding.ok) else {
            let good = resource.or(account).cloned();
            return good.unwrap_or_else(|| Finding::bad(Reason::InternalError, "nothing was observed"));
        };
        // Planned changes are in the message of the part that they are for.
        let planned_changes = resource.filter(|finding| !finding.ok && finding.reason == bad.reason);
        let said = planned_changes.unwrap_or(bad);
        let Some(until) = bad
            .reason
            .paused_until()
            .filter(|_| standing.serves && !standing.deleting)
        else {
            return said.clone();
        };
        let is_of_account = account.is_some_and(|account| !account.ok);
        let mut others = parts().skip(1).flatten().peekable();
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
                "the {noun} keeps serving; changes are paused until {until}: {}",
                said.message
            ),
        }
    }
}

/// What an object says whose spec does not parse.
pub(crate) fn does_not_parse(error: &str) -> Finding {
    Finding::bad(
        Reason::InvalidSpec,
        format!("the spec does not parse: {error}; correct it, or delete the object"),
    )
}

/// What an object says where the API server did not take a finalizer.
pub(crate) fn finalizer_refused<F: Parts>(deleting: bool, refused: &Refused) -> F {
    let Refused { message, account, .. } = refused;
    let advice =
        "Ask your platform team: an admission controller rejects the operator's writes (docs/troubleshooting.md)";
    let finding = |what: &str| Finding::bad(Reason::FinalizerRefused, format!("{what}: {message}. {advice}"));
    match account {
        Some(account) => F::of_account(finding(&format!(
            "nothing is created before AWSAccount {account} has the operator's finalizer, which cannot be added"
        ))),
        None => {
            let what = match deleting {
                true => "nothing of it is left in AWS, but its finalizer cannot be removed",
                false => "nothing is created before it has the operator's finalizer, which cannot be added",
            };
            F::of_resource(None, finding(what))
        }
    }
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
