//! The guides of `docs/guides`: their commands, run with real kubectl as they stand there, and what
//! is in AWS afterwards.

mod accident;
mod adoption;
mod app_teams;
mod availability;
mod migration;
mod offer_a_service;
mod organization;
mod orphans;
mod pages;
mod python_operator;
mod rebuild;
mod resume_creation;
mod runbooks;
mod tls_names;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use vpce_testbed::aws::{ServiceSpec, Simulator};
use vpce_testbed::operator::Aws;
use vpce_testbed::tools::Tool;

use crate::cluster::{self, Cluster, NAMESPACES};
use crate::subcommand::{BINARY, administrator, type_into};
use crate::tenant::Tenant;
use crate::world::{World, text};

/// A page, and how far a reader has come.
struct Guide<'w> {
    world: &'w World,
    sections: Vec<Section>,
    /// Where the reader works: what the page shows as a file is written here.
    folder: PathBuf,
}

#[derive(Default)]
struct Section {
    heading: String,
    blocks: Vec<Block>,
    done: bool,
}

#[derive(Default)]
struct Block {
    language: String,
    text: String,
}

impl<'w> Guide<'w> {
    fn open(world: &'w World, name: &str) -> Self {
        Self::at(world, &format!("guides/{name}"))
    }

    /// Another page of the docs that is read step by step.
    fn at(world: &'w World, page: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = world.cluster.plane.folder().join(page);
        fs::create_dir_all(&folder).expect("a folder");
        for part in ["charts", "crds", "examples"] {
            symlink(root.join(part), folder.join(part)).expect("a clone of the repository");
        }
        let page = root.join(format!("docs/{page}.md"));
        Self {
            world,
            sections: sections(&fs::read_to_string(page).expect("the page")),
            folder,
        }
    }

    /// The manifest that the page shows as this file.
    fn manifest(&self, file: &str) -> Value {
        let mut blocks = self.sections.iter().flat_map(|section| &section.blocks);
        let block = blocks
            .find(|block| block.file() == Some(file))
            .expect("the page shows it");
        serde_saphyr::from_str(&block.text).expect("YAML")
    }

    /// The files that the page shows.
    fn files(&self) -> Vec<&str> {
        let blocks = self.sections.iter().flat_map(|section| &section.blocks);
        blocks.filter_map(Block::file).collect()
    }

    /// Does what a section says, and returns what its commands print.
    #[track_caller]
    fn follow(&mut self, heading: &str) -> String {
        self.follow_in(self.world, heading, "")
    }

    /// The same where the reader sits before this cluster, and types this when asked.
    #[track_caller]
    fn follow_in(&mut self, world: &World, heading: &str, typed: &str) -> String {
        self.follow_before(&world.cluster, &world.aws, heading, typed)
    }

    /// The same before a cluster that has no operator yet.
    #[track_caller]
    fn follow_before(&mut self, cluster: &Cluster, aws: &Simulator, heading: &str, typed: &str) -> String {
        let section = self.sections.iter_mut().find(|section| section.heading == heading);
        let section = section.unwrap_or_else(|| panic!("there is no section {heading:?}"));
        section.done = true;
        let mut printed = String::new();
        for block in &section.blocks {
            if let Some(file) = block.file() {
                fs::write(self.folder.join(file), &block.text).expect("written");
            }
            if block.language == "sh" {
                let (success, stdout, stderr) = run_before(cluster, aws, &self.folder, &block.text, typed);
                assert!(success, "{heading}:\n{}\n{stdout}\n{stderr}", block.text);
                printed += &stdout;
            }
        }
        printed
    }

    /// Leaves a section out that is for readers in another case.
    #[track_caller]
    fn skip(&mut self, heading: &str) {
        let section = self.sections.iter_mut().find(|section| section.heading == heading);
        section
            .unwrap_or_else(|| panic!("there is no section {heading:?}"))
            .done = true;
    }

    /// The reader has another value than the page.
    fn replace(&mut self, value: &str, own: &str) {
        let blocks = self.sections.iter_mut().flat_map(|section| &mut section.blocks);
        for block in blocks {
            block.text = block.text.replace(value, own);
        }
    }

    /// Checks that nothing of the page was left out.
    #[track_caller]
    fn end(self) {
        let left = self.sections.iter().filter(|section| !section.done);
        let left: Vec<&str> = left
            .filter(|section| section.blocks.iter().any(|block| block.language == "sh"))
            .map(|section| section.heading.as_str())
            .collect();
        assert_eq!(left, Vec::<&str>::new());
    }
}

impl Block {
    /// The file that it is shown as, by its first line: `# account.yaml`.
    fn file(&self) -> Option<&str> {
        let file = self.text.lines().next()?.strip_prefix("# ")?;
        (self.language == "yaml").then_some(file)
    }
}

