//! What the conditions say when steps of a plan are not done.

use super::plan::Plan;
use super::step::{ServiceChange, Step};
use crate::conditions::{Finding, Reason};
use crate::error::Class;

/// How EC2 refuses a load balancer that is not active yet, that another service has, or that does
/// not have the address types: all can pass without an edit.
const UNUSABLE: &str = "InvalidParameter";
/// How EC2 refuses what it does not do while endpoints are connected.
const CONNECTED: &str = "ExistingVpcEndpointConnections";

/// What a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The endpoint service.
    Service,
    /// Its load balancers, which have a condition of their own.
    LoadBalancers,
    /// Its private DNS name, likewise.
    PrivateDns,
    /// Its connections, which stand in the condition of the endpoint service.
    Connections,
}

/// A step that is not done.
#[derive(Debug, Clone)]
pub struct UnfinishedStep<'p> {
    /// Which.
    pub step: &'p Step,
    /// What its condition says meanwhile.
    pub finding: Finding,
}

impl UnfinishedStep<'_> {
    /// Whether the condition of a part tells of it. That a load balancer cannot be had is said of
    /// it, and of the service that is not created for it.
    fn is_of(&self, part: Part) -> bool {
        let lacks_load_balancers = matches!(self.step, Step::Create { .. })
            && matches!(self.finding.reason, Reason::Conflict | Reason::NotFound);
        self.step.part() == part || (part == Part::LoadBalancers && lacks_load_balancers)
    }
}

impl Step {
    /// Whether AWS refuses the step because connections are not as they were read: some are gone,
    /// decided on by others, or new.
    pub fn meets_other_connections(&self, class: Class, code: &str) -> bool {
        match self {
            Self::Accept(..) | Self::Reject(..) => matches!(class, Class::NotFound | Class::Conflict),
            Self::Delete(_) => code == CONNECTED,
            _ => false,
        }
    }

    /// What the condition says where AWS refuses the step in a way that is usual for it; none where
    /// the class of the error says it all. `message` is AWS's.
    pub fn refusal(&self, code: &str, message: &str) -> Option<Finding> {
        let in_use = |message: String| Some(Finding::bad(Reason::InUse, message));
        match self {
            Self::Modify(id, ServiceChange::RemoveLoadBalancers(_, arns)) if code == CONNECTED => in_use(format!(
                "AWS does not remove {} from {id} while endpoints are connected: it stays beside the others, and is \
                 removed once AWS allows it; no connection is rejected for it",
                crate::change::list(arns)
            )),
            Self::Delete(id) if code == CONNECTED => in_use(format!(
                "endpoints are connected to {id}, so that AWS does not delete it: it is deleted once none is, or set \
                 on_delete to Reject"
            )),
            Self::Create { .. } | Self::Modify(_, ServiceChange::AddLoadBalancers(..)) if code == UNUSABLE => {
                Some(Finding::bad(
                    Reason::Conflict,
                    format!("AWS does not take the load balancers: {message}"),
                ))
            }
            _ => None,
        }
    }
}

impl Plan {
    /// Reports what is unfinished, in place of what was planned. What waits for a person comes
    /// first.
    pub fn report(&mut self, unfinished: &[UnfinishedStep<'_>]) {
        for (parts, finding) in [
            (&[Part::Service, Part::Connections][..], &mut self.service),
            (&[Part::LoadBalancers][..], &mut self.load_balancers),
            (&[Part::PrivateDns][..], &mut self.private_dns),
        ] {
            let of_part = unfinished
                .iter()
                .filter(|step| parts.iter().any(|part| step.is_of(*part)));
            let mut findings: Vec<&Finding> = of_part.map(|step| &step.finding).collect();
            findings.sort_by_key(|finding| (!finding.reason.policy().stalled, finding.reason == Reason::RateLimited));
            let Some(first) = findings.first() else {
                continue;
            };
            let mut messages: Vec<&str> = Vec::new();
            // What only waits for a token is no news beside what was refused.
            let news =
                |finding: &&&Finding| finding.reason != Reason::RateLimited || first.reason == Reason::RateLimited;
            for finding in findings.iter().filter(news) {
                if !messages.contains(&finding.message.as_str()) {
                    messages.push(&finding.message);
                }
            }
            *finding = Finding::bad(first.reason, messages.join("; "));
        }
    }
}
