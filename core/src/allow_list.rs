//! Lists of what is allowed: globs over names, and what a refusal says of the list.

/// A list of what is allowed names values up to so many characters in all.
const LONGEST_LIST: usize = 200;

/// What to do about a value that is not allowed: use one of those that are, of which the first are
/// named, or ask.
pub(crate) fn advice<T: AsRef<str>>(allowed: &[T]) -> String {
    if allowed.is_empty() {
        "ask your platform team".to_owned()
    } else {
        format!("{}, or ask your platform team", one_of(allowed))
    }
}

fn one_of<T: AsRef<str>>(values: &[T]) -> String {
    let mut length = 0;
    let shown = values
        .iter()
        .take_while(|value| {
            length += value.as_ref().chars().count();
            length <= LONGEST_LIST
        })
        .count()
        .max(1)
        .min(values.len());
    let named: Vec<&str> = values[..shown].iter().map(AsRef::as_ref).collect();
    match (named.as_slice(), values.len() - shown) {
        ([only], 0) => format!("use {only}"),
        (all, 0) => format!("use one of {}", all.join(", ")),
        (first, more) => format!("use one of {} and {more} more", first.join(", ")),
    }
}

/// Whether a pattern matches the whole of a name: `*` any run of characters, `?` one. Case counts.
///
/// The time it takes is at most the product of both lengths, whatever the pattern.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut last_star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                last_star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match last_star {
                Some((star, from)) => {
                    last_star = Some((star, from + 1));
                    p = star + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_longer_than_all_may_be_is_still_named() {
        assert_eq!(one_of(&["x".repeat(300)]), format!("use {}", "x".repeat(300)));
    }

    #[test]
    fn patterns_match_whole_names_and_nothing_by_trick() {
        let cases = [
            ("com.amazonaws.*", "com.amazonaws.eu-west-1.s3", true),
            ("com.amazonaws.*.s3", "com.amazonaws.eu-west-1.s3", true),
            ("com.amazonaws.*.s3", "com.amazonaws.eu-west-1.s3express", false),
            ("amazonaws.*", "com.amazonaws.eu-west-1.s3", false),
            ("com.amazonaws.?.s3", "com.amazonaws.eu-west-1.s3", false),
            ("com.amazonaws.eu-west-?.s3", "com.amazonaws.eu-west-1.s3", true),
            ("COM.AMAZONAWS.*", "com.amazonaws.eu-west-1.s3", false),
            ("comxamazonaws.*", "com.amazonaws.eu-west-1.s3", false),
            ("com.amazonaws.eu-west-1.s3", "com.amazonaws.eu-west-1.s3.evil", false),
            ("*", "anything", true),
            ("**a**", "banana", true),
            ("*a*a*a*a*", "banana", false),
            ("", "a", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