/// The headings of a page and the blocks of code below each.
fn sections(page: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let mut open: Option<Block> = None;
    for line in page.lines() {
        let section = sections.last_mut().expect("there is one");
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => section.blocks.extend(open.take()),
            (Some(language), None) => {
                open = Some(Block {
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {
                if let Some(heading) = line.strip_prefix("## ").or(line.strip_prefix("### ")) {
                    sections.push(Section {
                        heading: heading.to_owned(),
                        ..Section::default()
                    });
                }
            }
        }
    }
    assert!(open.is_none(), "a block of code is not closed");
    sections
}

/// Runs a block of commands as a reader would who has kubectl, helm and the operator's binary, and
/// the operator's AWS identity.
fn run(world: &World, folder: &Path, commands: &str, typed: &str) -> (bool, String, String) {
    run_before(&world.cluster, &world.aws, folder, commands, typed)
}

fn run_before(
    cluster: &Cluster,
    aws: &Simulator,
    folder: &Path,
    commands: &str,
    typed: &str,
) -> (bool, String, String) {
    let tools = [Tool::Kubectl, Tool::Helm].map(|tool| tool.path().expect("a tool"));
    let own = Path::new(BINARY);
    let folders = tools.iter().map(PathBuf::as_path).chain([own]);
    let folders = folders.map(|program| program.parent().expect("a folder").to_owned());
    let inherited = std::env::var_os("PATH").expect("a PATH");
    let path = std::env::join_paths(folders.chain(std::env::split_paths(&inherited))).expect("a PATH");
    let mut bash = Command::new("bash");
    bash.args(["-eu", "-o", "pipefail", "-c", commands])
        .current_dir(folder)
        .env("PATH", path)
        .env("HOME", folder)
        .envs(administrator(&cluster.plane, &Aws::from(aws)));
    let output = type_into(&mut bash, typed);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// A team with an AWSAccount and a namespace of these names.
fn team<'w>(world: &'w World, account: &str, namespace: &str) -> Tenant<'w> {
    let mut tenant = world.unregistered_tenant(account);
    tenant.account = account.to_owned();
    tenant.namespace = namespace.to_owned();
    world.cluster.create_namespace(namespace, json!({}));
    tenant
}

/// The ids of its endpoints in AWS.
fn in_aws(tenant: &Tenant<'_>) -> Vec<String> {
    tenant.endpoints().into_iter().map(|endpoint| endpoint.id).collect()
}

/// Makes an endpoint, waits until it is Ready, and returns its id.
fn make(tenant: &Tenant<'_>, name: &str) -> String {
    tenant.apply(name, tenant.spec(json!({})));
    text(&tenant.ready(name)["status"]["vpc_endpoint_id"])
}

#[test]
fn a_team_is_offboarded_and_the_others_of_its_account_stay() {
    let world = World::shared();
    let mut guide = Guide::open(world, "offboard-a-team");
    let mut tenant = team(world, "finance", "invoices");
    world.cluster.create_namespace("payments", json!({}));
    tenant.register(json!({"namespaces": ["payments", "invoices"]}));
    let stays = make(&tenant, "ledger");
    tenant.namespace = "payments".to_owned();
    let goes = make(&tenant, "cards");
    make(&tenant, "fraud");

    let printed = guide.follow("List the endpoints");
    for expected in ["cards", "fraud", &goes, r#"["payments","invoices"]"#] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    guide.follow("Revoke the mapping");
    for name in ["cards", "fraud"] {
        tenant.paused(name, "MappingRevoked");
    }
    assert_eq!(in_aws(&tenant).len(), 3, "nothing is deleted yet");
    tenant.apply("new", tenant.spec(json!({})));
    tenant.not_ready("new", "NoAccount");
    guide.follow("Delete the endpoints");
    assert_eq!(in_aws(&tenant), [stays.as_str()]);
    assert_eq!(tenant.groups().len(), 1);
    guide.follow("Delete the namespace");
    assert!(world.cluster.get(&format!("{NAMESPACES}/payments")).is_none());
    tenant.namespace = "invoices".to_owned();
    assert_eq!(tenant.ready("ledger")["status"]["vpc_endpoint_id"], stays);
    guide.end();
}

#[test]
fn a_closed_account_is_abandoned_and_what_could_be_deleted_is() {
    let world = World::shared();
    let mut guide = Guide::open(world, "close-an-account");
    let tenant = team(world, "reports", "reports");
    tenant.register(json!({}));
    let monthly = make(&tenant, "monthly");
    let yearly = make(&tenant, "yearly");

    let printed = guide.follow("List its endpoints");
    for id in [&monthly, &yearly] {
        assert!(printed.contains(id.as_str()), "{printed}");
    }
    assert!(
        printed.lines().all(|line| !line.contains("tenant-")),
        "only its own: {printed}"
    );
    guide.follow("Stop new endpoints");
    tenant.apply("new", tenant.spec(json!({})));
    tenant.not_ready("new", "AccountFull");
    guide.follow("Open AWS account: delete the endpoints");
    assert_eq!(in_aws(&tenant), [yearly.as_str()]);
    world.set_trust(&tenant.role_arn, false);
    let printed = guide.follow("Closed AWS account: abandon the endpoints");
    assert!(printed.contains(&yearly), "an event names what is left: {printed}");
    assert_eq!(in_aws(&tenant), [yearly.as_str()], "it is left to the closed account");
    assert!(world.cluster.list(&cluster::endpoints(&tenant.namespace)).is_empty());
    world.eventually("its Services are gone", || {
        let services = world.cluster.list(&cluster::services(&tenant.namespace));
        services.is_empty().then_some(())
    });
    guide.follow("Delete the AWSAccount");
    assert!(world.aws_account(&tenant.account).is_none());
    guide.end();
}

#[test]
fn a_team_moves_to_another_account_and_its_service_is_there_all_the_time() {
    let world = World::shared();
    let mut guide = Guide::open(world, "move-a-team");
    let old = team(world, "analytics", "analytics");
    old.register(json!({}));
    make(&old, "warehouse");
    let new = new_account(&guide);
    let service = || old.kubernetes_service("warehouse").expect("it is there all the time");
    let before = service();

    guide.follow("Register the new account");
    old.ready("warehouse");
    guide.follow("Create the second endpoint");
    assert_eq!((in_aws(&old).len(), in_aws(&new).len()), (1, 1));
    guide.follow("Hand the Service over");
    let moved = new.ready("warehouse-new");
    assert_eq!(
        service()["metadata"]["uid"],
        before["metadata"]["uid"],
        "it was never deleted"
    );
    assert_eq!(service()["spec"]["externalName"], moved["status"]["dns_name"]);
    assert_ne!(service()["spec"]["externalName"], before["spec"]["externalName"]);
    new.eventually("warehouse-new", "its first Service is gone", || {
        new.kubernetes_service("warehouse-new").is_none().then_some(())
    });
    old.not_ready("warehouse", "ServiceConflict");
    assert_eq!(in_aws(&old).len(), 1, "those who are connected stay so");
    guide.follow("Delete the old endpoint");
    assert_eq!((in_aws(&old).len(), old.groups().len()), (0, 0));
    guide.follow("Remove the old mapping");
    assert!(world.aws_account("analytics").is_none());
    new.ready("warehouse-new");
    assert_eq!(service()["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(in_aws(&new).len(), 1);
    guide.end();
}

/// What the page takes for granted in the new AWS account: the role, the network and the service.
fn new_account<'w>(guide: &Guide<'w>) -> Tenant<'w> {
    let account = guide.manifest("account.yaml");
    let spec = |field: &str| text(&account["spec"][field]);
    let role = guide.world.role(&spec("role_arn"), Some(&spec("external_id")));
    guide.world.aws.add_role(&spec("role_arn"), role).expect("a role");
    shown(guide)
}

/// The tenant of the manifests that the page shows, with their network and service, and without the
/// role.
fn shown<'w>(guide: &Guide<'w>) -> Tenant<'w> {
    let (account, endpoint) = (guide.manifest("account.yaml"), guide.manifest("endpoint.yaml"));
    let spec = |field: &str| text(&account["spec"][field]);
    let role_arn = spec("role_arn");
    let account_id = role_arn.split(':').nth(4).expect("an ARN").to_owned();
    let mut tenant = Tenant {
        world: guide.world,
        namespace: text(&endpoint["metadata"]["namespace"]),
        account: text(&account["metadata"]["name"]),
        account_id,
        region: spec("default_region"),
        role_arn,
        vpc: String::new(),
        subnets: Vec::new(),
        group: String::new(),
        service: String::new(),
        over: None,
    };
    build_network(&mut tenant, &endpoint);
    tenant
}

/// Makes the network and the service that a manifest of the page names.
fn build_network(tenant: &mut Tenant<'_>, endpoint: &Value) {
    let aws = &tenant.world.aws;
    tenant.vpc = text(&endpoint["spec"]["vpc_id"]);
    tenant.service = text(&endpoint["spec"]["vpc_endpoint_service_id"]);
    tenant.subnets.clear();
    let (id, region) = (tenant.account_id.as_str(), tenant.region.as_str());
    aws.add_service(region, &tenant.service, ServiceSpec::default());
    aws.add_vpc(id, region, &tenant.vpc, "10.1.0.0/16").expect("a VPC");
    let subnets = endpoint["spec"]["subnet_ids"].as_array().expect("subnets");
    for (subnet, zone) in subnets.iter().map(text).zip(["a", "b"]) {
        let zone = format!("{region}{zone}");
        let added = aws.add_subnet(id, region, &subnet, &tenant.vpc, &zone);
        added.expect("a subnet");
        tenant.subnets.push(subnet);
    }
}
