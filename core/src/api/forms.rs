//! The forms of ids and names, as the schema knows them: each is a rule in CEL that says in words
//! what is right, in place of a bare pattern.
//!
//! The types are for the schema alone (`#[schemars(with = "...")]`); the fields are plain strings.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A zone, which people take for a subnet or a region.
const ZONE: &str = "^[a-z]{2,4}(-[a-z]+)+-[0-9]+[a-z]$";

/// The prefixes of EC2's ids, and what they are ids of.
const KINDS: [(&str, &str); 7] = [
    ("vpc", "a VPC"),
    ("subnet", "a subnet"),
    ("sg", "a security group"),
    ("pl", "a prefix list"),
    ("rtb", "a route table"),
    ("vpce", "an endpoint"),
    ("eni", "a network interface"),
];

/// A string of a form.
struct Form {
    min: u32,
    max: u32,
    /// What it matches, as RE2 spells it.
    pattern: Cow<'static, str>,
    /// CEL for what it may be otherwise.
    or: Option<String>,
    /// What is right, for whoever wrote something else.
    message: String,
    /// CEL for what comes after the message, depending on what was written. Only what a pattern has
    /// found harmless is repeated.
    hint: Option<String>,
}

impl Form {
    fn schema(self) -> Schema {
        let Self {
            min,
            max,
            pattern,
            or,
            message,
            hint,
        } = self;
        let or = or.map(|or| format!(" || ({or})")).unwrap_or_default();
        let mut rule = serde_json::json!({
            "rule": format!("self.matches({}){or}", quoted(&pattern)),
            "message": message,
        });
        if let Some(hint) = hint {
            rule["messageExpression"] = format!("{} + ({hint})", quoted(&message)).into();
        }
        let mut schema = json_schema!({"type": "string", "maxLength": max, "x-kubernetes-validations": [rule]});
        if min > 0 {
            schema.insert("minLength".to_owned(), min.into());
        }
        schema
    }
}

/// A string literal of CEL that takes backslashes as they are.
fn quoted(text: &str) -> String {
    format!("r'{text}'")
}

/// Says that what was written is something else, if it is one of these; each by its pattern.
fn is_something_else(others: impl IntoIterator<Item = (String, String)>) -> String {
    let mut hint = String::new();
    for (pattern, what) in others {
        hint.push_str(&format!(
            "self.matches({}) ? '; ' + self + {} : ",
            quoted(&pattern),
            quoted(&format!(" is {what}"))
        ));
    }
    hint.push_str("''");
    hint
}

fn zone() -> (String, String) {
    (ZONE.to_owned(), "a zone".to_owned())
}

/// An id that EC2 handed out.
fn ec2_id(prefix: &str, what: &str) -> Form {
    let others = KINDS.into_iter().filter(|(other, _)| *other != prefix);
    let others = others.map(|(other, what)| (format!("^{other}-[0-9a-f]+$"), format!("the id of {what}")));
    Form {
        min: 0,
        max: 32,
        pattern: format!("^{prefix}-[0-9a-f]{{8,17}}$").into(),
        or: None,
        message: format!("must be {what} id such as {prefix}-0d1e2f3a4b5c60718"),
        hint: Some(is_something_else([zone()].into_iter().chain(others))),
    }
}

fn region() -> Form {
    Form {
        min: 0,
        max: 32,
        pattern: "^[a-z]{2,4}(-[a-z]+)+-[0-9]+$".into(),
        or: None,
        message: "must be a region such as eu-central-1".to_owned(),
        hint: Some(is_something_else([zone()])),
    }
}

fn zone_id() -> Form {
    let name = (
        "; '",
        "' is a zone's name, which means another zone in each AWS account",
    );
    Form {
        min: 0,
        max: 40,
        pattern: "^[a-z0-9]+(-[a-z0-9]+)*-[a-z]+[0-9]+$".into(),
        or: None,
        message: "must be the id of an availability zone such as use1-az1".to_owned(),
        hint: Some(format!(
            "self.matches({}) ? {} + self + {} : ''",
            quoted(ZONE),
            serde_json::json!(name.0),
            serde_json::json!(name.1)
        )),
    }
}

