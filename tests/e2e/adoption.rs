//! Endpoints that exist already: adopted, observed, given back.

use serde_json::{Value, json};
use vpce_testbed::aws::EndpointView;

use crate::cluster;
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, id, merged, text};

/// A tenant whose role has the policy that `iam-policy tenant --adopt` prints.
pub(crate) fn tenant<'w>(world: &'w World, name: &str, changes: Value) -> Tenant<'w> {
    let tenant = world.unregistered_tenant(name);
    let spec = merged(
        json!({"role_arn": tenant.role_arn, "allowed_vpc_ids": [tenant.vpc], "allowed_vpc_endpoint_types": ["Interface", "Gateway"]}),
        changes,
    );
    let parsed = serde_json::from_value(spec.clone()).expect("a spec");
    let scope = vpce_core::iam::Scope {
        adoption: true,
        ..vpce_core::iam::Scope::of(&parsed)
    };
    world.set_role(&tenant.role_arn, &scope);
    tenant.register(spec);
    tenant
}

impl Tenant<'_> {
    /// An endpoint of another tool's, with a group and a tag of its own.
    pub(crate) fn foreign_endpoint(&self) -> EndpointView {
        let (aws, account, region) = (&self.world.aws, &self.account_id, &self.region);
        let id = aws
            .add_endpoint_behind(account, region, &self.subnets[0], &self.service, &self.group)
            .expect("an endpoint");
        aws.set_tag(account, region, &id, "Name", "made-by-hand")
            .expect("a tag");
        self.endpoint(&id)
    }

    pub(crate) fn endpoint(&self, id: &str) -> EndpointView {
        let endpoint = self.endpoints().into_iter().find(|endpoint| endpoint.id == id);
        endpoint.unwrap_or_else(|| panic!("{id} is not there"))
    }

    pub(crate) fn consent(&self, id: &str, name: &str) {
        let value = format!("{}/{}/{name}", self.world.cluster_id(), self.namespace);
        let aws = &self.world.aws;
        aws.set_tag(&self.account_id, &self.region, id, "silvermullet.com/adopt", &value)
            .expect("it is there");
    }

    /// Applies what is not adopted. Tags are seen when the endpoint is read again.
    #[track_caller]
    fn refuses(&self, name: &str, spec: Value, reason: &str, words: &[&str]) {
        self.apply(name, spec);
        self.eventually(name, "it says why", || {
            let ready = self.condition(name, "Ready")?;
            let says = words.iter().all(|word| ready.message.contains(word));
            (!ready.status && ready.reason == reason && says).then_some(())
        });
    }

    /// The least spec that adopts.
    pub(crate) fn adopts(&self, id: &str, changes: Value) -> Value {
        let spec = json!({"vpc_id": self.vpc, "vpc_endpoint_service_id": self.service, "vpc_endpoint_id": id});
        merged(spec, changes)
    }
}

/// What traffic depends on.
fn traffic(endpoint: &EndpointView) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        endpoint.id.clone(),
        endpoint.subnet_ids.clone(),
        endpoint.group_ids.clone(),
        endpoint.private_dns_enabled,
        endpoint.dns_names.clone(),
    )
}

