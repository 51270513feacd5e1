//! Tenants, which keep tests that share a world apart: each has a namespace, an AWS account and an
//! AWSAccount of its own.

use std::fmt::Write as _;

use serde_json::{Value, json};
use vpce_testbed::aws::{Call, EndpointView, GroupView, ServiceSpec};

use crate::cluster::{self, ACCOUNTS, NAMESPACES, Refusal, Run};
use crate::world::{
    Condition, LOG_LINES, WITHIN, World, condition, end_of, endpoint, eventually, home, id, merged, number, text,
};

/// How each message starts that says that changes are paused while the endpoint serves.
const KEEPS_SERVING: &str = "the endpoint keeps serving; changes are paused until ";

/// What one team has to itself.
pub(crate) struct Tenant<'w> {
    pub(crate) world: &'w World,
    /// Its namespace, labelled `tenant=<itself>`.
    pub(crate) namespace: String,
    /// The AWSAccount's name.
    pub(crate) account: String,
    /// The AWS account.
    pub(crate) account_id: String,
    /// Where its VPC is.
    pub(crate) region: String,
    /// The role that the AWSAccount names.
    pub(crate) role_arn: String,
    /// Its VPC.
    pub(crate) vpc: String,
    /// One in each of the zones a, b and c.
    pub(crate) subnets: Vec<String>,
    /// A security group that is not the operator's.
    pub(crate) group: String,
    /// The full name of an endpoint service without required acceptance.
    pub(crate) service: String,
    /// Ends it, in the shared world.
    #[expect(dead_code, reason = "it acts when it is dropped")]
    pub(crate) over: Option<Over>,
}

