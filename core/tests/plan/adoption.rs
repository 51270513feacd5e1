//! What planning promises of an endpoint that existed before.

use std::collections::BTreeMap;

use proptest::prelude::*;
use vpce_core::attachment::Kept;
use vpce_core::conditions::Reason;
use vpce_core::desired::{Desired, Existing, Groups};
use vpce_core::observed::{Lookup, Observed};
use vpce_core::ownership::Consent;
use vpce_core::plan::{ResourceId, Step, simulate};
use vpce_core::tags::{self, ADOPT, Claim};

use crate::observations::{
    ENDPOINT, asked_mut, attached, attached_mut, desired, endpoint, generated, owner, planned, provided, settled,
};

/// What a spec says of an endpoint that it names.
fn wish() -> impl Strategy<Value = Desired> {
    let groups = prop_oneof![Just(Groups::Kept), Just(generated()), Just(provided(&["sg-p1"]))];
    (groups, any::<[bool; 4]>()).prop_map(|(groups, [subnets, private_dns, on, observes])| {
        // What is only observed is asked nothing.
        let (subnets, private_dns) = (subnets || observes, private_dns || observes);
        let mut wish = desired(if observes { Groups::Kept } else { groups });
        asked_mut(&mut wish).private_dns = on && !private_dns;
        if subnets {
            asked_mut(&mut wish).subnets.clear();
        }
        wish.tags.remove(tags::DISPLAY_NAME);
        wish.adopted = Some(Kept { subnets, private_dns });
        wish.existing = Some(Existing {
            id: ENDPOINT.into(),
            consent: Consent::Tag,
            observes,
        });
        wish
    })
}

/// The endpoint as another tool left it, which consents.
fn foreign(private_dns: bool) -> Observed {
    let mut observed = settled(&desired(Groups::Kept));
    let endpoint = endpoint(&mut observed);
    attached_mut(endpoint).private_dns = private_dns;
    attached_mut(endpoint).subnets = ["subnet-a1".into()].into();
    endpoint.tags = BTreeMap::from([
        (tags::DISPLAY_NAME.to_owned(), "theirs".to_owned()),
        (ADOPT.to_owned(), owner().consent()),
    ]);
    observed.services.clear();
    observed
}

proptest! {
    #[test]
    fn what_the_spec_does_not_say_stays_and_what_is_observed_stays_as_it_is(wish in wish(), private_dns in any::<bool>()) {
        let before = foreign(private_dns);
        let first = planned(&wish, &before);
        let in_aws: Vec<&Step> = first.steps.iter().filter(|step| step.is_in_aws()).collect();
        if wish.observes() {
            prop_assert!(in_aws.is_empty(), "{in_aws:?}");
            prop_assert!(first.endpoint.ok, "{:?}", first.endpoint);
        } else {
            // IAM allows no change before it has the owner's tags.
            let [Step::Tag(ResourceId::Endpoint(id), tags)] = in_aws[..] else {
                panic!("only the owner's tags: {in_aws:?}");
            };
            prop_assert_eq!(id.as_str(), ENDPOINT);
            prop_assert_eq!(owner().claim(tags), Claim::Ours);
            prop_assert_eq!(first.endpoint.reason, Reason::Updating);
        }
        let end = simulate(&before, Some(&wish), |seen| planned(&wish, seen)).reached;
        prop_assert_eq!(planned(&wish, &end).steps, Vec::<Step>::new());
        let Lookup::Owned(after) = &end.endpoint else {
            panic!("it is the object's: {:?}", end.endpoint);
        };
        let there = before.endpoint.owned().expect("it is there");
        prop_assert_eq!(&after.tags[tags::DISPLAY_NAME], "theirs");
        let kept = wish.adopted.expect("it is adopted");
        if wish.observes() {
            prop_assert_eq!(after, there);
            return Ok(());
        }
        if kept.subnets {
            prop_assert_eq!(&attached(after).subnets, &attached(there).subnets);
        }
        if kept.private_dns {
            prop_assert_eq!(attached(after).private_dns, private_dns);
        }
        if wish.attachment.groups() == Some(&Groups::Kept) {
            prop_assert_eq!(&attached(after).groups, &attached(there).groups);
            prop_assert_eq!(&end.group, &Lookup::Absent);
        }
    }
}

#[test]
fn in_place_of_what_the_spec_names_nothing_is_created() {
    let mut wish = desired(generated());
    wish.existing = Some(Existing {
        id: ENDPOINT.into(),
        consent: Consent::Tag,
        observes: false,
    });
    for lookup in [Lookup::Absent, Lookup::Deleted, Lookup::Unconfirmed] {
        let mut observed = foreign(false);
        observed.endpoint = lookup;
        let plan = planned(&wish, &observed);
        assert_eq!(plan.steps, []);
        assert_eq!(plan.endpoint.reason, Reason::NotFound);
    }
}