#[test]
fn an_endpoint_is_adopted_by_one_call_and_nothing_that_the_spec_does_not_say_is_changed() {
    let world = World::own(Setup::fast());
    let tenant = tenant(&world, "adoption", json!({"allow_retain": true}));
    let before = tenant.foreign_endpoint();
    tenant.consent(&before.id, "db");
    tenant.apply("db", tenant.adopts(&before.id, json!({})));
    let object = tenant.ready("db");
    assert_eq!(tenant.writes(), ["CreateTags"]);
    let after = tenant.endpoint(&before.id);
    assert_eq!(traffic(&after), traffic(&before));
    assert_eq!(after.tags["Name"], "made-by-hand");
    assert_eq!(after.tags["silvermullet.com/name"], "db");
    let status = &object["status"];
    assert_eq!(status["vpc_endpoint_id"], json!(before.id));
    assert_eq!(status["adopted"], json!(true));
    assert_eq!(status["network"]["subnet_ids"], json!([tenant.subnets[0]]));
    assert!(tenant.kubernetes_service("db").is_some());
    assert_eq!(tenant.groups(), [], "no group is made");

    // The tag has done its work; and the object keeps its endpoint where the spec names it no more.
    tenant.merge(
        "db",
        json!({"spec": {"vpc_endpoint_id": null, "subnet_ids": [tenant.subnets[0], tenant.subnets[1]]}}),
    );
    let aws = &world.aws;
    aws.delete_tag(&tenant.account_id, &tenant.region, &before.id, "silvermullet.com/adopt")
        .expect("it has it");
    tenant.eventually("db", "the subnet that is given is added", || {
        (tenant.endpoint(&before.id).subnet_ids.len() == 2).then_some(())
    });
    tenant.ready("db");
    let edited = tenant.endpoint(&before.id);
    assert_eq!(edited.group_ids, before.group_ids);

    // A group that is given replaces those that are there, and one that is taken away again leaves
    // the operator's own.
    tenant.merge("db", json!({"spec": {"security_group_type": "generated"}}));
    tenant.eventually("db", "it has a group of its own", || {
        (tenant.endpoint(&before.id).group_ids != before.group_ids).then_some(())
    });
    tenant.ready("db");
    tenant.merge(
        "db",
        json!({"spec": {"security_group_type": null, "tags": {"edited": "yes"}}}),
    );
    tenant.eventually("db", "it is tagged", || {
        tenant.endpoint(&before.id).tags.get("edited").map(drop)
    });
    tenant.ready("db");
    assert_ne!(tenant.endpoint(&before.id).group_ids, before.group_ids);

    // And back again.
    tenant.merge("db", json!({"spec": {"deletion_policy": "Retain"}}));
    tenant.delete("db");
    tenant.gone("db");
    let retained = tenant.endpoint(&before.id);
    assert!(!retained.tags.contains_key("silvermullet.com/cluster"), "{retained:#?}");
}

#[test]
fn an_adopted_endpoint_is_deleted_with_its_object() {
    let tenant = tenant(World::shared(), "adopted-deleted", json!({}));
    let before = tenant.foreign_endpoint();
    tenant.consent(&before.id, "db");
    tenant.apply("db", tenant.adopts(&before.id, json!({})));
    tenant.ready("db");
    tenant.delete("db");
    tenant.gone("db");
    assert!(tenant.endpoints().is_empty(), "{:#?}", tenant.endpoints());
    assert_eq!(tenant.writes(), ["CreateTags", "DeleteVpcEndpoints"]);
}

#[test]
fn an_observed_endpoint_is_published_and_nothing_in_aws_is_changed() {
    let world = World::own(Setup::fast());
    let tenant = tenant(&world, "observed", json!({"default_tags": {"team": "blue"}}));
    let before = tenant.foreign_endpoint();
    tenant.consent(&before.id, "db");
    let before = tenant.endpoint(&before.id);
    let observes = json!({
        "management_policy": "Observe", "security_group_type": "generated", "subnet_ids": tenant.subnets[..2],
        "private_dns_enabled": false, "tags": {"a": "b"},
    });
    tenant.apply("db", tenant.adopts(&before.id, observes));
    let object = tenant.ready("db");
    assert_eq!(object["status"]["vpc_endpoint_id"], json!(before.id));
    assert_eq!(object["status"]["network"]["subnet_ids"], json!(before.subnet_ids));
    let service = tenant.kubernetes_service("db").expect("a Service");
    assert_eq!(service["spec"]["externalName"], object["status"]["dns_name"]);

    // What changes there is seen with the next read of the region, and published.
    let aws = &world.aws;
    let group = tenant.add_group("other");
    aws.attach_group(&tenant.account_id, &tenant.region, &before.id, &group)
        .expect("it is there");
    let tag = "silvermullet.com/adopt";
    aws.delete_tag(&tenant.account_id, &tenant.region, &before.id, tag)
        .expect("it has it");
    let message = tenant.not_ready("db", "NotAdoptable");
    assert!(message.contains("create-tags") && message.contains(tag), "{message}");
    assert!(tenant.kubernetes_service("db").is_some(), "what was published stays");
    tenant.consent(&before.id, "db");
    tenant.ready("db");

    tenant.delete("db");
    tenant.gone("db");
    assert!(tenant.kubernetes_service("db").is_none());
    let after = tenant.endpoint(&before.id);
    assert_eq!(after.tags, before.tags);
    assert_eq!(tenant.writes(), [] as [&str; 0]);
}

