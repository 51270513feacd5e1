//! VPCs, subnets, route tables and network interfaces.

use std::net::Ipv6Addr;

use ipnet::{Ipv4Net, Ipv6Net};

use super::Context;
use super::describe::{Question, Shape};
use super::endpoint::EndpointType;
use super::groups::new_group;
use super::region::{Interface, Region, RouteTable, Subnet, Vpc, new_id};
use super::rules::{Direction, Peer, Rule, Traffic};
use super::services::prefix_list_id;
use super::tags::{self, Tags};
use crate::aws::clock::Seconds;
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

const VPCS: Shape = Shape {
    action: "ec2:DescribeVpcs",
    ids: "VpcId",
    filters: &["cidr", "state", "vpc-id"],
    least: 5,
    ids_or_pages: true,
    missing: "InvalidVpcID.NotFound",
};

const SUBNETS: Shape = Shape {
    action: "ec2:DescribeSubnets",
    ids: "SubnetId",
    filters: &[
        "availability-zone",
        "availability-zone-id",
        "state",
        "subnet-id",
        "vpc-id",
    ],
    least: 5,
    ids_or_pages: true,
    missing: "InvalidSubnetID.NotFound",
};

const ROUTE_TABLES: Shape = Shape {
    action: "ec2:DescribeRouteTables",
    ids: "RouteTableId",
    filters: &["association.main", "route-table-id", "vpc-id"],
    least: 5,
    ids_or_pages: true,
    missing: "InvalidRouteTableID.NotFound",
};

const PREFIX_LISTS: Shape = Shape {
    action: "ec2:DescribePrefixLists",
    ids: "PrefixListId",
    filters: &["prefix-list-id", "prefix-list-name"],
    least: 1,
    ids_or_pages: false,
    missing: "InvalidPrefixListId.NotFound",
};

const INTERFACES: Shape = Shape {
    action: "ec2:DescribeNetworkInterfaces",
    ids: "NetworkInterfaceId",
    filters: &[
        "availability-zone",
        "description",
        "group-id",
        "interface-type",
        "ipv6-addresses.ipv6-address",
        "network-interface-id",
        "private-ip-address",
        "status",
        "subnet-id",
        "vpc-id",
    ],
    least: 5,
    ids_or_pages: true,
    missing: "InvalidNetworkInterfaceID.NotFound",
};

/// A new VPC with what comes with one: the default group and the main route table.
pub(crate) fn add_vpc(region: &mut Region, id: &str, cidr: Ipv4Net, ipv6: Option<Ipv6Net>, tags: Tags) {
    let vpc = Vpc {
        id: id.to_owned(),
        cidr: cidr.trunc(),
        more: Vec::new(),
        ipv6: ipv6.map(|block| block.trunc()),
        tags,
        dns_support: true,
        dns_hostnames: true,
    };
    let mut group = new_group(new_id("sg"), &vpc, "default", "default VPC security group", Tags::new());
    region.vpcs.insert(vpc.id.clone(), vpc);
    let within = Traffic {
        protocol: "-1".to_owned(),
        ports: None,
        peer: Peer::Group(group.id.clone()),
    };
    group.rules.push(Rule::new(Direction::Ingress, within, None));
    region.groups.insert(group.id.clone(), group);
    add_route_table(region, &new_id("rtb"), id, true, Tags::new());
}

pub(crate) fn add_route_table(region: &mut Region, id: &str, vpc_id: &str, main: bool, tags: Tags) {
    let table = RouteTable {
        id: id.to_owned(),
        vpc_id: vpc_id.to_owned(),
        main,
        tags,
    };
    region.route_tables.insert(table.id.clone(), table);
}

/// A block of the VPC that no subnet overlaps, of /24 or as large as the VPC allows.
pub(crate) fn free_block(region: &Region, vpc: &Vpc) -> Option<Ipv4Net> {
    let length = vpc.cidr.prefix_len().max(24);
    let mut blocks = vpc.cidr.subnets(length).ok()?;
    blocks.find(|block| !overlaps(region, &vpc.id, block))
}

/// A /64 of the VPC's IPv6 block that no subnet has.
pub(crate) fn free_ipv6_block(region: &Region, vpc: &Vpc) -> Option<Ipv6Net> {
    let taken = |block: &Ipv6Net| region.subnets.values().any(|s| s.ipv6 == Some(*block));
    let mut blocks = vpc.ipv6?.subnets(64).ok()?;
    blocks.find(|block| !taken(block))
}

