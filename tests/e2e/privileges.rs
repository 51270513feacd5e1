//! What the operator's token, an app team and a reader may do, by the API server's own word; and
//! that nothing is granted which is not used.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::cluster::{self, ACCOUNTS, Cluster, NAMESPACES, Refusal, Run};
use crate::endpoint_services::Offers;
use crate::tenant::Tenant;
use crate::world::{Setup, World, endpoint, merged, text};

const OPERATOR: &str = "system:serviceaccount:vpce-system:vpce-operator";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
/// A name that a VPC endpoint may have.
const NAME: &str = "vpce-0a1b2c3d4e5f60718-x1y2z3a4.vpce-svc-0a1b2c3d4e5f60718.eu-central-1.vpce.amazonaws.com";
/// What the operator puts on a VPCEndpointService.
const SERVICE_FINALIZER: &str = "silvermullet.com/vpcesvc";
const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "vpce-operator");

/// A request as another user, which is only checked: authorization and admission say what
/// they would.
pub(crate) struct As<'c> {
    cluster: &'c Cluster,
    pub(crate) user: String,
}

impl As<'_> {
    fn request(&self, method: Method, path: &str, body: &Value) -> Result<Value, Refusal> {
        let content_type = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let path = match method {
            Method::GET => path.to_owned(),
            _ => format!("{path}?dryRun=All"),
        };
        self.cluster.send_as(&self.user, method, &path, content_type, body)
    }

    #[track_caller]
    pub(crate) fn may(&self, method: Method, path: &str, body: &Value) {
        let result = self.request(method.clone(), path, body);
        result.unwrap_or_else(|refusal| panic!("{} may not {method} {path}: {}", self.user, refusal.message));
    }

    /// Refused, with this in the message.
    #[track_caller]
    pub(crate) fn may_not(&self, method: Method, path: &str, body: &Value, says: &str) {
        match self.request(method.clone(), path, body) {
            Ok(_) => panic!("{} may {method} {path}", self.user),
            Err(refusal) => {
                assert_eq!(refusal.code, 403, "{method} {path}: {}", refusal.message);
                assert!(refusal.message.contains(says), "{method} {path}: {}", refusal.message);
            }
        }
    }
}

pub(crate) fn operator(world: &World) -> As<'_> {
    As {
        cluster: &world.cluster,
        user: OPERATOR.to_owned(),
    }
}

/// A user who has a ClusterRole in the tenant's namespace.
pub(crate) fn somebody<'w>(tenant: &Tenant<'w>, role: &str) -> As<'w> {
    let user = format!("{role}-{}", tenant.namespace);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": user, "namespace": tenant.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    let path = format!(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
        tenant.namespace
    );
    let cluster = &tenant.world.cluster;
    if let Err(refusal) = cluster.create(&path, &binding, Run::Real) {
        panic!("{path}: {}", refusal.message);
    }
    let somebody = As { cluster, user };
    // The controller manager aggregates, and the API server learns of both, a moment later.
    let path = cluster::endpoints(&tenant.namespace);
    tenant
        .world
        .eventually(&format!("{} reads VPCEndpoints", somebody.user), || {
            somebody.request(Method::GET, &path, &Value::Null).ok()
        });
    somebody
}

fn service(name: &str, changes: Value) -> Value {
    let metadata = merged(json!({"name": name}), changes);
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"type": "ExternalName", "externalName": NAME},
    })
}

/// A VPCEndpointService's manifest.
fn endpoint_service(name: &str) -> Value {
    let arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/net/web/50dc6c495c0c9188";
    json!({
        "apiVersion": "silvermullet.com/v1beta1", "kind": "VPCEndpointService", "metadata": {"name": name},
        "spec": {"load_balancer": {"network_load_balancer_arns": [arn]}},
    })
}

/// Applies a VPCEndpointService, and says where it is.
fn offer(tenant: &Tenant<'_>, name: &str) -> String {
    let collection = cluster::endpoint_services(&tenant.namespace);
    let created = tenant
        .world
        .cluster
        .create(&collection, &endpoint_service(name), Run::Real);
    created.unwrap_or_else(|refusal| panic!("{collection}: {}", refusal.message));
    format!("{collection}/{name}")
}

fn owner(kind: &str, controller: bool) -> Value {
    json!([{"apiVersion": "silvermullet.com/v1beta1", "kind": kind, "name": "a", "uid": "u-1", "controller": controller}])
}

/// Gives a user a ClusterRole in the whole cluster.
fn bind<'w>(world: &'w World, user: &str, role: &str) -> As<'w> {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": format!("{user}-{role}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    if let Err(refusal) = world.cluster.create(BINDINGS, &binding, Run::Real) {
        panic!("{BINDINGS}: {}", refusal.message);
    }
    As {
        cluster: &world.cluster,
        user: user.to_owned(),
    }
}

/// Waits until the policy is in force: the API server learns of it a moment after it was installed.
fn admission_is_in_force(world: &World) {
    let path = cluster::services("default");
    world.eventually("the admission policy is in force", || {
        let refused = operator(world).request(Method::POST, &path, &service("probe", json!({})));
        refused.is_err().then_some(())
    });
}

