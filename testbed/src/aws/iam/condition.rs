//! The conditions of a statement: an operator, a key, and the values that it is compared with.

use anyhow::{bail, ensure};

use super::pattern::{ArnPattern, wildcard};
use super::request::Keys;

/// How a key with several values is held against those of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    /// `ForAllValues:`, true also of no values at all.
    All,
    /// `ForAnyValue:`, or none.
    Any,
}

/// What the values of the policy are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    Equal(Vec<String>),
    EqualIgnoringCase(Vec<String>),
    Like(Vec<String>),
    Arn(Vec<ArnPattern>),
    Bool(Vec<bool>),
    /// `Null`: whether the key is absent.
    Absent(Vec<bool>),
}

/// One line of a statement's `Condition`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    /// In lower case.
    key: String,
    quantifier: Option<Quantifier>,
    negated: bool,
    if_exists: bool,
    expected: Expected,
}

impl Condition {
    /// Reads one, unless its operator or key is of a kind that cannot be evaluated.
    pub(super) fn parse(operator: &str, key: &str, values: Vec<String>) -> anyhow::Result<Self> {
        check_key(key)?;
        ensure!(!values.is_empty(), "the condition {operator} {key} has no value");
        if let Some(value) = values.iter().find(|value| value.contains("${")) {
            bail!("the policy variable in {value:?} is not simulated");
        }
        let (quantifier, bare) = match operator.split_once(':') {
            Some(("ForAllValues", bare)) => (Some(Quantifier::All), bare),
            Some(("ForAnyValue", bare)) => (Some(Quantifier::Any), bare),
            Some(_) => bail!("the condition operator {operator:?} is not simulated"),
            None => (None, operator),
        };
        let (bare, if_exists) = match bare.strip_suffix("IfExists") {
            Some(bare) => (bare, true),
            None => (bare, false),
        };
        let expected = match bare {
            "StringEquals" | "StringNotEquals" => Expected::Equal(values),
            "StringEqualsIgnoreCase" | "StringNotEqualsIgnoreCase" => {
                Expected::EqualIgnoringCase(values.iter().map(|value| value.to_lowercase()).collect())
            }
            "StringLike" | "StringNotLike" => Expected::Like(values),
            "ArnEquals" | "ArnLike" | "ArnNotEquals" | "ArnNotLike" => {
                let patterns: anyhow::Result<_> = values.iter().map(|value| ArnPattern::parse(value)).collect();
                Expected::Arn(patterns?)
            }
            "Bool" => Expected::Bool(booleans(&values)?),
            "Null" if quantifier.is_none() && !if_exists => Expected::Absent(booleans(&values)?),
            _ => bail!("the condition operator {operator:?} is not simulated"),
        };
        Ok(Self {
            key: key.to_lowercase(),
            quantifier,
            negated: bare.contains("Not"),
            if_exists,
            expected,
        })
    }

    pub(super) fn holds(&self, keys: &Keys) -> bool {
        let present = keys.get(&self.key);
        if let Expected::Absent(wanted) = &self.expected {
            return wanted.contains(&present.is_none());
        }
        let Some(values) = present else {
            let of_nothing = match self.quantifier {
                Some(Quantifier::All) => true,
                Some(Quantifier::Any) => false,
                None => self.negated,
            };
            return self.if_exists || of_nothing;
        };
        // A negated operator asks that none of the policy's values fits.
        let passes = |value: &String| self.fits(value) != self.negated;
        match self.quantifier {
            Some(Quantifier::Any) => values.iter().any(passes),
            Some(Quantifier::All) => values.iter().all(passes),
            // Several values without a quantifier: the operator as if they were one, then negated.
            None => values.iter().any(|value| self.fits(value)) != self.negated,
        }
    }

