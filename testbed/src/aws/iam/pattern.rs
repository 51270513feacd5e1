//! The wildcards of policies, in values and in ARNs.

use anyhow::{Context as _, bail, ensure};

/// Whether the whole text fits the pattern: `*` stands for any characters, `?` for one. Unlike
/// EC2's filters, IAM has no escape for them.
pub(super) fn wildcard(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut seen) = (0, 0);
    // Where the latest `*` was, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(c) if *c == '?' || *c == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match &mut star {
                Some((after, taken)) => {
                    *taken += 1;
                    (at, seen) = (*after + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

/// An ARN with wildcards. Its six parts are matched one by one: a wildcard reaches no further than
/// to the next colon, but for the last part, which may have colons of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ArnPattern {
    /// `*` alone.
    Any,
    Parts([String; 6]),
}

impl ArnPattern {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let parts = parts(text).with_context(|| format!("{text:?} is neither * nor an ARN"))?;
        let [arn, _, service, ..] = &parts;
        ensure!(*arn == "arn", "{text:?} does not start with arn:");
        if service.is_empty() || service.contains(['*', '?']) {
            bail!("the service in {text:?} has to be named, without wildcards");
        }
        Ok(Self::Parts(parts.map(str::to_owned)))
    }

    pub(super) fn matches(&self, arn: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Parts(patterns) => {
                parts(arn).is_some_and(|parts| patterns.iter().zip(parts).all(|(p, part)| wildcard(p, part)))
            }
        }
    }
}

fn parts(arn: &str) -> Option<[&str; 6]> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    parts.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn wildcards_take_any_characters_or_one() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*b*c", "aXbbYc", true),
            ("a*b*c", "aXbbY", false),
            ("a?c", "abc", true),
            ("a?", "abc", false),
            ("?", "", false),
            ("ABC", "abc", false),
            (r"\*", "*", false),
            ("*a*a*a*a*a*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn an_arn_is_matched_part_by_part() {
        let group = "arn:aws:ec2:us-west-2:111111111111:security-group/sg-1";
        for (pattern, arn, expected) in [
            ("*", group, true),
            ("*", "*", true),
            ("arn:aws:ec2:*:*:*", group, true),
            ("arn:aws:ec2:*:111111111111:security-group/*", group, true),
            ("arn:aws:ec2:us-*-?:*:security-group/sg-?", group, true),
            ("arn:aws:ec2:*:222222222222:security-group/*", group, false),
            ("arn:aws:ec2:*:*:security-group/SG-1", group, false),
            ("arn:aws:ec2:*:*:vpc/*", group, false),
            // Not across a colon, and not what has no resource.
            ("arn:aws:ec2:*:security-group/sg-1:*", group, false),
            ("arn:aws:ec2:*:*:*", "*", false),
            ("arn:aws:sts::1:a/*", "arn:aws:sts::1:a/b:c", true),
        ] {
            let parsed = ArnPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(arn), expected, "{pattern} {arn}");
        }
    }

    #[test]
    fn what_is_no_arn_is_refused() {
        for text in [
            "",
            "sg-1",
            "arn:aws:ec2:*:*",
            "arm:aws:ec2:::x",
            "arn:aws:*:::x",
            "arn:aws::::x",
        ] {
            ArnPattern::parse(text).unwrap_err();
        }
    }
}