#[test]
fn the_operators_token_reaches_nothing_but_what_its_work_takes() {
    let world = World::shared();
    let tenant = world.tenant("stolen");
    let namespace = &tenant.namespace;
    let operator = operator(world);
    for resource in ["secrets", "pods", "configmaps", "serviceaccounts"] {
        for path in [
            format!("/api/v1/{resource}"),
            format!("/api/v1/namespaces/{namespace}/{resource}"),
            format!("/api/v1/namespaces/vpce-system/{resource}"),
        ] {
            operator.may_not(Method::GET, &path, &Value::Null, "cannot list resource");
        }
    }
    let namespace_path = format!("{NAMESPACES}/{namespace}");
    operator.may_not(Method::DELETE, &namespace_path, &Value::Null, "cannot delete resource");
    let label = json!({"metadata": {"labels": {"team": "other"}}});
    operator.may_not(Method::PATCH, &namespace_path, &label, "cannot patch resource");
    let endpoints = cluster::endpoints(namespace);
    let new = endpoint(namespace, "new", &tenant.spec(json!({})));
    operator.may_not(Method::POST, &endpoints, &new, "cannot create resource");
    let offered = offer(&tenant, "offered");
    operator.may(Method::GET, &cluster::endpoint_services(namespace), &Value::Null);
    operator.may_not(
        Method::POST,
        &cluster::endpoint_services(namespace),
        &endpoint_service("new"),
        "cannot create resource",
    );
    let account = format!("{ACCOUNTS}/{}", tenant.account);
    for path in [&account, &offered] {
        operator.may_not(Method::DELETE, path, &Value::Null, "cannot delete resource");
    }
    let role = format!("{ROLES}/vpce-operator");
    operator.may_not(Method::PATCH, &role, &json!({"rules": []}), "cannot patch resource");
    let token = "/api/v1/namespaces/vpce-system/serviceaccounts/vpce-operator/token";
    operator.may_not(Method::POST, token, &json!({}), "cannot create resource");
}

/// The operator's token changes nothing of an object, which has the finalizers of a stranger and of
/// its own.
fn writes_are_refused(world: &World, path: &str, spec: &Value, own: &str) {
    let operator = operator(world);
    world.eventually("the admission policy is in force", || {
        let refused = operator.request(Method::PATCH, path, &json!({"spec": spec}));
        refused.is_err().then_some(())
    });
    let refused = |change: Value, says: &str| operator.may_not(Method::PATCH, path, &change, says);
    refused(json!({"spec": spec}), "may not change a spec");
    for metadata in [
        json!({"labels": {"team": "b"}}),
        json!({"labels": {"team": null}}),
        json!({"labels": {"new": "one"}}),
        json!({"annotations": {"silvermullet.com/resume-creation": "any"}}),
        json!({"annotations": {"team.example.com/owner": null}}),
        json!({"annotations": {"kopf.zalando.org/new": "any"}}),
        json!({"ownerReferences": owner("VPCEndpoint", false)}),
    ] {
        refused(
            json!({"metadata": metadata}),
            "labels, annotations and owner references",
        );
    }
    for finalizers in [
        json!([own]),
        json!(["example.com/strangers", own, "example.com/new"]),
        json!(["example.com/strangers", own, "silvermullet.com/new"]),
        json!(["example.com/strangers", own, "kopf.zalando.org/KopfFinalizerMarker"]),
    ] {
        refused(json!({"metadata": {"finalizers": finalizers}}), "finalizers of others");
    }
    let without = json!({"metadata": {"finalizers": ["example.com/strangers"]}});
    refused(without, "that is not being deleted");
}

#[test]
fn the_operators_token_changes_nothing_of_our_objects_but_its_finalizers_and_their_status() {
    let world = World::shared();
    let tenant = world.tenant("objects");
    tenant.apply("mine", tenant.spec(json!({})));
    let strangers = json!({"metadata": {
        "labels": {"team": "a"}, "annotations": {"team.example.com/owner": "a"}, "finalizers": ["example.com/strangers"],
    }});
    tenant.merge("mine", strangers.clone());
    tenant.merge_account(strangers.clone());
    tenant.ready("mine");
    let operator = operator(world);
    let endpoint = format!("{}/mine", cluster::endpoints(&tenant.namespace));
    let service = offer(&tenant, "mine");
    let service_finalizers = json!({"finalizers": ["example.com/strangers", SERVICE_FINALIZER]});
    for change in [strangers, json!({"metadata": service_finalizers})] {
        let written = world.cluster.merge(&service, &change);
        written.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    }
    let account = format!("{ACCOUNTS}/{}", tenant.account);
    for (path, spec, status, own) in [
        (
            &service,
            json!({"tags": {"a": "b"}}),
            json!({"region": "eu-west-1"}),
            SERVICE_FINALIZER,
        ),
        (
            &endpoint,
            json!({"tags": {"a": "b"}}),
            json!({"region": "eu-west-1"}),
            "silvermullet.com/vpce",
        ),
        (
            &account,
            json!({"suspended": true}),
            json!({"endpoints": 5}),
            "silvermullet.com/awsaccount",
        ),
    ] {
        writes_are_refused(world, path, &spec, own);

        // What its work takes; and what it sends beside that has no effect.
        let before = world.cluster.get(path).expect("it is there");
        let change = json!({"spec": spec, "metadata": {"labels": {"team": "b"}}, "status": status});
        let result = operator.request(Method::PATCH, &format!("{path}/status"), &change);
        let result = result.expect("the status is its own");
        assert_ne!(result["status"], before["status"]);
        assert_eq!(result["spec"], before["spec"]);
        assert_eq!(result["metadata"]["labels"], json!({"team": "a"}));
    }
    // Others are not held to this.
    tenant.merge(
        "mine",
        json!({"metadata": {"labels": {"team": "b"}}, "spec": {"tags": {"a": "b"}}}),
    );
    tenant.ready("mine");
}