fn overlaps(region: &Region, vpc_id: &str, block: &Ipv4Net) -> bool {
    let subnets = region.subnets.values().filter(|s| s.vpc_id == vpc_id);
    let mut blocks = subnets.filter_map(|s| s.cidr);
    blocks.any(|other| other.contains(block) || block.contains(&other))
}

pub(super) fn create_vpc(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let text = form.require("CidrBlock")?;
    let with_ipv6 = form.flag("AmazonProvidedIpv6CidrBlock")?.unwrap_or(false);
    let tags = tags::take_specification(form, "vpc")?;
    let cidr = take_block(&text)?;
    const ACTION: &str = "ec2:CreateVpc";
    let mut needs = vec![context.need_new(ACTION, "vpc", &tags)];
    needs.extend(context.need_tagging(ACTION, "vpc", &tags));
    context.permit(form, &needs)?;

    let id = new_id("vpc");
    let ipv6 = with_ipv6.then(|| amazons_block(context.region));
    add_vpc(context.region, &id, cidr, ipv6, tags);
    context.produced.push(id.clone());
    if let Some(vpc) = context.region.vpcs.get_mut(&id) {
        // "DNS attributes for your VPC": on only in default VPCs and in those that the console
        // made.
        vpc.dns_hostnames = false;
    }
    let mut xml = Xml::new();
    if let Some(vpc) = context.region.vpcs.get(&id) {
        xml.element("vpc", |xml| write_vpc(xml, vpc, &context.region.account));
    }
    Ok(xml)
}

/// A /56 that no VPC of the region has, of those that AWS gives out.
fn amazons_block(region: &Region) -> Ipv6Net {
    let taken = |block: &Ipv6Net| region.vpcs.values().any(|vpc| vpc.ipv6 == Some(*block));
    let blocks = (0..=u8::MAX)
        .map(|at| Ipv6Net::new_assert(Ipv6Addr::from([0x2600, 0x1f14, 0, u16::from(at) << 8, 0, 0, 0, 0]), 56));
    blocks.into_iter().find(|block| !taken(block)).unwrap_or_default()
}

/// ModifyVpcAttribute, one attribute a call.
pub(super) fn modify_vpc(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let vpc_id = form.require("VpcId")?;
    let support = form.flag("EnableDnsSupport.Value")?;
    let hostnames = form.flag("EnableDnsHostnames.Value")?;
    if support.is_some() == hostnames.is_some() {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            "Exactly one of enableDnsSupport and enableDnsHostnames must be given",
        ));
    }
    context.permit(form, &[context.need("ec2:ModifyVpcAttribute", &vpc_id)])?;

    let vpc = context.region.vpcs.get_mut(&vpc_id);
    let vpc = vpc.ok_or_else(|| ApiError::new(VPCS.missing, format!("The vpc ID '{vpc_id}' does not exist")))?;
    vpc.dns_support = support.unwrap_or(vpc.dns_support);
    vpc.dns_hostnames = hostnames.unwrap_or(vpc.dns_hostnames);
    Ok(super::returned())
}

pub(super) fn create_subnet(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let vpc_id = form.require("VpcId")?;
    let text = form.require("CidrBlock")?;
    let ipv6 = take_ipv6_block(form)?;
    let zone = form.take("AvailabilityZone");
    let tags = tags::take_specification(form, "subnet")?;
    let cidr = take_block(&text)?.trunc();
    const ACTION: &str = "ec2:CreateSubnet";
    let mut needs = vec![context.need_new(ACTION, "subnet", &tags), context.need(ACTION, &vpc_id)];
    needs.extend(context.need_tagging(ACTION, "subnet", &tags));
    context.permit(form, &needs)?;

    let region = &mut *context.region;
    let zone = zone.unwrap_or_else(|| format!("{}a", region.name));
    let letter = zone.strip_prefix(&region.name).unwrap_or_default();
    if letter.len() != 1 || !letter.chars().all(|c| c.is_ascii_lowercase()) {
        return Err(ApiError::invalid_value(format!(
            "Value ({zone}) for parameter availabilityZone is invalid. Subnets can only be created in the zones of {}.",
            region.name
        )));
    }
    let vpc = region
        .vpcs
        .get(&vpc_id)
        .ok_or_else(|| ApiError::new(VPCS.missing, format!("The vpc ID '{vpc_id}' does not exist")))?;
    let outside = |block: Ipv6Net| !vpc.ipv6.is_some_and(|whole| whole.contains(&block));
    if !vpc.cidr.contains(&cidr) || ipv6.is_some_and(outside) {
        return Err(ApiError::new(
            "InvalidSubnet.Range",
            format!("The CIDR '{cidr}' is invalid."),
        ));
    }
    let taken = ipv6.is_some() && region.subnets.values().any(|subnet| subnet.ipv6 == ipv6);
    if taken || overlaps(region, &vpc_id, &cidr) {
        return Err(ApiError::new(
            "InvalidSubnet.Conflict",
            format!("The CIDR '{cidr}' conflicts with another subnet"),
        ));
    }
    let subnet = Subnet {
        id: new_id("subnet"),
        vpc_id,
        cidr: Some(cidr),
        ipv6,
        zone,
        full: false,
        tags,
    };
    context.produced.push(subnet.id.clone());
    let mut xml = Xml::new();
    xml.element("subnet", |xml| write_subnet(xml, &subnet, region));
    region.subnets.insert(subnet.id.clone(), subnet);
    Ok(xml)
}

