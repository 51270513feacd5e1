//! A provider's and a consumer's account.

use vpce_testbed::aws::{Config, EndpointServiceView, LoadBalancerSpec, LoadBalancerType, RoleSpec, Simulator};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, simulator, unthrottled};

pub(crate) const CONSUMER: &str = "222222222222";
pub(crate) const CONSUMER_ROLE: &str = "arn:aws:iam::222222222222:role/consumer";
/// The principal for the consumer's account.
pub(crate) const CONSUMER_ROOT: &str = "arn:aws:iam::222222222222:root";

/// From a service's creation until it is available.
pub(crate) const SERVICE_PENDING: f64 = 30.0;
/// From its acceptance until an endpoint is available.
pub(crate) const ENDPOINT_PENDING: f64 = 60.0;
/// From a deletion until it is done.
pub(crate) const DELETING: f64 = 60.0;

pub(crate) struct Hosting {
    pub(crate) simulator: Simulator,
    pub(crate) provider: Client,
    pub(crate) consumer: Client,
    /// The ARN of a Network Load Balancer in the zones a and b.
    pub(crate) load_balancer: String,
}

pub(crate) fn hosting() -> Hosting {
    hosting_with(unthrottled())
}

pub(crate) fn hosting_with(config: Config) -> Hosting {
    let (simulator, provider) = simulator(Config {
        service_pending_seconds: SERVICE_PENDING,
        load_balancer_seconds: 0.0,
        ..config
    });
    simulator.add_role(CONSUMER_ROLE, RoleSpec::default()).unwrap();
    add_network(&simulator, REGION);
    let consumer = Client::base(&simulator, REGION).assume(CONSUMER_ROLE);
    let load_balancer = add_load_balancer(&simulator, "web", LoadBalancerType::Network);
    Hosting {
        simulator,
        provider,
        consumer,
        load_balancer,
    }
}

/// Gives the consumer a VPC `vpc-1` with subnets in three zones.
pub(crate) fn add_network(simulator: &Simulator, region: &str) {
    simulator.add_vpc(CONSUMER, region, "vpc-1", "10.0.0.0/16").unwrap();
    for letter in ["a", "b", "c"] {
        let (subnet, zone) = (format!("subnet-{letter}"), format!("{region}{letter}"));
        simulator.add_subnet(CONSUMER, region, &subnet, "vpc-1", &zone).unwrap();
    }
}

/// Gives the provider another load balancer, in the zones a and b.
pub(crate) fn add_load_balancer(simulator: &Simulator, name: &str, kind: LoadBalancerType) -> String {
    let spec = LoadBalancerSpec {
        kind,
        subnet_ids: vec!["subnet-a".to_owned(), "subnet-b".to_owned()],
        ..LoadBalancerSpec::default()
    };
    simulator.add_load_balancer(ACCOUNT, REGION, name, spec).unwrap()
}

impl Hosting {
    /// Has the provider create a service behind its load balancer, with more parameters.
    pub(crate) fn create(&self, more: &[(&str, &str)]) -> Answer {
        let base = [("NetworkLoadBalancerArn.1", self.load_balancer.as_str())];
        self.provider
            .ec2("CreateVpcEndpointServiceConfiguration", &[&base, more].concat())
    }

    /// Creates a service, allows the consumer's account, and waits until it is available.
    pub(crate) fn service(&self, more: &[(&str, &str)]) -> String {
        let id = self.create(more).succeeded().text("serviceId");
        self.allow(&id, CONSUMER_ROOT);
        self.simulator.advance(SERVICE_PENDING);
        id
    }

    pub(crate) fn allow(&self, id: &str, principal: &str) {
        let params = [("ServiceId", id), ("AddAllowedPrincipals.1", principal)];
        self.provider
            .ec2("ModifyVpcEndpointServicePermissions", &params)
            .succeeded();
    }

    /// Has the provider modify a service.
    pub(crate) fn modify(&self, id: &str, change: &[(&str, &str)]) -> Answer {
        let params = [&[("ServiceId", id)], change].concat();
        self.provider.ec2("ModifyVpcEndpointServiceConfiguration", &params)
    }

    /// Has the provider accept or reject endpoints.
    pub(crate) fn decide(&self, action: &str, id: &str, endpoints: &[&str]) -> Answer {
        let names: Vec<String> = (1..=endpoints.len()).map(|n| format!("VpcEndpointId.{n}")).collect();
        let ids = names.iter().map(String::as_str).zip(endpoints.iter().copied());
        let params: Vec<(&str, &str)> = ids.chain([("ServiceId", id)]).collect();
        self.provider.ec2(action, &params)
    }

    pub(crate) fn accept(&self, id: &str, endpoints: &[&str]) -> Answer {
        self.decide("AcceptVpcEndpointConnections", id, endpoints)
    }

    pub(crate) fn reject(&self, id: &str, endpoints: &[&str]) -> Answer {
        self.decide("RejectVpcEndpointConnections", id, endpoints)
    }

    pub(crate) fn delete(&self, id: &str) -> Answer {
        let params = [("ServiceId.1", id)];
        self.provider.ec2("DeleteVpcEndpointServiceConfigurations", &params)
    }

    /// What the provider's describe says of one service.
    pub(crate) fn describe(&self, id: &str) -> Answer {
        let params = [("ServiceId.1", id)];
        let action = "DescribeVpcEndpointServiceConfigurations";
        self.provider.ec2(action, &params).succeeded()
    }

    /// The connections of a service as the provider's describe says them: endpoint ids and states.
    pub(crate) fn connections(&self, id: &str) -> Vec<(String, String)> {
        let params = [("Filter.1.Name", "service-id"), ("Filter.1.Value.1", id)];
        let answer = self.provider.ec2("DescribeVpcEndpointConnections", &params).succeeded();
        let states = answer.texts("vpcEndpointState");
        answer.texts("vpcEndpointId").into_iter().zip(states).collect()
    }

    /// Has the consumer make an endpoint for the service.
    pub(crate) fn connect(&self, id: &str, more: &[(&str, &str)]) -> Answer {
        self.consumer.create_endpoint(&name(id), more)
    }

    /// The id of the consumer's endpoint.
    pub(crate) fn connected(&self, id: &str) -> String {
        let subnet = [("SubnetId.1", "subnet-a")];
        self.connect(id, &subnet).succeeded().text("vpcEndpointId")
    }

    /// The state of the consumer's endpoint.
    pub(crate) fn state(&self, endpoint_id: &str) -> String {
        let endpoints = self.simulator.endpoints(CONSUMER, REGION);
        let found = endpoints.iter().find(|endpoint| endpoint.id == endpoint_id);
        found.map_or_else(|| "deleted".to_owned(), |endpoint| endpoint.state.clone())
    }

    /// The provider's only service.
    pub(crate) fn view(&self) -> EndpointServiceView {
        self.simulator.endpoint_services(ACCOUNT, REGION).remove(0)
    }
}

/// The full name of a service of the provider.
pub(crate) fn name(id: &str) -> String {
    format!("com.amazonaws.vpce.{REGION}.{id}")
}
