//! One thing changes among very many: what is reconciled is what it concerns, and nothing else.
//! There is no resync meanwhile.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{DONE_WITHIN, PAUSE, Size, reconciles};
use crate::bench::bed::{Bed, Registered};
use crate::bench::metrics::Scrape;
use crate::bench::report::Report;

/// What was changed in AWS has settled, and was read again, and its AWSAccount has counted it.
const FOLLOWED_UP_AFTER: Duration = Duration::from_secs(25);

pub(super) fn measure(bed: &Bed, size: Size, registered: &Registered, report: &mut Report) -> Result<()> {
    println!("changing one AWSAccount, one Namespace, one Service; deleting one team's endpoints");
    let each = size.each as f64;
    let [tagged, relabelled, touched, deleted] = [0, 1, 2, 3].map(|at| registered.teams[at].as_str());

    let woken = Woken::by(bed, tagged, || {
        let patch = json!({"spec": {"default_tags": {"scale": "edited"}}}).to_string();
        let account = format!("awsaccount/{tagged}");
        bed.plane
            .kubectl(&["patch", &account, "--type", "merge", "--patch", &patch])?
            .success()?;
        let account_id = &registered.accounts[0];
        bed.wait("all have the tag", DONE_WITHIN, PAUSE, || {
            let endpoints = bed.aws.endpoints(account_id, super::super::bed::REGION);
            Ok(endpoints.iter().all(|endpoint| endpoint.tags.contains_key("scale")))
        })
    })?;
    report.told("a tag in default_tags: reconciles of its endpoints", woken.own, "");
    report.told("a tag in default_tags: of its AWSAccount", woken.account, "");
    report.told("a tag in default_tags: calls to AWS", woken.calls, "");
    report.most("a tag in default_tags: reconciles of others", woken.others, 0.0, "");

    let woken = Woken::by(bed, relabelled, || {
        bed.plane
            .kubectl(&["label", "namespace", relabelled, "scale=relabelled"])?
            .success()
            .map(drop)
    })?;
    report.most(
        "a label of a Namespace: reconciles of its endpoints",
        woken.own,
        each,
        "",
    );
    report.told("a label of a Namespace: of its AWSAccount", woken.account, "");
    report.most("a label of a Namespace: calls to AWS", woken.calls, 0.0, "");
    report.most("a label of a Namespace: reconciles of others", woken.others, 0.0, "");

    let woken = Woken::by(bed, touched, || {
        let annotate = ["annotate", "service", "endpoint-0", "--namespace", touched];
        bed.plane
            .kubectl(&[&annotate[..], &["example.com/scale=touched"]].concat())?
            .success()
            .map(drop)
    })?;
    report.most(
        "an annotation of a Service: reconciles of its endpoint",
        woken.own,
        1.0,
        "",
    );
    report.most("an annotation of a Service: calls to AWS", woken.calls, 0.0, "");
    report.most(
        "an annotation of a Service: reconciles of others",
        woken.others + woken.account,
        0.0,
        "",
    );

    let woken = Woken::by(bed, deleted, || {
        let names = (0..size.each).map(|at| (deleted.to_owned(), format!("endpoint-{at}")));
        bed.objects.delete_endpoints(names)?;
        bed.wait("they are gone", DONE_WITHIN, PAUSE, || bed.objects.is_empty(deleted))
    })?;
    report.told("deletion of a team's endpoints: reconciles of them", woken.own, "");
    report.told("deletion of a team's endpoints: of the AWSAccount", woken.account, "");
    report.told("deletion of a team's endpoints: calls to AWS", woken.calls, "");
    report.most(
        "deletion of a team's endpoints: reconciles of others",
        woken.others,
        0.0,
        "",
    );
    Ok(())
}

/// What was reconciled, and called, because of a change.
struct Woken {
    /// VPCEndpoints that are bound to the AWSAccount.
    own: f64,
    /// The AWSAccount.
    account: f64,
    others: f64,
    calls: f64,
}

impl Woken {
    /// By a change of something of an AWSAccount.
    fn by(bed: &Bed, account: &str, change: impl FnOnce() -> Result<()>) -> Result<Self> {
        let before = Scrape::of(&bed.operator)?;
        bed.aws.clear_calls();
        change()?;
        std::thread::sleep(FOLLOWED_UP_AFTER);
        let after = Scrape::of(&bed.operator)?;
        let more = |labels: &[(&str, &str)]| reconciles(&after, labels) - reconciles(&before, labels);
        let of = |controller| more(&[("controller", controller), ("account", account)]);
        let (own, of_account) = (of("vpcendpoint"), of("awsaccount"));
        Ok(Self {
            own,
            account: of_account,
            others: more(&[]) - own - of_account,
            calls: bed.aws.take_calls().len() as f64,
        })
    }
}