fn take_block(text: &str) -> Result<Ipv4Net, ApiError> {
    text.parse::<Ipv4Net>()
        .ok()
        .filter(|net| (16..=28).contains(&net.prefix_len()))
        .ok_or_else(|| {
            ApiError::invalid_value(format!(
                "Value ({text}) for parameter cidrBlock is invalid. This is not a valid CIDR block."
            ))
        })
}

fn take_ipv6_block(form: &mut Form) -> Result<Option<Ipv6Net>, ApiError> {
    let Some(text) = form.take("Ipv6CidrBlock") else {
        return Ok(None);
    };
    let block = text.parse::<Ipv6Net>().ok().filter(|net| net.prefix_len() == 64);
    let block = block.ok_or_else(|| {
        ApiError::invalid_value(format!(
            "Value ({text}) for parameter ipv6CidrBlock is invalid. This is not a valid IPv6 CIDR block."
        ))
    })?;
    Ok(Some(block.trunc()))
}

pub(super) fn describe_vpcs(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let question = Question::take(form, context, &VPCS)?;
    let (page, token) = question.answer(
        &VPCS,
        context.region.vpcs.values(),
        |vpc| &vpc.id,
        |vpc| &vpc.tags,
        |vpc, filter| {
            vec![match filter {
                "cidr" => vpc.cidr.to_string(),
                "state" => "available".to_owned(),
                _ => vpc.id.clone(),
            }]
        },
    )?;
    let mut xml = Xml::new();
    xml.items("vpcSet", page, |xml, vpc| write_vpc(xml, vpc, &context.region.account));
    xml.optional("nextToken", token);
    Ok(xml)
}

pub(super) fn describe_subnets(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let question = Question::take(form, context, &SUBNETS)?;
    let (page, token) = question.answer(
        &SUBNETS,
        context.region.subnets.values(),
        |subnet| &subnet.id,
        |subnet| &subnet.tags,
        |subnet, filter| {
            vec![match filter {
                "availability-zone" => subnet.zone.clone(),
                "availability-zone-id" => context.region.zone_id(&subnet.zone),
                "state" => "available".to_owned(),
                "subnet-id" => subnet.id.clone(),
                _ => subnet.vpc_id.clone(),
            }]
        },
    )?;
    let mut xml = Xml::new();
    xml.items("subnetSet", page, |xml, subnet| {
        write_subnet(xml, subnet, context.region)
    });
    xml.optional("nextToken", token);
    Ok(xml)
}

pub(super) fn create_route_table(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let vpc_id = form.require("VpcId")?;
    let client_token = form.take("ClientToken");
    let tags = tags::take_specification(form, "route-table")?;
    const ACTION: &str = "ec2:CreateRouteTable";
    let mut needs = vec![
        context.need_new(ACTION, "route-table", &tags),
        context.need(ACTION, &vpc_id),
    ];
    needs.extend(context.need_tagging(ACTION, "route-table", &tags));
    context.permit(form, &needs)?;

    let region = &mut *context.region;
    if !region.vpcs.contains_key(&vpc_id) {
        return Err(ApiError::new(
            VPCS.missing,
            format!("The vpc ID '{vpc_id}' does not exist"),
        ));
    }
    let parameters = format!("route table of {vpc_id} with {tags:?}");
    let earlier = region.made_before(ACTION, client_token.as_ref(), &parameters)?;
    let id = match earlier {
        Some(id) => id,
        None => {
            let id = new_id("rtb");
            add_route_table(region, &id, &vpc_id, false, tags);
            region.remember_token(ACTION, client_token.as_ref(), parameters, &id);
            context.produced.push(id.clone());
            id
        }
    };
    let mut xml = Xml::new();
    if let Some(table) = region.route_tables.get(&id) {
        xml.element("routeTable", |xml| write_route_table(xml, table, region, context.now));
    }
    xml.optional("clientToken", client_token);
    Ok(xml)
}

