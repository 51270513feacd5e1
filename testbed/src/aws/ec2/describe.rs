//! What all describes have in common: ids, filters, pages.

use super::Context;
use super::permission::Need;
use super::tags::Tags;
use crate::aws::error::ApiError;
use crate::aws::filter::{Filters, Paging};
use crate::aws::query::Form;

/// A describe's question.
pub(crate) struct Question {
    ids: Vec<String>,
    filters: Filters,
    paging: Paging,
}

/// How one describe differs from the others.
pub(crate) struct Shape {
    /// The action with its prefix.
    pub(crate) action: &'static str,
    /// The parameter that lists ids.
    pub(crate) ids: &'static str,
    /// The filters that it knows, tags aside.
    pub(crate) filters: &'static [&'static str],
    /// The smallest page that may be asked for.
    pub(crate) least: i64,
    /// Whether ids and a page size exclude each other, as for most.
    pub(crate) ids_or_pages: bool,
    /// The error for an id that is not there.
    pub(crate) missing: &'static str,
}

impl Question {
    /// Reads the request and asks for permission.
    pub(crate) fn take(form: &mut Form, context: &Context<'_>, shape: &Shape) -> Result<Self, ApiError> {
        let ids = form.list(shape.ids);
        let filters = Filters::take(form, shape.filters)?;
        if shape.ids_or_pages && !ids.is_empty() && form.fields().contains_key("MaxResults") {
            return Err(ApiError::new(
                "InvalidParameterCombination",
                format!(
                    "The parameter {} cannot be used with the parameter maxResults",
                    shape.ids
                ),
            ));
        }
        let paging = Paging::take(form, shape.least, context.config.page_size_cap)?;
        context.permit(form, &[Need::anywhere(shape.action)])?;
        Ok(Self { ids, filters, paging })
    }

    /// The resources that answer the question, and the token of the next page. One missing id fails
    /// the whole.
    pub(crate) fn answer<'a, T>(
        self,
        shape: &Shape,
        all: impl Iterator<Item = &'a T>,
        id: impl Fn(&T) -> &str,
        tags: impl Fn(&T) -> &Tags,
        values: impl Fn(&T, &str) -> Vec<String>,
    ) -> Result<(Vec<&'a T>, Option<String>), ApiError> {
        let mut chosen: Vec<&T> = all.collect();
        if !self.ids.is_empty() {
            let missing = self
                .ids
                .iter()
                .find(|wanted| !chosen.iter().any(|item| id(item) == wanted.as_str()));
            if let Some(missing) = missing {
                return Err(ApiError::new(
                    shape.missing,
                    format!("The ID '{missing}' does not exist"),
                ));
            }
            chosen.retain(|item| self.ids.iter().any(|wanted| wanted == id(item)));
        }
        chosen.retain(|item| self.filters.pass(tags(item), |name| values(item, name)));
        Ok(self.paging.cut(chosen, id))
    }
}
