//! The names in a PromQL query: what checks of dashboards and rules ask of it. Whether it is a
//! query at all, Prometheus says.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

/// Words before a list of labels.
const GROUPING: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Those whose labels are in the result.
const KEEPING: &[&str] = &["by", "group_left", "group_right"];
/// Words that stand between expressions.
const WORDS: &[&str] = &["and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"];

/// The names in a query.
#[derive(Debug, Default)]
pub struct Names {
    /// What it selects, in order.
    pub selectors: Vec<Selector>,
    /// Labels in `by`, `without`, `on`, `ignoring`, `group_left` and `group_right`.
    pub grouping: BTreeSet<String>,
    /// Those of them that the result keeps: `by`, `group_left` and `group_right`.
    pub kept: BTreeSet<String>,
    /// Labels that `label_replace` and `label_join` make.
    pub made: BTreeSet<String>,
}

/// A metric with its matchers.
#[derive(Debug, PartialEq, Eq)]
pub struct Selector {
    /// The metric's name.
    pub metric: String,
    /// Label, operator and value of each matcher.
    pub matchers: Vec<(String, String, String)>,
    /// What stands in brackets behind it.
    pub range: Option<String>,
    /// The function or aggregation whose argument it is.
    pub function: Option<String>,
}

impl Names {
    /// Finds them. A sample of the text format is a query, too: for itself.
    ///
    /// # Errors
    /// When a string or a range does not end, or a selector names no metric.
    pub fn of(query: &str) -> Result<Self> {
        let mut names = Self::default();
        let mut tokens = tokens(query)?.into_iter().peekable();
        // The functions in whose parentheses we are.
        let mut inside: Vec<Option<String>> = Vec::new();
        let mut function = None;
        while let Some(token) = tokens.next() {
            match token {
                Token::Name(word) if GROUPING.contains(&word.as_str()) => {
                    if tokens.next_if_eq(&Token::Sign('(')).is_some() {
                        let labels = tokens.by_ref().take_while(|token| *token != Token::Sign(')'));
                        let labels: Vec<String> = labels.filter_map(Token::name).collect();
                        if KEEPING.contains(&word.as_str()) {
                            names.kept.extend(labels.iter().cloned());
                        }
                        names.grouping.extend(labels);
                    }
                }
                Token::Name(word) if WORDS.contains(&word.as_str()) => {}
                Token::Name(word) if tokens.peek().is_some_and(Token::follows_a_function) => function = Some(word),
                Token::Name(metric) => {
                    let mut matchers = Vec::new();
                    if tokens.next_if_eq(&Token::Sign('{')).is_some() {
                        let inside = tokens.by_ref().take_while(|token| *token != Token::Sign('}'));
                        matchers = matchers_of(inside);
                    }
                    let range = tokens.next_if(|token| matches!(token, Token::Range(_)));
                    names.selectors.push(Selector {
                        metric,
                        matchers,
                        range: range.and_then(Token::text),
                        function: inside.last().cloned().flatten(),
                    });
                }
                Token::Sign('{') => bail!("a selector names no metric: {query}"),
                Token::Sign('(') => inside.push(function.take()),
                Token::Sign(')') => {
                    inside.pop();
                }
                Token::Text(label) => {
                    // The first string in its parentheses.
                    let makes = |function: &String| ["label_replace", "label_join"].contains(&function.as_str());
                    if let Some(made) = inside
                        .last_mut()
                        .filter(|function| function.as_ref().is_some_and(makes))
                    {
                        *made = None;
                        names.made.insert(label);
                    }
                }
                Token::Sign(_) | Token::Range(_) => {}
            }
        }
        Ok(names)
    }
}

fn matchers_of(tokens: impl Iterator<Item = Token>) -> Vec<(String, String, String)> {
    let mut matchers = Vec::new();
    let (mut label, mut operator) = (String::new(), String::new());
    for token in tokens {
        match token {
            Token::Name(name) => label = name,
            Token::Sign(',') => {}
            Token::Sign(sign) => operator.push(sign),
            Token::Text(value) => matchers.push((std::mem::take(&mut label), std::mem::take(&mut operator), value)),
            Token::Range(_) => {}
        }
    }
    matchers
}