/// DeleteRouteTable. "You can't delete the main route table."
pub(super) fn delete_route_table(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let id = form.require("RouteTableId")?;
    context.permit(form, &[context.need("ec2:DeleteRouteTable", &id)])?;

    let region = &mut *context.region;
    match region.route_tables.get(&id) {
        None => Err(ApiError::new(
            ROUTE_TABLES.missing,
            format!("The routeTable ID '{id}' does not exist"),
        )),
        Some(table) if table.main => Err(ApiError::new(
            "DependencyViolation",
            format!("The routeTable '{id}' has dependencies and cannot be deleted."),
        )),
        Some(_) => {
            region.remove_route_table(&id);
            Ok(super::returned())
        }
    }
}

pub(super) fn describe_route_tables(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let question = Question::take(form, context, &ROUTE_TABLES)?;
    let region = &*context.region;
    let (page, token) = question.answer(
        &ROUTE_TABLES,
        region.route_tables.values(),
        |table| &table.id,
        |table| &table.tags,
        |table, filter| {
            vec![match filter {
                "association.main" => table.main.to_string(),
                "route-table-id" => table.id.clone(),
                _ => table.vpc_id.clone(),
            }]
        },
    )?;
    let mut xml = Xml::new();
    xml.items("routeTableSet", page, |xml, table| {
        write_route_table(xml, table, region, context.now);
    });
    xml.optional("nextToken", token);
    Ok(xml)
}

/// The prefix list of a gateway service.
struct PrefixList<'a> {
    id: String,
    name: &'a str,
    tags: Tags,
}

pub(super) fn describe_prefix_lists(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let question = Question::take(form, context, &PREFIX_LISTS)?;
    let services = context.services.in_region(&context.region.name);
    let gateways = services.filter(|(_, service)| service.types().contains(&EndpointType::Gateway));
    let lists = gateways.map(|(name, _)| PrefixList {
        id: prefix_list_id(name),
        name,
        tags: Tags::new(),
    });
    let mut lists: Vec<PrefixList<'_>> = lists.collect();
    lists.sort_by(|a, b| a.id.cmp(&b.id));
    let (page, token) = question.answer(
        &PREFIX_LISTS,
        lists.iter(),
        |list| &list.id,
        |list| &list.tags,
        |list, filter| match filter {
            "prefix-list-id" => vec![list.id.clone()],
            _ => vec![list.name.to_owned()],
        },
    )?;
    let mut xml = Xml::new();
    xml.items("prefixListSet", page, |xml, list| {
        xml.text("prefixListId", &list.id);
        xml.text("prefixListName", list.name);
        xml.values("cidrSet", ["198.51.100.0/24"]);
    });
    xml.optional("nextToken", token);
    Ok(xml)
}

pub(super) fn describe_interfaces(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let question = Question::take(form, context, &INTERFACES)?;
    let region = &*context.region;
    let description = |endpoint_id: &str| format!("VPC Endpoint Interface {endpoint_id}");
    let kind = |interface: &Interface| match region.endpoints.get(&interface.endpoint_id) {
        Some(endpoint) if endpoint.kind == EndpointType::GatewayLoadBalancer => "gateway_load_balancer_endpoint",
        _ => "vpc_endpoint",
    };
    let (page, token) = question.answer(
        &INTERFACES,
        region.interfaces.values(),
        |interface| &interface.id,
        |interface| &interface.tags,
        |interface, filter| match filter {
            "availability-zone" => vec![interface.zone.clone()],
            "description" => vec![description(&interface.endpoint_id)],
            "group-id" => interface.group_ids.clone(),
            "interface-type" => vec![kind(interface).to_owned()],
            "ipv6-addresses.ipv6-address" => interface.ipv6.iter().map(ToString::to_string).collect(),
            "network-interface-id" => vec![interface.id.clone()],
            "private-ip-address" => interface.ipv4.iter().map(ToString::to_string).collect(),
            "status" => vec!["in-use".to_owned()],
            "subnet-id" => vec![interface.subnet_id.clone()],
            _ => vec![interface.vpc_id.clone()],
        },
    )?;
    let mut xml = Xml::new();
    xml.items("networkInterfaceSet", page, |xml, interface| {
        xml.text("networkInterfaceId", &interface.id);
        xml.text("subnetId", &interface.subnet_id);
        xml.text("vpcId", &interface.vpc_id);
        xml.text("availabilityZone", &interface.zone);
        xml.text("description", description(&interface.endpoint_id));
        xml.text("ownerId", &region.account);
        xml.text("requesterManaged", true);
        xml.text("interfaceType", kind(interface));
        xml.text("status", "in-use");
        xml.optional("privateIpAddress", interface.ipv4);
        xml.items("privateIpAddressesSet", interface.ipv4, |xml, address| {
            xml.text("privateIpAddress", address);
            xml.text("primary", true);
        });
        xml.optional("ipv6Address", interface.ipv6);
        xml.items("ipv6AddressesSet", interface.ipv6, |xml, address| {
            xml.text("ipv6Address", address);
        });
        xml.items("groupSet", &interface.group_ids, |xml, id| {
            xml.text("groupId", id);
            xml.optional("groupName", region.groups.get(id).map(|group| &group.name));
        });
        tags::write(xml, &interface.tags);
    });
    xml.optional("nextToken", token);
    Ok(xml)
}

