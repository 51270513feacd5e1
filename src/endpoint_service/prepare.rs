//! The stages before AWS is asked: resolve, desired, authorize.

use kube::ResourceExt;
use vpce_core::api::{ConnectionsOnDelete, DeletionPolicy, ENDPOINT_SERVICE_FINALIZER, VPCEndpointServiceSpec};
use vpce_core::authorize::authorize_deletion;
use vpce_core::conditions::{Finding, Reason};
use vpce_core::endpoint_service::{self, Desired, authorize, status};
use vpce_core::network::Place;
use vpce_core::resolve::{Binding, Resolved, Writes};

use super::findings::Findings;
use super::reconcile::{Reconciliation, Stop};
use crate::aws::Permitted;
use crate::bound;
use crate::bound::findings::{Parts as _, account_resolved, does_not_parse};
use crate::bound::resolve::Asks;
use crate::k8s::controller::Next;
use crate::k8s::finalizer;
use crate::settings::Mode;

/// What is known of an object before AWS is asked.
#[derive(Debug)]
pub(super) struct Prepared {
    /// None where it does not parse, and is being deleted.
    pub(super) spec: Option<VPCEndpointServiceSpec>,
    /// Its account, and whether AWS may be written.
    pub(super) resolved: Resolved,
    /// None where nothing is to be left.
    pub(super) desired: Option<Desired>,
    /// What becomes of its endpoint service once nothing is desired; or why that which it asks for
    /// is not done.
    deletion: Result<DeletionPolicy, Finding>,
    /// What becomes of the connections then.
    pub(super) on_delete: ConnectionsOnDelete,
}

impl Prepared {
    pub(super) fn deletion(&self) -> Result<DeletionPolicy, &Finding> {
        self.deletion.as_ref().copied()
    }
}