#[test]
fn a_read_that_has_begun_waits_for_the_rate_limit_and_does_not_begin_anew() {
    // It takes two calls to read an observed endpoint, and there is never a token for both.
    let world = World::own(Setup::fast().value("settings.awsLimits.DescribeVpcEndpoints", "1/2"));
    let tenant = tenant(&world, "observed-slowly", json!({}));
    let endpoint = tenant.foreign_endpoint();
    tenant.consent(&endpoint.id, "db");
    let observes = tenant.adopts(&endpoint.id, json!({"management_policy": "Observe"}));
    tenant.apply("db", observes);
    tenant.ready("db");
    let resyncs = || {
        let calls = tenant.calls();
        calls
            .iter()
            .filter(|call| call.action == "DescribeSecurityGroups")
            .count()
    };
    let begun = resyncs();
    tenant.eventually("db", "it is compared again", || (resyncs() >= begun + 2).then_some(()));
}

#[test]
fn observed_endpoints_of_a_region_are_read_together() {
    let world = World::own(Setup::fast());
    let tenant = tenant(&world, "observed-many", json!({}));
    for number in 0..20 {
        let (name, endpoint) = (format!("db-{number}"), tenant.foreign_endpoint());
        tenant.consent(&endpoint.id, &name);
        tenant.apply(
            &name,
            tenant.adopts(&endpoint.id, json!({"management_policy": "Observe"})),
        );
    }
    for number in 0..20 {
        tenant.ready(&format!("db-{number}"));
    }
    let reads = || {
        let calls = tenant.calls();
        let of = |action: &str| calls.iter().filter(|call| call.action == action).count();
        (of("DescribeVpcEndpoints"), of("DescribeSecurityGroups"))
    };
    // A read of everything is one call for groups, and for endpoints one by the cluster's tag and
    // one by ids.
    let begin = reads();
    let (endpoints, groups) = tenant.eventually("db-0", "three resyncs have passed", || {
        let now = reads();
        (now.1 >= begin.1 + 3).then_some((now.0 - begin.0, now.1 - begin.1))
    });
    assert!(
        endpoints <= 2 * groups + 2,
        "{endpoints} reads of endpoints in {groups} resyncs"
    );
    assert_eq!(tenant.writes(), [] as [&str; 0]);
}

#[test]
fn what_may_not_be_adopted_says_why_and_is_adopted_once_it_may() {
    let tenant = tenant(World::shared(), "adoption-refused", json!({"allowed_vpc_ids": null}));
    let aws = &tenant.world.aws;
    let (account, region) = (&tenant.account_id, &tenant.region);
    let endpoint = tenant.foreign_endpoint();
    let with = |changes: Value| tenant.adopts(&endpoint.id, changes);

    tenant.refuses(
        "untagged",
        with(json!({})),
        "NotAdoptable",
        &["create-tags", "silvermullet.com/adopt"],
    );
    tenant.consent(&endpoint.id, "other-vpc");
    let vpc = id("vpc");
    aws.add_vpc(account, region, &vpc, "10.9.0.0/16").expect("a VPC");
    tenant.refuses(
        "other-vpc",
        with(json!({"vpc_id": vpc})),
        "NotAdoptable",
        &[&tenant.vpc, "set vpc_id"],
    );
    tenant.consent(&endpoint.id, "other-service");
    let sts = format!("com.amazonaws.{region}.sts");
    tenant.refuses(
        "other-service",
        with(json!({"vpc_endpoint_service_id": sts})),
        "NotAdoptable",
        &["set vpc_endpoint_service_id"],
    );
    let gateway = aws
        .add_gateway_endpoint_behind(account, region, &tenant.vpc, &format!("com.amazonaws.{region}.s3"))
        .expect("an endpoint");
    tenant.consent(&gateway, "other-type");
    let s3 = json!({"vpc_endpoint_service_id": format!("com.amazonaws.{region}.s3"), "vpc_endpoint_id": gateway});
    tenant.refuses(
        "other-type",
        with(s3.clone()),
        "NotAdoptable",
        &["set vpc_endpoint_type to Gateway"],
    );
    let managed = aws
        .add_requester_managed_endpoint(account, region, &tenant.vpc, &sts, [].into())
        .expect("an endpoint");
    tenant.consent(&managed, "managed");
    let of_a_service = json!({"vpc_endpoint_service_id": sts, "vpc_endpoint_id": managed});
    tenant.refuses(
        "managed",
        with(of_a_service),
        "NotAdoptable",
        &["an AWS service manages it"],
    );
    let gone = json!({"vpc_endpoint_id": id("vpce")});
    tenant.refuses(
        "gone",
        with(gone),
        "NotFound",
        &["does not exist", "correct vpc_endpoint_id"],
    );
    assert_eq!(tenant.writes(), [] as [&str; 0]);

    // Two objects name one endpoint: the tag says whose it is.
    tenant.consent(&endpoint.id, "first");
    tenant.apply("first", with(json!({})));
    tenant.ready("first");
    tenant.refuses("second", with(json!({})), "NotAdoptable", &["another VPCEndpoint"]);
    tenant.consent(&endpoint.id, "second");
    tenant.refuses("third", with(json!({})), "NotAdoptable", &["another VPCEndpoint"]);
    tenant.ready("first");

    // Each can go, and takes nothing with it.
    for name in [
        "untagged",
        "other-vpc",
        "other-service",
        "managed",
        "gone",
        "second",
        "third",
    ] {
        tenant.delete(name);
        tenant.gone(name);
    }
    tenant.merge("other-type", json!({"spec": {"vpc_endpoint_type": "Gateway"}}));
    tenant.ready("other-type");
    assert_eq!((tenant.endpoints().len(), tenant.writes().len()), (3, 2));
}

