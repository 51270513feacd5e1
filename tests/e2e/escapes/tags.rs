//! Tags that claim what is another's, in every spelling that gets through, and by way of a
//! namespace's labels.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Belongings, neighbours, rest};
use crate::tenant::Tenant;

/// Checks that the tags by which an owner is known are the tenant's own on all that it has.
#[track_caller]
fn owned_by_itself(tenant: &Tenant<'_>, name: &str, uid: &str) {
    let its = Belongings::of(tenant);
    let tags: Vec<&BTreeMap<String, String>> = its
        .endpoints
        .iter()
        .map(|endpoint| &endpoint.tags)
        .chain(its.groups.iter().map(|group| &group.tags))
        .filter(|tags| tags["silvermullet.com/name"] == name)
        .collect();
    assert_eq!(tags.len(), 2);
    for tags in tags {
        for (key, value) in [
            ("cluster", tenant.world.cluster_id()),
            ("namespace", &tenant.namespace),
            ("name", name),
            ("uid", uid),
        ] {
            assert_eq!(tags[&format!("silvermullet.com/{key}")], value, "{key}");
        }
    }
}

/// Spells the key of a tag in another way.
type Spelling<'a> = &'a dyn Fn(&str) -> String;

#[test]
fn no_spelling_of_a_tag_makes_another_the_owner_or_oneself() {
    let (victim, attacker) = neighbours("forged-tags");
    let before = Belongings::of(&victim);
    let forged = |key: &dyn Fn(&str) -> String| {
        let pairs = [
            ("cluster", victim.world.cluster_id()),
            ("namespace", &victim.namespace),
            ("name", "api"),
            ("uid", "0"),
        ];
        json!(
            pairs
                .map(|(part, value)| (key(part), value.to_owned()))
                .into_iter()
                .collect::<BTreeMap<_, _>>()
        )
    };
    // As they are, they are refused at apply, at first and later.
    attacker.apply("edited", attacker.spec(json!({})));
    attacker.ready("edited");
    for (name, tags) in [
        ("owner", forged(&|part| format!("silvermullet.com/{part}"))),
        ("mark", json!({"silvermullet.com/retained": "x"})),
        ("adopt", json!({"silvermullet.com/adopt": "x"})),
        ("aws", json!({"aws:cloudformation:stack-name": "x"})),
    ] {
        for name in [name, "edited"] {
            let refusal = attacker.try_apply(name, attacker.spec(json!({"tags": tags})));
            let message = refusal.expect_err("it is reserved").message;
            assert!(message.contains("reserved"), "{tags}: {message}");
        }
    }
    // What only looks like them is refused, or is a tag like any other.
    let spellings: [(&str, Spelling<'_>); 7] = [
        ("upper", &|part| format!("SILVERMULLET.COM/{}", part.to_uppercase())),
        ("title", &|part| format!("Silvermullet.com/{part}")),
        ("space", &|part| format!(" silvermullet.com/{part}")),
        ("after", &|part| format!("silvermullet.com /{part}")),
        ("cyrillic", &|part| format!("s\u{456}lvermullet.com/{part}")),
        ("width", &|part| format!("\u{ff53}ilvermullet.com/{part}")),
        ("slash", &|part| format!("silvermullet.com\u{2215}{part}")),
    ];
    let mut accepted = Vec::new();
    for (name, spelling) in spellings {
        if attacker
            .try_apply(name, attacker.spec(json!({"tags": forged(spelling)})))
            .is_ok()
        {
            accepted.push(name);
        }
    }
    assert!(accepted.contains(&"cyrillic"), "{accepted:?}");
    // What the console shows as the name proves nothing.
    let name = format!("api-{}", victim.namespace);
    attacker.apply("display", attacker.spec(json!({"tags": {"Name": name}})));
    accepted.push("display");
    for name in &accepted {
        let uid = attacker.ready(name)["metadata"]["uid"].take();
        owned_by_itself(&attacker, name, uid.as_str().expect("a UID"));
    }
    rest(&victim);
    assert_eq!(Belongings::of(&victim), before);
    for name in &accepted {
        attacker.delete(name);
    }
    for name in &accepted {
        attacker.gone(name);
    }
    assert_eq!(Belongings::of(&attacker).in_aws(), (1, 1), "what was not deleted");
    assert_eq!(Belongings::of(&victim), before);
}

#[test]
fn namespace_labels_that_become_tags_claim_nothing() {
    let (victim, attacker) = neighbours("forged-labels");
    let before = Belongings::of(&victim);
    for key in ["silvermullet.com/name", "silvermullet.com/cluster", "aws:x"] {
        let path = format!("{}/{}", crate::cluster::ACCOUNTS, attacker.account);
        let change = json!({"spec": {"tags_from_namespace_labels": [key]}});
        let message = attacker
            .world
            .cluster
            .merge(&path, &change)
            .expect_err("it is reserved")
            .message;
        assert!(message.contains("tags_from_namespace_labels"), "{message}");
    }
    let labels = json!({
        "silvermullet.com/cluster": attacker.world.cluster_id(), "silvermullet.com/namespace": victim.namespace,
        "silvermullet.com/name": "api", "Name": "api", "team": victim.namespace,
    });
    let namespace = attacker.namespace_path();
    let labelled = attacker
        .world
        .cluster
        .merge(&namespace, &json!({"metadata": {"labels": labels}}));
    labelled.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    attacker.edit_account(json!({"tags_from_namespace_labels": ["team", "Name"]}));
    attacker.apply("api", attacker.spec(json!({})));
    let uid = attacker.ready("api")["metadata"]["uid"].take();
    owned_by_itself(&attacker, "api", uid.as_str().expect("a UID"));
    assert_eq!(Belongings::of(&attacker).endpoints[0].tags["team"], victim.namespace);
    attacker.delete("api");
    attacker.gone("api");
    assert_eq!(Belongings::of(&victim), before);
}
