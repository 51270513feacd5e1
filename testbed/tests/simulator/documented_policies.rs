//! The policies of `docs/iam`, in force: an endpoint lives its whole life with them, and with
//! nothing less.

use serde_json::{Value, json};
use vpce_testbed::aws::{BASE_ACCOUNT, Config, RoleSpec, Simulator};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, SERVICE, simulator};

const ROLE: &str = "arn:aws:iam::111111111111:role/vpce-operator";
const CLUSTER_TAG: &str = "silvermullet.com/cluster";
const CLUSTER: &str = "5c3a8d2e-cluster";
const OTHER_CLUSTER: &str = "77aa-other-cluster";
const EXTERNAL_ID: &str = "agreed-on";

const PERMISSIONS: &str = include_str!("../../../docs/iam/tenant-role-permissions.json");
const TRUST: &str = include_str!("../../../docs/iam/tenant-role-trust.json");
const POD_IDENTITY_TRUST: &str = include_str!("../../../docs/iam/tenant-role-trust-pod-identity.json");
const BASE: &str = include_str!("../../../docs/iam/base-role-permissions.json");
const POD_IDENTITY_BASE: &str = include_str!("../../../docs/iam/base-role-permissions-pod-identity.json");
const SOURCE_IDENTITY_TRUST: &str = include_str!("../../../docs/iam/tenant-role-trust-source-identity.json");
const SOURCE_IDENTITY_BASE: &str = include_str!("../../../docs/iam/base-role-permissions-source-identity.json");

/// A document with the simulator's values in place of the example's.
fn filled(document: &str) -> String {
    document
        .replace("999999999999", BASE_ACCOUNT)
        .replace("111122223333", ACCOUNT)
        .replace("8d2f6a1c-4b7e-4c39-9a54-0e1b7c6d5f20", CLUSTER)
        .replace("5f0c3b1e-payments", EXTERNAL_ID)
}

fn permissions() -> Value {
    serde_json::from_str(&filled(PERMISSIONS)).unwrap()
}

/// A call that was refused, and why.
#[derive(Debug)]
struct Refusal {
    call: String,
    message: String,
}

struct Tenant {
    simulator: Simulator,
    base: Client,
    client: Client,
}

impl Tenant {
    /// A tenant's account, whose role and the base role have the documented policies, but for
    /// `policy` as the role's permissions.
    fn new(policy: &Value) -> Self {
        let (simulator, _) = simulator(Config {
            throttle: false,
            base_is_session: true,
            ..Config::default()
        });
        let role = RoleSpec {
            policy: Some(policy.to_string()),
            trust_policy: Some(filled(TRUST)),
            ..RoleSpec::default()
        };
        simulator.add_role(ROLE, role).unwrap();
        simulator.set_base_policy(Some(filled(BASE))).unwrap();
        let base = Client::base(&simulator, REGION);
        let session = assume(&base, &[("ExternalId", EXTERNAL_ID)]).succeeded();
        let client = base.with_key(&session.text("AccessKeyId"), Some(&session.text("SessionToken")));
        Self {
            simulator,
            base,
            client,
        }
    }

    fn call(&self, action: &str, params: &[(&str, &str)]) -> Result<Answer, Refusal> {
        let answer = self.client.ec2(action, params);
        // Items of `unsuccessful` have their code and message in lower case.
        let (code, message) = match answer.status {
            200 => (answer.text("code"), answer.text("message")),
            _ => (answer.text("Code"), answer.text("Message")),
        };
        match code.as_str() {
            "" => Ok(answer),
            "UnauthorizedOperation" => Err(Refusal {
                call: action.to_owned(),
                message,
            }),
            _ => panic!("{action}: {}", answer.body),
        }
    }

    fn create_group(&self, tag: &str, cluster: &str) -> Result<String, Refusal> {
        let params = [
            ("GroupName", cluster),
            ("GroupDescription", "a test"),
            ("VpcId", "vpc-1"),
            ("TagSpecification.1.ResourceType", "security-group"),
            ("TagSpecification.1.Tag.1.Key", tag),
            ("TagSpecification.1.Tag.1.Value", cluster),
        ];
        Ok(self.call("CreateSecurityGroup", &params)?.text("groupId"))
    }

