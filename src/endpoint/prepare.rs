//! The stages before AWS is asked: resolve, desired, authorize. The controller, read-only mode and
//! the subcommand `plan` share them.

use kube::ResourceExt;
use vpce_core::api::{DeletionPolicy, ENDPOINT_FINALIZER, VPCEndpointSpec};
use vpce_core::authorize::{self, authorize, authorize_deletion};
use vpce_core::conditions::{Finding, Reason};
use vpce_core::desired::{self, Desired, Origin};
use vpce_core::metadata::Allowed;
use vpce_core::network::Place;
use vpce_core::resolve::{Resolved, Writes};

use super::findings::Findings;
use super::legacy;
use super::reconcile::{Next, Reconciliation};
use super::status;
use super::stop::Stop;
use crate::aws::Permitted;
use crate::bound;
use crate::bound::findings::{self, Parts as _};
use crate::bound::resolve::Asks;
use crate::k8s::finalizer;

/// As what an object is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// As it is: bound, or not yet.
    Bound,
    /// As if it were bound to nothing.
    New,
    /// As one that is to have nothing left where it is bound.
    Leaving,
}

/// What is known of an object before AWS is asked.
#[derive(Debug)]
pub(super) struct Prepared {
    /// None where it does not parse, and is being deleted.
    pub(super) spec: Option<VPCEndpointSpec>,
    /// Its account, and whether AWS may be written.
    pub(super) resolved: Resolved,
    /// None where nothing is to be left.
    pub(super) desired: Option<Desired>,
    /// What becomes of its resources once nothing is desired; or why that which it asks for is not
    /// done.
    deletion: Result<DeletionPolicy, Finding>,
}

impl Prepared {
    pub(super) fn deletion(&self) -> Result<DeletionPolicy, &Finding> {
        self.deletion.as_ref().copied()
    }
}

