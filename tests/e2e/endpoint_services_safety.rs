//! What always holds of VPCEndpointServices: none is created twice, none is left, none that is not
//! proven to be an object's own is touched, and no connection is accepted that no consumer account
//! vouches for; whatever crashes when, and whoever interferes.

mod chaos;
mod connections;
mod crashes;
mod frozen;
mod interference;
mod ownership;

use serde_json::{Value, json};
use vpce_core::iam::Scope;
use vpce_core::tags::Clusters;
use vpce_testbed::aws::{EndpointServiceView, EndpointState, LoadBalancerState};

use crate::cluster;
use crate::endpoint_services::Offers;
use crate::tenant::Tenant;
use crate::world::{World, condition, end_of, text};

/// The key that each tag of an owner starts with.
const RESERVED: &str = "silvermullet.com/";
const CREATE: &str = "CreateVpcEndpointServiceConfiguration";

/// How many endpoint services were ever created in the tenant's account. A create that is answered
/// again by its ClientToken creates none.
fn created(tenant: &Tenant<'_>) -> usize {
    let calls = tenant.calls();
    let creates = calls.iter().filter(|call| call.action == CREATE);
    creates.map(|call| call.produced.len()).sum()
}

/// What a role may do that hosts endpoint services.
fn hosting() -> Scope {
    Scope {
        endpoint_services: true,
        ..Scope::default()
    }
}

/// An AWS account whose endpoints want to connect, created by another client than the operator.
struct Consumer<'w> {
    tenant: Tenant<'w>,
}

impl<'w> Consumer<'w> {
    fn new(world: &'w World) -> Self {
        let tenant = world.tenant("consumer");
        Self { tenant }
    }

    /// Its AWS account.
    fn id(&self) -> &String {
        &self.tenant.account_id
    }

    /// An endpoint to a service, in this state.
    fn connect(&self, service_name: &str, state: EndpointState) -> String {
        let Tenant {
            world,
            account_id,
            region,
            subnets,
            group,
            ..
        } = &self.tenant;
        let id = world
            .aws
            .add_endpoint_behind(account_id, region, &subnets[0], service_name, group)
            .expect("an endpoint");
        world
            .aws
            .set_endpoint_state(account_id, region, &id, state, None)
            .expect("it is there");
        id
    }

    fn delete(&self, id: &str) {
        let Tenant {
            world,
            account_id,
            region,
            ..
        } = &self.tenant;
        world
            .aws
            .delete_endpoint_behind(account_id, region, id)
            .expect("it is there");
    }

    fn state(&self, id: &str) -> String {
        let endpoints = self.tenant.endpoints();
        let found = endpoints.into_iter().find(|endpoint| endpoint.id == id);
        found.map(|endpoint| endpoint.state).unwrap_or_default()
    }

    /// Waits until an endpoint is in this state.
    #[track_caller]
    fn becomes(&self, id: &str, state: &str) {
        let world = self.tenant.world;
        world.eventually(&format!("{id} is {state}"), || (self.state(id) == state).then_some(()));
    }
}

impl Offers<'_, '_> {
    /// A Network Load Balancer that can be offered at once.
    fn active(&self) -> String {
        let arn = self.load_balancer();
        let set = self
            .tenant
            .world
            .aws
            .set_load_balancer_state(&arn, LoadBalancerState::Active);
        set.expect("it is there");
        arn
    }

    /// The condition Ready, whatever it says.
    fn says(&self, name: &str) -> Option<(bool, String, String)> {
        let ready = condition(&self.get(name)?, "Ready")?;
        Some((ready.status, ready.reason, ready.message))
    }

    /// Waits until Ready gives this reason, True or False, and returns the message.
    #[track_caller]
    pub(crate) fn reason(&self, name: &str, reason: &str) -> String {
        self.eventually(name, &format!("it says {reason}"), || {
            let (_, found, message) = self.says(name)?;
            (found == reason).then_some(message)
        })
    }

    /// The name by which endpoints connect, once it is Ready.
    #[track_caller]
    fn service_name(&self, name: &str) -> String {
        text(&self.ready(name)["status"]["service_name"])
    }

    /// Merges something into the object, for example an annotation.
    pub(crate) fn merge(&self, name: &str, change: &Value) {
        let merged = self.tenant.world.cluster.merge(&self.path(name), change);
        merged.unwrap_or_else(|refusal| panic!("{name}: {}", refusal.message));
    }

    /// Merges something into its status, as only an administrator may.
    fn merge_status(&self, name: &str, status: &Value) {
        let path = format!("{}/status", self.path(name));
        let merged = self.tenant.world.cluster.merge(&path, &json!({"status": status}));
        merged.unwrap_or_else(|refusal| panic!("{name}: {}", refusal.message));
    }

    /// Asks for a resync now.
    fn resync(&self, name: &str) {
        let now = crate::world::id("now");
        self.merge(
            name,
            &json!({"metadata": {"annotations": {"silvermullet.com/reconcile-at": now}}}),
        );
    }

