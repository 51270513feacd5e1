//! All accounts of an organization, from one list and one template.

use std::fs;

use serde_json::{Value, json};
use vpce_testbed::aws::RoleSpec;

use super::{Guide, build_network, in_aws, make};
use crate::cluster::ACCOUNTS;
use crate::tenant::Tenant;
use crate::world::{Setup, World, id, text};

const ACCOUNTS_OF_ORGANIZATION: usize = 50;
const MANAGEMENT: &str = "999999999999";

fn account_id(number: usize) -> String {
    format!("1000000000{number:02}")
}

/// What `aws organizations list-accounts` prints.
fn organization() -> Value {
    let account = |id: &str, name: &str, state: &str| {
        json!({
            "Id": id, "Arn": format!("arn:aws:organizations::{MANAGEMENT}:account/o-example/{id}"), "Email": "aws@example.com",
            "Name": name, "Status": state, "State": state, "JoinedMethod": "CREATED", "JoinedTimestamp": 1_700_000_000.25,
        })
    };
    let members = (0..ACCOUNTS_OF_ORGANIZATION)
        .map(|number| account(&account_id(number), &format!("Team {number} (prod)"), "ACTIVE"));
    let others = [
        account(MANAGEMENT, "Management", "ACTIVE"),
        account("888888888888", "Closed", "SUSPENDED"),
    ];
    json!({"Accounts": members.chain(others).collect::<Vec<_>>()})
}

/// What CloudFormation makes of the template in an account: the policies of the role.
fn deployed(template: &Value, account: &str) -> RoleSpec {
    fn resolved(value: &Value, template: &Value, account: &str) -> Value {
        let resolved = |value: &Value| resolved(value, template, account);
        match (value["Fn::Sub"].as_str(), value) {
            (Some(text), _) => {
                let mut text = text
                    .replace("${AWS::AccountId}", account)
                    .replace("${AWS::Partition}", "aws");
                for (name, parameter) in template["Parameters"].as_object().expect("parameters") {
                    let default = parameter["Default"].as_str().unwrap_or_default();
                    text = text.replace(&format!("${{{name}}}"), default);
                }
                assert!(!text.contains("${"), "{text}");
                Value::String(text)
            }
            (None, Value::Array(items)) => items.iter().map(resolved).collect(),
            (None, Value::Object(fields)) => fields
                .iter()
                .map(|(key, value)| (key.clone(), resolved(value)))
                .collect(),
            _ => value.clone(),
        }
    }
    let role = &template["Resources"]["VpceOperatorRole"]["Properties"];
    let policy = |document: &Value| Some(resolved(document, template, account).to_string());
    RoleSpec {
        policy: policy(&role["Policies"][0]["PolicyDocument"]),
        trust_policy: policy(&role["AssumeRolePolicyDocument"]),
        ..RoleSpec::default()
    }
}

#[test]
fn fifty_accounts_are_registered_from_one_list_and_one_template() {
    let mut setup = Setup::fast();
    setup.aws.base_is_session = true;
    let world = World::own(setup);
    let mut guide = Guide::open(&world, "register-an-organization");
    fs::write(guide.folder.join("accounts.json"), organization().to_string()).expect("written");
    guide.follow("Write the AWSAccounts");
    guide.follow("Print the role");
    let template = fs::read_to_string(guide.folder.join("stack-set.yaml")).expect("printed");
    let template: Value = serde_saphyr::from_str(&template).expect("YAML");
    for number in 0..ACCOUNTS_OF_ORGANIZATION {
        let account = account_id(number);
        let arn = format!("arn:aws:iam::{account}:role/vpce-operator");
        world.aws.add_role(&arn, deployed(&template, &account)).expect("a role");
    }
    let printed = guide.follow("Apply the AWSAccounts");
    assert_eq!(
        printed.matches("condition met").count(),
        ACCOUNTS_OF_ORGANIZATION,
        "{printed}"
    );
    let names: Vec<String> = world
        .cluster
        .list(ACCOUNTS)
        .iter()
        .map(|account| text(&account["metadata"]["name"]))
        .collect();
    assert_eq!(names.len(), ACCOUNTS_OF_ORGANIZATION);
    assert!(names.contains(&"team-17-prod".to_owned()), "{names:?}");

    // The role is enough for an endpoint, in the account that the label names.
    guide.follow("Map a namespace");
    guide.end();
    let account_id = account_id(17);
    let mut tenant = Tenant {
        world: &world,
        namespace: "payments".to_owned(),
        account: "team-17-prod".to_owned(),
        role_arn: format!("arn:aws:iam::{account_id}:role/vpce-operator"),
        account_id,
        region: "eu-west-1".to_owned(),
        vpc: String::new(),
        subnets: Vec::new(),
        group: String::new(),
        service: String::new(),
        over: None,
    };
    let network = json!({
        "vpc_id": id("vpc"), "subnet_ids": [id("subnet"), id("subnet")],
        "vpc_endpoint_service_id": "com.amazonaws.vpce.eu-west-1.vpce-svc-0f3a4b5c6d7e82930",
    });
    build_network(&mut tenant, &json!({"spec": network}));
    make(&tenant, "card-processor");
    assert_eq!((in_aws(&tenant).len(), tenant.groups().len()), (1, 1));
    tenant.delete("card-processor");
    tenant.gone("card-processor");
    assert_eq!((in_aws(&tenant).len(), tenant.groups().len()), (0, 0));
}
