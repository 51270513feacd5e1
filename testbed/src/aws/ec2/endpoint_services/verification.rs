//! Private DNS names of endpoint services and the TXT records that verify them.
//!
//! The PrivateLink Guide ("Manage DNS names for VPC endpoint services") says that AWS also finds
//! the record by itself. Users report that it does not, so the simulator only looks for it after
//! StartVpcEndpointServicePrivateDnsVerification.

use std::collections::BTreeSet;

use crate::aws::clock::Seconds;
use crate::aws::ec2::{Context, returned};
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

/// `PrivateDnsNameConfiguration.State`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameState {
    /// Not verified yet.
    PendingVerification,
    /// The record was found.
    Verified,
    /// The record was not found.
    Failed,
}

impl NameState {
    /// As it stands on the wire.
    pub fn wire(self) -> &'static str {
        match self {
            Self::PendingVerification => "pendingVerification",
            Self::Verified => "verified",
            Self::Failed => "failed",
        }
    }
}

/// Public TXT records: lower-case names and values.
pub(crate) type TxtRecords = BTreeSet<(String, String)>;

/// A service's private DNS name.
#[derive(Debug, Clone)]
pub(crate) struct PrivateName {
    pub(crate) name: String,
    pub(crate) state: NameState,
    /// The name of the record, relative to the domain.
    pub(crate) record_name: String,
    pub(crate) record_value: String,
    /// When the record is looked for.
    due: Option<Seconds>,
    was_verified: bool,
}

impl PrivateName {
    /// A name that is not verified yet.
    pub(super) fn new(name: String) -> Self {
        let random = || -> String {
            let letters = (0..20).map(|_| fastrand::alphanumeric());
            letters.collect()
        };
        Self {
            name,
            state: NameState::PendingVerification,
            record_name: format!("_{}", random().to_lowercase()),
            record_value: format!("vpce:{}", random()),
            due: None,
            was_verified: false,
        }
    }

    /// Whether it was verified once and is no longer.
    pub(super) fn is_lost(&self) -> bool {
        self.was_verified && self.state != NameState::Verified
    }

    /// Whether the record exists at the domain or a parent domain. DNS providers without
    /// underscores may leave out the record name.
    fn is_proven(&self, records: &TxtRecords) -> bool {
        let mut domain = self.name.strip_prefix("*.").unwrap_or(&self.name);
        loop {
            let names = [format!("{}.{domain}", self.record_name), domain.to_owned()];
            if names
                .into_iter()
                .any(|name| records.contains(&(name, self.record_value.clone())))
            {
                return true;
            }
            match domain.split_once('.') {
                Some((_, parent)) if parent.contains('.') => domain = parent,
                _ => return false,
            }
        }
    }

    /// Looks for the record if it is due.
    pub(crate) fn settle(&mut self, now: Seconds, records: &TxtRecords) {
        if self.due.is_some_and(|due| due <= now) {
            self.look(records);
        }
    }

    /// Looks for the record.
    pub(crate) fn look(&mut self, records: &TxtRecords) {
        self.due = None;
        let proven = self.is_proven(records);
        self.was_verified |= proven;
        self.state = if proven { NameState::Verified } else { NameState::Failed };
    }
}

pub(in crate::aws::ec2) fn start(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    const ACTION: &str = "ec2:StartVpcEndpointServicePrivateDnsVerification";
    let id = form.require("ServiceId")?;
    context.permit(form, &[context.need(ACTION, &id)])?;
    context.region.endpoint_service(&id)?;

    let due = context.now + context.config.verification_seconds;
    let service = context.region.endpoint_services.get_mut(&id);
    let Some(name) = service.and_then(|service| service.private_name.as_mut()) else {
        return Err(ApiError::invalid(format!(
            "The VPC endpoint service {id} has no private DNS name."
        )));
    };
    if name.state == NameState::Failed {
        name.state = NameState::PendingVerification;
    }
    name.due.get_or_insert(due);
    Ok(returned())
}