impl Tenant<'_> {
    /// Creates the AWSAccount, with more fields or others in its spec.
    pub(crate) fn register(&self, changes: Value) {
        let spec = json!({"role_arn": self.role_arn, "namespaces": [self.namespace], "default_region": self.region});
        let account = json!({
            "apiVersion": "silvermullet.com/v1beta1", "kind": "AWSAccount",
            "metadata": {"name": self.account}, "spec": merged(spec, changes),
        });
        let created = self.world.cluster.create(ACCOUNTS, &account, Run::Real);
        created.unwrap_or_else(|refusal| panic!("AWSAccount {}: {}", self.account, refusal.message));
    }

    /// Merges changes into the AWSAccount's spec; null takes a field away.
    #[track_caller]
    pub(crate) fn edit_account(&self, spec: Value) {
        self.merge_account(json!({"spec": spec}));
    }

    /// Suspends the AWSAccount and waits until the operator knows: what is done to `witness` right
    /// after it must not be quicker.
    #[track_caller]
    pub(crate) fn suspend(&self, witness: &str) {
        self.edit_account(json!({"suspended": true}));
        self.eventually(witness, "it says that the AWSAccount is suspended", || {
            (self.reason(witness) == "AccountSuspended").then_some(())
        });
    }

    /// Deletes an object and leaves what it has in AWS, as a person does who removes its
    /// finalizer; the AWSAccount is suspended then. It ends when the operator knows that the object
    /// is gone, since it was to be deleted: nothing else forbids that once it is resumed.
    #[track_caller]
    pub(crate) fn take_away(&self, name: &str) {
        self.is_counted();
        self.suspend(name);
        self.delete(name);
        self.merge(name, json!({"metadata": {"finalizers": null}}));
        self.gone(name);
        self.is_counted();
    }

    /// Waits until the AWSAccount counts the namespace's objects that are bound.
    #[track_caller]
    fn is_counted(&self) {
        self.world.eventually("the AWSAccount counts who is bound", || {
            let objects = self.world.cluster.list(&cluster::endpoints(&self.namespace));
            let bound = objects.iter().filter(|object| !object["status"]["account"].is_null());
            let account = self.world.aws_account(&self.account)?;
            (account["status"]["endpoints"] == bound.count()).then_some(())
        });
    }

    /// Merges something into the AWSAccount, for example an annotation.
    #[track_caller]
    pub(crate) fn merge_account(&self, change: Value) {
        let path = format!("{ACCOUNTS}/{}", self.account);
        if let Err(refusal) = self.world.cluster.merge(&path, &change) {
            panic!("AWSAccount {} is refused: {}", self.account, refusal.message);
        }
    }

    /// A spec with a generated group in two subnets, with more fields or others; null takes one
    /// away.
    pub(crate) fn spec(&self, changes: Value) -> Value {
        let spec = json!({
            "region": self.region,
            "vpc_id": self.vpc,
            "subnet_ids": self.subnets[..2],
            "vpc_endpoint_service_id": self.service,
            "security_group_type": "generated",
        });
        merged(spec, changes)
    }

    /// Creates a VPCEndpoint, or replaces the spec of the one that is there.
    #[track_caller]
    pub(crate) fn apply(&self, name: &str, spec: Value) -> Value {
        match self.try_apply(name, spec) {
            Ok(object) => object,
            Err(refusal) => panic!("{}/{name} is refused: {}", self.namespace, refusal.message),
        }
    }

    /// The same, where it may be refused.
    pub(crate) fn try_apply(&self, name: &str, spec: Value) -> Result<Value, Refusal> {
        let cluster = &self.world.cluster;
        let collection = cluster::endpoints(&self.namespace);
        match cluster.create(&collection, &endpoint(&self.namespace, name, &spec), Run::Real) {
            Err(refusal) if refusal.code == 409 => cluster.set_spec(&format!("{collection}/{name}"), &spec, Run::Real),
            result => result,
        }
    }

    /// The VPCEndpoint as it is now.
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        self.world.cluster.get(&self.path(name))
    }

    /// Asks for the VPCEndpoint's deletion.
    pub(crate) fn delete(&self, name: &str) {
        self.world.cluster.delete(&self.path(name));
    }

    /// Merges something into the VPCEndpoint, for example an annotation.
    #[track_caller]
    pub(crate) fn merge(&self, name: &str, change: Value) {
        if let Err(refusal) = self.world.cluster.merge(&self.path(name), &change) {
            panic!("{}/{name} is refused: {}", self.namespace, refusal.message);
        }
    }

    /// Merges something into the VPCEndpoint's status, as only an administrator may.
    #[track_caller]
    pub(crate) fn merge_status(&self, name: &str, status: Value) {
        let path = format!("{}/status", self.path(name));
        if let Err(refusal) = self.world.cluster.merge(&path, &json!({"status": status})) {
            panic!("{}/{name}: {}", self.namespace, refusal.message);
        }
    }

    /// The Service as it is now.
    pub(crate) fn kubernetes_service(&self, name: &str) -> Option<Value> {
        self.world
            .cluster
            .get(&format!("{}/{name}", cluster::services(&self.namespace)))
    }

    /// The condition of this type, if it speaks of the object's generation.
    pub(crate) fn condition(&self, name: &str, kind: &str) -> Option<Condition> {
        let object = self.get(name)?;
        condition(&object, kind)
    }

    /// Why it is Ready or is not; empty until the operator has said something of this generation.
    pub(crate) fn reason(&self, name: &str) -> String {
        self.condition(name, "Ready")
            .map(|ready| ready.reason)
            .unwrap_or_default()
    }

    /// Waits until the VPCEndpoint is Ready in its present generation, and returns it.
    #[track_caller]
    pub(crate) fn ready(&self, name: &str) -> Value {
        self.eventually(name, "it is Ready", || {
            let object = self.get(name)?;
            condition(&object, "Ready").filter(|ready| ready.status)?;
            Some(object)
        })
    }

    /// Waits until the VPCEndpoint is not Ready for this reason, and returns the message.
    #[track_caller]
    pub(crate) fn not_ready(&self, name: &str, reason: &str) -> String {
        self.eventually(name, &format!("it is not Ready: {reason}"), || {
            let ready = self.condition(name, "Ready")?;
            (!ready.status && ready.reason == reason).then_some(ready.message)
        })
    }

    /// Waits until the VPCEndpoint says that it serves as its spec says and that changes are paused
    /// for this reason, and returns the message.
    #[track_caller]
    pub(crate) fn paused(&self, name: &str, reason: &str) -> String {
        self.eventually(name, &format!("it is Ready, and paused: {reason}"), || {
            let ready = self.condition(name, "Ready")?;
            let told = ready.message.starts_with(KEEPS_SERVING);
            (ready.status && ready.reason == reason && told).then_some(ready.message)
        })
    }

    /// Waits until the VPCEndpoint says that it serves as before an edit that cannot be carried out
    /// for this reason, and returns the message.
    #[track_caller]
    pub(crate) fn serves_without_the_edit(&self, name: &str, reason: &str) -> String {
        let message = self.not_ready(name, reason);
        assert!(message.starts_with(KEEPS_SERVING), "{message}");
        message
    }

    /// Waits until the VPCEndpoint is no more.
    #[track_caller]
    pub(crate) fn gone(&self, name: &str) {
        self.eventually(name, "it is gone", || self.get(name).is_none().then_some(()));
    }

    /// What happened to the VPCEndpoint, as `Warning Reason: note`, oldest first.
    pub(crate) fn events(&self, name: &str) -> Vec<String> {
        let mut events: Vec<Value> = self.world.cluster.list(&cluster::events(&self.namespace));
        events.retain(|event| event["regarding"]["name"] == name && event["regarding"]["kind"] == "VPCEndpoint");
        events.sort_by_key(|event| text(&event["eventTime"]));
        events
            .iter()
            .map(|event| {
                format!(
                    "{} {}: {}",
                    text(&event["type"]),
                    text(&event["reason"]),
                    text(&event["note"])
                )
            })
            .collect()
    }

    /// Waits for an event of this reason, and returns it.
    #[track_caller]
    pub(crate) fn event(&self, name: &str, reason: &str) -> String {
        let infix = format!(" {reason}: ");
        self.eventually(name, &format!("an event says {reason}"), || {
            self.events(name).into_iter().find(|event| event.contains(&infix))
        })
    }

    /// Its endpoints in AWS, deleted ones left out.
    pub(crate) fn endpoints(&self) -> Vec<EndpointView> {
        self.world.aws.endpoints(&self.account_id, &self.region)
    }

    /// Its only endpoint in AWS.
    #[track_caller]
    pub(crate) fn only(&self) -> EndpointView {
        let [endpoint] = &self.endpoints()[..] else {
            panic!("one endpoint: {:#?}", self.endpoints());
        };
        endpoint.clone()
    }

    /// Its security groups in AWS but the one that was there before.
    pub(crate) fn groups(&self) -> Vec<GroupView> {
        let mut groups = self.world.aws.security_groups(&self.account_id, &self.region);
        groups.retain(|group| group.id != self.group);
        groups
    }

    /// The calls in its account, dry runs aside.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let mut calls = self.world.aws.calls();
        calls.retain(|call| call.account == self.account_id && !call.is_dry_run());
        calls
    }

    /// The calls in its account that change something in EC2, by name and in order.
    pub(crate) fn writes(&self) -> Vec<String> {
        let writes = self.calls().into_iter().filter(Call::mutating);
        writes.map(|call| call.action).collect()
    }

    /// Accepts its only endpoint, as the owner of the service does.
    #[track_caller]
    pub(crate) fn accept(&self) {
        let endpoints = self.endpoints();
        let [endpoint] = &endpoints[..] else {
            panic!("{} endpoints: {endpoints:#?}", endpoints.len());
        };
        let accepted = self.world.aws.accept(&self.account_id, &self.region, &endpoint.id);
        accepted.expect("it waits for that");
    }

    /// Where its Namespace is.
    pub(crate) fn namespace_path(&self) -> String {
        format!("{NAMESPACES}/{}", self.namespace)
    }

    /// Waits until its namespace is no more.
    #[track_caller]
    pub(crate) fn namespace_gone(&self) {
        self.world.eventually("the namespace is gone", || {
            self.world.cluster.get(&self.namespace_path()).is_none().then_some(())
        });
    }

    /// Adds a subnet to its VPC, in the zone of this letter.
    pub(crate) fn add_subnet(&self, zone: &str) -> String {
        let subnet = id("subnet");
        let zone = format!("{}{zone}", self.region);
        self.world
            .aws
            .add_subnet(&self.account_id, &self.region, &subnet, &self.vpc, &zone)
            .expect("a subnet");
        subnet
    }

    /// Adds a security group to its VPC.
    pub(crate) fn add_group(&self, name: &str) -> String {
        let group = id("sg");
        self.world
            .aws
            .add_security_group(&self.account_id, &self.region, &group, &self.vpc, name)
            .expect("a security group");
        group
    }

    /// Adds an endpoint service in its region, and returns the full name.
    pub(crate) fn add_service(&self, spec: ServiceSpec) -> String {
        let china = if self.region.starts_with("cn-") { "cn." } else { "" };
        let name = format!("{china}com.amazonaws.vpce.{}.{}", self.region, id("vpce-svc"));
        self.world.aws.add_service(&self.region, &name, spec);
        name
    }

    /// Looks until there is something to return, and fails with the VPCEndpoint's story when there
    /// never is.
    #[track_caller]
    pub(crate) fn eventually<T>(&self, name: &str, what: &str, look: impl FnMut() -> Option<T>) -> T {
        eventually(look).unwrap_or_else(|| {
            panic!(
                "waited {WITHIN:?} in vain for {}/{name}: {what}\n{}",
                self.namespace,
                self.story(name)
            )
        })
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", cluster::endpoints(&self.namespace))
    }

    /// All that helps to see why a test failed.
    fn story(&self, name: &str) -> String {
        let mut story = String::new();
        let mut tell = |what: &str, content: String| {
            let _ = write!(story, "\n{what}:\n{}\n", content.trim_end());
        };
        let pretty = |object: Option<Value>| match object {
            Some(mut object) => {
                object["metadata"]["managedFields"].take();
                serde_json::to_string_pretty(&object).expect("JSON")
            }
            None => "is not there".to_owned(),
        };
        tell("the object", pretty(self.get(name)));
        let account = self.world.aws_account(&self.account);
        tell(
            "its AWSAccount's status",
            pretty(account.map(|mut account| account["status"].take())),
        );
        tell("its events", self.events(name).join("\n"));
        let call = |call: &Call| format!("{:8.2} {} {}", call.time, call.action, call.result);
        let calls: Vec<String> = self.calls().iter().map(call).collect();
        tell(
            "the last AWS calls of its account",
            calls[calls.len().saturating_sub(LOG_LINES)..].join("\n"),
        );
        let logs = self.world.operator.logs();
        tell(
            "the operator's log of its account",
            end_of(&logs, |line| {
                line.contains(&self.account_id) || line.contains(&self.namespace)
            }),
        );
        tell("the operator's log", end_of(&logs, |_| true));
        story
    }
}