/// A name, a string, what stands in brackets, or a sign; numbers and Grafana's variables name
/// nothing.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Range(String),
    Sign(char),
}

impl Token {
    fn name(self) -> Option<String> {
        match self {
            Token::Name(name) => Some(name),
            _ => None,
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Token::Text(text) | Token::Range(text) => Some(text),
            _ => None,
        }
    }

    /// Whether the name before this is a function or an aggregation, whose `by` may stand before
    /// its parenthesis.
    fn follows_a_function(&self) -> bool {
        match self {
            Token::Name(name) => name == "by" || name == "without",
            Token::Sign(sign) => *sign == '(',
            _ => false,
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\'' | '`' => {
                let mut string = String::new();
                loop {
                    match rest.next() {
                        Some('\\') if c != '`' => string.extend(rest.next()),
                        Some(end) if end == c => break,
                        Some(other) => string.push(other),
                        None => bail!("a string does not end: {text}"),
                    }
                }
                tokens.push(Token::Text(string));
            }
            '[' => {
                let mut range = String::new();
                loop {
                    match rest.next() {
                        Some(']') => break,
                        Some(other) => range.push(other),
                        None => bail!("a range does not end: {text}"),
                    }
                }
                tokens.push(Token::Range(range));
            }
            '$' => {
                let braced = rest.next_if_eq(&'{').is_some();
                while rest.next_if(|c| in_name(*c) || (braced && *c != '}')).is_some() {}
                if braced {
                    rest.next();
                }
            }
            c if c.is_ascii_digit() => while rest.next_if(|c| in_name(*c) || *c == '.').is_some() {},
            c if in_name(c) => {
                let mut name = String::from(c);
                while let Some(c) = rest.next_if(|c| in_name(*c)) {
                    name.push(c);
                }
                tokens.push(Token::Name(name));
            }
            c if c.is_whitespace() => {}
            c => tokens.push(Token::Sign(c)),
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_found_with_their_matchers_ranges_and_functions() {
        let query = r#"60 * sum by (le) (rate(a_total{b=~"$c", d!="e, {f} \" g"}[$__rate_interval])) and on (h) i / ${price:raw}"#;
        let names = Names::of(query).expect("names");
        let matcher = |label: &str, operator: &str, value: &str| (label.into(), operator.into(), value.into());
        assert_eq!(
            names.selectors,
            [
                Selector {
                    metric: "a_total".to_owned(),
                    matchers: vec![matcher("b", "=~", "$c"), matcher("d", "!=", "e, {f} \" g")],
                    range: Some("$__rate_interval".to_owned()),
                    function: Some("rate".to_owned()),
                },
                Selector {
                    metric: "i".to_owned(),
                    matchers: Vec::new(),
                    range: None,
                    function: None,
                },
            ]
        );
        assert_eq!(names.grouping, ["h", "le"].map(str::to_owned).into());
        assert_eq!(names.kept, ["le".to_owned()].into());
    }

    #[test]
    fn what_is_around_a_selector_is_its_own_function() {
        let names =
            Names::of("max(a) + sum(b) by (c) - (d) * histogram_quantile(0.5, sum by (le) (e))").expect("names");
        let functions: Vec<Option<&str>> = names.selectors.iter().map(|s| s.function.as_deref()).collect();
        assert_eq!(functions, [Some("max"), Some("sum"), None, Some("sum")]);
    }

    #[test]
    fn labels_that_a_query_creates_are_recognized() {
        let names = Names::of(r#"max by (c) (label_replace(a{b="x"}, "c", "$1", "d", "(.*)"))"#).expect("names");
        assert_eq!(names.made, ["c".to_owned()].into());
        assert_eq!(names.selectors[0].metric, "a");
    }

    #[test]
    fn what_does_not_end_or_has_no_name_is_an_error() {
        for query in [r#"a{b="c}"#, "a[5m", r#"{b="c"}"#] {
            assert!(Names::of(query).is_err(), "{query}");
        }
    }
}