impl Reconciliation<'_> {
    /// Resolves the account, completes the spec, and checks what it asks for against guardrails.
    pub(super) fn prepare(&mut self) -> Result<Prepared, Stop> {
        if self.deleting && !finalizer::has(&*self.object, ENDPOINT_SERVICE_FINALIZER) {
            return Err(Stop::Requeue(Next::Gone));
        }
        let (spec, policy) = match self.object.spec.clone() {
            Ok(spec) => {
                let policy = spec.deletion_policy;
                (Some(spec), policy)
            }
            Err(unparsed) if self.deleting => (None, unparsed.deletion_policy()),
            Err(unparsed) => return Err(Findings::of_account(does_not_parse(&unparsed.error)).into()),
        };
        self.compare_binding(spec.as_ref())?;
        self.remember_candidates();
        let resolved = self.resolve(spec.as_ref());
        let mut resolved = resolved.map_err(|finding| match finding.reason {
            // Nothing is made before it is bound.
            _ if self.deleting && self.binding().is_none() => Stop::NeverBound(finding),
            Reason::AccountDecommissioned if self.leaves() => Stop::Decommissioned(finding),
            _ => Findings::of_account(finding).into(),
        })?;
        let desired = match spec.as_ref().filter(|_| !self.leaves()) {
            Some(spec) => Some(self.authorized(spec, &mut resolved)?),
            None => None,
        };
        // Of what is bound again nothing was ever Ready, so nothing is retained.
        let deletion = match self.moving {
            true => Ok(DeletionPolicy::Delete),
            false => authorize_deletion(policy, &resolved, &self.owner.namespace),
        };
        Ok(Prepared {
            on_delete: spec.as_ref().map(|spec| spec.on_delete).unwrap_or_default(),
            spec,
            resolved,
            desired,
            deletion,
        })
    }

    /// What the object is bound to, if it is.
    pub(super) fn binding(&self) -> Option<Binding> {
        status::binding(&self.object.status)
    }

    /// Before there is an endpoint service, compares the spec with what the object is bound to, and
    /// finds out whether it has to be bound again.
    fn compare_binding(&mut self, spec: Option<&VPCEndpointServiceSpec>) -> Result<(), Stop> {
        let status = &self.object.status;
        let (Some(spec), Some(former), false) = (spec, self.binding(), self.deleting) else {
            return Ok(());
        };
        self.agrees = true;
        if status.service_id.is_some() {
            return Ok(());
        }
        let resolved = match self.resolve_for(Some(spec)) {
            Ok(resolved) => resolved,
            // What it is bound to says why nothing is done, where that is so.
            Err(_) => {
                self.agrees = false;
                return Ok(());
            }
        };
        let desired = self.desired(spec, &resolved)?;
        if status::agrees(status, &resolved.binding, &desired) {
            return Ok(());
        }
        self.agrees = false;
        if self.ctx.shared.settings.mode == Mode::ReadOnly {
            let message = "the operator is read-only (--mode ReadOnly); the spec was edited, so the object would be bound \
                           again";
            return Err(Stop::bad_spec(&former, Finding::bad(Reason::ReadOnly, message)));
        }
        self.moving = true;
        Ok(())
    }

    /// Where the spec says that the object is: as long as there is no endpoint service, an edit
    /// binds it again.
    pub(super) fn resolve_for(&self, spec: Option<&VPCEndpointServiceSpec>) -> Result<Resolved, Finding> {
        let status = &self.object.status;
        let is_edited = status.bound_generation != self.object.metadata.generation;
        let binding = self.binding().filter(|_| status.service_id.is_some() || !is_edited);
        self.resolve_as(spec, binding.as_ref(), self.deleting)
    }

    /// What the spec asks for.
    fn desired(&self, spec: &VPCEndpointServiceSpec, resolved: &Resolved) -> Result<Desired, Stop> {
        let status = &self.object.status;
        let of_service = match &self.of_service {
            Ok(arns) => arns.clone(),
            // What it has stays.
            Err(_) if status.service_id.is_some() => status.load_balancer_arns.iter().cloned().collect(),
            Err(finding) => {
                return Err(Findings {
                    account: Some(account_resolved(&resolved.binding)),
                    load_balancers: Some(finding.clone()),
                    ..Findings::default()
                }
                .into());
            }
        };
        let discovered = self.discovered(resolved, of_service);
        let desired = endpoint_service::desired(spec, &self.owner, resolved, &discovered);
        desired.map_err(|finding| Stop::bad_spec(&resolved.binding, finding))
    }

    fn resolve(&self, spec: Option<&VPCEndpointServiceSpec>) -> Result<Resolved, Finding> {
        let binding = self.binding();
        match self.moving {
            // What the spec says is not asked of where it leaves.
            true => self.resolve_as(None, binding.as_ref(), true),
            false => self.resolve_as(spec, binding.as_ref(), self.deleting),
        }
    }

    fn resolve_as(
        &self,
        spec: Option<&VPCEndpointServiceSpec>,
        binding: Option<&Binding>,
        leaves: bool,
    ) -> Result<Resolved, Finding> {
        let asks = Asks {
            namespace: &self.owner.namespace,
            binding,
            account: spec.and_then(|spec| spec.account.as_deref()),
            region: spec.and_then(|spec| spec.region.as_deref()),
            place: Place::Vpc,
            leaves,
        };
        bound::resolve::resolve(&self.ctx.shared, asks)
    }

    /// Before it is resolved, so that a change of an AWSAccount that its resolving does not see
    /// enqueues the object.
    fn remember_candidates(&self) {
        let candidates = match self.binding() {
            Some(_) => Vec::new(),
            None => {
                let mapping = self.ctx.shared.caches.accounts_mapping(&self.owner.namespace);
                mapping.iter().map(|account| account.name_any()).collect()
            }
        };
        self.ctx.memories.set_candidates(&self.object, candidates);
    }

    /// What the spec asks for. Where it may not ask for that any more, an endpoint service that
    /// exists is observed and left as it is.
    fn authorized(&self, spec: &VPCEndpointServiceSpec, resolved: &mut Resolved) -> Result<Desired, Stop> {
        let desired = self.desired(spec, resolved)?;
        let exists = self.binding().is_some() && self.object.status.service_id.is_some();
        match authorize(spec, &desired, resolved) {
            Ok(()) => {}
            Err(not_allowed) if exists => resolved.writes = Writes::Frozen(not_allowed),
            Err(not_allowed) => return Err(Stop::bad_spec(&resolved.binding, not_allowed)),
        }
        Ok(desired)
    }

    /// Whether the object is still resolved to the same.
    pub(super) fn resolves_to(&self, spec: Option<&VPCEndpointServiceSpec>, resolved: &Resolved) -> bool {
        self.resolve(spec).is_ok_and(|now| now == *resolved)
    }

    /// Whether AWS may still be written for the object.
    pub(super) fn permission(&self, spec: Option<&VPCEndpointServiceSpec>, resolved: &Resolved) -> Permitted {
        // What the spec says is not asked of where the object leaves.
        let spec = spec.filter(|_| !self.moving);
        let account = spec.and_then(|spec| spec.account.clone());
        let region = spec.and_then(|spec| spec.region.clone());
        let (shared, object) = (&self.ctx.shared, &*self.object);
        bound::resolve::permission(shared, object, (account, region), self.leaves(), resolved)
    }
}
