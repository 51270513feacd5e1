//! Binds an object to an account, a region, a network and a service before anything is made for it;
//! and again when its spec is edited before there is an endpoint.
//!
//! It is bound again in two writes. First it is made sure that nothing is left of what may have
//! been made where it is bound: by the same path as a deletion, with nothing as what is desired.
//! Only then is it unbound, under the next incarnation, and from there on it is as a new object is.
//! A crash in between leaves it bound where it was, and the next reconcile finds the same
//! difference.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use vpce_core::api::{ENDPOINT_FINALIZER, EndpointType, NetworkStatus, VPCEndpointSpec, VPCEndpointStatus};
use vpce_core::attachment::Attachment;
use vpce_core::conditions::{EventKind, Finding, Reason};
use vpce_core::desired::Desired;
use vpce_core::ids::Region;
use vpce_core::resolve::{Binding, Resolved, Writes};

use super::findings::Findings;
use super::prepare::As;
use super::reconcile::{Next, Reconciliation};
use super::status::{self, Applied};
use super::stop::Stop;
use super::take_over;
use crate::bound::findings::{self, Parts as _, Standing};
use crate::k8s::finalizer;
use crate::k8s::writes::Write;
use crate::settings::Mode;

/// What was edited before there was an endpoint: what the object is bound to has to go first.
#[derive(Debug, Clone)]
pub(super) struct Move {
    /// What it is bound to, and what the spec says now.
    differences: Vec<Difference>,
    /// Where it is bound.
    former: Binding,
}

#[derive(Debug, Clone)]
struct Difference {
    field: &'static str,
    bound: String,
    wanted: String,
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the spec was edited before there was an endpoint (")?;
        for (number, Difference { field, bound, wanted }) in self.differences.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{field} from {bound} to {wanted}")?;
        }
        let Binding {
            account,
            account_id,
            region,
        } = &self.former;
        write!(
            f,
            "), so what may have been created through AWSAccount {account} in AWS account {account_id} in {region} is \
             removed first"
        )
    }
}

impl Move {
    /// What is found on the way, told as part of the move.
    fn tell(&self, findings: &Findings) -> Findings {
        let told = |finding: &Option<Finding>| {
            let finding = finding.as_ref()?;
            Some(match finding.reason {
                _ if finding.ok => finding.clone(),
                // That the former endpoint is being deleted is not that the object is.
                Reason::Deleting => Finding::bad(Reason::Updating, format!("{self}: {}", finding.message)),
                reason => Finding::bad(
                    reason,
                    format!(
                        "{self}: {}. Nothing is created under the new values until that is done; to cancel, undo the \
                         edit",
                        finding.message.trim_end_matches('.')
                    ),
                ),
            })
        };
        Findings {
            account: told(&findings.account),
            endpoint: told(&findings.endpoint),
            service: findings.service.clone(),
            names: findings.names.clone(),
            config_map: findings.config_map.clone(),
        }
    }
}

