//! The service control policy of `docs/iam`, in force: the operator's tags are the operator's
//! roles', whatever other policies allow.

use vpce_testbed::aws::{Config, RoleSpec};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, SERVICE, simulator};

const SCP: &str = include_str!("../../../docs/iam/service-control-policy.json");
const OPERATOR: &str = "arn:aws:iam::111111111111:role/vpce-operator";

fn tags(action: &str, client: &Client, id: &str, keys: &[&str]) -> Answer {
    let names: Vec<String> = (1..=keys.len()).map(|n| format!("Tag.{n}.Key")).collect();
    let mut params = vec![("ResourceId.1", id)];
    params.extend(names.iter().map(String::as_str).zip(keys.iter().copied()));
    client.ec2(action, &params)
}

fn is_denied(answer: &Answer) -> bool {
    answer.text("Code") == "UnauthorizedOperation" && answer.text("Message").contains("service control policy")
}

#[test]
fn only_the_operators_roles_set_or_remove_its_tags() {
    let (simulator, stranger) = simulator(Config {
        throttle: false,
        ..Config::default()
    });
    simulator.add_role(OPERATOR, RoleSpec::default()).unwrap();
    let operator = Client::base(&simulator, REGION).assume(OPERATOR);
    simulator.set_scp(ACCOUNT, Some(SCP.to_owned())).unwrap();

    for key in [
        "silvermullet.com/cluster",
        "silvermullet.com/anything",
        "SilverMullet.com/Cluster",
        "SILVERMULLET.COM/UID",
    ] {
        for keys in [&[key][..], &["team", key]] {
            assert!(is_denied(&tags("CreateTags", &stranger, "sg-1", keys)), "{keys:?}");
            assert!(is_denied(&tags("DeleteTags", &stranger, "sg-1", keys)), "{keys:?}");
        }
        let make = |client: &Client, key: &str| {
            let params = [
                ("VpcEndpointType", "Interface"),
                ("VpcId", "vpc-1"),
                ("ServiceName", SERVICE),
                ("TagSpecification.1.ResourceType", "vpc-endpoint"),
                ("TagSpecification.1.Tag.1.Key", key),
                ("TagSpecification.1.Tag.1.Value", "x"),
            ];
            client.ec2("CreateVpcEndpoint", &params)
        };
        assert!(is_denied(&make(&stranger, key)), "{key}");
        assert_eq!(make(&operator, key).status, 200, "{key}");
    }
    let keys = ["silvermullet.com/cluster", "silvermullet.com/uid", "team"];
    assert_eq!(tags("CreateTags", &operator, "sg-1", &keys).status, 200);
    // Every caller may set other tags, also those that only resemble the prefix.
    for key in ["team", "silvermullet.community", "silvermullet.com"] {
        for action in ["CreateTags", "DeleteTags"] {
            assert_eq!(tags(action, &stranger, "sg-1", &[key]).status, 200, "{key}");
        }
    }
    assert_eq!(tags("DeleteTags", &operator, "sg-1", &keys).status, 200);
    simulator.set_scp(ACCOUNT, None).unwrap();
    assert_eq!(tags("CreateTags", &stranger, "sg-1", &keys).status, 200);
}