    /// Its events, as `Warning Reason: note`.
    fn events(&self, name: &str) -> Vec<String> {
        let Tenant { world, namespace, .. } = self.tenant;
        let mut events = world.cluster.list(&cluster::events(namespace));
        events.retain(|event| event["regarding"]["name"] == name && event["regarding"]["kind"] == "VPCEndpointService");
        let words = |event: &Value| {
            let field = |name: &str| text(&event[name]);
            format!("{} {}: {}", field("type"), field("reason"), field("note"))
        };
        events.iter().map(words).collect()
    }

    #[track_caller]
    fn event(&self, name: &str, reason: &str) -> String {
        let infix = format!(" {reason}: ");
        self.eventually(name, &format!("an event says {reason}"), || {
            self.events(name).into_iter().find(|event| event.contains(&infix))
        })
    }

    /// Ready, with one endpoint service in all of the account, which is the one of the status.
    #[track_caller]
    fn exactly_one(&self, name: &str, what: &str) -> EndpointServiceView {
        let object = self.ready(name);
        let all = self.all();
        let [service] = &all[..] else {
            panic!("{what}: one endpoint service: {all:#?}");
        };
        assert_eq!(object["status"]["service_id"], service.id.as_str(), "{what}");
        assert_eq!(
            json!(service.load_balancer_arns),
            object["status"]["load_balancer_arns"],
            "{what}"
        );
        service.clone()
    }

    /// The end of the operator's log that is about the tenant.
    fn log(&self) -> String {
        let logs = self.tenant.world.operator.logs();
        end_of(&logs, |line| line.contains(&self.tenant.namespace))
    }

    /// The object is gone, and so is all that it had.
    #[track_caller]
    fn nothing_left(&self, name: &str, what: &str) {
        self.gone(name);
        assert_eq!(self.all(), [], "{what}\n{}", self.log());
    }

    /// Waits until the operator has read the endpoint services twice more: whatever it was about to
    /// do, it has begun.
    fn rest(&self) {
        let world = self.tenant.world;
        let mark = world.aws.now();
        world.eventually("two more reads of the endpoint services", || {
            let calls = self.tenant.calls();
            let reads = calls
                .iter()
                .filter(|call| call.time > mark && call.action == "DescribeVpcEndpointServiceConfigurations");
            (reads.count() >= 2).then_some(())
        });
    }

    /// An endpoint service that is another's: it has no tag of this operator's.
    fn strangers(&self, arn: &String) -> EndpointServiceView {
        let Tenant {
            world,
            account_id,
            region,
            ..
        } = self.tenant;
        self.tenant.edit_account(json!({"allow_retain": true}));
        let spec = crate::endpoint_services::offering(&[arn], json!({"deletion_policy": "Retain"}));
        self.apply("stranger", &spec);
        self.ready("stranger");
        self.delete("stranger");
        self.gone("stranger");
        let all = self.all();
        let left = all.iter().find(|service| service.load_balancer_arns == [arn.clone()]);
        let left = left.expect("it is retained").clone();
        for key in left.tags.keys() {
            let removed = world.aws.delete_tag(account_id, region, &left.id, key);
            removed.expect("it has this tag");
        }
        self.by_id(&left.id).expect("it is there")
    }

    fn by_id(&self, id: &str) -> Option<EndpointServiceView> {
        self.all().into_iter().find(|service| service.id == id)
    }

    /// Puts the tags of an owner on an endpoint service.
    fn plant(&self, id: &str, name: &str) {
        let Tenant {
            world,
            account_id,
            region,
            namespace,
            ..
        } = self.tenant;
        for (key, value) in [
            ("cluster", world.cluster_id()),
            ("namespace", namespace),
            ("name", name),
            ("kind", "VPCEndpointService"),
            ("uid", "0"),
        ] {
            let key = format!("{RESERVED}{key}");
            let set = world.aws.set_tag(account_id, region, id, &key, value);
            set.expect("it is there");
        }
    }

    /// No call of the operator's that changes anything names this, since `mark`.
    #[track_caller]
    fn untouched(&self, id: &str, mark: f64) {
        let calls = self.tenant.calls().into_iter();
        let mut touching =
            calls.filter(|call| call.time > mark && call.mutating() && call.params.values().any(|value| value == id));
        let first = touching.next();
        assert!(first.is_none(), "{first:?}");
    }
}

/// A role that hosts endpoint services for a cluster that takes over from another.
fn set_adopting_role(world: &World, role_arn: &str, former: &[&str]) {
    let clusters = Clusters {
        own: world.cluster_id().to_owned(),
        former: former.iter().map(|&id| id.to_owned()).collect(),
    };
    let role = world.role_within(role_arn, &clusters, &hosting());
    world.aws.set_role(role_arn, role).expect("a role");
}
