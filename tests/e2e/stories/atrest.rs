//! What holds once everything has come to rest: each object is as specified, or says why it is not.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use vpce_testbed::aws::RuleView;

use super::model::{DefaultRegion, Groups, KEYS, Model, NAMES, Region, Service, Shape};
use super::scene::{ELSEWHERE, Scene, Story, is_leaving, no_crash, world};
use crate::cluster;
use crate::targets::{has_groups, has_name};
use crate::world::{condition, text};

/// Everything comes to rest within this.
const AT_REST_WITHIN: Duration = Duration::from_secs(120);
/// After this, no other story kills the operator any more: a kill ends what it waits for, and that
/// may be half a minute.
const DISTURBED_FOR: Duration = Duration::from_secs(20);
/// Time for a mistake of an operator that may not write.
const FROZEN_FOR: Duration = Duration::from_secs(2);

/// How an object ends up.
enum End {
    Ready,
    /// Not Ready, for one of these reasons.
    Because(&'static [&'static str]),
}

impl Story {
    /// Waits until every object is as the model says, and those that are deleted are gone.
    pub(super) fn settle(&self, model: &Model) {
        let began = Instant::now();
        let mut undisturbed = None;
        loop {
            let scene = self.scene();
            self.check(model, &scene);
            match self.verdict(model, &scene) {
                Ok(()) if self.is_frozen_hard() => break,
                Err(what) if began.elapsed() > AT_REST_WITHIN => {
                    self.fail(&format!("nothing goes wrong any more, and in vain waited: {what}"));
                }
                Ok(()) | Err(_) => {}
            }
            if began.elapsed() > DISTURBED_FOR && undisturbed.is_none() {
                undisturbed = Some(no_crash());
            }
            self.reapply(model, &scene);
            thread::sleep(Duration::from_millis(200));
        }
        if self.frozen.get().is_some() {
            self.watch(model, FROZEN_FOR);
        }
    }

    fn verdict(&self, model: &Model, scene: &Scene) -> Result<(), String> {
        for name in NAMES {
            match (model.wanted.get(name), scene.objects.get(name)) {
                (None, None) => {}
                (Some(_), None) => return Err(format!("{name} is not there yet")),
                (_, Some(object)) if is_leaving(object) => self.may_stay(name, object, model, scene)?,
                (None, Some(_)) => return Err(format!("{name} is not being deleted")),
                (Some(shape), Some(object)) => {
                    self.has_ended(name, &self.accepted(name, shape), object, model, scene)?;
                }
            }
        }
        Ok(())
    }

    /// Whether there is a reason for an object that is deleted to be still there.
    fn may_stay(&self, name: &str, object: &Value, model: &Model, scene: &Scene) -> Result<(), String> {
        let said = condition(object, "Ready").map(|ready| ready.reason).unwrap_or_default();
        let bound = object["status"]["account"].is_object();
        let reason = if !bound {
            None
        } else if model.account.suspended {
            Some("AccountSuspended")
        } else if self.has_lost(name, object, scene, true) {
            Some("OwnershipLost")
        } else {
            None
        };
        if reason == Some(said.as_str()) {
            return Ok(());
        }
        Err(format!("{name} is being deleted, because {said:?} and not {reason:?}"))
    }

    /// Whether the status names an endpoint (or a group, if that counts) which others have taken
    /// the owner tags of.
    fn has_lost(&self, name: &str, object: &Value, scene: &Scene, group_counts: bool) -> bool {
        let status = &object["status"];
        let endpoint = scene
            .endpoints
            .iter()
            .find(|found| status["vpc_endpoint_id"] == found.id.as_str());
        let group = scene
            .groups
            .iter()
            .find(|found| status["security_group_id"] == found.id.as_str());
        endpoint.is_some_and(|found| !self.owns(name, &found.tags))
            || group_counts && group.is_some_and(|found| !self.owns(name, &found.tags))
    }

    fn has_ended(
        &self,
        name: &'static str,
        shape: &Shape,
        object: &Value,
        model: &Model,
        scene: &Scene,
    ) -> Result<(), String> {
        let ready = condition(object, "Ready").ok_or_else(|| format!("{name} says nothing of its generation"))?;
        match self.end_of(name, shape, object, model, scene) {
            End::Ready if ready.status => {
                self.is_as_specified(name, shape, object, scene)?;
                self.is_published(name, shape, object)?;
                self.touched.borrow_mut().remove(name);
                Ok(())
            }
            End::Because(reasons) if reasons.contains(&ready.reason.as_str()) => {
                // What only pauses changes leaves Ready what is as specified, and nothing else.
                if ready.status {
                    self.is_as_specified(name, shape, object, scene)?;
                }
                Ok(())
            }
            End::Ready => Err(format!("{name} is not Ready: {} {}", ready.reason, ready.message)),
            End::Because(reasons) => Err(format!("{name} is {} and not {reasons:?}", ready.reason)),
        }
    }

    fn end_of(&self, name: &str, shape: &Shape, object: &Value, model: &Model, scene: &Scene) -> End {
        let (account, status) = (&model.account, &object["status"]);
        let made = status["vpc_endpoint_id"].is_string();
        // What was made before an edit goes first, whatever is provided from then on.
        let own_group = (has_groups(shape.kind.as_str()) && !matches!(shape.groups, Groups::Provided(_))) || !made;
        let region = text(&status["region"]);
        let because: &[&str] = if status["account"].is_object() {
            match () {
                () if !model.is_allowed(shape) => &["NotAllowed"],
                () if account.suspended => &["AccountSuspended"],
                () if !account.mapped && !made => &["MappingRevoked", "NoAccount"],
                () if !account.mapped => &["MappingRevoked"],
                () if region == ELSEWHERE => &["NotFound", "Invalid"],
                () if self.has_lost(name, object, scene, own_group) => &["OwnershipLost"],
                () if self.is_outrun(shape, object) => &["ServiceConflict"],
                () => &[],
            }
        } else {
            match () {
                () if !account.mapped => &["NoAccount"],
                // What has to be corrected in the spec is said first.
                () if shape.region == Region::None && account.default_region == DefaultRegion::Unset => {
                    &["RegionMissing"]
                }
                () if !model.is_allowed(shape) => &["NotAllowed"],
                () if account.suspended => &["AccountSuspended"],
                () => &[],
            }
        };
        if because.is_empty() {
            End::Ready
        } else {
            End::Because(because)
        }
    }

