//! What the AWSAccount controller works with.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::permissions::Verifications;
use crate::aws::sessions::SessionKey;
use crate::shared::Shared;

/// What the AWSAccount controller works with.
pub(crate) struct Context {
    /// What all controllers share.
    pub(crate) shared: Arc<Shared>,
    /// Which session each AWSAccount asked for last: when it asks for another, the one before is
    /// forgotten.
    pub(crate) asked: Mutex<HashMap<String, SessionKey>>,
    /// What dry runs have found of each AWSAccount's role.
    pub(crate) verifications: Verifications,
}

impl Context {
    /// With nothing remembered.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            asked: Mutex::default(),
            verifications: Verifications::default(),
        }
    }
}
