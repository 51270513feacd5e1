//! What goes wrong on demand: refused calls, lost answers, delays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::error::ApiError;
use super::gate::{Bar, Gate, Gates, Hold, PausePoint};
use super::weather::{Sky, Weather};
use super::world::{Request, Service};

/// Something that shall go wrong with the calls it matches.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Only calls of this action; `None`: of any.
    pub action: Option<String>,
    /// Only calls of this account, which for AssumeRole is the caller's; `None`: of any.
    pub account: Option<String>,
    /// Only calls with a parameter of this value, such as an id in a batch; `None`: of any.
    pub id: Option<String>,
    /// What happens to them.
    pub kind: FaultKind,
    /// How many calls it happens to.
    pub times: usize,
    /// How many matching calls pass unharmed first.
    pub after: usize,
}

impl Fault {
    /// The next call of `action` meets `kind`.
    pub fn once(action: &str, kind: FaultKind) -> Self {
        Self {
            action: Some(action.to_owned()),
            account: None,
            id: None,
            kind,
            times: 1,
            after: 0,
        }
    }

    fn matches(&self, request: &Request, account: &str) -> bool {
        self.action.as_deref().is_none_or(|action| action == request.action)
            && self.account.as_deref().is_none_or(|only| only == account)
            && self
                .id
                .as_ref()
                .is_none_or(|id| request.params.values().any(|value| value == id))
    }
}

/// The way in which a call goes wrong.
#[derive(Debug, Clone)]
pub enum FaultKind {
    /// Answered with this error; nothing is carried out, no token is spent.
    Refuse {
        /// HTTP status.
        status: u16,
        /// AWS error code.
        code: String,
        /// AWS error message.
        message: String,
    },
    /// Carried out, but the connection is closed before a byte of the answer.
    LoseAnswer,
    /// Carried out, but the connection is closed in the middle of the answer's body.
    CutAnswer,
    /// The connection is closed, nothing is carried out and nothing logged: it never got there.
    Unreachable,
    /// Carried out this much (real) time later.
    Delay(Duration),
    /// The caller's session ends; this call is the first to be refused for it.
    ExpireCredentials,
    /// A describe finds nothing, as if the account's region were empty.
    Empty,
    /// Answered as if it were carried out, which it is not.
    WithoutEffect,
    /// A batch leaves an id alone and names it in `Unsuccessful`: the fault's `id`, or else the
    /// first one. Batches are DeleteVpcEndpoints, DeleteVpcEndpointServiceConfigurations,
    /// AcceptVpcEndpointConnections and RejectVpcEndpointConnections.
    Unsuccessful {
        /// AWS error code.
        code: String,
        /// AWS error message.
        message: String,
    },
}

