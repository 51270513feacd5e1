//! What the demo's three AWS accounts hold: the VPCs, groups and services that its manifests name.

use anyhow::Result;

use crate::aws::{RoleSpec, ServiceSpec, Simulator};

/// One VPC with what endpoints in it need; its first subnet lies in zone a, the next in b, and so
/// on.
pub(crate) struct Network {
    pub(crate) account: &'static str,
    pub(crate) external_id: Option<&'static str>,
    pub(crate) region: &'static str,
    pub(crate) vpc: &'static str,
    pub(crate) cidr: &'static str,
    pub(crate) ipv6: Option<&'static str>,
    pub(crate) subnets: &'static [&'static str],
    pub(crate) group: Option<&'static str>,
    pub(crate) services: &'static [&'static str],
}

/// `examples/seed` and `examples/demo`, in this order.
pub(crate) const NETWORKS: &[Network] = &[
    Network {
        account: "111111111111",
        external_id: None,
        region: "us-west-2",
        vpc: "vpc-01393d9ccb6d12345",
        cidr: "10.1.0.0/16",
        ipv6: None,
        subnets: &[
            "subnet-07e56cb8d19c12345",
            "subnet-030aa367b20323456",
            "subnet-03312c20bc5034567",
        ],
        group: Some("sg-0142d2a79ee273c19"),
        services: &["vpce-svc-0abc437c186123456", "vpce-svc-01a99586728a12345"],
    },
    Network {
        account: "111111111111",
        external_id: None,
        region: "us-west-2",
        vpc: "vpc-0139311ccb6d12345",
        cidr: "10.2.0.0/16",
        ipv6: None,
        subnets: &[
            "subnet-046248f44c6724679",
            "subnet-046248f44c6712345",
            "subnet-046248f44c5688888",
        ],
        group: None,
        services: &["vpce-svc-02d44aaf16f155543"],
    },
    Network {
        account: "111111111111",
        external_id: None,
        region: "us-east-1",
        vpc: "vpc-0e47e54a1de000001",
        cidr: "10.3.0.0/16",
        ipv6: None,
        subnets: &["subnet-0e47e54a1de000011", "subnet-0e47e54a1de000012"],
        group: None,
        services: &[],
    },
    Network {
        account: "222222222222",
        external_id: Some("demo-team-blue"),
        region: "eu-central-1",
        vpc: "vpc-0b1e5c0de00000001",
        cidr: "10.20.0.0/16",
        ipv6: Some("2001:db8:20::/56"),
        subnets: &["subnet-0b1e5c0de00000011", "subnet-0b1e5c0de00000012"],
        group: None,
        services: &["vpce-svc-0b1e5c0de00000021"],
    },
    Network {
        account: "333333333333",
        external_id: None,
        region: "us-east-1",
        vpc: "vpc-09ee5c0de00000001",
        cidr: "10.30.0.0/16",
        ipv6: None,
        subnets: &["subnet-09ee5c0de00000011", "subnet-09ee5c0de00000012"],
        group: None,
        services: &["vpce-svc-09ee5c0de00000021", "vpce-svc-09ee5c0de00000022"],
    },
];

/// Puts all of it into the simulator.
///
/// # Errors
/// When the simulator refuses.
pub fn seed(aws: &Simulator) -> Result<()> {
    for network in NETWORKS {
        let Network {
            account,
            external_id,
            region,
            vpc,
            cidr,
            ipv6,
            subnets,
            group,
            services,
        } = *network;
        let role = RoleSpec {
            external_id: external_id.map(str::to_owned),
            ..RoleSpec::default()
        };
        aws.add_role(&format!("arn:aws:iam::{account}:role/vpce-operator"), role)?;
        match ipv6 {
            None => aws.add_vpc(account, region, vpc, cidr)?,
            Some(ipv6) => aws.add_vpc_with_ipv6(account, region, vpc, cidr, ipv6)?,
        }
        aws.set_tag(account, region, vpc, "Name", "main")?;
        for (subnet, zone) in subnets.iter().zip('a'..) {
            aws.add_subnet(account, region, subnet, vpc, &format!("{region}{zone}"))?;
        }
        if let Some(group) = group {
            aws.add_security_group(account, region, group, vpc, "endpoint-clients")?;
        }
        for service in services {
            aws.add_service(
                region,
                &format!("com.amazonaws.vpce.{region}.{service}"),
                ServiceSpec::default(),
            );
        }
    }
    Ok(())
}