/// A tenant with a Service of the operator's, `mine`, and the operator's token, with the policies
/// in force.
fn with_a_service(world: &World) -> (Tenant<'_>, As<'_>) {
    let tenant = world.tenant("admission");
    tenant.apply("mine", tenant.spec(json!({})));
    tenant.ready("mine");
    admission_is_in_force(world);
    (tenant, operator(world))
}

#[test]
fn the_operators_token_writes_no_service_but_its_own() {
    let world = World::shared();
    let (tenant, operator) = with_a_service(world);
    let services = cluster::services(&tenant.namespace);
    let labels = json!({LABEL.0: LABEL.1});

    let only_owned = json!({"ownerReferences": owner("VPCEndpoint", true)});
    let only_labelled = json!({"labels": labels});
    let not_controlled = json!({"labels": labels, "ownerReferences": owner("VPCEndpoint", false)});
    let of_another_kind = json!({"labels": labels, "ownerReferences": owner("AWSAccount", true)});
    let right = json!({"labels": labels, "ownerReferences": owner("VPCEndpoint", true)});
    for (metadata, says) in [
        (json!({}), "that a VPCEndpoint controls"),
        (only_labelled, "that a VPCEndpoint controls"),
        (not_controlled, "that a VPCEndpoint controls"),
        (of_another_kind, "that a VPCEndpoint controls"),
        (only_owned, "with the label"),
    ] {
        operator.may_not(Method::POST, &services, &service("new", metadata), says);
    }
    operator.may(Method::POST, &services, &service("new", right.clone()));
    let mut kept = right.clone();
    kept["finalizers"] = json!(["example.com/strangers"]);
    operator.may_not(Method::POST, &services, &service("new", kept), "finalizers of Services");
    let mut balancer = service("new", right);
    balancer["spec"] = json!({"type": "LoadBalancer", "ports": [{"port": 443}]});
    operator.may_not(Method::POST, &services, &balancer, "of type ExternalName");

    // Another owner's is neither changed, nor taken over by giving it what ours have, nor deleted.
    let stranger = service("stranger", json!({}));
    let created = world.cluster.create(&services, &stranger, Run::Real);
    created.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    let stranger = format!("{services}/stranger");
    let name = json!({"spec": {"externalName": NAME}});
    let take = json!({"metadata": {"labels": labels, "ownerReferences": owner("VPCEndpoint", true)}});
    operator.may_not(Method::PATCH, &stranger, &name, "that a VPCEndpoint controls");
    operator.may_not(Method::PATCH, &stranger, &take, "take over");
    operator.may_not(Method::DELETE, &stranger, &Value::Null, "that a VPCEndpoint controls");
    let kubernetes = format!("{}/kubernetes", cluster::services("default"));
    operator.may_not(Method::PATCH, &kubernetes, &take, "take over");
    operator.may_not(Method::DELETE, &kubernetes, &Value::Null, "that a VPCEndpoint controls");
}

#[test]
fn the_operators_token_points_its_own_services_at_vpc_endpoints_only() {
    let world = World::shared();
    let (tenant, operator) = with_a_service(world);
    let mine = format!("{}/mine", cluster::services(&tenant.namespace));
    operator.may(Method::PATCH, &mine, &json!({"spec": {"externalName": NAME}}));
    operator.may(Method::DELETE, &mine, &Value::Null);
    for name in [
        "bucket.vpce-0a1b2c3d4e5f60718-x1y2z3a4.s3.eu-central-1.vpce.amazonaws.com",
        "vpce-0a1b2c3d4e5f60718-x1y2z3a4.kms-fips.us-gov-west-1.vpce.amazonaws.com",
        "vpce-0a1b2c3d4e5f60718-x1y2z3a4.api.ecr.cn-north-1.vpce.amazonaws.com.cn",
        "vpce-0a1b2c3d4e5f60718-x1y2z3a4.ec2.us-iso-east-1.vpce.c2s.ic.gov",
        "vpce-0a1b2c3d4e5f60718-x1y2z3a4.notebook.eu-central-1.vpce.sagemaker.aws",
    ] {
        operator.may(Method::PATCH, &mine, &json!({"spec": {"externalName": name}}));
    }
    for name in [
        "elsewhere.example.com",
        "vpce.amazonaws.com",
        "evil.vpce.amazonaws.com",
        "vpce-0a1b2c3d4e5f60718-x1y2z3a4.evilvpce.amazonaws.com",
        "vpce-0a1b2c3d4e5f60718-x1y2z3a4.vpce.amazonaws.com.example.com",
        "x.vpce-0a1b2c3d4e5f60718-x1y2z3a4.s3.eu-central-1.vpce.amazonaws.com",
        "kubernetes.default.svc.cluster.local",
    ] {
        let name = json!({"spec": {"externalName": name}});
        operator.may_not(Method::PATCH, &mine, &name, "lead to names of VPC endpoints");
    }
    let ips = json!({"spec": {"externalIPs": ["10.0.0.1"]}});
    operator.may_not(Method::PATCH, &mine, &ips, "may not set externalIPs");
    let finalizers = json!({"metadata": {"finalizers": ["example.com/strangers"]}});
    operator.may_not(
        Method::PATCH,
        &mine,
        &finalizers,
        "may not change finalizers of Services",
    );
    let other_owner = json!({"metadata": {"ownerReferences": owner("VPCEndpoint", true)}});
    operator.may_not(Method::PATCH, &mine, &other_owner, "take over");
    let unlabel = json!({"metadata": {"labels": {LABEL.0: null}}});
    operator.may_not(Method::PATCH, &mine, &unlabel, "with the label");

    // Other clients may, and the operator corrects it.
    world
        .cluster
        .merge(&mine, &unlabel)
        .unwrap_or_else(|refusal| panic!("{}", refusal.message));
    tenant.eventually("mine", "the Service has its label again", || {
        let service = tenant.kubernetes_service("mine")?;
        (service["metadata"]["labels"][LABEL.0] == LABEL.1).then_some(())
    });
}