    fn create_endpoint(&self, tag: &str, cluster: &str, group: &str) -> Result<String, Refusal> {
        let params = [
            ("VpcEndpointType", "Interface"),
            ("VpcId", "vpc-1"),
            ("ServiceName", SERVICE),
            ("SubnetId.1", "subnet-a"),
            ("SecurityGroupId.1", group),
            ("TagSpecification.1.ResourceType", "vpc-endpoint"),
            ("TagSpecification.1.Tag.1.Key", tag),
            ("TagSpecification.1.Tag.1.Value", cluster),
        ];
        Ok(self.call("CreateVpcEndpoint", &params)?.text("vpcEndpointId"))
    }

    /// Everything that is done to a group: each direction's rules are there, described again, and
    /// gone.
    fn change_group(&self, group: &str) -> Result<(), Refusal> {
        let rule = [
            ("GroupId", group),
            ("IpPermissions.1.IpProtocol", "tcp"),
            ("IpPermissions.1.FromPort", "443"),
            ("IpPermissions.1.ToPort", "443"),
            ("IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/16"),
        ];
        for direction in ["Ingress", "Egress"] {
            self.call(&format!("AuthorizeSecurityGroup{direction}"), &rule)?;
            self.call(&format!("UpdateSecurityGroupRuleDescriptions{direction}"), &rule)?;
            self.call(&format!("RevokeSecurityGroup{direction}"), &rule)?;
        }
        self.tag_and_untag(group)
    }

    fn modify(&self, endpoint: &str, group: &str) -> Result<(), Refusal> {
        let params = [
            ("VpcEndpointId", endpoint),
            ("AddSubnetId.1", "subnet-b"),
            ("AddSecurityGroupId.1", "sg-1"),
            ("RemoveSecurityGroupId.1", group),
        ];
        self.call("ModifyVpcEndpoint", &params)?;
        self.simulator.advance(31.0);
        Ok(())
    }

    fn tag_and_untag(&self, id: &str) -> Result<(), Refusal> {
        let tag = [("ResourceId.1", id), ("Tag.1.Key", "team"), ("Tag.1.Value", "blue")];
        self.call("CreateTags", &tag)?;
        self.call("DeleteTags", &tag[..2]).map(drop)
    }

    fn delete_endpoint(&self, endpoint: &str) -> Result<(), Refusal> {
        self.call("DeleteVpcEndpoints", &[("VpcEndpointId.1", endpoint)])?;
        self.simulator.advance(200.0);
        Ok(())
    }

    fn delete_group(&self, group: &str) -> Result<(), Refusal> {
        self.call("DeleteSecurityGroup", &[("GroupId", group)]).map(drop)
    }

    /// An endpoint with a group of its own, from before it is there until it is gone, by every call
    /// that the operator makes.
    fn live(&self) -> Result<(), Refusal> {
        self.call("DescribeVpcEndpoints", &[])?;
        self.call("DescribeSecurityGroups", &[])?;
        let group = self.create_group(CLUSTER_TAG, CLUSTER)?;
        self.change_group(&group)?;
        let endpoint = self.create_endpoint(CLUSTER_TAG, CLUSTER, &group)?;
        self.simulator.advance(61.0);
        self.modify(&endpoint, &group)?;
        self.tag_and_untag(&endpoint)?;
        self.delete_endpoint(&endpoint)?;
        self.call(
            "DescribeNetworkInterfaces",
            &[("Filter.1.Name", "group-id"), ("Filter.1.Value.1", &group)],
        )?;
        self.delete_group(&group)
    }
}

fn assume(base: &Client, more: &[(&str, &str)]) -> Answer {
    let params = [&[("RoleArn", ROLE), ("RoleSessionName", "test")], more].concat();
    base.sts("AssumeRole", &params)
}

/// The values of an element, which may be a single one.
fn values(element: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match element {
        Value::Array(values) => values.iter().map(text).collect(),
        one => vec![text(one)],
    }
}

/// The policy without one of the values of a statement's element; without the statement, if it was
/// the only one.
fn without(policy: &Value, statement: usize, pointer: &str, value: &str) -> Value {
    let mut less = policy.clone();
    let element = less["Statement"][statement].pointer_mut(pointer).unwrap();
    let kept: Vec<String> = values(element).into_iter().filter(|other| other != value).collect();
    if kept.is_empty() {
        less["Statement"].as_array_mut().unwrap().remove(statement);
    } else {
        *element = json!(kept);
    }
    less
}