impl Reconciliation<'_> {
    /// Compares the spec with what the object is bound to, and finds out whether it has to be bound
    /// again. Errors are what keeps the edit from being carried out, where what is bound cannot
    /// stay either.
    pub(super) fn compare_binding(&mut self, spec: Option<&VPCEndpointSpec>) -> Result<(), Stop> {
        let status = &self.object.status;
        let (Some(spec), Some(former)) = (spec, status::binding(status)) else {
            return Ok(());
        };
        if self.deleting {
            return Ok(());
        }
        self.agrees = true;
        if status.vpc_endpoint_id.is_some() {
            return Ok(());
        }
        let contradicts = contradicts(spec, &former);
        let anew = match self.resolve_as(Some(spec), self.as_of(spec)) {
            Ok(anew) => anew,
            // Nothing better can be chosen. What is bound says why it is not carried out, where
            // that is so.
            Err(finding) => {
                self.agrees = false;
                return if contradicts {
                    Err(Findings::of_account(finding).into())
                } else {
                    Ok(())
                };
            }
        };
        let desired = self.desired(spec, &anew);
        let desired = match desired.and_then(|(desired, allowed)| allowed.map(|()| desired)) {
            Ok(desired) => desired,
            Err(_) if anew.binding == former => return Ok(()),
            Err(finding) => {
                self.agrees = false;
                return Err(Findings {
                    endpoint: Some(finding),
                    ..Findings::default()
                }
                .into());
            }
        };
        let differences = differences(&former, status, &anew, &desired);
        if differences.is_empty() {
            return Ok(());
        }
        self.agrees = false;
        let moving = Move { differences, former };
        if self.ctx.shared.settings.mode == Mode::ReadOnly {
            let message = format!("the operator is read-only (--mode ReadOnly), and would do this: {moving}");
            return Err(Findings {
                endpoint: Some(Finding::bad(Reason::ReadOnly, message)),
                ..Findings::default()
            }
            .into());
        }
        self.moving = Some(moving);
        Ok(())
    }

    /// As what an object is resolved whose spec is compared with what it is bound to: one that was
    /// edited before there was an endpoint, as if it were bound to nothing.
    pub(super) fn as_of(&self, spec: &VPCEndpointSpec) -> As {
        let status = &self.object.status;
        let edited = status
            .bound_generation
            .is_some_and(|bound| Some(bound) != self.object.metadata.generation);
        let differs = || status::binding(status).is_some_and(|former| contradicts(spec, &former));
        match status.vpc_endpoint_id {
            None if edited || differs() => As::New,
            _ => As::Bound,
        }
    }

    /// What is said of an object, as part of its move if it moves.
    pub(super) fn told(&self, findings: &Findings) -> Findings {
        match &self.moving {
            Some(moving) => moving.tell(findings),
            None => findings.clone(),
        }
    }

    /// Before the first call that changes AWS: the finalizer, the AWSAccount's too, then account,
    /// region, network, service and incarnation, each acknowledged; and before tags are set, their
    /// keys. False: what was resolved does not hold any more.
    pub(super) async fn bind(
        &mut self,
        spec: Option<&VPCEndpointSpec>,
        resolved: &Resolved,
        desired: &Desired,
    ) -> Result<bool, kube::Error> {
        if !finalizer::has(&*self.object, ENDPOINT_FINALIZER) {
            self.object = self.ctx.writer().add_finalizer(&self.object).await?;
        }
        let mut status = self.object.status.clone();
        let mut keys: BTreeSet<String> = status.tag_keys.iter().cloned().collect();
        keys.extend(take_over::tag_keys(desired));
        let is_whole = status.network.is_some() && status.vpc_endpoint_service_id.is_some();
        let known = Applied::known(&status);
        let applied = Applied::of(desired).and(known.clone());
        if status::binding(&status).is_some() {
            let provided = status::has_provided_groups(desired) && !status.provided_security_groups;
            // Of a tag that it set and does not know of, the operator would never take it away
            // again. Nor of what else it applied.
            let is_new = keys.len() > status.tag_keys.len() || applied != known;
            let network = status::network(desired);
            let is_chosen =
                desired.network.is_some() && desired.adopted.is_none() && resolved.writes == Writes::Allowed;
            let is_elsewhere = is_chosen && status.network.as_ref() != Some(&network);
            if provided || is_new || is_elsewhere || !(is_whole || status.vpc_endpoint_id.is_some()) {
                if is_elsewhere {
                    self.tell_of_subnets(status.network.as_ref(), &network);
                    status.network = Some(network.clone());
                }
                applied.write(&mut status);
                status.tag_keys = keys.into_iter().collect();
                status.provided_security_groups |= provided;
                status.network.get_or_insert(network);
                let type_ = desired.attachment.endpoint_type(&desired.target);
                status.vpc_endpoint_type.get_or_insert(type_);
                if status.vpc_endpoint_service_id.is_none() {
                    status::set_target(&mut status, &desired.target);
                }
                self.object = self.ctx.writer().status(&self.object, status).await?;
            }
            return Ok(true);
        }
        // Reading AWS took its time: meanwhile the AWSAccount may have been deleted, suspended, or
        // mapped to others.
        let _no_account_goes = self.ctx.shared.protection.while_binding().await;
        let still = self.resolve(spec).is_ok_and(|now| now == *resolved);
        let account = self.ctx.shared.caches.account(&resolved.binding.account);
        let Some(account) = account.filter(|_| still) else {
            return Ok(false);
        };
        self.ctx.shared.protection.add_finalizer(&account).await?;
        status::bind(&mut status, &resolved.binding, desired);
        status.bound_generation = self.object.metadata.generation;
        status.tag_keys = keys.into_iter().collect();
        let findings = Findings {
            account: Some(findings::account_resolved(&resolved.binding)),
            endpoint: Some(Finding::bad(Reason::Creating, "the endpoint is being created")),
            ..Findings::default()
        };
        status::set_conditions(
            &mut status,
            &findings,
            Standing::default(),
            self.object.metadata.generation,
        );
        self.object = self.ctx.writer().status(&self.object, status).await?;
        self.ctx.memories.with(&self.object, |memory| {
            memory.absence.bound();
            memory.announced.bound();
        });
        self.ctx.shared.requeuer.account(&resolved.binding.account);
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account = resolved.binding.account,
            account_id = resolved.binding.account_id.as_str(),
            region = resolved.binding.region.as_str(),
            "bound"
        );
        self.tell_of_duplicates(desired);
        Ok(true)
    }

    /// Tells of subnets that are chosen in place of others.
    fn tell_of_subnets(&self, former: Option<&NetworkStatus>, chosen: &NetworkStatus) {
        let former: &[String] = former.map_or(&[], |former| &former.subnet_ids);
        let only = |these: &[String], those: &[String]| {
            let only = these.iter().filter(|id| !those.contains(id));
            only.cloned().collect::<Vec<_>>().join(", ")
        };
        let (out, new) = (only(former, &chosen.subnet_ids), only(&chosen.subnet_ids, former));
        if out.is_empty() && new.is_empty() {
            return;
        }
        let network = chosen.name.as_deref().unwrap_or_default();
        let taken = |ids: String, what: &str| (!ids.is_empty()).then(|| format!("{what} {ids}"));
        let changes: Vec<String> = [taken(new, "added"), taken(out, "removed")]
            .into_iter()
            .flatten()
            .collect();
        let note = format!(
            "the subnets that network {network} has for it changed: {}",
            changes.join(", ")
        );
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            note,
            "subnets chosen again"
        );
        self.ctx
            .shared
            .events
            .publish(&*self.object, EventKind::Normal, "SubnetsChanged", "Bind", &note);
    }

    /// Nothing is left where the object is bound: the next reconcile finds it unbound, and binds it
    /// as its spec says now.
    pub(super) async fn unbind(&mut self) -> Result<Next, kube::Error> {
        let mut status = self.object.status.clone();
        let former = status::binding(&status);
        let account = status.account.as_ref().map(|account| account.name.clone());
        status::unbind(&mut status);
        let moved = Finding::bad(
            Reason::Updating,
            "the spec was edited before there was an endpoint, and nothing is left of what was created before: it is \
             bound again",
        );
        let findings = Findings {
            account: Some(moved.clone()),
            endpoint: Some(moved),
            ..Findings::default()
        };
        self.moving = None;
        self.write(status, &findings).await?;
        if let Some(refused) = self.ctx.shared.writes.refused(&*self.object, Write::Status) {
            return Ok(Next::NotBefore(refused.left));
        }
        self.ctx.memories.with(&self.object, |memory| {
            memory.absence.unbound();
        });
        for region in former
            .map(|former| self.ctx.shared.regions.of(&former.account_id))
            .unwrap_or_default()
        {
            region.cancel(&self.owner.uid);
        }
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account,
            incarnation = self.object.status.incarnation,
            "unbound, to be bound again as the spec says now"
        );
        if let Some(account) = account {
            self.ctx.shared.requeuer.account(&account);
        }
        Ok(Next::After(Duration::ZERO))
    }
}

