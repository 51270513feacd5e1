//! What uses a security group, for the message of one that cannot be deleted.

use aws_sdk_ec2::types::Filter;
use vpce_core::ids::GroupId;

use super::{AccountRegion, RefreshError};
use crate::aws::ec2::Ec2;
use crate::aws::error::CallError;
use crate::aws::observer::observed;

/// A few are enough: once these are removed, the message names the next. EC2 takes no smaller page.
const MOST: i32 = 5;
const PAGE: i32 = 100;

/// A network interface.
struct Interface {
    id: String,
    description: Option<String>,
}

impl AccountRegion {
    /// What EC2 does not delete a group for: network interfaces that have it, and groups with a
    /// rule that names it, each in a few words.
    pub(crate) async fn users_of_group(&self, ec2: &Ec2, id: &GroupId) -> Result<Vec<String>, RefreshError> {
        let interfaces = self.pages("DescribeNetworkInterfaces", |_| interfaces_of(ec2, id, MOST));
        let mut users = texts(interfaces.await?, &[]);
        for filter in ["ip-permission.group-id", "egress.ip-permission.group-id"] {
            let groups = self.pages("DescribeSecurityGroups", |_| groups_that_name(ec2, id, filter));
            for group in groups.await? {
                if !users.contains(&group) {
                    users.push(group);
                }
            }
        }
        Ok(users)
    }

    /// The network interfaces that have a group beside these.
    pub(crate) async fn users_beside(
        &self,
        ec2: &Ec2,
        id: &GroupId,
        interfaces: &[String],
    ) -> Result<Vec<String>, RefreshError> {
        // An endpoint has one in a zone: a page has all that an endpoint may have, and one more.
        let found = self.pages("DescribeNetworkInterfaces", |_| interfaces_of(ec2, id, PAGE));
        Ok(texts(found.await?, interfaces))
    }
}

/// EC2 DescribeNetworkInterfaces; no page follows.
async fn interfaces_of(ec2: &Ec2, id: &GroupId, most: i32) -> Result<(Vec<Interface>, Option<String>), CallError> {
    let request = ec2.client.describe_network_interfaces();
    let request = request.filters(only("group-id", id)).max_results(most);
    let answer = observed(&ec2.observer, ec2.call("DescribeNetworkInterfaces"), request.send()).await?;
    let interfaces = answer.network_interfaces.unwrap_or_default();
    let interfaces = interfaces.into_iter().map(|interface| Interface {
        id: interface.network_interface_id.unwrap_or_default(),
        description: interface.description.filter(|text| !text.is_empty()),
    });
    Ok((interfaces.collect(), None))
}

/// Interfaces but those of these ids, each in a few words.
fn texts(interfaces: Vec<Interface>, but: &[String]) -> Vec<String> {
    let others = interfaces.into_iter().filter(|interface| !but.contains(&interface.id));
    let texts = others.map(|Interface { id, description }| match description {
        Some(description) => format!("network interface {id} ({description})"),
        None => format!("network interface {id}"),
    });
    texts.collect()
}

/// EC2 DescribeSecurityGroups; no page follows.
async fn groups_that_name(ec2: &Ec2, id: &GroupId, filter: &str) -> Result<(Vec<String>, Option<String>), CallError> {
    let request = ec2.client.describe_security_groups();
    let request = request.filters(only(filter, id)).max_results(MOST);
    let answer = observed(&ec2.observer, ec2.call("DescribeSecurityGroups"), request.send()).await?;
    let groups = answer.security_groups.unwrap_or_default().into_iter();
    let others = groups.filter(|group| group.group_id.as_deref() != Some(id.as_str()));
    let texts = others.map(|group| {
        let (id, name) = (group.group_id.unwrap_or_default(), group.group_name.unwrap_or_default());
        format!("a rule of security group {id} ({name})")
    });
    Ok((texts.collect(), None))
}

fn only(filter: &str, id: &GroupId) -> Filter {
    Filter::builder().name(filter).values(id.as_str()).build()
}