    /// Whether any of the policy's values fits this one of the request.
    fn fits(&self, value: &str) -> bool {
        match &self.expected {
            Expected::Equal(expected) => expected.iter().any(|e| e == value),
            Expected::EqualIgnoringCase(expected) => expected.contains(&value.to_lowercase()),
            Expected::Like(expected) => expected.iter().any(|pattern| wildcard(pattern, value)),
            Expected::Arn(expected) => expected.iter().any(|pattern| pattern.matches(value)),
            Expected::Bool(expected) => value
                .to_lowercase()
                .parse()
                .is_ok_and(|value| expected.contains(&value)),
            Expected::Absent(_) => false,
        }
    }
}

fn booleans(values: &[String]) -> anyhow::Result<Vec<bool>> {
    let read = |value: &String| match value.to_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => bail!("{value:?} is neither true nor false"),
    };
    values.iter().map(read).collect()
}

/// Keys that are followed by the key of a tag.
const TAG_KEYS: [&str; 5] = [
    "aws:requesttag",
    "aws:resourcetag",
    "aws:principaltag",
    "ec2:resourcetag",
    "elasticloadbalancing:resourcetag",
];

/// Refuses a key that no request can ever carry by its form. One of a good form that this request
/// does not carry is absent, as in IAM.
fn check_key(key: &str) -> anyhow::Result<()> {
    let Some((service, name)) = key.split_once(':').filter(|(s, n)| !s.is_empty() && !n.is_empty()) else {
        bail!("the condition key {key:?} is not of the form service:name");
    };
    // A key of an identity provider is an issuer's URL and a claim.
    if service.contains('.') {
        return Ok(());
    }
    let word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    ensure!(word(service), "the condition key {key:?} has no good prefix");
    let (name, tag) = match name.split_once('/') {
        Some((name, tag)) => (name, Some(tag)),
        None => (name, None),
    };
    let takes_tag = TAG_KEYS.contains(&format!("{service}:{name}").to_lowercase().as_str());
    // `ec2:Attribute` stands alone or is followed by the name of a parameter.
    let takes_parameter = format!("{service}:{name}").eq_ignore_ascii_case("ec2:Attribute");
    match tag {
        Some(parameter) if takes_parameter && !parameter.is_empty() && word(parameter) => Ok(()),
        None if takes_tag => bail!("the condition key {key:?} names no tag"),
        Some(tag) if takes_tag && !tag.is_empty() && !tag.contains(['*', '?', '$']) => Ok(()),
        None if word(name) => Ok(()),
        _ => bail!("the condition key {key:?} is of an unknown form"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::aws::ec2::tags::Tags;

    fn keys() -> Keys {
        let tags = Tags::from([
            ("team".to_owned(), "blue".to_owned()),
            ("Stage".to_owned(), "prod".to_owned()),
        ]);
        Keys::default()
            .requesting(&tags)
            .with("ec2:Vpc", "arn:aws:ec2:us-west-2:1:vpc/vpc-1")
            .with("aws:SecureTransport", "true")
    }

    #[test]
    fn operators_compare_as_iam_documents() {
        for (operator, key, values, expected) in [
            ("StringEquals", "aws:RequestTag/team", &["red", "blue"][..], true),
            ("StringEquals", "aws:RequestTag/team", &["BLUE"], false),
            ("StringEquals", "aws:RequestTag/team", &["bl*"], false),
            ("StringEquals", "AWS:requesttag/TEAM", &["blue"], true),
            ("StringEquals", "aws:RequestTag/other", &["blue"], false),
            ("StringEqualsIfExists", "aws:RequestTag/other", &["blue"], true),
            ("StringEqualsIfExists", "aws:RequestTag/team", &["red"], false),
            ("StringEqualsIgnoreCase", "aws:RequestTag/team", &["BLUE"], true),
            ("StringNotEquals", "aws:RequestTag/team", &["red"], true),
            ("StringNotEquals", "aws:RequestTag/team", &["red", "blue"], false),
            ("StringNotEquals", "aws:RequestTag/other", &["blue"], true),
            ("StringLike", "aws:RequestTag/team", &["b?u*"], true),
            ("StringLike", "aws:RequestTag/team", &["r*"], false),
            ("StringNotLike", "aws:RequestTag/team", &["b*"], false),
            ("ArnEquals", "ec2:Vpc", &["arn:aws:ec2:*:*:vpc/vpc-1"], true),
            ("ArnLike", "ec2:Vpc", &["arn:aws:ec2:*:*:vpc/vpc-2"], false),
            ("ArnLike", "ec2:Subnet", &["arn:aws:ec2:*:*:subnet/*"], false),
            ("ArnLikeIfExists", "ec2:Subnet", &["arn:aws:ec2:*:*:subnet/*"], true),
            ("ArnNotLike", "ec2:Vpc", &["arn:aws:ec2:*:*:vpc/vpc-2"], true),
            ("Bool", "aws:SecureTransport", &["true"], true),
            ("Bool", "aws:SecureTransport", &["false"], false),
            ("Bool", "aws:MultiFactorAuthPresent", &["true"], false),
            ("BoolIfExists", "aws:MultiFactorAuthPresent", &["true"], true),
            ("Null", "aws:RequestTag/team", &["false"], true),
            ("Null", "aws:RequestTag/team", &["true"], false),
            ("Null", "aws:RequestTag/other", &["true"], true),
            ("ForAllValues:StringEquals", "aws:TagKeys", &["team", "Stage"], true),
            ("ForAllValues:StringEquals", "aws:TagKeys", &["team", "stage"], false),
            ("ForAllValues:StringEquals", "aws:Nothing", &["team"], true),
            ("ForAllValues:StringLike", "aws:TagKeys", &["t*", "S*"], true),
            ("ForAllValues:StringNotLike", "aws:TagKeys", &["team"], false),
            ("ForAnyValue:StringEquals", "aws:TagKeys", &["team"], true),
            ("ForAnyValue:StringEquals", "aws:TagKeys", &["none"], false),
            ("ForAnyValue:StringEquals", "aws:Nothing", &["team"], false),
            ("ForAnyValue:StringNotEquals", "aws:TagKeys", &["team"], true),
        ] {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            let condition = Condition::parse(operator, key, values).unwrap();
            assert_eq!(condition.holds(&keys()), expected, "{condition:?}");
        }
    }

    #[test]
    fn what_cannot_be_evaluated_is_refused() {
        for (operator, key, value) in [
            ("NumericEquals", "aws:RequestTag/team", "1"),
            ("DateGreaterThan", "aws:CurrentTime", "2020-01-01T00:00:00Z"),
            ("IpAddress", "aws:SourceIp", "10.0.0.0/8"),
            ("stringequals", "aws:RequestTag/team", "x"),
            ("NullIfExists", "aws:RequestTag/team", "true"),
            ("ForSomeValues:StringEquals", "aws:TagKeys", "x"),
            ("StringEquals", "team", "x"),
            ("StringEquals", "aws:RequestTag", "x"),
            ("StringEquals", "aws:RequestTag/", "x"),
            ("StringEquals", "aws:RequestTag/team*", "x"),
            ("StringEquals", "ec2:RequestTag/team", "x"),
            ("StringEquals", "aws:RequestTag/team", "${aws:PrincipalTag/team}"),
            ("ArnLike", "ec2:Vpc", "vpc-1"),
            ("Bool", "aws:SecureTransport", "yes"),
            ("Null", "aws:RequestTag/team", "maybe"),
        ] {
            Condition::parse(operator, key, vec![value.to_owned()]).unwrap_err();
        }
        Condition::parse("StringEquals", "aws:RequestTag/team", Vec::new()).unwrap_err();
        Condition::parse(
            "StringEquals",
            "oidc.eks.us-west-2.amazonaws.com/id/A:sub",
            vec!["x".to_owned()],
        )
        .unwrap();
    }
}
