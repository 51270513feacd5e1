//! Where AWS may not be written any more: nothing changes, no consumer is cut off, and objects can
//! be deleted where that is right.

use serde_json::json;
use vpce_testbed::aws::{EndpointServiceView, EndpointState};

use super::Consumer;
use crate::cluster::{ACCOUNTS, Run};
use crate::endpoint_services::{Offers, offering, root};
use crate::tenant::Tenant;
use crate::world::World;

/// A service with a consumer that is connected.
struct Serving<'t, 'w> {
    offers: Offers<'t, 'w>,
    consumer: Consumer<'w>,
    endpoint: String,
    arn: String,
    before: EndpointServiceView,
    writes: Vec<String>,
}

impl<'t, 'w> Serving<'t, 'w> {
    fn new(tenant: &'t Tenant<'w>) -> Self {
        let offers = Offers::of(tenant);
        let consumer = Consumer::new(tenant.world);
        let arn = offers.active();
        let consumers = json!({"account_ids": [consumer.id()]});
        offers.apply("web", &offering(&[&arn], json!({"consumers": consumers})));
        let service = offers.service_name("web");
        let endpoint = consumer.connect(&service, EndpointState::PendingAcceptance);
        consumer.becomes(&endpoint, "available");
        offers.eventually("web", "it counts the connection", || {
            (offers.get("web")?["status"]["connections"]["available"] == 1).then_some(())
        });
        Self {
            before: offers.only(),
            writes: tenant.writes(),
            offers,
            consumer,
            endpoint,
            arn,
        }
    }

    /// After an edit that would change everything, nothing has changed and nothing was tried.
    #[track_caller]
    fn stays(&self, reason: &str) {
        let changes = json!({
            "allowed_principals": [root("555555555555")], "acceptance_required": false, "tags": {"team": "b"},
            "on_delete": "Reject",
        });
        self.offers.apply("web", &offering(&[&self.arn], changes));
        self.offers.not_ready("web", reason);
        let waiting = self
            .consumer
            .connect(&self.before.name, EndpointState::PendingAcceptance);
        self.at_rest(reason);
        assert_eq!(self.consumer.state(&waiting), "pendingAcceptance", "{reason}");
        self.consumer.delete(&waiting);
    }

    #[track_caller]
    fn at_rest(&self, reason: &str) {
        // What was about to begin would be done before another object of the same operator is.
        let witness = self.offers.tenant.world.tenant("witness");
        let witnessing = Offers::of(&witness);
        witnessing.apply("web", &offering(&[&witnessing.active()], json!({})));
        witnessing.ready("web");
        assert_eq!(self.offers.tenant.writes(), self.writes, "{reason}");
        assert_eq!(self.offers.all(), std::slice::from_ref(&self.before), "{reason}");
        assert_eq!(self.consumer.state(&self.endpoint), "available", "{reason}");
    }
}

#[test]
fn a_revoked_mapping_freezes_a_service_rejects_no_connection_and_allows_its_deletion() {
    let tenant = World::shared().tenant("revoked");
    let serving = Serving::new(&tenant);
    tenant.edit_account(json!({"namespaces": ["elsewhere"]}));
    let message = serving.offers.reason("web", "MappingRevoked");
    assert!(message.contains(&tenant.account), "{message}");
    assert!(serving.offers.event("web", "MappingRevoked").starts_with("Warning"));
    serving.stays("MappingRevoked");
    // Deleted it goes, connections and all, as its last spec says.
    serving.offers.delete("web");
    serving.offers.nothing_left("web", "with a revoked mapping");
    serving.consumer.becomes(&serving.endpoint, "rejected");
}

/// Nobody walks away with what is frozen.
#[test]
fn a_frozen_service_is_not_retained() {
    let tenant = World::shared().tenant("no-walk");
    let serving = Serving::new(&tenant);
    tenant.edit_account(json!({"allow_retain": true}));
    serving
        .offers
        .merge("web", &json!({"spec": {"deletion_policy": "Retain"}}));
    serving.offers.ready("web");
    tenant.edit_account(json!({"namespaces": ["elsewhere"]}));
    serving.offers.reason("web", "MappingRevoked");
    serving.offers.delete("web");
    let message = serving.offers.not_ready("web", "MappingRevoked");
    assert!(message.contains("nothing is retained meanwhile"), "{message}");
    serving.at_rest("MappingRevoked");
    tenant.edit_account(json!({"namespaces": [tenant.namespace]}));
    serving.offers.gone("web");
    assert_eq!(serving.offers.only().id, serving.before.id, "it is retained");
}

#[test]
fn nothing_changes_while_the_account_is_suspended_and_goes_on_after() {
    let tenant = World::shared().tenant("paused");
    let serving = Serving::new(&tenant);
    tenant.edit_account(json!({"suspended": true}));
    serving.offers.reason("web", "AccountSuspended");
    serving.stays("AccountSuspended");
    serving.offers.delete("web");
    serving.at_rest("AccountSuspended");
    tenant.edit_account(json!({"suspended": null}));
    serving.offers.nothing_left("web", "once it is resumed");
}

#[test]
fn the_finalizer_goes_without_a_call_once_the_account_is_decommissioned() {
    let tenant = World::shared().tenant("closed");
    let serving = Serving::new(&tenant);
    tenant.edit_account(json!({"decommissioned": true}));
    serving.offers.reason("web", "AccountDecommissioned");
    serving.offers.delete("web");
    serving.offers.gone("web");
    serving.at_rest("AccountDecommissioned");
    let event = serving.offers.event("web", "Abandoned");
    assert!(event.contains(&serving.before.id), "{event}");
}

#[test]
fn a_service_does_not_follow_an_account_that_names_another_aws_account() {
    let world = World::shared();
    let tenant = world.tenant("moved");
    let serving = Serving::new(&tenant);
    // It is deleted by force, which the finalizer is there to prevent.
    let path = format!("{ACCOUNTS}/{}", tenant.account);
    let forced_away = || {
        world.cluster.delete(&path);
        tenant.merge_account(json!({"metadata": {"finalizers": null}}));
    };
    let register = |account_id: &str| {
        let role_arn = format!("arn:aws:iam::{account_id}:role/vpce-operator");
        let account = json!({
            "apiVersion": "silvermullet.com/v1beta1", "kind": "AWSAccount", "metadata": {"name": tenant.account},
            "spec": {
                "role_arn": role_arn, "namespaces": [tenant.namespace], "default_region": tenant.region,
                "allow_endpoint_services": true, "allowed_load_balancer_arns": ["*"],
            },
        });
        world.cluster.create(ACCOUNTS, &account, Run::Real).expect("created");
    };
    forced_away();
    serving.offers.reason("web", "AccountMissing");
    let other = "300000000017";
    let role_arn = format!("arn:aws:iam::{other}:role/vpce-operator");
    world.add_role(&role_arn);
    world.set_role(&role_arn, &super::hosting());
    register(other);
    let message = serving.offers.reason("web", "AccountReplaced");
    assert!(
        message.contains(other) && message.contains(&tenant.account_id),
        "{message}"
    );
    serving.at_rest("AccountReplaced");
    let calls = world.aws.calls();
    let mut there = calls.iter().filter(|call| call.account == other);
    assert!(
        there.all(|call| !call.mutating()),
        "nothing is done in the other account"
    );
    serving.offers.delete("web");
    serving.at_rest("AccountReplaced");
    assert!(serving.offers.get("web").is_some());
    forced_away();
    register(&tenant.account_id);
    serving.offers.reason("web", "InUse");
    serving.consumer.delete(&serving.endpoint);
    serving.offers.nothing_left("web", "once its account is back");
}