/// In the shared world: once the test is over, its VPCEndpoints and its AWSAccount go, which would
/// take time from the others at each resync. It is decommissioned, so that no call to AWS is made.
pub(crate) struct Over(String);

impl Drop for Over {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let cluster = &World::shared().cluster;
            let account = format!("{ACCOUNTS}/{}", self.0);
            // There may be no such AWSAccount any more.
            let _ = cluster.merge(&account, &json!({"spec": {"decommissioned": true}}));
            let _ = cluster.try_delete(&cluster::endpoints(&self.0));
            let _ = cluster.try_delete(&account);
        }
    }
}

impl World {
    /// A namespace, an AWS account with a network and a service to connect to, and the AWSAccount
    /// that maps one to the other; all of it new.
    pub(crate) fn tenant(&self, name: &str) -> Tenant<'_> {
        let tenant = self.unregistered_tenant(name);
        tenant.register(json!({}));
        tenant
    }

    /// The same without the AWSAccount.
    pub(crate) fn unregistered_tenant(&self, name: &str) -> Tenant<'_> {
        let number = number();
        let (namespace, account_id) = (format!("{name}-{number}"), format!("1{number:011}"));
        let (partition, region) = (&self.partition, home(&self.partition));
        let role_arn = format!("arn:{partition}:iam::{account_id}:role/vpce-operator");
        self.cluster.create_namespace(&namespace, json!({"tenant": namespace}));
        self.add_role(&role_arn);
        let mut tenant = Tenant {
            world: self,
            over: self.is_shared().then(|| Over(namespace.clone())),
            account: namespace.clone(),
            namespace,
            account_id,
            region: region.to_owned(),
            role_arn,
            vpc: id("vpc"),
            subnets: Vec::new(),
            group: String::new(),
            service: String::new(),
        };
        self.aws
            .add_vpc(&tenant.account_id, region, &tenant.vpc, "10.0.0.0/16")
            .expect("a VPC");
        tenant.subnets = ["a", "b", "c"].map(|zone| tenant.add_subnet(zone)).into();
        tenant.group = tenant.add_group("clients");
        tenant.service = tenant.add_service(ServiceSpec::default());
        tenant
    }
}