impl Reconciliation<'_> {
    /// Resolves the account, completes the spec, and checks what it asks for against guardrails and
    /// settings.
    pub(super) fn prepare(&mut self) -> Result<Prepared, Stop> {
        let is_unsettled = legacy::is_unsettled(&self.object);
        if is_unsettled && self.deleting {
            return Err(Findings::of_account(legacy::unsettled(&self.object, "", false)).into());
        }
        if self.deleting && !finalizer::has(&*self.object, ENDPOINT_FINALIZER) {
            return Err(Stop::Requeue(Next::Gone));
        }
        let (spec, policy) = self.parse()?;
        self.compare_binding(spec.as_ref())?;
        self.remember_candidates();
        let mut resolved = self.resolve(spec.as_ref()).map_err(|finding| match finding.reason {
            // Nothing is made before it is bound.
            _ if self.deleting && status::binding(&self.object.status).is_none() => Stop::NeverBound(finding),
            Reason::AccountDecommissioned if self.leaves() => Stop::Decommissioned(finding),
            _ => Findings::of_account(finding).into(),
        })?;
        if let Some(spec) = spec.as_ref().filter(|_| is_unsettled) {
            let account = &resolved.account;
            if spec.vpc_endpoint_id.is_none() && legacy::existing(&self.object, spec, account).is_none() {
                let name = &resolved.binding.account;
                let finding = legacy::unsettled(&self.object, name, account.adopt_legacy);
                return Err(Findings::of_account(finding).into());
            }
        }
        let desired = match spec.as_ref().filter(|_| !self.leaves()) {
            Some(spec) => Some(self.authorized(spec, &mut resolved)?),
            None => None,
        };
        let deletion = if self.moving.is_some() {
            // It was never Ready, so nothing is retained.
            Ok(DeletionPolicy::Delete)
        } else {
            let is_free = if self.deleting { self.check_referrers() } else { Ok(()) };
            is_free.and_then(|()| authorize_deletion(policy, &resolved, &self.owner.namespace))
        };
        Ok(Prepared {
            spec,
            resolved,
            desired,
            deletion,
        })
    }

    fn parse(&self) -> Result<(Option<VPCEndpointSpec>, Option<DeletionPolicy>), Stop> {
        match self.object.spec.clone() {
            Ok(spec) => {
                let policy = spec.deletion_policy;
                let spec = match self.completed(&spec) {
                    Ok(completed) => completed,
                    Err(_) if self.deleting => spec,
                    Err(finding) => {
                        return Err(Findings {
                            endpoint: Some(finding),
                            ..Findings::default()
                        }
                        .into());
                    }
                };
                Ok((Some(spec), policy))
            }
            Err(unparsed) if self.deleting => Ok((None, unparsed.deletion_policy())),
            Err(unparsed) => Err(Findings::of_account(findings::does_not_parse(&unparsed.error)).into()),
        }
    }

    pub(super) fn resolve(&self, spec: Option<&VPCEndpointSpec>) -> Result<Resolved, Finding> {
        match self.moving {
            // What the spec says is not asked of where it leaves.
            Some(_) => self.resolve_as(None, As::Leaving),
            None => self.resolve_as(spec, As::Bound),
        }
    }

    /// Before it is resolved, so that a change of an AWSAccount that its resolving does not see
    /// enqueues the object.
    fn remember_candidates(&self) {
        let candidates = match status::binding(&self.object.status) {
            Some(_) => Vec::new(),
            None => {
                let mapping = self.ctx.shared.caches.accounts_mapping(&self.owner.namespace);
                mapping.iter().map(|account| account.name_any()).collect()
            }
        };
        self.ctx.memories.set_candidates(&self.object, candidates);
    }

    pub(super) fn resolve_as(&self, spec: Option<&VPCEndpointSpec>, how: As) -> Result<Resolved, Finding> {
        let binding = status::binding(&self.object.status).filter(|_| how != As::New);
        let asks = Asks {
            namespace: &self.owner.namespace,
            binding: binding.as_ref(),
            account: spec.and_then(|spec| spec.account.as_deref()),
            region: spec.and_then(|spec| spec.region.as_deref()),
            place: spec.map_or(Place::Vpc, Place::of),
            leaves: self.deleting || how == As::Leaving,
        };
        bound::resolve::resolve(&self.ctx.shared, asks)
    }

    /// Whether AWS may still be written for the object.
    pub(super) fn permission(&self, spec: Option<&VPCEndpointSpec>, resolved: &Resolved) -> Permitted {
        // What the spec says is not asked of where the object leaves.
        let spec = spec.filter(|_| self.moving.is_none());
        let account = spec.and_then(|spec| spec.account.clone());
        let region = spec.and_then(|spec| spec.region.clone());
        let (shared, object) = (&self.ctx.shared, &*self.object);
        bound::resolve::permission(shared, object, (account, region), self.leaves(), resolved)
    }

    /// What the spec asks for. Where it may not ask for that any more, an endpoint that exists is
    /// observed and left as it is.
    fn authorized(&self, spec: &VPCEndpointSpec, resolved: &mut Resolved) -> Result<Desired, Stop> {
        let bad_spec = |resolved: &Resolved, finding| Stop::bad_spec(&resolved.binding, finding);
        let (desired, allowed) = self
            .desired(spec, resolved)
            .map_err(|finding| bad_spec(resolved, finding))?;
        let exists = status::binding(&self.object.status).is_some() && self.object.status.vpc_endpoint_id.is_some();
        match allowed {
            Ok(()) => {}
            Err(not_allowed) if exists => resolved.writes = Writes::Frozen(not_allowed),
            Err(not_allowed) => return Err(bad_spec(resolved, not_allowed)),
        }
        Ok(desired)
    }

    /// What the spec asks for, and whether the account and the operator's settings allow it.
    pub(super) fn desired(
        &self,
        spec: &VPCEndpointSpec,
        resolved: &Resolved,
    ) -> Result<(Desired, Result<(), Finding>), Finding> {
        let status = &self.object.status;
        // An endpoint that an object has, and now names, it has created or adopted before.
        let legacy = legacy::existing(&self.object, spec, &resolved.account);
        let is_adopted =
            status.adopted || legacy.is_some() || (spec.vpc_endpoint_id.is_some() && status.vpc_endpoint_id.is_none());
        let origin = match is_adopted {
            true => Origin::Adopted(&status.applied_fields),
            false => Origin::Created,
        };
        let (placement, left) = self.placement(spec, resolved, is_adopted)?;
        let mut desired = desired::desired(spec, &self.owner, resolved, &placement, origin)?;
        desired.existing = desired.existing.or(legacy);
        let settings = authorize::Settings {
            service_keys: Allowed {
                labels: &self.ctx.shared.settings.service_labels,
                annotations: &self.ctx.shared.settings.service_annotations,
            },
            cluster_domain: &self.ctx.shared.settings.cluster_domain,
        };
        let allowed = left.map_or_else(|| authorize(spec, &desired, resolved, settings), Err);
        Ok((desired, allowed))
    }
}