/// A DNS name with at least two labels, the first of which may be a wildcard; not one that only a
/// host or a link knows.
fn dns_name() -> Form {
    let label = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";
    Form {
        min: 1,
        max: 253,
        pattern: format!(r"^(\*\.)?({label}\.)+[a-z]([-a-z0-9]{{0,61}}[a-z0-9])?$").into(),
        or: None,
        message: "must be a DNS name in lower case such as db.example.com or *.example.com".to_owned(),
        hint: Some(
            r"self.matches(r'[A-Z]') ? '; use lower case' : self.endsWith('.') ? '; leave out the dot at the end' : self.matches(r'^[a-z]+://') ? '; leave out the scheme' : ''"
                .to_owned(),
        ),
    }
}

/// A pattern for DNS names.
fn dns_name_pattern() -> Form {
    Form {
        min: 1,
        max: 253,
        pattern: r"^[a-z0-9*?.-]+$".into(),
        or: None,
        message: "must be a DNS name in lower case, in which * and ? may stand for characters, such as *.example.com"
            .to_owned(),
        hint: None,
    }
}

fn endpoint_service() -> Form {
    // The DNS suffix of each partition, from behind; and `aws`, under which AWS names some services
    // of its own.
    let pattern = concat!(
        r"^(vpce-svc-[0-9a-f]{8,17}",
        r"|((cn\.)?com\.amazonaws|eu\.amazonaws|aws|gov\.ic|gov\.sgov|uk\.adc-e)(\.[A-Za-z0-9_-]+)+)$"
    );
    // The name that AWS has for a service in every region; not what only looks like one.
    let short = r"self.matches(r'^[a-z][a-z0-9]*(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*){0,2}$') && !self.matches(r'^(com|cn|eu|aws|gov|uk)\.|^(vpc|vpce|vpce-svc|subnet|sg|rtb|eni|pl)-|(^|\.)[a-z]{2,4}(-[a-z]+)+-[0-9]+[a-z]?(\.|$)|\.(com|net|org|io|cloud|local|internal)$')";
    Form {
        min: 1,
        max: 255,
        pattern: pattern.into(),
        or: Some(short.to_owned()),
        message: "must be the short name of a service of AWS, such as ecr.api, the full name of an endpoint service, \
                  such as com.amazonaws.eu-central-1.ecr.api or \
                  com.amazonaws.vpce.eu-central-1.vpce-svc-0d1e2f3a4b5c60718, or vpce-svc-0d1e2f3a4b5c60718 alone"
            .to_owned(),
        hint: Some(
            r"self.matches(r'^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$') ? '; ' + self + ' is a host name: ask who offers the service for its service name' : ''"
                .to_owned(),
        ),
    }
}

fn role_arn() -> Form {
    let arn = "arn:(aws|aws-cn|aws-us-gov|aws-iso|aws-iso-b|aws-iso-e|aws-iso-f|aws-eusc)";
    Form {
        min: 0,
        max: 600,
        pattern: format!(r"^{arn}:iam::[0-9]{{12}}:role/([\w+=,.@-]+/)*[\w+=,.@-]+$").into(),
        or: None,
        message: "must be the ARN of an IAM role such as arn:aws:iam::111122223333:role/vpce-operator".to_owned(),
        hint: Some(
            [
                "self.matches(r'^[0-9]{12}$') ? '; ' + self + ' is an AWS account id'",
                "self.matches(r'^arn:[a-z-]+:sts::[0-9]*:assumed-role/') ? '; what assumed-role names is a session of a role'",
                "self.matches(r'^arn:[a-z-]+:iam::[0-9]{12}:(user|group|policy|instance-profile)/') ? '; what it names is no role'",
                "self.matches(r'^arn:[a-z-]+:iam::[^:]*:role/') && !self.matches(r'^arn:[a-z-]+:iam::[0-9]{12}:') ? '; an AWS account id has 12 digits'",
                "''",
            ]
            .join(" : "),
        ),
    }
}