#[test]
fn the_operators_token_writes_headless_services_without_a_selector_only() {
    let world = World::shared();
    let (tenant, operator) = with_a_service(world);
    let services = cluster::services(&tenant.namespace);
    let right = json!({"labels": {LABEL.0: LABEL.1}, "ownerReferences": owner("VPCEndpoint", true)});
    let of = |spec: Value| {
        let mut service = service("new", right.clone());
        service["spec"] = merged(json!({"clusterIP": "None", "ports": [{"port": 443}]}), spec);
        service
    };
    operator.may(Method::POST, &services, &of(json!({})));
    for spec in [json!({"clusterIP": null}), json!({"selector": {"app": "other"}})] {
        operator.may_not(Method::POST, &services, &of(spec), "headless ones without a selector");
    }
}

#[test]
fn the_operators_token_writes_only_its_own_endpoint_slices_with_addresses_of_vpcs() {
    let world = World::shared();
    let (tenant, operator) = with_a_service(world);
    let slices = cluster::slices(&tenant.namespace);
    let labels = json!({LABEL.0: LABEL.1, "endpointslice.kubernetes.io/managed-by": LABEL.1});
    let right = json!({"labels": labels, "ownerReferences": owner("VPCEndpoint", true)});
    let slice = |metadata: Value, family: &str, address: &str| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": merged(json!({"name": "new"}), metadata), "addressType": family,
            "endpoints": [{"addresses": [address]}], "ports": [],
        })
    };
    world.eventually("the admission policy is in force", || {
        let foreign = slice(json!({}), "IPv4", "10.0.0.4");
        operator.request(Method::POST, &slices, &foreign).is_err().then_some(())
    });
    for (metadata, says) in [
        (json!({"labels": labels}), "that a VPCEndpoint controls"),
        (
            json!({"labels": labels, "ownerReferences": owner("VPCEndpoint", false)}),
            "that a VPCEndpoint controls",
        ),
        (
            json!({"labels": {LABEL.0: LABEL.1}, "ownerReferences": owner("VPCEndpoint", true)}),
            "with the labels",
        ),
        (
            merged(right.clone(), json!({"finalizers": ["example.com/strangers"]})),
            "finalizers of EndpointSlices",
        ),
    ] {
        operator.may_not(Method::POST, &slices, &slice(metadata, "IPv4", "10.0.0.4"), says);
    }
    for (family, address) in [
        ("IPv4", "10.0.0.4"),
        ("IPv4", "172.31.255.4"),
        ("IPv4", "192.168.0.4"),
        ("IPv4", "100.64.0.4"),
        ("IPv6", "fd00::4"),
        ("IPv6", "2600:1f14::4"),
    ] {
        operator.may(Method::POST, &slices, &slice(right.clone(), family, address));
    }
    for (family, address) in [
        ("IPv4", "203.0.113.4"),
        ("IPv4", "172.32.0.4"),
        ("FQDN", "elsewhere.example.com"),
    ] {
        let slice = slice(right.clone(), family, address);
        operator.may_not(Method::POST, &slices, &slice, "with addresses of VPCs");
    }
    // Another owner's is neither changed, nor taken over, nor deleted.
    let stranger = merged(
        slice(json!({}), "IPv4", "10.0.0.4"),
        json!({"metadata": {"name": "stranger"}}),
    );
    let created = world.cluster.create(&slices, &stranger, Run::Real);
    created.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    let stranger = format!("{slices}/stranger");
    let edit = json!({"endpoints": []});
    operator.may_not(Method::PATCH, &stranger, &edit, "that a VPCEndpoint controls");
    operator.may_not(Method::PATCH, &stranger, &json!({"metadata": right}), "take over");
    operator.may_not(Method::DELETE, &stranger, &Value::Null, "that a VPCEndpoint controls");
}

/// An event as the operator writes it, with changes.
fn event(namespace: &str, changes: Value) -> Value {
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a.1", "namespace": namespace},
        "type": "Warning", "reason": "Denied", "action": "Reconcile", "note": "words",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "vpce-operator", "reportingInstance": "pod",
        "regarding": {"apiVersion": "silvermullet.com/v1beta1", "kind": "VPCEndpoint", "namespace": namespace, "name": "a"},
    });
    merged(event, changes)
}

