//! How an endpoint is attached to its VPC: EC2's `VpcEndpointType`, and what goes with each.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{GroupId, SubnetId};

/// How an endpoint is attached. Only what EC2 takes together can be written. AWS fixes the type at
/// creation, and the rest can be changed.
///
/// `G` is how its security groups are known: by their ids, or as what is desired of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Attachment<G = BTreeSet<GroupId>> {
    /// By network interfaces.
    Interface(Interface<G>),
}

impl<G> Attachment<G> {
    /// What stands for it in the ClientToken of CreateVpcEndpoint: nothing for the first that there
    /// was.
    pub(crate) fn token_part(&self) -> Option<&'static str> {
        match self {
            Self::Interface(_) => None,
        }
    }
}

/// Network interfaces in subnets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interface<G = BTreeSet<GroupId>> {
    /// One network interface in each.
    pub subnets: BTreeSet<SubnetId>,
    /// The security groups of the network interfaces.
    pub groups: G,
    /// Whether the service's own DNS name leads to the endpoint in the whole VPC.
    pub private_dns: bool,
}

/// How an endpoint is attached that AWS describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObservedAttachment {
    /// By network interfaces: what the operator makes.
    Interface(Interface),
    /// In another way, by the type as EC2 spells it. Such an endpoint is never ours.
    Other(String),
}

impl ObservedAttachment {
    /// Reads what EC2 says.
    pub fn parse(type_: &str, interface: Interface) -> Self {
        if type_.eq_ignore_ascii_case("interface") {
            Self::Interface(interface)
        } else {
            Self::Other(type_.to_owned())
        }
    }

    /// Whether it is of the type that is desired, which AWS fixes at creation.
    pub(crate) fn is_of_type(&self, desired: &Attachment<impl Sized>) -> bool {
        match (self, desired) {
            (Self::Interface(_), Attachment::Interface(_)) => true,
            (Self::Other(_), Attachment::Interface(_)) => false,
        }
    }

    /// Takes over a change that AWS has accepted.
    pub(crate) fn modify(&mut self, change: &AttachmentChange) {
        match (self, change) {
            (Self::Interface(interface), AttachmentChange::Interface(change)) => change.apply(interface),
            (Self::Other(_), AttachmentChange::Interface(_)) => {}
        }
    }
}

impl From<Attachment> for ObservedAttachment {
    fn from(attachment: Attachment) -> Self {
        match attachment {
            Attachment::Interface(interface) => Self::Interface(interface),
        }
    }
}

/// What is to be changed of an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AttachmentChange {
    /// Of network interfaces.
    Interface(InterfaceChange),
}

impl AttachmentChange {
    /// The same in changes that AWS may refuse one without another.
    pub(crate) fn parts(&self) -> Vec<Self> {
        match self {
            Self::Interface(change) => change.parts().into_iter().map(Self::Interface).collect(),
        }
    }

    /// Whether AWS is at work for a while after it, and takes no other change meanwhile.
    pub(crate) fn takes_time(&self) -> bool {
        match self {
            Self::Interface(change) => change.changes_subnets(),
        }
    }
}

/// What is to be changed of network interfaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct InterfaceChange {
    /// Subnets to add.
    pub add_subnets: BTreeSet<SubnetId>,
    /// Subnets to remove.
    pub remove_subnets: BTreeSet<SubnetId>,
    /// Groups to attach.
    pub add_groups: BTreeSet<GroupId>,
    /// Groups to detach.
    pub remove_groups: BTreeSet<GroupId>,
    /// Private DNS turned on or off.
    pub private_dns: Option<bool>,
}

impl InterfaceChange {
    /// From what is there to what is desired, with these groups.
    pub(crate) fn between<G>(there: &Interface, desired: &Interface<G>, groups: &BTreeSet<GroupId>) -> Self {
        fn without<T: Ord + Clone>(set: &BTreeSet<T>, other: &BTreeSet<T>) -> BTreeSet<T> {
            set.difference(other).cloned().collect()
        }
        Self {
            add_subnets: without(&desired.subnets, &there.subnets),
            remove_subnets: without(&there.subnets, &desired.subnets),
            add_groups: without(groups, &there.groups),
            remove_groups: without(&there.groups, groups),
            private_dns: (there.private_dns != desired.private_dns).then_some(desired.private_dns),
        }
    }

    /// Whether it is about any subnet.
    pub fn changes_subnets(&self) -> bool {
        !self.add_subnets.is_empty() || !self.remove_subnets.is_empty()
    }

    /// Whether it is about any group.
    pub fn changes_groups(&self) -> bool {
        !self.add_groups.is_empty() || !self.remove_groups.is_empty()
    }

    /// Groups, private DNS, and subnets, last since AWS takes its time for them.
    fn parts(&self) -> Vec<Self> {
        let groups = Self {
            add_groups: self.add_groups.clone(),
            remove_groups: self.remove_groups.clone(),
            ..Self::default()
        };
        let private_dns = Self {
            private_dns: self.private_dns,
            ..Self::default()
        };
        let subnets = Self {
            add_subnets: self.add_subnets.clone(),
            remove_subnets: self.remove_subnets.clone(),
            ..Self::default()
        };
        let parts = [groups, private_dns, subnets];
        parts.into_iter().filter(|part| *part != Self::default()).collect()
    }

    fn apply(&self, interface: &mut Interface) {
        interface.subnets.extend(self.add_subnets.iter().cloned());
        interface.subnets.retain(|id| !self.remove_subnets.contains(id));
        interface.groups.extend(self.add_groups.iter().cloned());
        interface.groups.retain(|id| !self.remove_groups.contains(id));
        interface.private_dns = self.private_dns.unwrap_or(interface.private_dns);
    }
}
