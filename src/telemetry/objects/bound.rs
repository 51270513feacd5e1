//! What is exported of single objects that are bound to an AWSAccount, of whichever kind.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use vpce_core::api::{AWSAccount, AccountBinding, VPCEndpoint, VPCEndpointService, Watched};
use vpce_core::conditions::{ConditionType, READY, Reason, STALLED};

use super::{Described, NOT_RECONCILED, Samples, Series, TRUE, UNKNOWN, is_true, name_of, of_time};

/// An object that is bound to an AWSAccount and a region.
pub(super) trait Bound {
    fn metadata(&self) -> &ObjectMeta;
    fn conditions(&self) -> &[Condition];
    /// The AWSAccount that it is bound to.
    fn binding(&self) -> Option<&AccountBinding>;
    /// The AWSAccount that its spec names.
    fn named_account(&self) -> Option<&str>;
    /// The region that it is bound to.
    fn region(&self) -> Option<&str>;
    /// The region that its spec names.
    fn named_region(&self) -> Option<&str>;
    /// The id of what it has in AWS.
    fn id(&self) -> Option<&str>;
}

macro_rules! bound {
    ($kind:ty, $id:ident) => {
        impl Bound for Watched<$kind> {
            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn conditions(&self) -> &[Condition] {
                &self.status.conditions
            }

            fn binding(&self) -> Option<&AccountBinding> {
                self.status.account.as_ref()
            }

            fn named_account(&self) -> Option<&str> {
                self.spec.as_ref().ok()?.account.as_deref()
            }

            fn region(&self) -> Option<&str> {
                self.status.region.as_deref()
            }

            fn named_region(&self) -> Option<&str> {
                self.spec.as_ref().ok()?.region.as_deref()
            }

            fn id(&self) -> Option<&str> {
                self.status.$id.as_deref()
            }
        }
    };
}

bound!(VPCEndpoint, vpc_endpoint_id);
bound!(VPCEndpointService, service_id);

pub(super) fn namespace_of(object: &impl Bound) -> &str {
    object.metadata().namespace.as_deref().unwrap_or_default()
}

/// The account that counts an object as its own: the one it is bound to, or else the one that it
/// names, if there is such an AWSAccount: any name can be in a status.
pub(super) fn account_of<'a>(object: &'a impl Bound, accounts: &HashSet<&str>) -> &'a str {
    let bound = object.binding().map(|account| account.name.as_str());
    let named = || object.named_account().filter(|name| accounts.contains(name));
    bound.or_else(named).unwrap_or_default()
}

/// Status and reason of Ready.
pub(super) fn ready(object: &impl Bound) -> (&str, &str) {
    match condition(object, READY) {
        Some(ready) => (&ready.status, &ready.reason),
        None => (UNKNOWN, NOT_RECONCILED),
    }
}

fn condition<'a>(object: &'a impl Bound, type_: &str) -> Option<&'a Condition> {
    let mut conditions = object.conditions().iter();
    conditions.find(|condition| condition.type_ == type_)
}

/// How many objects are bound to each AWSAccount.
pub(super) fn to_accounts<'a>(
    accounts: &'a [Arc<Watched<AWSAccount>>],
    objects: &'a [Arc<impl Bound>],
) -> Samples<'a, 1> {
    let none = accounts.iter().map(|account| ([name_of(&account.metadata)], 0.0));
    let mut counts: Samples<'_, 1> = none.collect();
    for account in objects.iter().filter_map(|object| object.binding()) {
        if let Some(count) = counts.get_mut(&[account.name.as_str()]) {
            *count += 1.0;
        }
    }
    counts
}

/// What every object of a kind has of its own: one series while it is Ready, and more only of what
/// is not as it should be.
pub(super) struct Each {
    pub(super) info: Series<5>,
    pub(super) condition: Series<6>,
    pub(super) not_ready: Series<3>,
    pub(super) deletion: Series<3>,
    /// The conditions beside Ready and Stalled that are exported unless they are True.
    pub(super) parts: &'static [ConditionType],
}

impl Each {
    pub(super) fn described(&self) -> [Described; 4] {
        [
            self.info.described(),
            self.condition.described(),
            self.not_ready.described(),
            self.deletion.described(),
        ]
    }

    pub(super) fn write(&self, text: &mut String, objects: &[Arc<impl Bound>], names: &HashSet<&str>) {
        let objects = || objects.iter().map(move |object| (&**object, labels(&**object, names)));
        let info = objects().map(|(object, [namespace, name, account])| {
            let region = object.region().or_else(|| object.named_region()).unwrap_or_default();
            let id = object.id().unwrap_or_default();
            ([namespace, name, account, region, id], 1.0)
        });
        self.info.write(text, info);
        let parts: Vec<String> = self.parts.iter().map(ToString::to_string).collect();
        let conditions = objects().flat_map(|(object, [namespace, name, account])| {
            let ready = Some(ready(object)).filter(|ready| *ready != (TRUE, Reason::Available.as_str()));
            let stalled = condition(object, STALLED).filter(|stalled| is_true(stalled));
            let parts = parts.iter().filter_map(move |type_| condition(object, type_));
            let parts = parts.filter(|part| !is_true(part));
            let others = stalled.into_iter().chain(parts);
            let others = others.map(|told| [&*told.type_, &*told.status, &*told.reason]);
            let ready = ready.map(|(status, reason)| [READY, status, reason]);
            let told = ready.into_iter().chain(others);
            told.map(move |[type_, status, reason]| ([namespace, name, account, type_, status, reason], 1.0))
        });
        self.condition.write(text, conditions);
        let since = objects().filter_map(|(object, labels)| {
            let ready = condition(object, READY).filter(|ready| !is_true(ready))?;
            Some((labels, of_time(&ready.last_transition_time)))
        });
        self.not_ready.write(text, since);
        let deletions = objects()
            .filter_map(|(object, labels)| Some((labels, of_time(object.metadata().deletion_timestamp.as_ref()?))));
        self.deletion.write(text, deletions);
    }
}

/// The labels that name an object: namespace, name and account.
pub(super) fn labels<'a>(object: &'a impl Bound, names: &HashSet<&str>) -> [&'a str; 3] {
    [
        namespace_of(object),
        name_of(object.metadata()),
        account_of(object, names),
    ]
}
