//! A session's source identity: who may set it, that it stays, and who sees it.

use serde_json::{Value, json};
use vpce_testbed::aws::{Config, RoleSpec, Simulator};

use crate::client::{Answer, Client};
use crate::{REGION, ROLE, simulator};

const OTHER_ROLE: &str = "arn:aws:iam::222222222222:role/other";
const OPERATOR: (&str, &str) = ("SourceIdentity", "vpce-operator@cluster-1");

fn assume(client: &Client, role: &str, more: &[(&str, &str)]) -> Answer {
    let params = [&[("RoleArn", role), ("RoleSessionName", "reconcile")], more].concat();
    client.sts("AssumeRole", &params)
}

fn session(client: &Client, answer: &Answer) -> Client {
    client.with_key(&answer.text("AccessKeyId"), Some(&answer.text("SessionToken")))
}

fn trusting(simulator: &Simulator, role: &str, actions: &[&str], condition: Value) {
    let statement = json!({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": actions, "Condition": condition});
    let spec = RoleSpec {
        trust_policy: Some(json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()),
        ..RoleSpec::default()
    };
    simulator.set_role(role, spec).unwrap();
}

const BOTH: &[&str] = &["sts:AssumeRole", "sts:SetSourceIdentity"];

#[test]
fn the_answer_and_the_log_have_it() {
    let (simulator, _) = simulator(Config::default());
    let base = Client::base(&simulator, REGION);
    let answer = assume(&base, ROLE, &[OPERATOR]).succeeded();
    assert_eq!(answer.text("SourceIdentity"), OPERATOR.1);
    session(&base, &answer).ec2("DescribeVpcs", &[]).succeeded();
    let calls = simulator.calls();
    let [.., assumed, described] = &calls[..] else {
        panic!("two calls at least: {calls:?}");
    };
    assert_eq!((assumed.session_name.as_str(), &assumed.source_identity), ("", &None));
    assert_eq!(described.session_name, "reconcile");
    assert_eq!(described.source_identity.as_deref(), Some(OPERATOR.1));
    assert_eq!(assume(&base, ROLE, &[]).succeeded().text("SourceIdentity"), "");
}

#[test]
fn what_it_looks_like_is_checked() {
    let (simulator, _) = simulator(Config::default());
    let base = Client::base(&simulator, REGION);
    for bad in ["x", "two words", "a:b", "a/b", &"x".repeat(65)] {
        assume(&base, ROLE, &[("SourceIdentity", bad)]).refused("ValidationError");
    }
    for good in ["xx", "a_b+c=d,e.f@g-h", &"x".repeat(64)] {
        assume(&base, ROLE, &[("SourceIdentity", good)]).succeeded();
    }
}

#[test]
fn setting_it_is_a_permission_at_both_ends() {
    let (simulator, _) = simulator(Config::default());
    let base = Client::base(&simulator, REGION);
    let own = |actions: &[&str]| {
        let statement = json!({"Effect": "Allow", "Action": actions, "Resource": "*"});
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]});
        simulator.set_base_policy(Some(policy.to_string())).unwrap();
    };
    for (mine, theirs, allowed) in [(BOTH, BOTH, true), (&BOTH[..1], BOTH, false), (BOTH, &BOTH[..1], false)] {
        own(mine);
        trusting(&simulator, ROLE, theirs, json!({}));
        assume(&base, ROLE, &[]).succeeded();
        let answer = assume(&base, ROLE, &[OPERATOR]);
        if allowed {
            answer.succeeded();
        } else {
            answer.refused("AccessDenied");
            assert!(answer.text("Message").contains("sts:SetSourceIdentity"));
        }
    }
}

#[test]
fn policies_may_require_it_when_it_is_set_and_in_later_sessions() {
    let (simulator, _) = simulator(Config::default());
    let base = Client::base(&simulator, REGION);
    let wanted = json!({"StringLike": {"sts:SourceIdentity": "vpce-operator@*"}});
    trusting(&simulator, ROLE, BOTH, wanted);
    assume(&base, ROLE, &[]).refused("AccessDenied");
    assume(&base, ROLE, &[("SourceIdentity", "somebody")]).refused("AccessDenied");
    let with = session(&base, &assume(&base, ROLE, &[OPERATOR]).succeeded());

    let statement = json!({"Effect": "Allow", "Action": "ec2:*", "Resource": "*",
                           "Condition": {"StringEquals": {"aws:SourceIdentity": OPERATOR.1}}});
    let spec = RoleSpec {
        policy: Some(json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()),
        ..RoleSpec::default()
    };
    simulator.set_role(ROLE, spec).unwrap();
    with.ec2("DescribeVpcs", &[]).succeeded();
    let without = session(&base, &assume(&base, ROLE, &[]).succeeded());
    without.ec2("DescribeVpcs", &[]).refused("UnauthorizedOperation");
}

#[test]
fn it_comes_along_when_roles_are_chained_and_does_not_change() {
    let (simulator, _) = simulator(Config::default());
    simulator.add_role(OTHER_ROLE, RoleSpec::default()).unwrap();
    let base = Client::base(&simulator, REGION);
    let first = session(&base, &assume(&base, ROLE, &[OPERATOR]).succeeded());
    for more in [&[][..], &[OPERATOR]] {
        let answer = assume(&first, OTHER_ROLE, more).succeeded();
        assert_eq!(answer.text("SourceIdentity"), OPERATOR.1);
        session(&base, &answer).ec2("DescribeVpcs", &[]).succeeded();
        let last = simulator.calls().pop().unwrap();
        assert_eq!(
            (last.account.as_str(), last.role.as_str()),
            ("222222222222", OTHER_ROLE)
        );
        assert_eq!(last.source_identity.as_deref(), Some(OPERATOR.1));
    }
    assume(&first, OTHER_ROLE, &[("SourceIdentity", "another")]).refused("AccessDenied");

    trusting(&simulator, OTHER_ROLE, &BOTH[..1], json!({}));
    assume(&first, OTHER_ROLE, &[]).refused("AccessDenied");
    assume(&base, OTHER_ROLE, &[]).succeeded();
    // The key of STS is about the request, that of AWS about the session which makes it.
    trusting(
        &simulator,
        OTHER_ROLE,
        BOTH,
        json!({"StringEquals": {"sts:SourceIdentity": OPERATOR.1}}),
    );
    assume(&first, OTHER_ROLE, &[]).refused("AccessDenied");
    trusting(
        &simulator,
        OTHER_ROLE,
        BOTH,
        json!({"StringEquals": {"aws:SourceIdentity": OPERATOR.1}}),
    );
    assume(&first, OTHER_ROLE, &[]).succeeded();
}