/// The ARN of something of VPC Lattice.
fn lattice_arn(resource: &str, prefix: &str, what: &str) -> Form {
    Form {
        min: 0,
        max: 200,
        pattern: format!("^arn:aws[a-z-]*:vpc-lattice:[a-z0-9-]+:[0-9]{{12}}:{resource}/{prefix}-[0-9a-z]{{17}}$")
            .into(),
        or: None,
        message: format!(
            "must be the ARN of {what} such as arn:aws:vpc-lattice:eu-central-1:111122223333:{resource}/{prefix}-0d1e2f3a4b5c60718"
        ),
        hint: None,
    }
}

/// The ARN of a load balancer of one type.
fn load_balancer_arn(type_: &str, other: &str, what: &str) -> Form {
    let arn = "arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:";
    Form {
        min: 0,
        max: 255,
        pattern: format!("^{arn}loadbalancer/{type_}/[A-Za-z0-9-]{{1,32}}/[0-9a-f]{{16}}$").into(),
        or: None,
        message: format!(
            "must be the ARN of {what} such as arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/{type_}/web/50dc6c495c0c9188"
        ),
        hint: Some(is_something_else([
            (
                format!("^{arn}loadbalancer/{other}/[A-Za-z0-9-]+/[0-9a-f]+$"),
                "a load balancer of another type".to_owned(),
            ),
            (
                format!("^{arn}loadbalancer/app/[A-Za-z0-9-]+/[0-9a-f]+$"),
                "an Application Load Balancer, which no endpoint service can have".to_owned(),
            ),
            (
                format!("^{arn}(listener|targetgroup)/[A-Za-z0-9/-]+$"),
                "no load balancer".to_owned(),
            ),
        ])),
    }
}

/// Who may be let in. EC2 takes no ARN with a path.
fn principal() -> Form {
    Form {
        min: 1,
        max: 200,
        pattern: r"^(\*|arn:aws[a-z-]*:iam::[0-9]{12}:(root|(role|user)/[\w+=,.@-]+))$".into(),
        or: None,
        message: "must be * or the ARN of the root of an AWS account, of a role or of a user without a path, such as \
                  arn:aws:iam::111122223333:root"
            .to_owned(),
        hint: Some(
            [
                "self.matches(r'^[0-9]{12}$') ? '; for all of an AWS account use consumers.account_ids, or arn:aws:iam::' + self + ':root'",
                "self.matches(r'^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/.*/') ? '; EC2 takes no path: leave out all but the name'",
                "''",
            ]
            .join(" : "),
        ),
    }
}

/// An address of a family; whether its numbers are, `addresses` says.
fn address(family: u8, max: u32, example: &str) -> Form {
    let pattern = match family {
        4 => r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$",
        _ => "^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$",
    };
    Form {
        min: 0,
        max,
        pattern: pattern.into(),
        or: None,
        message: format!("must be an IPv{family} address such as {example}"),
        hint: None,
    }
}

/// Something that has a form and no more to it.
fn plain((min, max): (u32, u32), pattern: &'static str, message: &str) -> Form {
    Form {
        min,
        max,
        pattern: pattern.into(),
        or: None,
        message: message.to_owned(),
        hint: None,
    }
}

