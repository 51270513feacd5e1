//! The pure stages of a VPCEndpointService: what is [`desired()`], whether it is
//! [allowed](authorize()), which endpoint service is the object's own ([`classify`]), the
//! difference as steps ([`plan()`], [`plan_deletion`]), and what the object's [`status`] remembers.
//!
//! Of an endpoint service AWS fixes the type of its load balancers. Everything else is changed in
//! place: load balancers and address types are added first and then removed, since at least one
//! must remain and AWS may refuse a removal while endpoints are connected. A connection is accepted
//! only where an account id of the spec vouches for it, and rejected only where one did so once and
//! no longer does, or the object is deleted with `on_delete: Reject`.

mod authorize;
mod connections;
mod deletion;
mod desired;
mod effect;
mod load_balancer;
mod observed;
mod ownership;
mod plan;
mod progress;
mod service_load_balancer;
mod simulate;
pub mod status;
mod step;

pub use authorize::authorize;
pub use deletion::plan_deletion;
pub use desired::{Desired, Discovered, client_token, desired};
pub use effect::{Change, Effect, Outcome};
pub use load_balancer::LoadBalancerArn;
pub use observed::{Connection, Observed, ObservedEndpointService, PrivateDns, Verification};
pub use ownership::{Claimant, classify, prove};
pub use plan::{Plan, PlanContext, plan};
pub use progress::{Part, UnfinishedStep};
pub use service_load_balancer::{
    LoadBalancerService, LoadBalancerState, NETWORK, ObservedLoadBalancer, ServiceLoadBalancers, is_proof,
};
pub use simulate::{Simulation, simulate};
pub use step::{ServiceChange, Step};