#[test]
fn an_adopted_endpoint_that_is_deleted_in_aws_is_replaced_only_where_the_spec_names_none() {
    let tenant = tenant(World::shared(), "adopted-gone", json!({}));
    let before = tenant.foreign_endpoint();
    tenant.consent(&before.id, "db");
    tenant.apply(
        "db",
        tenant.adopts(&before.id, json!({"subnet_ids": tenant.subnets[..1]})),
    );
    tenant.ready("db");
    let aws = &tenant.world.aws;
    aws.delete_endpoint_behind(&tenant.account_id, &tenant.region, &before.id)
        .expect("it is there");
    let message = tenant.not_ready("db", "NotFound");
    assert!(
        message.contains(&before.id) && message.contains("leave it out"),
        "{message}"
    );
    assert!(tenant.endpoints().is_empty());
    tenant.merge("db", json!({"spec": {"vpc_endpoint_id": null}}));
    let object = tenant.eventually("db", "it has an endpoint", || {
        let object = tenant.get("db")?;
        let id = text(&object["status"]["vpc_endpoint_id"]);
        (id.starts_with("vpce-") && id != before.id && condition(&object, "Ready")?.status).then_some(object)
    });
    assert_eq!(object["status"].get("adopted"), None);
}

#[test]
fn a_role_that_may_not_tag_says_so_and_an_object_that_was_never_adopted_leaves_the_endpoint() {
    let tenant = World::shared().tenant("adoption-denied");
    let before = tenant.foreign_endpoint();
    tenant.consent(&before.id, "db");
    tenant.apply("db", tenant.adopts(&before.id, json!({})));
    let message = tenant.not_ready("db", "Denied");
    assert!(message.contains("ec2:CreateTags"), "{message}");
    tenant.delete("db");
    tenant.gone("db");
    assert_eq!(traffic(&tenant.endpoint(&before.id)), traffic(&before));
}

#[test]
fn the_schema_says_what_goes_with_adoption() {
    let tenant = World::shared().tenant("adoption-schema");
    for (spec, words) in [
        (
            json!({"management_policy": "Observe"}),
            ["management_policy Observe", "vpc_endpoint_id"],
        ),
        (
            json!({"vpc_endpoint_id": "vpc-1"}),
            ["spec.vpc_endpoint_id", "a VPC endpoint"],
        ),
        (
            json!({"management_policy": "Watch"}),
            ["spec.management_policy", "Observe"],
        ),
    ] {
        let refusal = tenant
            .try_apply("refused", tenant.spec(spec.clone()))
            .expect_err("refused");
        for word in words {
            assert!(refusal.message.contains(word), "{spec}: {refusal:?}");
        }
    }
    tenant.apply("made", tenant.spec(json!({})));
    let own = text(&tenant.ready("made")["status"]["vpc_endpoint_id"]);
    let name = |id: &str| tenant.try_apply("made", tenant.spec(json!({"vpc_endpoint_id": id})));
    let refusal = name(&id("vpce")).expect_err("another");
    assert!(refusal.message.contains("status.vpc_endpoint_id"), "{refusal:?}");
    // Its own it may name.
    name(&own).expect("its own");
    tenant.ready("made");
    assert_eq!(tenant.endpoints().len(), 1);
    let path = format!("{}/made", cluster::endpoints(&tenant.namespace));
    let object = tenant.world.cluster.get(&path).expect("it is there");
    assert_eq!(object["status"].get("adopted"), None);
}