/// Whether a spec names another account or region than what an object is bound to.
fn contradicts(spec: &VPCEndpointSpec, former: &Binding) -> bool {
    let is_other = |named: &Option<String>, bound: &str| named.as_deref().is_some_and(|named| named != bound);
    is_other(&spec.account, &former.account) || is_other(&spec.region, former.region.as_str())
}

fn differences(former: &Binding, status: &VPCEndpointStatus, anew: &Resolved, desired: &Desired) -> Vec<Difference> {
    let subnets = status.network.iter().flat_map(|network| &network.subnet_ids);
    let subnets: Vec<&String> = subnets.collect();
    let network = status.network.as_ref().map(|network| network.vpc_id.as_str());
    let service = status.vpc_endpoint_service_id.as_deref();
    let bound_type = status.vpc_endpoint_type.map(EndpointType::as_str);
    let binding = &anew.binding;
    let target = desired.target.to_string();
    let field = desired.target.field();
    let bound_service_region = status.service_region.as_deref();
    let service_region = desired.target.service_region().map(Region::as_str);
    let service_region = (bound_service_region != service_region).then(|| {
        let bound = bound_service_region.unwrap_or(former.region.as_str());
        let wanted = service_region.unwrap_or(binding.region.as_str());
        ("service_region", Some(bound), wanted)
    });
    let type_ = desired.attachment.endpoint_type(&desired.target).as_str();
    let subnet = match &desired.attachment {
        Attachment::GatewayLoadBalancer(subnet) => Some(subnet.as_str()),
        Attachment::Interface(_) | Attachment::Gateway(_) => None,
    };
    let bound_subnet = subnets.first().map(|id| id.as_str());
    let existing = |is_adopted: bool| {
        if is_adopted {
            "an existing endpoint"
        } else {
            "a new one"
        }
    };
    [
        ("account", Some(former.account.as_str()), binding.account.as_str()),
        (
            "AWS account",
            Some(former.account_id.as_str()),
            binding.account_id.as_str(),
        ),
        ("region", Some(former.region.as_str()), binding.region.as_str()),
        ("vpc_id", network, desired.vpc.as_str()),
        ("vpc_endpoint_type", bound_type, type_),
        (
            "vpc_endpoint_id",
            Some(existing(status.adopted)),
            existing(desired.existing.is_some()),
        ),
        (field, service, target.as_str()),
    ]
    .into_iter()
    .chain(service_region)
    .chain(subnet.map(|subnet| ("subnet_ids", bound_subnet, subnet)))
    .filter_map(|(field, bound, wanted)| {
        let bound = bound.filter(|bound| *bound != wanted)?.to_owned();
        let wanted = wanted.to_owned();
        Some(Difference { field, bound, wanted })
    })
    .collect()
}
