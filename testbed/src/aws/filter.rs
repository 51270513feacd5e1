//! What a describe leaves out: filters with wildcards, and pages.

use super::ec2::tags::Tags;
use super::error::ApiError;
use super::query::Form;

/// EC2 takes at most this many filter values in one call.
const MAX_VALUES: usize = 200;

#[derive(Debug)]
struct Filter {
    name: String,
    values: Vec<String>,
}

/// The filters of a call; a resource must pass all of them, by any value of each.
#[derive(Debug)]
pub(crate) struct Filters(Vec<Filter>);

impl Filters {
    /// Takes `Filter.N`; a name that is neither in `known` nor about tags is refused.
    pub(crate) fn take(form: &mut Form, known: &[&str]) -> Result<Self, ApiError> {
        Self::read(form, known, true)
    }

    /// The same for what cannot be filtered by tags.
    pub(crate) fn take_untagged(form: &mut Form, known: &[&str]) -> Result<Self, ApiError> {
        Self::read(form, known, false)
    }

    fn read(form: &mut Form, known: &[&str], tagged: bool) -> Result<Self, ApiError> {
        let mut filters = Vec::new();
        for mut filter in form.structures("Filter") {
            let name = filter.require("Name")?;
            let values = filter.list("Value");
            filter.finish()?;
            let about_tags = tagged && (name == "tag-key" || name.starts_with("tag:"));
            if !about_tags && !known.contains(&name.as_str()) {
                return Err(ApiError::invalid_value(format!("The filter '{name}' is invalid")));
            }
            filters.push(Filter { name, values });
        }
        if filters.iter().map(|f| f.values.len()).sum::<usize>() > MAX_VALUES {
            return Err(ApiError::new(
                "FilterLimitExceeded",
                format!("The maximum number of filter values specified on a single call is {MAX_VALUES}"),
            ));
        }
        Ok(Self(filters))
    }

    /// Whether a resource passes, `values` giving what it has under a filter's name.
    pub(crate) fn pass(&self, tags: &Tags, values: impl Fn(&str) -> Vec<String>) -> bool {
        self.0.iter().all(|filter| {
            let any = |value: &str| filter.values.iter().any(|pattern| glob(pattern, value));
            if filter.name == "tag-key" {
                tags.keys().any(|key| any(key))
            } else if let Some(key) = filter.name.strip_prefix("tag:") {
                tags.get(key).is_some_and(|value| any(value))
            } else {
                values(&filter.name).iter().any(|value| any(value))
            }
        })
    }
}

/// EC2's wildcards: `*` for any characters, `?` for one, `\` before either for itself.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    fn matches(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
            ['?', rest @ ..] => !text.is_empty() && matches(rest, &text[1..]),
            ['\\', c @ ('*' | '?' | '\\'), rest @ ..] | [c, rest @ ..] => {
                text.first() == Some(c) && matches(rest, &text[1..])
            }
        }
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    matches(&pattern, &text)
}

/// Which page of a describe is asked for.
#[derive(Debug)]
pub(crate) struct Paging {
    size: Option<usize>,
    after: Option<String>,
}

impl Paging {
    /// Takes `MaxResults` (at least `least`) and `NextToken`. `cap` makes pages smaller than EC2
    /// would.
    pub(crate) fn take(form: &mut Form, least: i64, cap: Option<usize>) -> Result<Self, ApiError> {
        let asked = match form.number("MaxResults")? {
            Some(n) if n < least => {
                return Err(ApiError::invalid_value(format!(
                    "Value ( {n} ) for parameter maxResults is invalid. Expecting a value greater than or equal to {least}."
                )));
            }
            // Above 1000 some actions answer 1000, others refuse; what they all allow is 1000.
            Some(n) => Some(usize::try_from(n).unwrap_or(usize::MAX).min(1000)),
            None => None,
        };
        let size = asked.into_iter().chain(cap).min();
        Self::after(size, form.take("NextToken"))
            .ok_or_else(|| ApiError::new("InvalidNextToken", "The token provided in the request is invalid"))
    }

    /// The page that a token asks for; `None` if it is none of ours.
    pub(crate) fn after(size: Option<usize>, token: Option<String>) -> Option<Self> {
        let after = match token {
            Some(token) => Some(read_token(&token)?),
            None => None,
        };
        Some(Self { size, after })
    }

    /// Cuts the page out of all items, which are sorted by id, and makes the token for the next
    /// one.
    pub(crate) fn cut<'a, T>(
        self,
        items: impl IntoIterator<Item = &'a T>,
        id: impl Fn(&T) -> &str,
    ) -> (Vec<&'a T>, Option<String>) {
        let after = self.after.as_deref().unwrap_or("");
        let mut page: Vec<&T> = items
            .into_iter()
            .filter(|item| id(item) > after)
            .take(self.size.map_or(usize::MAX, |size| size.saturating_add(1)))
            .collect();
        match self.size {
            Some(size) if page.len() > size => {
                page.truncate(size);
                let token = page.last().map(|item| write_token(id(item)));
                (page, token)
            }
            _ => (page, None),
        }
    }
}

/// Tokens are opaque to the caller: the id of the page's last item, in hexadecimal.
fn write_token(id: &str) -> String {
    id.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn read_token(token: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> = (0..token.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(token.get(at..at + 2)?, 16).ok())
        .collect();
    String::from_utf8(bytes?).ok().filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn wildcards_match_as_ec2_documents() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a?c", "abc", true),
            ("a?", "abc", false),
            ("ABC", "abc", false),
            ("*", "", true),
            (r"\*amazon\?\\", r"*amazon?\", true),
            (r"\*", "x", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn values_of_a_filter_are_alternatives_and_filters_conditions() {
        let mut form = Form::parse(
            b"Filter.1.Name=tag:a&Filter.1.Value.1=1&Filter.1.Value.2=2&Filter.2.Name=vpc-id&Filter.2.Value.1=vpc-*",
        );
        let filters = Filters::take(&mut form, &["vpc-id"]).unwrap();
        let tags = Tags::from([("a".to_owned(), "2".to_owned())]);
        assert!(filters.pass(&tags, |_| vec!["vpc-1".to_owned()]));
        assert!(!filters.pass(&tags, |_| vec!["other".to_owned()]));
        assert!(!filters.pass(&Tags::new(), |_| vec!["vpc-1".to_owned()]));
    }

    #[test]
    fn an_unknown_filter_is_refused() {
        let mut form = Form::parse(b"Filter.1.Name=colour&Filter.1.Value.1=red");
        let error = Filters::take(&mut form, &["vpc-id"]).unwrap_err();
        assert_eq!(error.code, "InvalidParameterValue");
        assert_eq!(error.message, "The filter 'colour' is invalid");
    }

    #[test]
    fn pages_add_up_to_the_whole() {
        let all: Vec<String> = (0..7).map(|n| format!("id-{n}")).collect();
        let mut seen = Vec::new();
        let mut query = "MaxResults=3".to_owned();
        loop {
            let mut form = Form::parse(query.as_bytes());
            let paging = Paging::take(&mut form, 1, None).unwrap();
            let (page, token) = paging.cut(&all, |id| id);
            assert!(page.len() <= 3);
            seen.extend(page.into_iter().cloned());
            match token {
                Some(token) => query = format!("MaxResults=3&NextToken={token}"),
                None => break,
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_made_up_token_is_refused() {
        let mut form = Form::parse(b"NextToken=zz");
        let error = Paging::take(&mut form, 1, None).unwrap_err();
        assert_eq!(error.code, "InvalidNextToken");
    }
}
