//! The cache outside the checkout: what is slow to make and the same in every checkout.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// The project's folder in the user's cache.
pub(crate) fn folder() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => {
            PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache")
        }
    };
    Ok(base.join("vpce-operator"))
}

/// Makes something in the cache where it is missing. Several processes that need it at once make it
/// once: the others wait for the lock.
pub(crate) fn make_once(lock: &Path, exists: impl Fn() -> bool, make: impl FnOnce() -> Result<()>) -> Result<()> {
    if exists() {
        return Ok(());
    }
    let folder = lock.parent().context("a lock without a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = File::create(lock).with_context(|| format!("cannot write {}", lock.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", lock.display()))?;
    if exists() {
        return Ok(());
    }
    make()
}

/// A short name for some contents.
pub(crate) fn digest<const N: usize>(contents: [Vec<u8>; N]) -> String {
    let mut hash = Sha256::new();
    contents.iter().for_each(|content| hash.update(content));
    hash.finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