/// Every statement's position and `Sid`, with the values of one of its elements, if it has that.
fn elements(policy: &Value, pointer: &str) -> Vec<(usize, String, String)> {
    let mut elements = Vec::new();
    for (index, statement) in policy["Statement"].as_array().unwrap().iter().enumerate() {
        // What one denies is missed by nothing.
        if statement["Effect"] == "Deny" {
            continue;
        }
        for value in statement.pointer(pointer).map(values).unwrap_or_default() {
            elements.push((index, statement["Sid"].as_str().unwrap().to_owned(), value));
        }
    }
    elements
}

#[test]
fn the_documented_policies_carry_an_endpoint_through_its_life() {
    let tenant = Tenant::new(&permissions());
    tenant.live().unwrap();
    assert!(tenant.simulator.endpoints(ACCOUNT, REGION).is_empty());
}

#[test]
fn without_any_one_action_a_named_call_fails() {
    let policy = permissions();
    for (index, sid, action) in elements(&policy, "/Action") {
        let outcome = Tenant::new(&without(&policy, index, "/Action", &action)).live();
        let refusal = outcome.expect_err(&format!("{action} of {sid} is not needed"));
        let call = match sid.as_str() {
            "TagWhatIsCreated" => "CreateSecurityGroup",
            _ => action.trim_start_matches("ec2:"),
        };
        assert_eq!(refusal.call, call, "{sid} without {action}: {}", refusal.message);
        let because = format!("because no identity-based policy allows the {action} action");
        assert!(refusal.message.contains(&because), "{}", refusal.message);
        assert!(
            refusal.message.contains("assumed-role/vpce-operator/test"),
            "{}",
            refusal.message
        );
    }
}

#[test]
fn without_any_one_resource_or_creating_action_a_call_fails() {
    let policy = permissions();
    for pointer in ["/Resource", "/Condition/StringEquals/ec2:CreateAction"] {
        let mut tried = 0;
        for (index, sid, value) in elements(&policy, pointer) {
            if value == "*" {
                continue; // Without its only resource the statement is gone, as without its actions.
            }
            tried += 1;
            let refusal = Tenant::new(&without(&policy, index, pointer, &value)).live();
            let refusal = refusal.expect_err(&format!("{value} of {sid} is not needed"));
            let kind = value.rsplit(':').next().unwrap().trim_end_matches('*');
            let told = refusal.message.contains(kind) || refusal.call == value;
            assert!(told, "{sid} without {value}: {refusal:?}");
        }
        assert!(tried > 0, "{pointer}");
    }
}

#[test]
fn what_lacks_the_clusters_tag_is_neither_made_nor_changed() {
    let policy = permissions();
    let tenant = Tenant::new(&policy);
    let refused = |outcome: Result<String, Refusal>, call: &str| assert_eq!(outcome.unwrap_err().call, call);
    refused(tenant.create_group(CLUSTER_TAG, OTHER_CLUSTER), "CreateSecurityGroup");
    refused(tenant.create_group("team", CLUSTER), "CreateSecurityGroup");
    refused(
        tenant.create_endpoint(CLUSTER_TAG, OTHER_CLUSTER, "sg-1"),
        "CreateVpcEndpoint",
    );
    refused(tenant.create_endpoint("team", CLUSTER, "sg-1"), "CreateVpcEndpoint");

    // Another cluster's, and one without any tag of ours.
    let other = serde_json::from_str(&policy.to_string().replace(CLUSTER, OTHER_CLUSTER)).unwrap();
    let set_policy = |policy: &Value| {
        let role = RoleSpec {
            policy: Some(policy.to_string()),
            trust_policy: Some(filled(TRUST)),
            ..RoleSpec::default()
        };
        tenant.simulator.set_role(ROLE, role).unwrap();
    };
    set_policy(&other);
    let group = tenant.create_group(CLUSTER_TAG, OTHER_CLUSTER).unwrap();
    let endpoint = tenant.create_endpoint(CLUSTER_TAG, OTHER_CLUSTER, &group).unwrap();
    tenant.simulator.advance(61.0);
    set_policy(&policy);
    for group in [group.as_str(), "sg-1"] {
        tenant.change_group(group).unwrap_err();
        tenant.tag_and_untag(group).unwrap_err();
        tenant.delete_group(group).unwrap_err();
    }
    // Not even the tag that would make it ours.
    let take_over = [
        ("ResourceId.1", group.as_str()),
        ("Tag.1.Key", CLUSTER_TAG),
        ("Tag.1.Value", CLUSTER),
    ];
    tenant.call("CreateTags", &take_over).unwrap_err();
    tenant.modify(&endpoint, &group).unwrap_err();
    tenant.tag_and_untag(&endpoint).unwrap_err();
    let refusal = tenant.delete_endpoint(&endpoint).unwrap_err();
    assert!(
        refusal.message.contains(&format!("vpc-endpoint/{endpoint}")),
        "{refusal:?}"
    );
    assert_eq!(tenant.simulator.endpoints(ACCOUNT, REGION)[0].state, "available");
}

