//! The AWS simulator: the query protocol of EC2, Elastic Load Balancing and STS over HTTP, and the
//! handle by which tests steer and read it.
//!
//! It answers as AWS documents, or with an error: an action, parameter or filter it does not know
//! is refused, never ignored. One listener stands for all services and regions, which a request
//! names in its signature's credential scope; the access key id says the account. Signatures
//! themselves are not verified, but for their date.
//!
//! What goes wrong, and how a test asks for it:
//!
//! | | |
//! |---|---|
//! | the next call of an action, or that names an id | [`Simulator::fault`] |
//! | any call, at random, by a seed | [`Simulator::set_weather`] |
//! | a crash in the middle of a call | [`Simulator::pause`], which holds it |
//! | describes that lag behind, or go back in time | [`Simulator::set_consistency`] |
//! | STS down, a region disabled, clocks that disagree | [`Simulator::set_sts_down`], [`Simulator::set_region_enabled`], [`Simulator::set_clock_skew`] |
//! | sessions that end, permissions taken away | [`Simulator::expire_sessions`], [`Simulator::deny`], [`Simulator::set_role`] |
//! | quotas, others who use the same rate, slow states | [`Simulator::configure`] |
//! | a service's owner who rejects, lets expire or fails | [`Simulator::reject`], [`Simulator::expire`], [`Simulator::fail`] |
//! | endpoint services that accounts host: their TXT records, states, permissions | [`Simulator::publish_txt_record`], [`Simulator::set_endpoint_service_state`], [`Simulator::set_allowed_principals`] |
//! | load balancers and their states | [`Simulator::add_load_balancer`], [`Simulator::set_load_balancer_state`] |
//! | resources that are shared no more, or do not answer | [`Simulator::unshare`], [`Simulator::set_accessibility`] |
//! | out-of-band changes in AWS | [`Simulator::add_rule`], [`Simulator::set_tag`], [`Simulator::delete_endpoint_behind`] and their like |
//!
//! [`Simulator::calls`] has the result of each call, and [`Call::fault`] the fault that struck it.

mod body;
mod bucket;
mod calls;
mod clock;
mod config;
mod drift;
mod ec2;
mod elb;
mod endpoint_services;
mod envelope;
mod error;
mod fault;
mod filter;
mod gate;
mod iam;
mod identity;
mod lattice;
mod load_balancers;
mod networks;
mod partition;
mod provider;
mod query;
mod server;
mod sts;
mod view;
mod weather;
mod world;
mod xml;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use parking_lot::MutexGuard;

pub use calls::Call;
pub use config::{Config, Quotas};
pub use ec2::endpoint::{EndpointState, EndpointType, LastError};
pub use ec2::endpoint_services::{NameState, ServiceState};
pub use ec2::lattice::{Accessibility, ResourceConfigurationSpec, ResourceConfigurationType};
pub use ec2::rules::Direction;
pub use ec2::services::ServiceSpec;
pub use elb::load_balancer::{LoadBalancerSpec, LoadBalancerState, LoadBalancerType};
pub use endpoint_services::EndpointServiceView;
pub use fault::{Fault, FaultKind};
pub use gate::{Gate, Hold, PausePoint};
pub use identity::{BASE_ACCOUNT, RoleSpec};
pub use load_balancers::LoadBalancerView;
pub use view::{EndpointView, GroupView, RuleView};
pub use weather::Weather;

use server::Shared;
use world::World;

use crate::server::Server;

/// A handle on a running simulator, which ends with the last one.
#[derive(Clone)]
pub struct Simulator {
    shared: Shared,
    server: Arc<Server>,
}

impl Simulator {
    /// Starts one on a free port of the loopback interface, with no resources but AWS's own
    /// endpoint services.
    pub fn start(config: Config) -> anyhow::Result<Self> {
        if !config.time_scale.is_finite() || config.time_scale <= 0.0 {
            bail!("time_scale must be a positive number, not {}", config.time_scale);
        }
        let shared = Shared::new(World::new(config));
        let server = server::start(shared.clone())?;
        Ok(Self {
            shared,
            server: Arc::new(server),
        })
    }

    /// The endpoint URL of EC2, Elastic Load Balancing and STS in every region.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Access key id and secret of the operator's base identity, in account [`BASE_ACCOUNT`].
    pub fn base_credentials(&self) -> (String, String) {
        self.world().identities.base_credentials()
    }

    /// The ARN of the operator's base identity: its user's, or its role's if it is a session.
    pub fn base_arn(&self) -> String {
        self.world().identities.base_arn()
    }

    /// Gives the base identity an identity policy (JSON), or takes it away, which allows
    /// everything.
    pub fn set_base_policy(&self, policy: Option<String>) -> anyhow::Result<()> {
        self.world().identities.set_base_policy(policy.as_deref())
    }

    /// Tags the base session as EKS Pod Identity does: transitively, so that they come along to the
    /// tenants' roles.
    pub fn set_base_session_tags(&self, tags: BTreeMap<String, String>) {
        self.world().identities.set_base_session_tags(tags);
    }

    /// Attaches a service control policy (JSON) to an account, beside `FullAWSAccess`, or takes it
    /// away. It restricts EC2's actions.
    pub fn set_scp(&self, account: &str, policy: Option<String>) -> anyhow::Result<()> {
        self.world().identities.set_scp(account, policy.as_deref())
    }

    /// Every secret key and session token that was ever issued: what must show up
    /// nowhere.
    pub fn secrets(&self) -> Vec<String> {
        self.world().identities.secrets()
    }

