//! From the Service that a spec names to its load balancers: read from Kubernetes, and then from
//! Elastic Load Balancing, whose tags prove whose they are.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::api::Api;
use vpce_core::conditions::{ConditionType, EventKind, Finding, Reason};
use vpce_core::endpoint_service::{LoadBalancerService, ServiceLoadBalancers};

use super::reconcile::{Reconciliation, Stop};
use crate::k8s::conditions;

impl Reconciliation<'_> {
    /// Finds the load balancers of the Service that the spec names, where it names one: the stages
    /// after this one ask nothing more before the object is authorized.
    pub(super) async fn discover(&mut self) -> Result<(), Stop> {
        let spec = self.object.spec.as_ref().ok().filter(|_| !self.deleting);
        let Some(name) = spec.and_then(|spec| spec.load_balancer.service.as_ref()) else {
            return Ok(());
        };
        let name = name.name.clone();
        // What is wrong with it, the next stage says.
        let Ok(resolved) = self.resolve_for(spec) else {
            return Ok(());
        };
        let namespace = self.owner.namespace.clone();
        let services: Api<Service> = Api::namespaced(self.ctx.shared.client.clone(), &namespace);
        let service = services.get_opt(&name).await?;
        let is_going = |found: &&Service| found.metadata.deletion_timestamp.is_some();
        if let Some(service) = service.as_ref().filter(is_going) {
            self.of_service = Err(is_being_deleted(&namespace, &name));
            self.service_leaves = Some(Box::new(service.clone()));
            return Ok(());
        }
        let found = service.as_ref().map(LoadBalancerService::from);
        let named = match ServiceLoadBalancers::of(&namespace, &name, found.as_ref(), &resolved.binding) {
            Ok(named) => named,
            Err(finding) => {
                self.of_service = Err(finding);
                return Ok(());
            }
        };
        let _permit = self.enter(&resolved).await?;
        let access = self.open(&resolved).await?;
        let (names, age) = (named.names(), self.ctx.shared.resync_interval());
        let elb = access.elb();
        let read = access.region.refresh_load_balancers(&elb, &self.owner.uid, &names, age);
        read.await.map_err(|error| access.unread(error))?;
        let cluster = self.ctx.shared.settings.cluster_name.as_deref();
        self.of_service = named.prove(&access.region.load_balancers(&names), cluster);
        Ok(())
    }

    /// How soon load balancers that cannot be offered yet are looked for again: that one is active,
    /// nothing in Kubernetes tells.
    pub(super) fn look_again(&self) -> Duration {
        self.ctx.shared.settings.poll_interval
    }

    /// Tells on a Service that is being deleted what stands in the way: the controller of its load
    /// balancer cannot delete that while it is offered. Nothing is destroyed for that: who connects
    /// has to be asked first.
    pub(super) fn tell_service(&self) {
        let (namespace, object) = (&self.owner.namespace, &self.owner.name);
        let status = &self.object.status;
        let Some(service) = self.service_leaves.as_ref().filter(|_| status.service_id.is_some()) else {
            return;
        };
        let said = conditions::find(&status.conditions, &ConditionType::LoadBalancerReady.to_string());
        if said.is_some_and(|said| said.reason == Reason::InUse.as_str()) {
            return;
        }
        let note = format!(
            "its load balancer is offered by the VPCEndpointService {namespace}/{object}, so that AWS does not delete it: \
             delete that object first, or have it offer another load balancer"
        );
        let events = &self.ctx.shared.events;
        events.publish(&**service, EventKind::Warning, Reason::InUse.as_str(), "Delete", &note);
    }
}

fn is_being_deleted(namespace: &str, name: &str) -> Finding {
    Finding::bad(
        Reason::InUse,
        format!(
            "the Service {namespace}/{name} is being deleted, and AWS does not delete its load balancer while this object \
             offers it: delete this object, or have it offer another load balancer"
        ),
    )
}
