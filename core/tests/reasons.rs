//! Every reason of every condition has its paragraph in docs/troubleshooting.md, and there is none
//! for what is no reason.

use std::collections::BTreeSet;
use std::path::Path;

use vpce_core::conditions::{AccountReason, Reason};

/// The sections below one heading of the second level: heading and text of each.
fn sections<'p>(page: &'p str, heading: &str) -> Vec<(&'p str, &'p str)> {
    let (_, chapter) = page
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("there is no chapter {heading:?}"));
    let chapter = chapter.split("\n## ").next().unwrap_or_default();
    let sections = chapter.split("\n### ").skip(1);
    sections.filter_map(|section| section.split_once('\n')).collect()
}

fn compare(sections: &[(&str, &str)], reasons: BTreeSet<String>) {
    let told: BTreeSet<String> = sections.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    assert_eq!(told.len(), sections.len(), "a heading is there twice");
    let untold: Vec<&String> = reasons.difference(&told).collect();
    assert!(untold.is_empty(), "reasons without a paragraph: {untold:?}");
    let unknown: Vec<&String> = told.difference(&reasons).collect();
    assert!(unknown.is_empty(), "paragraphs on what is no reason: {unknown:?}");
    for (heading, text) in sections {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let says_who = [
            "No action",
            "App team",
            "app team",
            "Platform team",
            "platform team",
            "Owner of the service",
        ];
        assert!(
            says_who.iter().any(|who| text.contains(&format!("**{who}**"))),
            "{heading} does not say who has to act"
        );
    }
}

#[test]
fn every_reason_has_its_paragraph_that_says_who_has_to_act_and_there_is_none_for_another() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let of_endpoints = Reason::ALL.iter().map(ToString::to_string).collect();
    compare(&sections(&page, "Reasons of a VPCEndpoint"), of_endpoints);
    let of_accounts = AccountReason::ALL.iter().map(|reason| format!("{reason} (AWSAccount)"));
    compare(&sections(&page, "Reasons of an AWSAccount"), of_accounts.collect());
}
