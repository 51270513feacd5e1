//! What the AWSAccount controller works with.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::permissions::Verifications;
use crate::aws::sessions::SessionKey;
use crate::shared::Shared;

/// What the AWSAccount controller works with.
pub struct Context {
    /// What all controllers share.
    pub shared: Arc<Shared>,
    /// Which session each AWSAccount asked for last: when it asks for another, the one before is forgotten.
    pub asked: Mutex<HashMap<String, SessionKey>>,
    /// What dry runs have found of each AWSAccount's role.
    pub verifications: Verifications,
}

impl Context {
    /// With nothing remembered.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            asked: Mutex::default(),
            verifications: Verifications::default(),
        }
    }
}