impl FaultKind {
    /// [`FaultKind::Refuse`] from plain strings.
    pub fn refuse(status: u16, code: &str, message: &str) -> Self {
        Self::Refuse {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// How much of an answer the caller gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Delivery {
    #[default]
    Whole,
    Cut,
    Lost,
}

/// What goes wrong with one call while it is carried out, and after.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    pub(crate) refuse: Option<ApiError>,
    pub(crate) expire: bool,
    pub(crate) empty: bool,
    pub(crate) without_effect: bool,
    /// Ids that a batch leaves alone.
    pub(crate) unsuccessful: BTreeMap<String, ApiError>,
    pub(crate) delivery: Delivery,
    /// Its name in the log.
    pub(crate) fault: Option<&'static str>,
}

/// What is in the way of one call.
#[derive(Debug, Default)]
pub(crate) struct Obstacles {
    pub(crate) before: Option<Arc<Bar>>,
    pub(crate) after: Option<Arc<Bar>>,
    pub(crate) delay: Option<Duration>,
    pub(crate) unreachable: bool,
    pub(crate) trouble: Trouble,
}

impl Obstacles {
    fn meet(&mut self, fault: &Fault, request: &Request) {
        let trouble = &mut self.trouble;
        let name = match &fault.kind {
            FaultKind::Refuse { status, code, message } => {
                trouble.refuse = Some(ApiError::new(code, message).with_status(*status));
                "refused"
            }
            FaultKind::LoseAnswer => {
                trouble.delivery = Delivery::Lost;
                "lost"
            }
            FaultKind::CutAnswer => {
                trouble.delivery = Delivery::Cut;
                "cut"
            }
            FaultKind::Unreachable => {
                self.unreachable = true;
                "unreachable"
            }
            FaultKind::Delay(delay) => {
                self.delay = Some(*delay);
                "slow"
            }
            FaultKind::ExpireCredentials => {
                trouble.expire = true;
                "expired"
            }
            FaultKind::Empty => {
                trouble.empty = true;
                "empty"
            }
            FaultKind::WithoutEffect => {
                trouble.without_effect = true;
                "without effect"
            }
            FaultKind::Unsuccessful { code, message } => {
                let mut ids = batch(request);
                let id = fault.id.as_deref().or_else(|| ids.next());
                if let Some(id) = id {
                    trouble.unsuccessful.insert(id.to_owned(), ApiError::new(code, message));
                }
                "unsuccessful"
            }
        };
        trouble.fault = Some(name);
    }
}

/// The ids of a call that answers for each by itself.
pub(crate) fn batch(request: &Request) -> impl Iterator<Item = &str> {
    let list = match request.action.as_str() {
        "AcceptVpcEndpointConnections" | "DeleteVpcEndpoints" | "RejectVpcEndpointConnections" => "VpcEndpointId.",
        "DeleteVpcEndpointServiceConfigurations" => "ServiceId.",
        _ => "no such parameter",
    };
    let ids = request.params.iter().filter(move |(name, _)| name.starts_with(list));
    ids.map(|(_, id)| id.as_str())
}

/// All faults and gates that wait for a call, and the weather.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    faults: Vec<Fault>,
    gates: Gates,
    sky: Sky,
    sts_down: bool,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.faults.clear();
        self.sky = Sky::default();
        self.sts_down = false;
    }

    pub(crate) fn set_weather(&mut self, weathers: impl IntoIterator<Item = Weather>) {
        self.sky = Sky::new(weathers);
    }

    pub(crate) fn set_sts_down(&mut self, down: bool) {
        self.sts_down = down;
    }

    pub(crate) fn hold(&mut self, hold: Hold) -> Gate {
        self.gates.add(hold)
    }

    /// Takes what awaits this call. Of several faults that match, the oldest one strikes; if none
    /// does, the weather. A dry run meets nothing: what is to befall a call waits for the one that
    /// is carried out.
    pub(crate) fn strike(&mut self, request: &Request, account: &str) -> Obstacles {
        if request.params.get("DryRun").is_some_and(|value| value == "true") {
            return Obstacles::default();
        }
        let mut obstacles = Obstacles {
            before: self.gates.take(request, account, PausePoint::Before),
            after: self.gates.take(request, account, PausePoint::After),
            ..Obstacles::default()
        };
        let mut struck = false;
        for fault in &mut self.faults {
            if !fault.matches(request, account) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 && !struck {
                fault.times -= 1;
                struck = true;
                obstacles.meet(fault, request);
            }
        }
        self.faults.retain(|fault| fault.times > 0);
        if self.sts_down && request.service == Service::Sts {
            let error = ApiError::new(
                "ServiceUnavailable",
                "The request has failed due to a temporary failure",
            );
            obstacles.trouble.refuse = Some(error.with_status(503));
            obstacles.trouble.fault = Some("refused");
        } else if !struck {
            (obstacles.trouble, obstacles.delay) = self.sky.strike(request, account);
        }
        obstacles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_skips_calls_and_ends_after_its_count() {
        let mut faults = Faults::default();
        let (create, delete) = (Request::example("CreateTags", &[]), Request::example("DeleteTags", &[]));
        faults.add(Fault {
            times: 2,
            after: 1,
            ..Fault::once("CreateTags", FaultKind::LoseAnswer)
        });
        let mut lost = |request| faults.strike(request, "1").trouble.delivery == Delivery::Lost;
        let struck: Vec<bool> = (0..5).map(|_| lost(&create)).collect();
        assert_eq!(struck, [false, true, true, false, false]);
        assert!(!lost(&delete));
    }

    #[test]
    fn a_fault_of_one_account_spares_the_others() {
        let mut faults = Faults::default();
        faults.add(Fault {
            action: None,
            account: Some("111111111111".to_owned()),
            id: None,
            kind: FaultKind::refuse(500, "InternalError", "no"),
            times: 1,
            after: 0,
        });
        let request = Request::example("CreateTags", &[]);
        assert!(faults.strike(&request, "2").trouble.refuse.is_none());
        let error = faults.strike(&request, "111111111111").trouble.refuse;
        assert_eq!(error.map(|e| e.status), Some(500));
    }

    #[test]
    fn a_fault_of_one_id_strikes_the_calls_that_name_it() {
        let mut faults = Faults::default();
        faults.add(Fault {
            id: Some("vpce-2".to_owned()),
            ..Fault::once("DeleteVpcEndpoints", FaultKind::LoseAnswer)
        });
        let mut lost = |ids: &[(&str, &str)]| {
            let request = Request::example("DeleteVpcEndpoints", ids);
            faults.strike(&request, "1").trouble.delivery == Delivery::Lost
        };
        assert!(!lost(&[("VpcEndpointId.1", "vpce-1")]));
        assert!(lost(&[("VpcEndpointId.1", "vpce-1"), ("VpcEndpointId.2", "vpce-2")]));
    }
}