#[test]
fn the_operators_token_writes_only_events_of_its_own_kinds_and_its_own_lease() {
    let world = World::shared();
    let tenant = world.tenant("tells");
    let namespace = tenant.namespace.as_str();
    let operator = operator(world);
    let events = cluster::events(namespace);
    let about = |api: &str, kind: &str| json!({"regarding": {"apiVersion": api, "kind": kind, "namespace": namespace, "name": "a"}});
    operator.may(Method::POST, &events, &event(namespace, json!({})));
    let of_service = merged(
        about("v1", "Service"),
        json!({"metadata": {"name": "a.2", "namespace": namespace}}),
    );
    operator.may(Method::POST, &events, &event(namespace, of_service));
    world.eventually("the admission policy is in force", || {
        let pod = event(namespace, about("v1", "Pod"));
        operator.request(Method::POST, &events, &pod).is_err().then_some(())
    });
    for changes in [
        about("v1", "Pod"),
        about("apps/v1", "Deployment"),
        about("evil.com/silvermullet.com", "VPCEndpoint"),
        json!({"reportingController": "kubelet"}),
    ] {
        let event = event(namespace, changes);
        operator.may_not(Method::POST, &events, &event, "events of its own about its own kinds");
    }
    // Another owner's is neither taken nor read.
    let stranger = merged(
        event(namespace, about("v1", "Pod")),
        json!({"metadata": {"name": "stranger", "namespace": namespace}}),
    );
    let created = world.cluster.create(&events, &stranger, Run::Real);
    created.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    let path = format!("{events}/stranger");
    for patch in [
        json!({}),
        json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}),
    ] {
        operator.may_not(Method::PATCH, &path, &patch, "events of its own about its own kinds");
    }

    let lease = |name: &str| json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/vpce-system/leases";
    for name in ["kube-scheduler", "vpce-operator-2"] {
        operator.may_not(Method::POST, leases, &lease(name), "its own Lease");
    }
    let there = operator.request(Method::POST, leases, &lease("vpce-operator"));
    assert_eq!(
        there.expect_err("it holds it").code,
        409,
        "let through, and there already"
    );
}

#[test]
fn only_the_operator_or_a_user_with_the_verb_removes_its_finalizers() {
    let world = World::shared();
    let tenant = world.tenant("finalizers");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let endpoint = format!("{}/api", cluster::endpoints(&tenant.namespace));
    let account = format!("{ACCOUNTS}/{}", tenant.account);
    let service = offer(&tenant, "web");
    let finalizers = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    let held = world.cluster.merge(&service, &finalizers(json!([SERVICE_FINALIZER])));
    held.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    let none = finalizers(json!(null));
    let ours = "only the operator removes its finalizer";
    for role in ["edit", "admin"] {
        let team = somebody(&tenant, role);
        for (path, own) in [(&endpoint, "silvermullet.com/vpce"), (&service, SERVICE_FINALIZER)] {
            world.eventually("the admission policy is in force", || {
                team.request(Method::PATCH, path, &none).is_err().then_some(())
            });
            team.may_not(Method::PATCH, path, &none, ours);
            let other = finalizers(json!(["example.com/other"]));
            team.may_not(Method::PATCH, path, &other, ours);
            // What is not ours is theirs.
            let more = finalizers(json!([own, "example.com/other"]));
            team.may(Method::PATCH, path, &more);
        }
    }
    let platform = bind(
        world,
        &format!("platform-{}", tenant.namespace),
        "vpce-operator-platform",
    );
    world.eventually("the platform team writes AWSAccounts", || {
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        platform.request(Method::PATCH, &account, &label).ok()
    });
    platform.may_not(Method::PATCH, &account, &none, ours);

    breaks_glass(&tenant, &[&endpoint, &service, &account]);

    // Neither does the deletion of a whole namespace.
    let removed = world.cluster.merge(&service, &none);
    removed.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    world.cluster.delete(&service);
    world.cluster.delete(&tenant.namespace_path());
    tenant.namespace_gone();
    assert!(tenant.groups().is_empty(), "what it had in AWS was deleted first");
}

/// In an emergency, who has the verb removes the finalizers of these objects.
fn breaks_glass(tenant: &Tenant<'_>, paths: &[&String]) {
    let world = tenant.world;
    let none = json!({"metadata": {"finalizers": null}});
    let resources = ["vpcendpoints", "vpcendpointservices", "awsaccounts"];
    let breaks = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": format!("break-glass-{}", tenant.namespace)},
        "rules": [{"apiGroups": ["silvermullet.com"], "resources": resources, "verbs": ["patch", "remove-finalizer"]}],
    });
    let created = world.cluster.create(ROLES, &breaks, Run::Real);
    created.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    let breaks = bind(
        world,
        &format!("breaks-{}", tenant.namespace),
        &format!("break-glass-{}", tenant.namespace),
    );
    for path in paths {
        world.eventually("the binding is known", || {
            breaks.request(Method::PATCH, path, &none).ok()
        });
    }
    let cluster_admin = bind(world, &format!("root-{}", tenant.namespace), "cluster-admin");
    for path in paths {
        world.eventually("the binding is known", || {
            cluster_admin.request(Method::PATCH, path, &none).ok()
        });
    }
}