#[test]
fn the_documented_trust_asks_for_the_base_role_and_the_external_id() {
    let tenant = Tenant::new(&permissions());
    assert_eq!(
        tenant.simulator.base_arn(),
        format!("arn:aws:iam::{BASE_ACCOUNT}:role/vpce-operator-base")
    );
    assume(&tenant.base, &[("ExternalId", "guessed")]).refused("AccessDenied");
    assume(&tenant.base, &[]).refused("AccessDenied");
    // Not even the tenant's own role, which may assume nothing.
    assume(&tenant.client, &[("ExternalId", EXTERNAL_ID)]).refused("AccessDenied");
    // The base role may assume no role of another name, even if that role trusts it.
    let other = [("RoleArn", crate::ROLE), ("RoleSessionName", "test")];
    tenant.base.sts("AssumeRole", &other).refused("AccessDenied");
    tenant.base.ec2("DescribeVpcs", &[]).refused("UnauthorizedOperation");
}

#[test]
fn pod_identitys_tags_need_the_permission_at_both_ends() {
    let tenant = Tenant::new(&permissions());
    let tags = [
        ("eks-cluster-arn", "arn:aws:eks:us-west-2:999999999999:cluster/one"),
        ("kubernetes-namespace", "vpce-system"),
    ];
    let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned()));
    tenant.simulator.set_base_session_tags(tags.into());
    for (base, trust, allowed) in [
        (BASE, TRUST, false),
        (POD_IDENTITY_BASE, TRUST, false),
        (BASE, POD_IDENTITY_TRUST, false),
        (POD_IDENTITY_BASE, POD_IDENTITY_TRUST, true),
    ] {
        tenant.simulator.set_base_policy(Some(filled(base))).unwrap();
        let role = RoleSpec {
            trust_policy: Some(filled(trust)),
            ..RoleSpec::default()
        };
        tenant.simulator.set_role(ROLE, role).unwrap();
        let answer = assume(&tenant.base, &[("ExternalId", EXTERNAL_ID)]);
        if allowed {
            answer.succeeded();
            assume(&tenant.base, &[]).refused("AccessDenied");
        } else {
            answer.refused("AccessDenied");
            assert!(answer.text("Message").contains("sts:TagSession"), "{}", answer.body);
        }
    }
}

#[test]
fn a_source_identity_needs_the_permission_at_both_ends_and_only_ours_is_let_in() {
    let tenant = Tenant::new(&permissions());
    let sent = |identity| {
        let params = [("ExternalId", EXTERNAL_ID), ("SourceIdentity", identity)];
        assume(&tenant.base, &params)
    };
    for (base, trust, allowed) in [
        (BASE, TRUST, false),
        (SOURCE_IDENTITY_BASE, TRUST, false),
        (BASE, SOURCE_IDENTITY_TRUST, false),
        (SOURCE_IDENTITY_BASE, SOURCE_IDENTITY_TRUST, true),
    ] {
        tenant.simulator.set_base_policy(Some(filled(base))).unwrap();
        let role = RoleSpec {
            trust_policy: Some(filled(trust)),
            ..RoleSpec::default()
        };
        tenant.simulator.set_role(ROLE, role).unwrap();
        // Policies come first and the setting after them: without one, all goes on.
        assume(&tenant.base, &[("ExternalId", EXTERNAL_ID)]).succeeded();
        let answer = sent("vpce-operator@payments@5c3a8d2e-cluster");
        if allowed {
            answer.succeeded();
            sent("another-operator").refused("AccessDenied");
        } else {
            answer.refused("AccessDenied");
            let said = answer.text("Message");
            assert!(said.contains("sts:SetSourceIdentity"), "{said}");
        }
    }
}
