//! The log of every call, for tests and for people.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Simulator;

/// One call, as it was answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// Counts from 1; survives [`clear_calls`](super::Simulator::clear_calls).
    pub seq: u64,
    /// Seconds of simulated time since the start.
    pub time: f64,
    /// The caller's account; empty where the credentials were not known.
    pub account: String,
    /// The region of the signature's scope.
    pub region: String,
    /// `ec2`, `elasticloadbalancing` or `sts`.
    pub service: String,
    /// The action's name.
    pub action: String,
    /// The ARN of the role (or user, for the base identity) that called.
    pub role: String,
    /// The caller's session name, as CloudTrail shows it; empty for one who has no session.
    pub session_name: String,
    /// The source identity of the caller's session, as CloudTrail shows it.
    pub source_identity: Option<String>,
    /// Every parameter as it came, without `Action` and `Version`.
    pub params: BTreeMap<String, String>,
    /// `ok`, or the error code.
    pub result: String,
    /// The request id that the answer carried.
    pub request_id: String,
    /// Ids of the resources that the call made.
    pub produced: Vec<String>,
    /// False where a fault withheld the answer, or a part of it.
    pub answered: bool,
    /// What a fault or the weather did to it, if anything: `refused`, `lost`, `cut`, `slow`,
    /// `expired`, `empty`, `unsuccessful`. AWS's own refusals, throttling included, are none of
    /// these.
    pub fault: Option<&'static str>,
}

impl Call {
    /// Whether it only asks if it would be allowed.
    pub fn is_dry_run(&self) -> bool {
        self.params.get("DryRun").is_some_and(|value| value == "true")
    }

    /// Whether AWS carried it out.
    pub fn ok(&self) -> bool {
        self.result == "ok"
    }

    /// Whether it is of a kind that changes resources, whatever came of it; a dry run is not.
    pub fn mutating(&self) -> bool {
        self.service != "sts" && !self.action.starts_with("Describe") && !self.is_dry_run()
    }
}

impl Simulator {
    /// Every call since the start or the last of these, in the order they were carried out; they
    /// are forgotten.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.world().calls)
    }
}