    /// Seconds of simulated time since the start.
    pub fn now(&self) -> f64 {
        self.world().clock.now()
    }

    /// Pushes simulated time forward.
    pub fn advance(&self, seconds: f64) {
        self.world().clock.advance(seconds);
    }

    /// Adds an account; roles bring theirs along.
    pub fn add_account(&self, account: &str) {
        self.world().identities.add_account(account);
    }

    /// Adds a user who may do everything in an account, for people who look around, and returns the
    /// key id and secret.
    pub fn add_administrator(&self, account: &str) -> (String, String) {
        let mut world = self.world();
        let partition = world.config.partition.clone();
        world.identities.add_administrator(&partition, account)
    }

    /// Adds a role by its ARN. A policy that cannot be evaluated in full is an error, and the role
    /// is not added.
    pub fn add_role(&self, arn: &str, spec: RoleSpec) -> anyhow::Result<()> {
        self.world().identities.set_role(arn, spec)
    }

    /// Changes a role, and what the sessions that it handed out may do. A policy that cannot be
    /// evaluated in full is an error, and the role stays as it is.
    pub fn set_role(&self, arn: &str, spec: RoleSpec) -> anyhow::Result<()> {
        self.world().identities.set_role(arn, spec)
    }

    /// Removes a role; its sessions are good no more.
    pub fn remove_role(&self, arn: &str) {
        self.world().identities.remove_role(arn);
    }

    /// Ends all sessions that AssumeRole handed out.
    pub fn expire_sessions(&self) {
        let mut world = self.world();
        let now = world.clock.now();
        world.identities.expire_sessions(None, now);
    }

    /// Ends all sessions of a role.
    pub fn expire_sessions_of(&self, role_arn: &str) {
        let mut world = self.world();
        let now = world.clock.now();
        world.identities.expire_sessions(Some(role_arn), now);
    }

    /// Denies a role (or the base identity, by its ARN) an action such as `ec2:CreateVpcEndpoint`
    /// or `ec2:*`.
    pub fn deny(&self, role_arn: &str, action: &str) {
        self.world().identities.deny(role_arn, action);
    }

    /// Takes back a [`deny`](Self::deny) of exactly this action or pattern.
    pub fn allow(&self, role_arn: &str, action: &str) {
        self.world().identities.allow(role_arn, action);
    }

    /// Adds an endpoint service by its full name (`com.amazonaws.vpce.us-west-2.vpce-svc-...`), or
    /// replaces it; and its region, if that is new.
    pub fn add_service(&self, region: &str, name: &str, spec: ServiceSpec) {
        self.world().add_service(region, name, spec);
    }

    /// Every call since the start or the last [`clear_calls`](Self::clear_calls), in the order they
    /// were carried out.
    pub fn calls(&self) -> Vec<Call> {
        self.world().calls.clone()
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        self.world().calls.clear();
    }

    /// Lets something go wrong.
    pub fn fault(&self, fault: Fault) {
        self.world().faults.add(fault);
    }

    /// Takes back the faults that have not worn off, ends the weather, and STS is up again.
    pub fn clear_faults(&self) {
        self.world().faults.clear();
    }

    /// Lets calls go wrong at random from now on: `Some(weather)`, or several of which the first
    /// that names a call's action decides; `None` for fair weather. A [`Fault`] that matches a call
    /// comes before the weather.
    pub fn set_weather(&self, weather: impl IntoIterator<Item = Weather>) {
        self.world().faults.set_weather(weather);
    }

    /// Takes STS down, in all regions (every call is answered with a 503), or up again. EC2 goes
    /// on.
    pub fn set_sts_down(&self, down: bool) {
        self.world().faults.set_sts_down(down);
    }

    /// Disables a region in an account, or enables it again: there, none of its keys are good, and
    /// STS opens no session of its roles (`RegionDisabledException`). What it holds stays.
    pub fn set_region_enabled(&self, account: &str, region: &str, enabled: bool) {
        let place = (account.to_owned(), region.to_owned());
        let disabled = &mut self.world().disabled;
        if enabled {
            disabled.remove(&place);
        } else {
            disabled.insert(place);
        }
    }

    /// Sets [`Config::consistency_seconds`] and [`Config::consistency_seed`], which belong
    /// together.
    pub fn set_consistency(&self, seconds: f64, seed: Option<u64>) {
        self.configure(|config| {
            config.consistency_seconds = seconds;
            config.consistency_seed = seed;
        });
    }

    /// Changes how it behaves while it runs: `simulator.configure(|config| config.quotas.rules =
    /// 100)`. What is there already stays as it is. `time_scale`, `partition`, `regions` and
    /// `base_is_session` count at the start only.
    pub fn configure(&self, change: impl FnOnce(&mut Config)) {
        change(&mut self.world().config);
    }

    /// Puts AWS's clock ahead of ours by this many seconds of ours, or behind: it dates its answers
    /// and the end of sessions by it, and refuses what was signed more than a quarter of an hour
    /// off.
    pub fn set_clock_skew(&self, seconds: f64) {
        self.world().clock.set_skew(seconds);
    }

    /// Holds the next call of an action.
    #[must_use]
    pub fn pause_on(&self, action: &str, point: PausePoint) -> Gate {
        self.pause(Hold::next(action, point))
    }

    /// Holds a call, such as the fifth from now that changes EC2, whatever it is.
    #[must_use]
    pub fn pause(&self, hold: Hold) -> Gate {
        self.world().faults.hold(hold)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.shared.lock()
    }
}