#[test]
fn the_operators_token_puts_nothing_on_a_service_that_the_settings_do_not_allow() {
    let setup = Setup::fast()
        .value("settings.serviceLabels[0]", "team")
        .value("settings.serviceAnnotations[0]", "example.com/*");
    let world = World::own(setup);
    let tenant = world.tenant("metadata");
    let asked = json!({"labels": {"team": "a"}, "annotations": {"example.com/note": "b"}});
    tenant.apply("mine", tenant.spec(json!({"service": asked})));
    tenant.ready("mine");
    let metadata = tenant.kubernetes_service("mine").expect("it is published")["metadata"].take();
    assert_eq!(
        (
            &metadata["labels"]["team"],
            &metadata["annotations"]["example.com/note"]
        ),
        (&json!("a"), &json!("b"))
    );
    admission_is_in_force(&world);
    let operator = operator(&world);
    let services = cluster::services(&tenant.namespace);
    let mine = format!("{services}/mine");
    let new = |metadata: Value| {
        let mut ours = json!({"labels": {LABEL.0: LABEL.1}, "ownerReferences": owner("VPCEndpoint", true)});
        for (field, keys) in metadata.as_object().expect("fields") {
            let before = ours[field].as_object().cloned().unwrap_or_default();
            ours[field] = merged(Value::Object(before), keys.clone());
        }
        service("new", ours)
    };
    // Another owner's stays, and the operator may not change it.
    let strangers = json!({"labels": {"cost": "1"}, "annotations": {"note": "2"}});
    let set = world.cluster.merge(&mine, &json!({"metadata": strangers}));
    set.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    for (metadata, says) in [
        (json!({"labels": {"teams": "a"}}), "serviceLabels"),
        (json!({"labels": {"example.com/note": "a"}}), "serviceLabels"),
        (json!({"labels": {"cost": "2"}}), "serviceLabels"),
        (json!({"annotations": {"team": "a"}}), "serviceAnnotations"),
        (
            json!({"annotations": {"external-dns.alpha.kubernetes.io/hostname": "a"}}),
            "serviceAnnotations",
        ),
        (json!({"annotations": {"note": "3"}}), "serviceAnnotations"),
    ] {
        operator.may_not(Method::POST, &services, &new(metadata.clone()), says);
        operator.may_not(Method::PATCH, &mine, &json!({"metadata": metadata}), says);
    }
    for metadata in [
        json!({"labels": {"team": "b"}}),
        json!({"annotations": {"example.com/other": "c", "silvermullet.com/applied-metadata": "{}"}}),
    ] {
        operator.may(Method::POST, &services, &new(metadata.clone()));
        operator.may(Method::PATCH, &mine, &json!({"metadata": metadata}));
    }
    operator.may(Method::PATCH, &mine, &json!({"metadata": {"labels": {"team": null}}}));

    // The operator, too, puts nothing there that is not allowed.
    tenant.apply("mine", tenant.spec(json!({"service": {"labels": {"team": "b"}}})));
    tenant.ready("mine");
    let metadata = tenant.kubernetes_service("mine").expect("it stays")["metadata"].take();
    assert_eq!(
        (&metadata["labels"]["team"], &metadata["labels"]["cost"]),
        (&json!("b"), &json!("1"))
    );
    assert_eq!(metadata["annotations"]["note"], "2");
    assert!(metadata["annotations"]["example.com/note"].is_null(), "{metadata}");
    tenant.apply("mine", tenant.spec(json!({"service": {"labels": {"cost": "3"}}})));
    tenant.not_ready("mine", "NotAllowed");
}

#[test]
fn app_teams_write_specs_and_neither_status_nor_accounts() {
    let tenant = World::shared().tenant("team");
    tenant.apply("there", tenant.spec(json!({})));
    tenant.ready("there");
    offer(&tenant, "there");
    let account = format!("{ACCOUNTS}/{}", tenant.account);
    let new = endpoint(&tenant.namespace, "new", &tenant.spec(json!({})));
    let of_kind = |collection: fn(&str) -> String, new| (collection(&tenant.namespace), collection("default"), new);
    let of_kinds = [
        of_kind(cluster::endpoints, new),
        of_kind(cluster::endpoint_services, endpoint_service("new")),
    ];
    let tags = json!({"spec": {"tags": {"a": "b"}}});
    for role in ["edit", "admin"] {
        let team = somebody(&tenant, role);
        for (all, elsewhere, new) in &of_kinds {
            let there = format!("{all}/there");
            team.may(Method::GET, &there, &Value::Null);
            team.may(Method::POST, all, new);
            team.may(Method::PATCH, &there, &tags);
            team.may(Method::DELETE, &there, &Value::Null);
            let forged = json!({"status": {"region": "eu-west-1"}});
            let status = format!("{there}/status");
            team.may_not(Method::PATCH, &status, &forged, "cannot patch resource");
            let finalizers = format!("{there}/finalizers");
            team.may_not(Method::PUT, &finalizers, &json!({}), "cannot update resource");
            team.may_not(Method::GET, elsewhere, &Value::Null, "cannot list resource");
        }
        team.may_not(Method::GET, ACCOUNTS, &Value::Null, "cannot list resource");
        let suspended = json!({"spec": {"suspended": true}});
        team.may_not(Method::PATCH, &account, &suspended, "cannot patch resource");
    }
    let reader = somebody(&tenant, "view");
    for (all, _, new) in &of_kinds {
        let there = format!("{all}/there");
        reader.may(Method::GET, &there, &Value::Null);
        reader.may_not(Method::POST, all, new, "cannot create resource");
        reader.may_not(Method::PATCH, &there, &tags, "cannot patch resource");
        reader.may_not(Method::DELETE, &there, &Value::Null, "cannot delete resource");
    }
    reader.may_not(Method::GET, ACCOUNTS, &Value::Null, "cannot list resource");
}

#[test]
fn the_platform_team_writes_accounts_and_reads_endpoints_and_services() {
    let world = World::shared();
    let tenant = world.tenant("platform");
    let bound = world.cluster.list(BINDINGS);
    let is_platform = |binding: &&Value| binding["roleRef"]["name"] == "vpce-operator-platform";
    let subjects: Vec<String> = bound
        .iter()
        .filter(is_platform)
        .flat_map(|binding| binding["subjects"].as_array().expect("subjects"))
        .map(|subject| text(&subject["name"]))
        .collect();
    assert!(
        subjects.iter().all(|name| name.starts_with("platform-")),
        "the chart binds it to nobody: {subjects:?}"
    );
    let platform = bind(
        world,
        &format!("platform-{}", tenant.namespace),
        "vpce-operator-platform",
    );
    let account = format!("{ACCOUNTS}/{}", tenant.account);
    world.eventually("the platform team reads AWSAccounts", || {
        platform.request(Method::GET, &account, &Value::Null).ok()
    });
    platform.may(Method::PATCH, &account, &json!({"spec": {"suspended": true}}));
    platform.may(Method::DELETE, &account, &Value::Null);
    let status = format!("{account}/status");
    let forged = json!({"status": {"account_id": "123456789012"}});
    platform.may_not(Method::PATCH, &status, &forged, "cannot patch resource");
    let new = endpoint(&tenant.namespace, "new", &tenant.spec(json!({})));
    for (collection, new) in [
        (cluster::endpoints(&tenant.namespace), new),
        (cluster::endpoint_services(&tenant.namespace), endpoint_service("new")),
    ] {
        platform.may(Method::GET, &collection, &Value::Null);
        platform.may_not(Method::POST, &collection, &new, "cannot create resource");
    }
}