macro_rules! forms {
    ($( $(#[$doc:meta])* $name:ident => $form:expr; )*) => {
        $(
            $(#[$doc])*
            pub(super) enum $name {}

            impl JsonSchema for $name {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    $form.schema()
                }
            }
        )*
    };
}

forms! {
    /// A DNS name, or a wildcard.
    DnsName => dns_name();
    /// A pattern for DNS names.
    DnsNamePattern => dns_name_pattern();
    /// `vpc-...`
    VpcId => ec2_id("vpc", "a VPC");
    /// `subnet-...`
    SubnetId => ec2_id("subnet", "a subnet");
    /// `vpce-...`
    EndpointId => ec2_id("vpce", "a VPC endpoint");
    /// `sg-...`
    GroupId => ec2_id("sg", "a security group");
    /// `rtb-...`
    RouteTableId => ec2_id("rtb", "a route table");
    /// `arn:aws:vpc-lattice:...:resourceconfiguration/rcfg-...`
    ResourceConfigurationArn => lattice_arn("resourceconfiguration", "rcfg", "a resource configuration");
    /// `arn:aws:vpc-lattice:...:servicenetwork/sn-...`
    ServiceNetworkArn => lattice_arn("servicenetwork", "sn", "a service network");
    /// `pl-...`
    PrefixListId => ec2_id("pl", "a prefix list");
    /// `eu-central-1`
    Region => region();
    /// `use1-az1`
    ZoneId => zone_id();
    /// The name of a network.
    NetworkName => plain(
        (1, 63),
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be the name of a network: at most 63 lower-case letters, digits and '-'",
    );
    /// `10.0.0.9`
    Ipv4 => address(4, 15, "10.0.0.9");
    /// `2001:db8::9`
    Ipv6 => address(6, 39, "2001:db8::9");
    /// `ecr.api`, `com.amazonaws.eu-central-1.ecr.api`, `vpce-svc-...`
    EndpointService => endpoint_service();
    /// `com.amazonaws.*.ecr.*`
    ServicePattern => plain(
        (1, 255),
        "^[A-Za-z0-9._*?-]+$",
        "must be a pattern over full service names, such as com.amazonaws.*.ecr.*: letters, digits, '.', '_' and '-', with '*' for any run of characters and '?' for one",
    );
    /// `arn:aws:vpc-lattice:*:111122223333:*`
    ArnPattern => plain(
        (1, 255),
        "^[A-Za-z0-9:/_*?-]+$",
        "must be a pattern over ARNs, such as arn:aws:vpc-lattice:*:111122223333:resourceconfiguration/*: with '*' for any run of characters and '?' for one",
    );
    /// `arn:aws:iam::111122223333:role/vpce-operator`
    RoleArn => role_arn();
    /// `arn:aws:elasticloadbalancing:...:loadbalancer/net/...`
    NetworkLoadBalancerArn => load_balancer_arn("net", "gwy", "a Network Load Balancer");
    /// `arn:aws:elasticloadbalancing:...:loadbalancer/gwy/...`
    GatewayLoadBalancerArn => load_balancer_arn("gwy", "net", "a Gateway Load Balancer");
    /// `arn:aws:iam::111122223333:root`
    Principal => principal();
    /// `111122223333`
    AccountId => plain((12, 12), "^[0-9]{12}$", "must be the id of an AWS account: 12 digits, as a string in quotes");
    /// What STS takes as an external id.
    ExternalId => plain((2, 1224), r"^[\w+=,.@:/-]+$", "must be an external id as STS takes it: letters, digits and any of _+=,.@:/-");
    /// The name of a Namespace.
    Namespace => plain(
        (0, 63),
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be the name of a namespace: at most 63 lower-case letters, digits and '-'",
    );
    /// The name of a Service.
    ServiceName => plain(
        (1, 63),
        "^[a-z]([-a-z0-9]*[a-z0-9])?$",
        "must be a name that a Service can have: at most 63 lower-case letters, digits and '-', starting with a letter",
    );
    /// The name of a port.
    PortName => plain(
        (1, 63),
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be a name that a port can have: at most 63 lower-case letters, digits and '-'",
    );
    /// What EC2 shows beside a rule.
    RuleDescription => plain(
        (0, 255),
        r"^[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]*$",
        "must be a description as EC2 takes it: letters without accents, digits, spaces and any of ._-:/()#,@[]+=&;{}!$*",
    );
}