    /// Whether another object has the Service that both would like.
    fn is_outrun(&self, shape: &Shape, object: &Value) -> bool {
        shape.service == Service::Shared
            && has_name(shape.kind.as_str())
            && self
                .tenant
                .kubernetes_service(super::model::SHARED)
                .is_some_and(|service| !is_of(&service, object))
    }

    /// Whether AWS holds what the spec says, and nothing else for this object.
    pub(super) fn is_as_specified(
        &self,
        name: &str,
        shape: &Shape,
        object: &Value,
        scene: &Scene,
    ) -> Result<(), String> {
        let owned = scene.endpoints.iter().filter(|found| self.owns(name, &found.tags));
        let [endpoint] = owned.collect::<Vec<_>>()[..] else {
            return Err("it has not one endpoint".to_owned());
        };
        let groups: Vec<_> = scene
            .groups
            .iter()
            .filter(|found| self.owns(name, &found.tags))
            .collect();
        let (vpc, target, subnets) = self.place(shape);
        same(
            "the endpoint",
            &object["status"]["vpc_endpoint_id"],
            &Value::from(endpoint.id.as_str()),
        )?;
        same("its state", &endpoint.state.as_str(), &"available")?;
        same("its VPC", &endpoint.vpc_id.as_str(), &vpc)?;
        let leads_to = endpoint.lattice_arn.as_ref().unwrap_or(&endpoint.service_name);
        same("its type", &endpoint.vpc_endpoint_type.as_str(), &shape.kind.as_str())?;
        same("its target", &leads_to.as_str(), &target)?;
        let tables: Vec<&String> = endpoint.route_table_ids.iter().collect();
        same("its route tables", &tables, &self.tables(name, shape))?;
        same("its subnets", &endpoint.subnet_ids.iter().collect::<Vec<_>>(), &subnets)?;
        for tags in groups.iter().map(|group| &group.tags).chain([&endpoint.tags]) {
            for key in KEYS {
                same(key, &tags.get(key).cloned(), &shape.tags.get(key).map(u8::to_string))?;
            }
            same(
                "the UID",
                &tags.get("silvermullet.com/uid").cloned(),
                &object["metadata"]["uid"].as_str().map(str::to_owned),
            )?;
        }
        if !has_groups(shape.kind.as_str()) {
            same("its groups", &endpoint.group_ids, &Vec::new())?;
            return same("how many groups of its own it has", &groups.len(), &0);
        }
        let (ingress, egress) = match &shape.groups {
            Groups::Provided(which) => {
                same("its groups", &endpoint.group_ids, &self.provided(shape, which))?;
                return same("how many groups of its own it has", &groups.len(), &0);
            }
            Groups::Generated => (
                ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
                    .map(|peer| RuleView::new("-1", None, peer))
                    .to_vec(),
                true,
            ),
            Groups::Custom(ports, open) => {
                let rule = |port: &u16| RuleView::new("tcp", Some((i64::from(*port), i64::from(*port))), "10.0.0.0/8");
                (ports.iter().map(rule).collect(), *open)
            }
        };
        let [group] = groups[..] else {
            return Err(format!("it has {} groups of its own", groups.len()));
        };
        same("its groups", &endpoint.group_ids, &vec![group.id.clone()])?;
        same(
            "the group",
            &object["status"]["security_group_id"],
            &Value::from(group.id.as_str()),
        )?;
        let set = |rules: &[RuleView]| rules.iter().cloned().collect::<BTreeSet<_>>();
        same("ingress", &set(&group.ingress), &set(&ingress))?;
        let open = if egress {
            vec![RuleView::new("-1", None, "0.0.0.0/0")]
        } else {
            Vec::new()
        };
        same("egress", &set(&group.egress), &set(&open))
    }

    /// Whether the Service that is asked for, and no other, leads to the endpoint.
    fn is_published(&self, name: &str, shape: &Shape, object: &Value) -> Result<(), String> {
        let services = world().cluster.list(&cluster::services(&self.tenant.namespace));
        let names: Vec<String> = services
            .iter()
            .filter(|service| is_of(service, object))
            .map(|service| text(&service["metadata"]["name"]))
            .collect();
        same(
            "its Services",
            &names,
            &Self::service(name, shape).into_iter().collect(),
        )?;
        let targets = services
            .iter()
            .filter(|service| is_of(service, object))
            .map(|service| &service["spec"]["externalName"]);
        match targets
            .into_iter()
            .find(|target| **target != object["status"]["dns_name"])
        {
            None => Ok(()),
            Some(target) => Err(format!("its Service leads to {target}")),
        }
    }
}

fn is_of(service: &Value, object: &Value) -> bool {
    service["metadata"]["ownerReferences"][0]["uid"] == object["metadata"]["uid"]
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, there: &T, wanted: &T) -> Result<(), String> {
    if there == wanted {
        return Ok(());
    }
    Err(format!("{what} is {there:?} and not {wanted:?}"))
}