fn write_route_table(xml: &mut Xml, table: &RouteTable, region: &Region, now: Seconds) {
    xml.text("routeTableId", &table.id);
    xml.text("vpcId", &table.vpc_id);
    xml.text("ownerId", &region.account);
    xml.items("associationSet", table.main.then_some(()), |xml, ()| {
        xml.text("routeTableId", &table.id);
        xml.text("main", true);
    });
    let local = region.vpcs.get(&table.vpc_id);
    let local = local.map(|vpc| ("destinationCidrBlock", vpc.cidr.to_string(), "local"));
    let endpoints = region
        .described(now)
        .filter(|e| !e.is_deleted() && e.route_table_ids.contains(&table.id));
    let gateways = endpoints.map(|e| {
        let list = prefix_list_id(&e.service_name);
        ("destinationPrefixListId", list, e.id.as_str())
    });
    let routes = local.into_iter().chain(gateways);
    xml.items("routeSet", routes, |xml, (kind, destination, gateway)| {
        xml.text(kind, destination);
        xml.text("gatewayId", gateway);
        xml.text("state", "active");
    });
    tags::write(xml, &table.tags);
}

fn write_vpc(xml: &mut Xml, vpc: &Vpc, account: &str) {
    xml.text("vpcId", &vpc.id);
    xml.text("ownerId", account);
    xml.text("state", "available");
    xml.text("cidrBlock", vpc.cidr);
    xml.items(
        "cidrBlockAssociationSet",
        [vpc.cidr].iter().chain(&vpc.more),
        |xml, block| {
            xml.text("cidrBlock", block);
            xml.element("cidrBlockState", |xml| xml.text("state", "associated"));
        },
    );
    xml.items("ipv6CidrBlockAssociationSet", vpc.ipv6, |xml, block| {
        xml.text("associationId", vpc.id.replacen("vpc", "vpc-cidr-assoc", 1));
        xml.text("ipv6CidrBlock", block);
        xml.element("ipv6CidrBlockState", |xml| xml.text("state", "associated"));
    });
    xml.text("isDefault", false);
    xml.text("instanceTenancy", "default");
    tags::write(xml, &vpc.tags);
}

fn write_subnet(xml: &mut Xml, subnet: &Subnet, region: &Region) {
    xml.text("subnetId", &subnet.id);
    xml.text("vpcId", &subnet.vpc_id);
    xml.text("ownerId", &region.account);
    xml.text("state", "available");
    xml.optional("cidrBlock", subnet.cidr);
    xml.items("ipv6CidrBlockAssociationSet", subnet.ipv6, |xml, block| {
        xml.text("associationId", subnet.id.replacen("subnet", "subnet-cidr-assoc", 1));
        xml.text("ipv6CidrBlock", block);
        xml.element("ipv6CidrBlockState", |xml| xml.text("state", "associated"));
    });
    xml.text("ipv6Native", subnet.cidr.is_none());
    xml.text("availabilityZone", &subnet.zone);
    xml.text("availabilityZoneId", region.zone_id(&subnet.zone));
    xml.text("availableIpAddressCount", region.free_addresses(subnet));
    xml.text("defaultForAz", false);
    tags::write(xml, &subnet.tags);
}
