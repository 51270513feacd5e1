//! What holds at every moment of a story.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::model::{Model, NAMES};
use super::scene::{Frozen, Scene, Story, is_leaving, world};
use crate::cluster::ACCOUNTS;
use crate::world::condition;

/// What was under way when an AWSAccount was suspended is over after this.
const UNDER_WAY: Duration = Duration::from_secs(5);

impl Story {
    /// Fails where a promise is broken that holds at every moment.
    pub(super) fn check(&self, model: &Model, scene: &Scene) {
        self.take_calls();
        for name in NAMES {
            self.nothing_is_doubled(name, scene);
            self.nothing_outlives_its_object(name, scene);
            self.ready_is_no_lie(name, model, scene);
        }
        self.strangers_are_left_alone(scene);
        self.nothing_is_written_while_frozen(model);
    }

    fn nothing_is_doubled(&self, name: &str, scene: &Scene) {
        let living = scene.endpoints.iter().filter(|found| found.state != "deleting");
        let endpoints = living.filter(|found| self.owns(name, &found.tags)).count();
        let groups = scene.groups.iter().filter(|found| self.owns(name, &found.tags)).count();
        if endpoints > 1 || groups > 1 {
            self.fail(&format!("{name} has {endpoints} endpoints and {groups} groups"));
        }
    }

    fn nothing_outlives_its_object(&self, name: &str, scene: &Scene) {
        if scene.objects.contains_key(name) {
            return;
        }
        let endpoints = scene.endpoints.iter().map(|found| (&found.id, &found.tags));
        let groups = scene.groups.iter().map(|found| (&found.id, &found.tags));
        if let Some((id, _)) = endpoints.chain(groups).find(|(_, tags)| self.owns(name, tags)) {
            self.fail(&format!("{name} is gone, and its {id} is still there"));
        }
    }

    fn ready_is_no_lie(&self, name: &str, model: &Model, scene: &Scene) {
        let (Some(shape), Some(object)) = (model.wanted.get(name), scene.objects.get(name)) else {
            return;
        };
        let ready = condition(object, "Ready").is_some_and(|ready| ready.status);
        if !ready || is_leaving(object) || self.touched.borrow().contains(name) {
            return;
        }
        if let Err(difference) = self.is_as_specified(name, &self.accepted(name, shape), object, scene) {
            self.fail(&format!("{name} says that it is Ready, but {difference}"));
        }
    }

    fn strangers_are_left_alone(&self, scene: &Scene) {
        let (endpoints, groups) = &self.strangers;
        for stranger in endpoints {
            if !scene.endpoints.contains(stranger) {
                self.fail(&format!("the stranger {} was changed", stranger.id));
            }
        }
        for stranger in groups {
            if !scene.groups.contains(stranger) {
                self.fail(&format!("the stranger {} was changed", stranger.id));
            }
        }
        let roles = self
            .calls
            .borrow()
            .iter()
            .any(|call| call.role != self.tenant.role_arn && call.mutating());
        if roles {
            self.fail("another role than the tenant's was at work in its account");
        }
    }

    fn nothing_is_written_while_frozen(&self, model: &Model) {
        let Some(mut frozen) = self.frozen.get() else {
            return;
        };
        if frozen.seen.is_none() {
            let account = world().aws_account(&self.tenant.account).unwrap_or_default();
            let seen = is_observed(&account);
            frozen.seen = seen.then(Instant::now);
        }
        let over = frozen.seen.is_some_and(|seen| seen.elapsed() > UNDER_WAY);
        if frozen.calls.is_none() && over {
            self.take_calls();
            frozen.calls = Some(self.calls.borrow().len());
        }
        self.frozen.set(Some(frozen));
        let written: Vec<String> = {
            let calls = self.calls.borrow();
            let since = frozen.calls.map_or(&[][..], |since| &calls[since..]);
            let writes = since.iter().filter(|call| call.mutating());
            // What is bound is deleted even where the mapping is gone.
            let deletes = ["DeleteVpcEndpoints", "DeleteSecurityGroup"];
            let forbidden = writes.filter(|call| model.account.suspended || !deletes.contains(&call.action.as_str()));
            forbidden
                .map(|call| format!("{} at {:.2}", call.action, call.time))
                .collect()
        };
        if !written.is_empty() {
            self.fail(&format!(
                "AWS was written to while the account was {:?}: {written:?}",
                model.account
            ));
        }
    }

    /// Whether it has been long enough for a write to be a mistake.
    pub(super) fn is_frozen_hard(&self) -> bool {
        self.frozen.get().is_none_or(|Frozen { calls, .. }| calls.is_some())
    }

    /// Fails if anything is left of the tenant's objects when all are gone.
    pub(super) fn nothing_is_left(&self) {
        let scene = self.scene();
        let (endpoints, groups) = &self.strangers;
        let mut known: BTreeMap<&str, ()> = BTreeMap::new();
        known.extend(endpoints.iter().map(|found| (found.id.as_str(), ())));
        known.extend(groups.iter().map(|found| (found.id.as_str(), ())));
        let disowned = self.disowned.borrow();
        known.extend(disowned.keys().map(|id| (id.as_str(), ())));
        let left = scene
            .endpoints
            .iter()
            .map(|found| &found.id)
            .chain(scene.groups.iter().map(|found| &found.id));
        let left: Vec<&String> = left.filter(|id| !known.contains_key(id.as_str())).collect();
        let elsewhere = world().aws.endpoints(&self.tenant.account_id, super::scene::ELSEWHERE);
        if !left.is_empty() || !elsewhere.is_empty() {
            self.fail(&format!("left in AWS: {left:?}, elsewhere {elsewhere:?}"));
        }
        world().cluster.delete(&format!("{ACCOUNTS}/{}", self.tenant.account));
        world().eventually("the AWSAccount that nothing is bound to goes", || {
            world().aws_account(&self.tenant.account).is_none().then_some(())
        });
    }
}

/// Whether the operator has taken in an AWSAccount's spec.
fn is_observed(account: &Value) -> bool {
    let generation = &account["metadata"]["generation"];
    generation.is_i64() && account["status"]["observedGeneration"] == *generation
}