#[test]
fn the_label_that_selectors_use_is_guarded_where_the_sample_is_applied() {
    const KEY: &str = "vpce.example.com/team";
    let world = World::shared();
    let tenant = world.tenant("guarded");
    let guard = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/namespace-label-guard.yaml");
    world.kubectl(&["apply", "--filename", guard]);
    let role = format!("namespaces-{}", tenant.namespace);
    let rule = json!({
        "apiGroups": [""], "resources": ["namespaces", "namespaces/status", "namespaces/finalize"],
        "verbs": ["get", "create", "update", "patch"],
    });
    let may_label = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": role}, "rules": [rule],
    });
    let created = world.cluster.create(ROLES, &may_label, Run::Real);
    created.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    let team = bind(world, &format!("app-{}", tenant.namespace), &role);
    let platform = format!("platform-{}", tenant.namespace);
    bind(world, &platform, &role);
    let platform = bind(world, &platform, "vpce-operator-platform");

    let namespace = tenant.namespace_path();
    let status = format!("{namespace}/status");
    let finalize = format!("{namespace}/finalize");
    let labels = |labels: Value| json!({"metadata": {"labels": labels}});
    let says = "only who may update AWSAccounts may set the label vpce.example.com/team";
    let other = labels(json!({"stage": "test"}));
    for somebody in [&team, &platform] {
        world.eventually("the API server knows of their roles", || {
            somebody.request(Method::PATCH, &namespace, &other).ok()
        });
    }
    world.eventually("the guard is in force", || {
        let refused = team.request(Method::PATCH, &namespace, &labels(json!({KEY: "any"})));
        refused.is_err().then_some(())
    });
    let new = |labels: Value| {
        let name = format!("new-{}", tenant.namespace);
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    };
    let finalized = |value: &str| {
        let mut object = world.cluster.get(&namespace).expect("it is there");
        object["metadata"]["labels"][KEY] = json!(value);
        object
    };
    team.may_not(Method::POST, NAMESPACES, &new(json!({KEY: "a"})), says);
    team.may(Method::POST, NAMESPACES, &new(json!({"stage": "test"})));
    platform.may(Method::POST, NAMESPACES, &new(json!({KEY: "a"})));
    // To set it, then to change it and to take it away; and other labels in its presence.
    for value in ["a", "b"] {
        for path in [&namespace, &status] {
            team.may_not(Method::PATCH, path, &labels(json!({KEY: value})), says);
            team.may(Method::PATCH, path, &other);
            platform.may(Method::PATCH, path, &labels(json!({KEY: value})));
        }
        team.may_not(Method::PUT, &finalize, &finalized(value), says);
        platform.may(Method::PUT, &finalize, &finalized(value));
        if value == "a" {
            let set = world.cluster.merge(&namespace, &labels(json!({KEY: value})));
            set.unwrap_or_else(|refusal| panic!("{}", refusal.message));
        }
    }
    team.may_not(Method::PATCH, &namespace, &labels(json!({KEY: null})), says);
    platform.may(Method::PATCH, &namespace, &labels(json!({KEY: null})));
}

#[test]
fn services_are_written_in_named_namespaces_only_and_what_is_protected_stays() {
    let cluster = Cluster::start().expect("a cluster");
    cluster.create_namespace("inside", json!({}));
    cluster.create_namespace("outside", json!({}));
    let setup = Setup::fast()
        .value("rbac.namespaces[0]", "inside")
        .value("protect.enabled", "true");
    let world = World::on(cluster, setup).expect("the world starts");
    let operator = operator(&world);
    let owned = json!({"labels": {LABEL.0: LABEL.1}, "ownerReferences": owner("VPCEndpoint", true)});
    let (inside, outside) = (cluster::services("inside"), cluster::services("outside"));
    operator.may(Method::POST, &inside, &service("new", owned.clone()));
    operator.may_not(Method::POST, &outside, &service("new", owned), "cannot create resource");
    operator.may(Method::GET, &outside, &Value::Null);

    // An endpoint elsewhere says that its Service is refused; without one it is fine.
    let mut tenant = world.unregistered_tenant("elsewhere");
    tenant.register(json!({"namespaces": [tenant.namespace, "inside"]}));
    tenant.apply("refused", tenant.spec(json!({})));
    let message = tenant.not_ready("refused", "ServiceRefused");
    assert!(message.contains("cannot create resource"), "{message}");
    tenant.apply("refused", tenant.spec(json!({"service": {"type": "None"}})));
    tenant.ready("refused");

    let account = format!("{ACCOUNTS}/{}", tenant.account);
    let refused = format!("{}/refused", cluster::endpoints(&tenant.namespace));
    for path in &[refused, offer(&tenant, "protected"), account] {
        let protect = |value: Value| json!({"metadata": {"annotations": {"silvermullet.com/protect": value}}});
        let set = |value: Value| {
            let merged = world.cluster.merge(path, &protect(value));
            merged.unwrap_or_else(|refusal| panic!("{path}: {}", refusal.message));
        };
        set(json!("true"));
        world.eventually("a protected object is not deleted", || {
            let refusal = world.cluster.try_delete(path).err()?;
            assert!(refusal.message.contains("remove the annotation"), "{}", refusal.message);
            Some(())
        });
        set(json!(null));
    }

    tenant.namespace = "inside".to_owned();
    tenant.apply("made", tenant.spec(json!({})));
    tenant.ready("made");
    assert!(tenant.kubernetes_service("made").is_some());
    tenant.delete("made");
    tenant.gone("made");
}

