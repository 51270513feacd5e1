//! One endpoint that many namespaces share: how long after its owner the last of them is Ready, and
//! what it costs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::bed::Bed;
use super::metrics::Scrape;
use super::objects::{count_ready, ready};
use super::report::Report;
use crate::aws::{Config, RoleSpec};

const NAMESPACES: usize = 100;
const WITHIN: Duration = Duration::from_secs(120);
/// Looking at one object after the other takes time from what is measured.
const PAUSE: Duration = Duration::from_millis(50);
const BOUND_SECONDS: f64 = 2.0;

pub(super) fn run(binary: &Path) -> Result<Report> {
    let bed = Bed::start(binary, Config::default(), Vec::new())?;
    let registered = bed.register(1, &RoleSpec::default(), &json!({}))?;
    let owner = &registered.teams[0];
    let others: Vec<String> = (0..NAMESPACES).map(|number| format!("shares-{number}")).collect();
    bed.objects.create_namespaces(&others)?;
    let reference = json!({"vpc_endpoint_ref": {"namespace": owner, "name": "endpoint-0"}});
    let objects = others
        .iter()
        .map(|namespace| (namespace.clone(), "mine".to_owned(), reference.clone()));
    bed.objects.create_endpoints(objects)?;
    bed.wait("all others wait for it", WITHIN, PAUSE, || {
        let refused = |namespace: &String| -> Result<bool> {
            let object = bed.objects.endpoint(namespace, "mine")?;
            Ok(ready(&object) == Some((false, "NotShared")))
        };
        others
            .iter()
            .try_fold(true, |all, namespace| Ok(all && refused(namespace)?))
    })?;
    let before = writes(&Scrape::of(&bed.operator)?);
    let specs = registered.endpoints(1, |network| {
        let mut spec = network.spec();
        spec["share"] = json!({"namespace_selector": {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "Exists"},
        ]}});
        spec
    });
    bed.objects.create_endpoints(specs)?;
    bed.wait("its owner is Ready", WITHIN, PAUSE, || {
        Ok(count_ready(&[bed.objects.endpoint(owner, "endpoint-0")?]) == 1)
    })?;
    let begun = Instant::now();
    // The last ones first: they are asked about until all are Ready.
    let mut waiting = others.clone();
    bed.wait("all others are Ready", WITHIN, Duration::from_millis(10), || {
        while let Some(namespace) = waiting.last() {
            if count_ready(&[bed.objects.endpoint(namespace, "mine")?]) == 0 {
                return Ok(false);
            }
            waiting.pop();
        }
        Ok(true)
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let written = writes(&Scrape::of(&bed.operator)?) - before;
    let calls = bed.aws.calls();
    let created = calls
        .iter()
        .filter(|call| call.ok() && call.action == "CreateVpcEndpoint");

    let mut report = Report::default();
    report.most("the last of 100 is Ready after the owner", seconds, BOUND_SECONDS, "s");
    report.told(
        "writes to the API server for each, events included",
        written / NAMESPACES as f64,
        "calls",
    );
    report.most("endpoints created", created.count() as f64, 1.0, "");
    bed.operator.terminate()?;
    Ok(report)
}

/// The writes to the API server, but those of the Lease.
fn writes(scrape: &Scrape) -> f64 {
    let of = |resource: &str| {
        ["create", "patch", "update", "delete"]
            .iter()
            .map(|verb| {
                scrape.sum(
                    "vpce_kubernetes_requests_total",
                    &[("verb", verb), ("resource", resource)],
                )
            })
            .sum::<f64>()
    };
    ["services", "vpcendpoints", "vpcendpoints/status", "events"]
        .map(of)
        .iter()
        .sum()
}
