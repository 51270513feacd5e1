//! What requests of kind Modify have in common.

use std::collections::{BTreeMap, BTreeSet};

use crate::aws::error::ApiError;
use crate::aws::query::Form;

/// What a request adds to and takes from one of a resource's sets.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) add: BTreeSet<String>,
    pub(super) remove: BTreeSet<String>,
}

impl Change {
    /// Takes `AddWHAT.N` and `RemoveWHAT.N`.
    pub(super) fn take(form: &mut Form, what: &str) -> Result<Self, ApiError> {
        let add: BTreeSet<String> = form.list(&format!("Add{what}")).into_iter().collect();
        let remove: BTreeSet<String> = form.list(&format!("Remove{what}")).into_iter().collect();
        if let Some(both) = add.intersection(&remove).next() {
            return Err(ApiError::invalid(format!(
                "{both} cannot be added and removed in one request"
            )));
        }
        Ok(Self { add, remove })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// The set afterwards. Only what is there can be removed; adding what is there changes nothing.
    pub(super) fn apply(&self, present: &BTreeSet<String>, resource: &str) -> Result<BTreeSet<String>, ApiError> {
        if let Some(stranger) = self.remove.difference(present).next() {
            return Err(ApiError::invalid(format!(
                "{stranger} is not associated with the {resource}"
            )));
        }
        let kept = present.difference(&self.remove);
        Ok(kept.chain(&self.add).cloned().collect())
    }
}

/// The parameters of a request by their names, without the numbers of lists.
pub(super) fn attributes(form: &Form) -> BTreeMap<String, Vec<String>> {
    let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, value) in form.fields().iter().filter(|(path, _)| *path != "DryRun") {
        let name = path.split('.').next().unwrap_or_default();
        attributes.entry(name.to_owned()).or_default().push(value.clone());
    }
    attributes
}