/// The verbs and resources of the operator's roles, as the metric has them.
fn granted(world: &World) -> BTreeSet<(String, String)> {
    let role = |path: &str| world.cluster.get(path).expect("the chart installs it");
    let lease = "/apis/rbac.authorization.k8s.io/v1/namespaces/vpce-system/roles/vpce-operator-lease";
    let roles = [role(&format!("{ROLES}/vpce-operator")), role(lease)];
    let list = |rule: &Value, field: &str| -> Vec<String> {
        let list = rule[field].as_array().expect("a list");
        list.iter().map(text).collect()
    };
    roles
        .iter()
        .flat_map(|role| role["rules"].as_array().expect("rules"))
        .flat_map(|rule| {
            let verbs = list(rule, "verbs");
            let pairs = move |resource: String| verbs.clone().into_iter().map(move |verb| (verb, resource.clone()));
            list(rule, "resources").into_iter().flat_map(pairs)
        })
        .collect()
}

/// What the operator asked the API server for and was answered with success.
fn used(world: &World) -> BTreeSet<(String, String)> {
    let metrics = world.operator.metrics().expect("it runs");
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix("vpce_kubernetes_requests_total"))
        .filter(|line| label(line, "code").is_some_and(|code| code.starts_with('2')))
        .filter_map(|line| Some((label(line, "verb")?, label(line, "resource")?)))
        .collect()
}

#[test]
fn nothing_is_granted_that_is_not_used_and_nothing_is_used_that_is_not_granted() {
    let world = World::own(Setup::fast());
    // The first to start makes the Lease, the next reads it.
    let by_the_first = used(&world);
    world.operator.kill().expect("it was running");
    world.operator.start().expect("it starts");
    let tenant = world.tenant("used");
    tenant.apply("life", tenant.spec(json!({})));
    tenant.ready("life");
    // A Service that was changed is corrected; one that has another name now is created and the
    // old one deleted.
    let path = format!("{}/life", cluster::services(&tenant.namespace));
    let name = json!({"spec": {"externalName": "elsewhere.example.com"}});
    if let Err(refusal) = world.cluster.merge(&path, &name) {
        panic!("{path}: {}", refusal.message);
    }
    tenant.eventually("life", "the Service is put right", || {
        (tenant.kubernetes_service("life")?["spec"]["externalName"] != "elsewhere.example.com").then_some(())
    });
    tenant.apply("life", tenant.spec(json!({"service": {"name": "other"}})));
    tenant.eventually("life", "the Service has its other name", || {
        (tenant.kubernetes_service("life").is_none() && tenant.kubernetes_service("other").is_some()).then_some(())
    });
    // An EndpointSlice that was edited is corrected.
    tenant.apply(
        "headless",
        tenant.spec(json!({"service": {"type": "Headless", "ports": [{"port": 443}]}})),
    );
    tenant.ready("headless");
    let slice = format!("{}/headless-ipv4", cluster::slices(&tenant.namespace));
    if let Err(refusal) = world.cluster.merge(&slice, &json!({"endpoints": []})) {
        panic!("{slice}: {}", refusal.message);
    }
    tenant.eventually("headless", "the EndpointSlice is corrected", || {
        let slice = world.cluster.get(&slice)?;
        slice["endpoints"]
            .as_array()
            .is_some_and(|found| !found.is_empty())
            .then_some(())
    });
    tenant.delete("headless");
    tenant.gone("headless");
    // An endpoint service comes and goes.
    let offers = Offers::of(&tenant);
    let load_balancer = json!({"network_load_balancer_arns": [offers.load_balancer()]});
    offers.apply("web", &json!({"load_balancer": load_balancer}));
    offers.ready("web");
    offers.delete("web");
    offers.gone("web");
    // What happens again becomes one event that is patched.
    world.eventually("an event is patched", || {
        if used(&world).contains(&("patch".to_owned(), "events".to_owned())) {
            return Some(());
        }
        let other = format!("{}/other", cluster::services(&tenant.namespace));
        let _ = world.cluster.merge(&other, &name);
        None
    });
    tenant.delete("life");
    tenant.gone("life");
    world.cluster.delete(&format!("{ACCOUNTS}/{}", tenant.account));
    world.eventually("the AWSAccount is gone", || {
        world.aws_account(&tenant.account).is_none().then_some(())
    });

    let (granted, mut used) = (granted(&world), used(&world));
    used.extend(by_the_first);
    let resources = |of: &BTreeSet<(String, String)>| {
        of.iter()
            .filter(|(_, resource)| !resource.is_empty())
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    let (idle, strange): (Vec<_>, Vec<_>) = (
        granted.difference(&used).collect(),
        resources(&used).difference(&granted).cloned().collect(),
    );
    assert!(idle.is_empty(), "granted and never used: {idle:?}");
    assert!(strange.is_empty(), "used and not granted: {strange:?}");
    // A request that was refused is one that a permission is missing for.
    let metrics = world.operator.metrics().expect("it runs");
    let refused: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("vpce_kubernetes_requests_total") && line.contains("code=\"403\""))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}
