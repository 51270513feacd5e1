//! The runbooks of `docs/runbooks`: their commands read only, and run; their queries are what
//! Prometheus takes.

use std::fs;
use std::path::Path;

use serde_json::json;
use vpce_testbed::prometheus::{Prometheus, Settings};

use super::{make, run, sections, team};
use crate::endpoint_services::{Offers, offering};
use crate::world::World;

/// The words after `kubectl` that change nothing.
const READING: [&str; 3] = ["get", "describe", "wait"];

#[test]
fn the_commands_and_the_queries_of_the_runbooks_run() {
    let world = World::shared();
    let tenant = team(world, "lending", "lending");
    tenant.register(json!({}));
    make(&tenant, "rates");
    let offers = Offers::of(&tenant);
    offers.apply("scores", &offering(&[&offers.load_balancer()], json!({})));
    offers.ready("scores");
    let target = world.operator.metrics_address().expect("it runs");
    let settings = Settings {
        token: Some(world.operator.metrics_token().to_owned()),
        ..Settings::default()
    };
    let prometheus = Prometheus::start(&settings, &[target]).expect("started");
    let folder = world.cluster.plane.folder().join("runbooks");
    fs::create_dir_all(&folder).expect("a folder");

    let (mut commands, mut queries) = (0, 0);
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks");
    for entry in fs::read_dir(pages).expect("the runbooks") {
        let path = entry.expect("a page").path();
        let page = fs::read_to_string(&path).expect("a page");
        for block in sections(&page).iter().flat_map(|section| &section.blocks) {
            match block.language.as_str() {
                "sh" => {
                    for part in block.text.split("kubectl ").skip(1) {
                        let verb = part.split_whitespace().next().unwrap_or_default();
                        assert!(READING.contains(&verb), "{}: {}", path.display(), block.text);
                    }
                    let (success, stdout, stderr) = run(world, &folder, &block.text, "");
                    assert!(success, "{}:\n{}\n{stdout}\n{stderr}", path.display(), block.text);
                    commands += 1;
                }
                "promql" => {
                    for query in block.text.split("\n\n") {
                        let answer = prometheus.query(query);
                        answer.unwrap_or_else(|error| panic!("{}: {error:#}\n{query}", path.display()));
                        queries += 1;
                    }
                }
                "console" => {}
                other => panic!("{}: nobody checks blocks of {other:?}", path.display()),
            }
        }
    }
    assert!(
        commands >= 24 && queries >= 22,
        "{commands} commands, {queries} queries"
    );
}
