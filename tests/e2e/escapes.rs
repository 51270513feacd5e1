//! Escapes tried: what a team does to reach what others have, with rights in its own namespace,
//! some of them given by mistake; and that it reaches nothing.
//!
//! Where two teams have something in one AWS account, their roles may do everything in it: so it is
//! the operator that is tested, and not IAM.

use http::Method;
use serde_json::{Value, json};
use vpce_testbed::aws::{Call, EndpointView, GroupView, RoleSpec};

use crate::cluster::{self, Run};
use crate::tenant::Tenant;
use crate::world::{World, id};

mod accounts;
mod copies;
mod namespaces;
mod networks;
mod services;
mod status;
mod tags;

/// A team that has an endpoint `api`, and another that is after it, in one AWS account and VPC.
/// Each has an AWSAccount, and a role that may do everything.
fn neighbours(name: &str) -> (Tenant<'static>, Tenant<'static>) {
    let victim = World::shared().unregistered_tenant(&format!("{name}-victim"));
    let attacker = neighbour(&victim, &format!("{name}-attacker"));
    for tenant in [&victim, &attacker] {
        open_role(tenant);
        tenant.register(json!({}));
    }
    victim.apply("api", victim.spec(json!({})));
    victim.ready("api");
    (victim, attacker)
}

/// Another namespace, with a role of its own, in a tenant's AWS account and VPC.
fn neighbour<'w>(tenant: &Tenant<'w>, name: &str) -> Tenant<'w> {
    // Whatever is unique will do.
    let namespace = format!("{name}-{}", &id("n")[10..]);
    let world = tenant.world;
    world.cluster.create_namespace(&namespace, json!({"tenant": namespace}));
    Tenant {
        world,
        account: namespace.clone(),
        role_arn: format!("{}-{namespace}", tenant.role_arn),
        namespace,
        account_id: tenant.account_id.clone(),
        region: tenant.region.clone(),
        vpc: tenant.vpc.clone(),
        subnets: tenant.subnets.clone(),
        group: tenant.group.clone(),
        service: tenant.service.clone(),
        over: None,
    }
}

/// Lets a tenant's role do everything in its AWS account.
fn open_role(tenant: &Tenant<'_>) {
    let open = RoleSpec {
        policy: None,
        ..tenant.world.role(&tenant.role_arn, None)
    };
    tenant.world.aws.set_role(&tenant.role_arn, open).expect("a role");
}

/// All that a tenant has, in AWS and in its namespace, down to the resource versions.
#[derive(Debug, PartialEq)]
struct Belongings {
    endpoints: Vec<EndpointView>,
    groups: Vec<GroupView>,
    objects: Vec<Value>,
    services: Vec<Value>,
}

impl Belongings {
    fn of(tenant: &Tenant<'_>) -> Self {
        let cluster = &tenant.world.cluster;
        let is_its = |tags: &std::collections::BTreeMap<String, String>| {
            tags.get("silvermullet.com/namespace") == Some(&tenant.namespace)
        };
        let mut endpoints = tenant.endpoints();
        endpoints.retain(|endpoint| is_its(&endpoint.tags));
        let mut groups = tenant.groups();
        groups.retain(|group| is_its(&group.tags));
        Self {
            endpoints,
            groups,
            objects: cluster.list(&cluster::endpoints(&tenant.namespace)),
            services: cluster.list(&cluster::services(&tenant.namespace)),
        }
    }

    /// How many endpoints and groups it has in AWS.
    fn in_aws(&self) -> (usize, usize) {
        (self.endpoints.len(), self.groups.len())
    }
}

/// The calls under a tenant's role that change something in EC2.
fn writes(tenant: &Tenant<'_>) -> Vec<Call> {
    let mut calls = tenant.calls();
    calls.retain(|call| call.mutating() && call.role == tenant.role_arn);
    calls
}

/// The calls to EC2 under a tenant's role, but for those for the AWSAccount's own sake: it asks
/// what the role may do, and reads what the cluster has there.
fn calls_to_ec2(tenant: &Tenant<'_>) -> usize {
    writes(tenant).len()
}

/// Has an object looked at now.
fn look(tenant: &Tenant<'_>, name: &str) {
    let annotation = json!({"silvermullet.com/reconcile-at": id("look")});
    tenant.merge(name, json!({"metadata": {"annotations": annotation}}));
}

/// Waits until the operator has read the AWS account in whole twice more: whatever it was about to
/// do there, it has begun.
pub(crate) fn rest(tenant: &Tenant<'_>) {
    let mark = tenant.world.aws.now();
    tenant.world.eventually("two more looks at the AWS account", || {
        let calls = tenant.calls();
        let looks = calls
            .iter()
            .filter(|call| call.time > mark && call.action == "DescribeVpcEndpoints");
        (looks.count() >= 2).then_some(())
    });
}

/// A user who may write the status of VPCEndpoints in a tenant's namespace, by mistake.
struct Forger<'t, 'w> {
    tenant: &'t Tenant<'w>,
    user: String,
}

impl<'t, 'w> Forger<'t, 'w> {
    fn of(tenant: &'t Tenant<'w>) -> Self {
        let user = format!("forger-{}", tenant.namespace);
        let rbac = "rbac.authorization.k8s.io";
        let collection = |plural: &str| format!("/apis/{rbac}/v1/namespaces/{}/{plural}", tenant.namespace);
        let role = json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": "mistake"},
            "rules": [{"apiGroups": ["silvermullet.com"], "resources": ["vpcendpoints", "vpcendpoints/status"], "verbs": ["*"]}],
        });
        let binding = json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": "mistake"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "mistake"},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": user}],
        });
        for (plural, object) in [("roles", role), ("rolebindings", binding)] {
            let created = tenant.world.cluster.create(&collection(plural), &object, Run::Real);
            created.unwrap_or_else(|refusal| panic!("{plural}: {}", refusal.message));
        }
        Self { tenant, user }
    }

    /// Merges something into an object's status; null takes a field away.
    fn forge(&self, name: &str, status: &Value) {
        let path = format!("{}/{name}/status", cluster::endpoints(&self.tenant.namespace));
        let body = json!({"status": status});
        // The API server learns of the mistake a moment later.
        self.tenant.eventually(name, "the status is forged", || {
            let content_type = "application/merge-patch+json";
            let cluster = &self.tenant.world.cluster;
            match cluster.send_as(&self.user, Method::PATCH, &path, content_type, &body) {
                Ok(_) => Some(()),
                Err(refusal) if refusal.code == 403 => None,
                Err(refusal) => panic!("{path}: {}", refusal.message),
            }
        });
    }
}
