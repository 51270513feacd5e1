//! Lists are read in pages: a list in one piece is in memory as often as three times at once, and
//! how large its objects are is not ours to say.

use std::fmt::Debug;

use kube::api::{Api, ListParams, ObjectMeta};
use kube::runtime::watcher;
use serde::de::DeserializeOwned;

/// So many objects are in a page. One has at most 1.5 MiB, and several kinds are listed at once;
/// 10,000 small ones are listed within seconds.
pub(crate) const SIZE: u32 = 10;

/// How a watch lists what there is when it begins.
pub(crate) fn of_watches() -> watcher::Config {
    watcher::Config::default().page_size(SIZE)
}

/// All objects of a kind.
pub(crate) async fn all<K>(api: &Api<K>) -> Result<Vec<K>, kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut all = Vec::new();
    let keep = |object| {
        all.push(object);
        false
    };
    any(api, keep).await?;
    Ok(all)
}

/// Whether there is an object of a kind that `is` says yes to; it is asked about one after the
/// other.
pub(crate) async fn any<K>(api: &Api<K>, mut is: impl FnMut(K) -> bool) -> Result<bool, kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut page = ListParams::default().limit(SIZE);
    loop {
        let list = api.list(&page).await?;
        if list.items.into_iter().any(&mut is) {
            return Ok(true);
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(false),
        }
    }
}

/// The metadata of one object, all of it; none where there is no such object. A list of one, since
/// the operator may list our kinds and not get them.
pub(crate) async fn metadata<K>(api: &Api<K>, name: &str) -> Result<Option<ObjectMeta>, kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let only = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = api.list_metadata(&only).await?.items;
    Ok(found.into_iter().next().map(|object| object.metadata))
}
