//! What AWS fixes at creation can be edited until there is an endpoint, and is bound from then on.

use serde_json::{Value, json};
use vpce_testbed::aws::{EndpointView, GroupView, Hold, PausePoint, ServiceSpec};

use crate::cluster::{ACCOUNTS, Run};
use crate::tenant::Tenant;
use crate::world::{WITHIN, World, id, merged, text};

/// Where nothing of a tenant's is, but for what [`Places`] adds.
const ABROAD: &str = "eu-west-1";

/// A tenant with four places more that an endpoint can be in or lead to: each differs from the
/// first in one field that AWS fixes.
pub(crate) struct Places<'w> {
    pub(crate) tenant: Tenant<'w>,
    /// The AWS account of the second AWSAccount.
    second_account: String,
    /// What an edit changes, and the spec's fields then.
    pub(crate) edits: [(&'static str, Value); 4],
}

impl<'w> Places<'w> {
    pub(crate) fn new(world: &'w World, name: &str) -> Self {
        let tenant = world.tenant(name);
        let (account, region) = (&tenant.account_id, &tenant.region);
        let network = |account: &str, region: &str| {
            let vpc = id("vpc");
            world.aws.add_vpc(account, region, &vpc, "10.1.0.0/16").expect("a VPC");
            let subnet = id("subnet");
            let zone = format!("{region}a");
            world
                .aws
                .add_subnet(account, region, &subnet, &vpc, &zone)
                .expect("a subnet");
            json!({"vpc_id": vpc, "subnet_ids": [subnet]})
        };
        let number = text(&json!(tenant.account_id))[1..].to_owned();
        let second_account = format!("4{number}");
        let role_arn = format!("arn:aws:iam::{second_account}:role/vpce-operator");
        world.add_role(&role_arn);
        let second = format!("{}-second", tenant.account);
        let registered = json!({
            "apiVersion": "silvermullet.com/v1beta1", "kind": "AWSAccount", "metadata": {"name": second},
            "spec": {"role_arn": role_arn, "namespaces": [tenant.namespace], "default_region": tenant.region},
        });
        world
            .cluster
            .create(ACCOUNTS, &registered, Run::Real)
            .unwrap_or_else(|refusal| panic!("{}", refusal.message));
        let service = tenant.add_service(ServiceSpec::default());
        let abroad = format!("com.amazonaws.vpce.{ABROAD}.{}", id("vpce-svc"));
        world.aws.add_service(ABROAD, &abroad, ServiceSpec::default());
        let edits = [
            ("service", json!({"vpc_endpoint_service_id": service})),
            ("VPC", network(account, region)),
            (
                "region",
                merged(
                    network(account, ABROAD),
                    json!({"region": ABROAD, "vpc_endpoint_service_id": abroad}),
                ),
            ),
            (
                "account",
                merged(network(&second_account, region), json!({"account": second})),
            ),
        ];
        Self {
            tenant,
            second_account,
            edits,
        }
    }

    /// The spec of the first place, with other fields.
    pub(crate) fn spec(&self, fields: &Value) -> Value {
        let named = self.tenant.spec(json!({"account": self.tenant.account}));
        merged(named, fields.clone())
    }

    fn everywhere(&self) -> [(&str, &str); 3] {
        [
            (&self.tenant.account_id, &self.tenant.region),
            (&self.tenant.account_id, ABROAD),
            (&self.second_account, &self.tenant.region),
        ]
    }

    /// All endpoints, with the AWS account and the region that each is in; deleted ones left out.
    fn endpoints(&self) -> Vec<(String, String, EndpointView)> {
        let aws = &self.tenant.world.aws;
        let all = self.everywhere().into_iter().flat_map(|(account, region)| {
            let there = aws.endpoints(account, region).into_iter();
            there.map(move |endpoint| (account.to_owned(), region.to_owned(), endpoint))
        });
        all.collect()
    }

    /// All security groups that the operator made.
    fn groups(&self) -> Vec<GroupView> {
        let aws = &self.tenant.world.aws;
        let all = self.everywhere().into_iter();
        let all = all.flat_map(|(account, region)| aws.security_groups(account, region));
        all.filter(|group| group.tags.contains_key("silvermullet.com/name"))
            .collect()
    }

    /// Checks that the object is Ready, and has one endpoint, which is as this spec says, and one
    /// group.
    #[track_caller]
    pub(crate) fn is_there_alone(&self, name: &str, spec: &Value, what: &str) -> Value {
        let object = self.tenant.ready(name);
        let endpoints = self.endpoints();
        let [(account, region, endpoint)] = &endpoints[..] else {
            panic!("{what}: {} endpoints: {endpoints:#?}", endpoints.len());
        };
        let wanted_account = if spec["account"] == *self.tenant.account {
            &self.tenant.account_id
        } else {
            &self.second_account
        };
        let is = [account, region, &endpoint.vpc_id, &endpoint.service_name];
        let wanted = [
            wanted_account.as_str(),
            &text(&spec["region"]),
            &text(&spec["vpc_id"]),
            &text(&spec["vpc_endpoint_service_id"]),
        ];
        assert_eq!(is.map(String::as_str), wanted, "{what}");
        let groups = self.groups();
        assert_eq!(groups.len(), 1, "{what}: {groups:#?}");
        assert_eq!(endpoint.group_ids, std::slice::from_ref(&groups[0].id), "{what}");
        let status = &object["status"];
        assert_eq!(status["vpc_endpoint_id"], endpoint.id, "{what}");
        assert_eq!(status["network"]["vpc_id"], spec["vpc_id"], "{what}");
        assert_eq!(status["network"]["subnet_ids"], json!(endpoint.subnet_ids), "{what}");
        assert_eq!(status["vpc_endpoint_service_id"], endpoint.service_name, "{what}");
        object
    }

    /// Deletes the object, and checks that nothing is left anywhere.
    #[track_caller]
    pub(crate) fn leaves_nothing(&self, name: &str, what: &str) {
        if self
            .tenant
            .get(name)
            .is_some_and(|object| object["metadata"]["deletionTimestamp"].is_null())
        {
            self.tenant.delete(name);
        }
        self.tenant.gone(name);
        let left = (self.endpoints(), self.groups());
        assert!(left.0.is_empty() && left.1.is_empty(), "{what}: {left:#?}");
    }
}

#[test]
fn a_wrong_value_is_corrected_by_an_edit() {
    let places = Places::new(World::shared(), "typo");
    let tenant = &places.tenant;
    let right = places.spec(&json!({}));
    let wrong = [
        (
            "vpc_endpoint_service_id",
            json!("vpce-svc-0aaaaaaaaaaaaaaaa"),
            "NotFound",
        ),
        ("vpc_id", json!("vpc-0aaaaaaaaaaaaaaaa"), "NotFound"),
        // Both are there, and nothing of what the spec names.
        ("region", json!(ABROAD), "NotFound"),
        ("account", json!(format!("{}-second", tenant.account)), "NotFound"),
        ("account", json!("nobody"), "AccountNotMapped"),
        ("region", json!("eu-nowhere-1"), "Denied"),
    ];
    for (number, (field, value, reason)) in wrong.iter().enumerate() {
        let name = format!("api-{number}");
        tenant.apply(&name, merged(right.clone(), json!({*field: value})));
        let message = tenant.not_ready(&name, reason);
        assert_eq!(places.endpoints().len(), 0, "{field}: {message}");
        tenant.apply(&name, right.clone());
        places.is_there_alone(&name, &right, field);
        places.leaves_nothing(&name, field);
    }
}

#[test]
fn a_region_and_an_account_that_are_no_longer_named_are_chosen_again_until_there_is_an_endpoint() {
    let places = Places::new(World::shared(), "unnamed");
    let tenant = &places.tenant;
    tenant.apply("api", places.spec(&json!({"region": ABROAD})));
    tenant.not_ready("api", "NotFound");
    assert_eq!(tenant.get("api").expect("it is there")["status"]["region"], ABROAD);
    // The AWSAccount has a default.
    tenant.apply("api", places.spec(&json!({"region": null})));
    let right = places.spec(&json!({}));
    let before = places.is_there_alone("api", &right, "no region")["status"].take();
    // From here on, to leave them out means what the status says.
    tenant.edit_account(json!({"default_region": ABROAD}));
    tenant.apply(
        "api",
        places.spec(&json!({"region": null, "account": null, "tags": {"a": "b"}})),
    );
    let after = places.is_there_alone("api", &right, "neither region nor account")["status"].take();
    for field in ["account", "region", "vpc_endpoint_id", "incarnation"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    places.leaves_nothing("api", "unnamed");
}

#[test]
fn once_there_is_an_endpoint_the_schema_takes_only_what_it_has() {
    let places = Places::new(World::shared(), "made");
    let tenant = &places.tenant;
    let right = places.spec(&json!({}));
    tenant.apply("api", right.clone());
    let before = places.is_there_alone("api", &right, "made");
    for (what, fields) in &places.edits {
        let refusal = tenant.try_apply("api", places.spec(fields)).expect_err(what);
        assert!(
            refusal.message.contains(" stays ")
                && refusal.message.contains(&text(&before["status"]["vpc_endpoint_id"])),
            "{what}: {}",
            refusal.message
        );
    }
    assert_eq!(
        tenant.get("api").expect("it is there")["metadata"]["generation"],
        before["metadata"]["generation"]
    );
    let bare = tenant.service.rsplit('.').next().expect("an id").to_owned();
    tenant.apply("api", merged(right.clone(), json!({"vpc_endpoint_service_id": bare})));
    places.is_there_alone("api", &right, "its service by its id alone");
    places.leaves_nothing("api", "made");
}

#[test]
fn what_may_have_been_created_under_a_refused_role_is_searched_before_anything_is_created_elsewhere() {
    let world = World::shared();
    let places = Places::new(world, "refused");
    let tenant = &places.tenant;
    // There is a group, and AWS does not know the service.
    tenant.apply(
        "api",
        places.spec(&json!({"vpc_endpoint_service_id": "vpce-svc-0aaaaaaaaaaaaaaaa"})),
    );
    tenant.not_ready("api", "NotFound");
    assert_eq!((places.endpoints().len(), places.groups().len()), (0, 1));
    world.set_trust(&tenant.role_arn, false);
    world.aws.expire_sessions_of(&tenant.role_arn);
    let elsewhere = places.spec(&places.edits[3].1);
    tenant.apply("api", elsewhere.clone());
    let message = tenant.not_ready("api", "AccountNotReady");
    let second = format!("{}-second", tenant.account);
    for words in [
        &format!("account from {} to {second}", tenant.account),
        tenant.account_id.as_str(),
        "Nothing is created under the new values until that is done",
    ] {
        assert!(message.contains(words), "{words:?} is not in {message}");
    }
    assert_eq!((places.endpoints().len(), places.groups().len()), (0, 1));
    // It can be undone, and gone on with.
    world.set_trust(&tenant.role_arn, true);
    places.is_there_alone("api", &elsewhere, "the role is back");
    places.leaves_nothing("api", "refused");
}

#[test]
fn a_removed_mapping_does_not_block_another_account_that_maps_the_namespace() {
    let places = Places::new(World::shared(), "remapped");
    let tenant = &places.tenant;
    tenant.apply(
        "api",
        places.spec(&json!({"vpc_endpoint_service_id": "vpce-svc-0aaaaaaaaaaaaaaaa"})),
    );
    tenant.not_ready("api", "NotFound");
    tenant.edit_account(json!({"namespaces": []}));
    tenant.not_ready("api", "MappingRevoked");
    assert_eq!(places.groups().len(), 1, "it is frozen, and not destroyed");
    let elsewhere = places.spec(&places.edits[3].1);
    tenant.apply("api", elsewhere.clone());
    places.is_there_alone("api", &elsewhere, "another account");
    places.leaves_nothing("api", "remapped");
    let world = tenant.world;
    world.cluster.delete(&format!("{ACCOUNTS}/{}", tenant.account));
    world.eventually("the AWSAccount that nothing is bound to any more goes", || {
        world.aws_account(&tenant.account).is_none().then_some(())
    });
}

#[test]
fn what_was_made_with_provided_groups_is_found_and_removed_before_the_edit_is_carried_out() {
    let world = World::shared();
    let places = Places::new(world, "provided");
    let tenant = &places.tenant;
    let provided = |fields: &Value| {
        let groups = json!({"security_group_type": "provided", "security_group_ids": [tenant.group]});
        places.spec(&merged(fields.clone(), groups))
    };
    let gate = world.aws.pause(Hold {
        account: Some(tenant.account_id.clone()),
        ..Hold::next("CreateVpcEndpoint", PausePoint::After)
    });
    tenant.apply("api", provided(&json!({})));
    assert!(gate.wait_reached(WITHIN), "no endpoint is made");
    let edited = provided(&places.edits[0].1);
    tenant.apply("api", edited.clone());
    gate.release();
    let object = tenant.ready("api");
    let endpoints = places.endpoints();
    let [(_, _, endpoint)] = &endpoints[..] else {
        panic!("{} endpoints: {endpoints:#?}", endpoints.len());
    };
    assert_eq!(object["status"]["vpc_endpoint_id"], endpoint.id);
    assert_eq!(edited["vpc_endpoint_service_id"], endpoint.service_name);
    places.leaves_nothing("api", "provided");
}
