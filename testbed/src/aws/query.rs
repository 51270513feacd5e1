//! The AWS query protocol: a form's fields, taken one by one until none is left over.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::error::ApiError;

/// The fields of a request, or of one structure inside it. A field that is read is removed, so that
/// what remains at the end was not understood.
#[derive(Debug)]
pub(crate) struct Form {
    /// Where this structure lies in the request, with a dot at the end; empty for the request
    /// itself.
    path: String,
    fields: BTreeMap<String, String>,
}

impl Form {
    pub(crate) fn new(fields: BTreeMap<String, String>) -> Self {
        Self {
            path: String::new(),
            fields,
        }
    }

    pub(crate) fn parse(body: &[u8]) -> Self {
        Self::new(form_urlencoded::parse(body).into_owned().collect())
    }

    /// The fields that are still there.
    pub(crate) fn fields(&self) -> &BTreeMap<String, String> {
        &self.fields
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.fields.remove(name)
    }

    /// A field that the action cannot do without; an empty one counts as missing.
    pub(crate) fn require(&mut self, name: &str) -> Result<String, ApiError> {
        self.take(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| self.missing(name))
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        self.parsed(name, "boolean")
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        self.parsed(name, "integer")
    }

    /// `name.1`, `name.2`, ... in the order of their numbers.
    pub(crate) fn list(&mut self, name: &str) -> Vec<String> {
        let numbered: BTreeMap<u32, String> = self
            .fields
            .keys()
            .filter_map(|key| {
                let index = key.strip_prefix(name)?.strip_prefix('.')?.parse().ok()?;
                Some((index, key.clone()))
            })
            .collect();
        numbered.values().filter_map(|key| self.fields.remove(key)).collect()
    }

    /// A list that must not be empty.
    pub(crate) fn require_list(&mut self, name: &str) -> Result<Vec<String>, ApiError> {
        let list = self.list(name);
        if list.is_empty() {
            return Err(self.missing(name));
        }
        Ok(list)
    }

    /// `name.1.field`, `name.2.field`, ... as one form each.
    pub(crate) fn structures(&mut self, name: &str) -> Vec<Form> {
        let mut structures: BTreeMap<u32, Form> = BTreeMap::new();
        let prefix = format!("{name}.");
        let keys: Vec<String> = self
            .fields
            .keys()
            .filter(|key| key.starts_with(&prefix))
            .cloned()
            .collect();
        for key in keys {
            let Some((index, field)) = key[prefix.len()..].split_once('.') else {
                continue;
            };
            let Ok(number) = index.parse::<u32>() else {
                continue;
            };
            let Some(value) = self.fields.remove(&key) else {
                continue;
            };
            structures
                .entry(number)
                .or_insert_with(|| Form {
                    path: format!("{}{prefix}{index}.", self.path),
                    fields: BTreeMap::new(),
                })
                .fields
                .insert(field.to_owned(), value);
        }
        structures.into_values().collect()
    }

    /// Refuses what was not read: the simulator never ignores a parameter.
    pub(crate) fn finish(&self) -> Result<(), ApiError> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::new(
                "UnknownParameter",
                format!("The parameter {}{name} is not recognized", self.path),
            )),
        }
    }

    pub(crate) fn missing(&self, name: &str) -> ApiError {
        ApiError::new(
            "MissingParameter",
            format!("The request must contain the parameter {}{name}", self.path),
        )
    }

    fn parsed<T: FromStr>(&mut self, name: &str, kind: &str) -> Result<Option<T>, ApiError> {
        self.take(name)
            .map(|value| {
                value.parse().map_err(|_| {
                    ApiError::invalid_value(format!(
                        "Invalid value '{value}' for {}{name}: it must be a valid {kind}",
                        self.path
                    ))
                })
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lists_keep_the_order_of_their_numbers() {
        let mut form = Form::parse(b"SubnetId.10=j&SubnetId.2=b&SubnetId.1=a&Other=x");
        assert_eq!(form.list("SubnetId"), ["a", "b", "j"]);
        assert_eq!(form.take("Other").unwrap(), "x");
        form.finish().unwrap();
    }

    #[test]
    fn structures_nest() {
        let mut form = Form::parse(b"Filter.1.Name=tag%3Aa&Filter.1.Value.1=x+y&Filter.2.Name=b");
        let mut filters = form.structures("Filter");
        assert_eq!(filters.len(), 2);
        assert_eq!(filters[0].require("Name").unwrap(), "tag:a");
        assert_eq!(filters[0].list("Value"), ["x y"]);
        filters[0].finish().unwrap();
        form.finish().unwrap();
    }

    #[test]
    fn an_unknown_parameter_is_named_with_its_path() {
        let mut form = Form::parse(b"Tag.1.Key=a&Tag.1.Colour=red");
        let mut tag = form.structures("Tag").remove(0);
        tag.require("Key").unwrap();
        let error = tag.finish().unwrap_err();
        assert_eq!(error.code, "UnknownParameter");
        assert_eq!(error.message, "The parameter Tag.1.Colour is not recognized");
    }

    #[test]
    fn a_missing_or_malformed_field_is_refused() {
        let mut form = Form::parse(b"Empty=&MaxResults=many");
        assert_eq!(form.require("Empty").unwrap_err().code, "MissingParameter");
        let error = form.number("MaxResults").unwrap_err();
        assert_eq!(error.code, "InvalidParameterValue");
    }
}
